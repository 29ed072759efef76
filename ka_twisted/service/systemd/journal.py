"""
The log for systemd's journal: ``twistd --logger=ka_twisted.service.systemd.journal.observer``.

Entries are sent by the journal's own protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), so that each
has its priority, a traceback stays one entry, and what an event is about can be searched for:
``journalctl -u keepalive PEER=192.0.2.1``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, textFileLogObserver
from twisted.python.failure import Failure
from zope.interface import implementer

from ..jsonlog import details
from .notify import sendDatagram

__all__ = ["JournalObserver", "PrefixObserver", "details", "isJournal", "observer", "prefixed"]

SOCKET = "/run/systemd/journal/socket"
#: The name of the program in the journal, beside the unit's.
IDENTIFIER = "keepalive"

#: Levels of Twisted as those of syslog(3).
_PRIORITIES = {LogLevel.critical: 2, LogLevel.error: 3, LogLevel.warn: 4, LogLevel.info: 6, LogLevel.debug: 7}
_INFO = 6
#: Fields that are not the event's to set.
_OURS = frozenset({"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC"})
#: Names that the journal takes from a program; those with a leading underscore are its own.
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Seconds that an entry may wait for room in the journal's queue; the entries after it do not wait.
_PATIENCE = 0.25


@implementer(ILogObserver)
class JournalObserver:
    """
    Sends events to the journal, one entry each.

    Entries that cannot be sent are counted, and the next that can is preceded by their number.
    """

    def __init__(self, address: str = SOCKET, identifier: str = IDENTIFIER) -> None:
        self._address = address
        self._identifier = identifier
        self._lost = 0

    def __call__(self, event: LogEvent) -> None:
        if self._lost and self._send({"MESSAGE": f"{self._lost} log entries were lost", "PRIORITY": "4"}):
            self._lost = 0
        if not self._send(dict(_fields(event))):
            self._lost += 1

    def _send(self, fields: Mapping[str, str]) -> bool:
        entry = _encoded({"SYSLOG_IDENTIFIER": self._identifier, **fields})
        try:
            try:
                sendDatagram(self._address, entry, seconds=0 if self._lost else _PATIENCE)
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                    raise
                self._sendFile(entry)
        except OSError:
            return False
        return True

    def _sendFile(self, entry: bytes) -> None:
        """What is too long for a datagram is sent as a file in memory that can be changed no more."""
        fd = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(fd, "wb") as file:
            file.write(entry)
            file.flush()
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            sendDatagram(self._address, b"", [fd], seconds=_PATIENCE)


@implementer(ILogObserver)
class PrefixObserver:
    """Writes events as lines with ``<N>`` before them, the priorities of sd-daemon(3)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        lines = eventAsText(event, includeTimestamp=False).split("\n")
        self._stream.write("".join(f"<{_priority(event)}>{line}\n" for line in lines))
        self._stream.flush()


def observer() -> Any:
    """For ``twistd --logger=``: the journal where standard error leads there, else lines on standard output."""
    if isJournal(os.environ, sys.__stderr__):
        return JournalObserver()
    return textFileLogObserver(sys.stdout)


def prefixed() -> PrefixObserver:
    """For ``twistd --logger=``: lines on standard error with priorities, for a supervisor that reads these."""
    return PrefixObserver(sys.stderr)


def isJournal(environ: Mapping[str, str], stream: TextIO | None) -> bool:
    """Whether a stream leads to the journal: JOURNAL_STREAM, which a child inherits, may be another's."""
    if stream is None:
        return False
    try:
        device, inode = map(int, environ.get("JOURNAL_STREAM", "").split(":"))
        status = os.fstat(stream.fileno())
    except (ValueError, OSError):  # no numbers; no descriptor, or a closed one
        return False
    return (device, inode) == (status.st_dev, status.st_ino)


def _priority(event: LogEvent) -> int:
    return _PRIORITIES.get(event.get("log_level", LogLevel.info), _INFO)


def _fields(event: LogEvent) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", eventAsText(event, includeTimestamp=False, includeSystem=False)
    yield "PRIORITY", str(_priority(event))
    if event.get("log_namespace"):
        yield "LOGGER", event["log_namespace"]
    failure = event.get("log_failure")
    if isinstance(failure, Failure) and failure.frames:
        function, file, line = failure.frames[-1][:3]
        yield from (("CODE_FILE", file), ("CODE_LINE", str(line)), ("CODE_FUNC", function))
    for key, text in details(event):
        name = _HUMP.sub("_", key).upper()
        if _NAME.fullmatch(name) and name not in _OURS:
            yield name, text


def _encoded(fields: Mapping[str, str]) -> bytes:
    """An entry as bytes: a value with line feeds is preceded by its length instead of an equals sign."""
    parts = []
    for name, text in fields.items():
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            parts.append(b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), value))
    return b"".join(parts)
