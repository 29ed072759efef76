"""
The server's own log as JSON, one object a line: ``--log-json``.

The access log has a format of its own: see `observe.accesslog`.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, MutableMapping
from datetime import datetime, timezone
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import FileLogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

__all__ = ["TRACEBACK", "choose", "details", "line", "observer"]

#: Where an event of a worker has its traceback, which cannot come as a Failure.
TRACEBACK = "log_traceback"
#: What `twisted.python.log` puts into an event, told by MESSAGE and PRIORITY already.
_LEGACY = frozenset({"message", "time", "system", "isError", "format", "why", "failure", "logLevel", "printed"})
#: Where twistd's daemons log.
_DAEMON_LOG = "twistd.log"

#: Where the log of this process goes, ``-`` is standard output: twistd makes an observer of its name alone.
_path = "-"


def choose(runner: MutableMapping[str, Any]) -> None:
    """
    Have twistd log in this way, to where it would log.

    :param runner: the options of twistd itself.
    :raises ValueError: with the rest of a sentence, when they name another observer, or a place that takes no lines.
    """
    for option in ("logger", "syslog"):
        if runner.get(option):
            raise ValueError(f" and twistd's --{option} exclude each other")
    path, daemon = runner.get("logfile"), not runner.get("nodaemon", True)
    if daemon and path == "-":
        raise ValueError(" with --logfile=- needs twistd -n: a daemon has no output")
    global _path
    _path = path or (_DAEMON_LOG if daemon else "-")
    runner["logger"] = f"{__name__}.{observer.__name__}"


def observer() -> FileLogObserver:
    """
    Make the observer; also for ``twistd --logger=ka_twisted.service.jsonlog.observer``.

    :raises OSError: when its file cannot be opened.
    """
    if _path == "-":
        return FileLogObserver(sys.stdout, line)
    file = LogFile.fromFullPath(_path)
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: _rotate(file))
    return FileLogObserver(file, line)


def _rotate(file: LogFile) -> None:
    """Go on in a new file, as twistd's own log does at this signal."""
    from twisted.internet import reactor

    cast(IReactorFromThreads, reactor).callFromThread(file.rotate)


def line(event: LogEvent) -> str:
    """
    An event as a line: never more than one, and ASCII alone.

    What an event is about comes by its own names; where one of these is a member that every line has, the line's holds.
    """
    traceback = _traceback(event)
    text = formatEvent(event)
    if traceback is not None:
        text = text.removesuffix(traceback).rstrip("\n") or traceback.rsplit("\n", 1)[-1]
    members = {
        "time": _date(event.get("log_time")),
        "level": (event.get("log_level") or LogLevel.info).name,
        "namespace": event.get("log_namespace", "-"),
        "text": text,
    }
    if traceback is not None:
        members["traceback"] = traceback
    return json.dumps({**members, **{k: v for k, v in details(event) if k not in members}}, default=str) + "\n"


def _traceback(event: LogEvent) -> str | None:
    """The traceback of an event, without the line feed at its end; None where it has none."""
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return event.get(TRACEBACK)
    try:
        return failure.getTraceback().rstrip("\n")
    except Exception as error:  # a log must not fail because of what it is about
        return f"(a traceback that cannot be shown: {type(error).__name__})"


def _date(seconds: float | None) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def details(event: LogEvent) -> Iterator[tuple[str, str]]:
    """What an event is about, as texts, by the names that the event has for it."""
    for key, value in event.items():
        if not key.startswith("log_") and key not in _LEGACY and value is not None:
            yield key, _text(value)


def _text(value: object) -> str:
    if isinstance(value, IPv4Address | IPv6Address):
        return value.host
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    try:
        return str(value)
    except Exception as error:  # a log must not fail because of what it is about
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"
