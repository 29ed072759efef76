"""A file that takes lines: many in one write, soon, and never at the price of whoever writes them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: Bytes that are written at once rather than after `DELAY`.
BLOCK = 65536
#: Seconds that a line waits for others.
DELAY = 0.5
_STDOUT = 1
_LINE_FEED = 0x0A


class LineFile:
    """
    Appends lines to a file.

    What cannot be written is lost, and counted: it is logged once, and the first thing that is written
    again is a line that says how many are missing.

    :param path: ``-`` is standard output.
    :param reactor: for the delay.
    :param epitaph: makes that line, of the number of lost lines, the trouble, and the time.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        reactor: IReactorTime,
        epitaph: Callable[[int, str, float], bytes],
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._epitaph = epitaph
        self._wallClock = wallClock
        self._descriptor: int | None = None
        #: Whether lines are taken.
        self.isOpen = False
        self._waiting = bytearray()
        self._call: IDelayedCall | None = None
        #: Lines lost since the last that was written, and why.
        self._lost = 0
        self._trouble = ""
        #: The file ends inside a line.
        self._torn = False

    def open(self) -> None:
        """
        Begin to take lines.

        :raises OSError: when the file cannot be opened for writing.
        """
        if self._descriptor is None:
            self._descriptor = self._opened()
            self.isOpen = True

    def reopen(self) -> None:
        """
        Close the file and open what has its name now: for whoever has renamed it.

        :raises OSError: when that cannot be opened; lines go on into the old file.
        """
        if self._descriptor is not None:
            successor = self._opened()
            self.close()
            self._descriptor = successor
            self.isOpen = True

    def close(self) -> None:
        """Write what waits, and take no more."""
        self.flush()
        if self._descriptor is not None and self._descriptor != _STDOUT:
            os.close(self._descriptor)
        self._descriptor = None
        self.isOpen = False

    def write(self, line: bytes) -> None:
        """Take a line, with its line feed; it is written soon."""
        self._waiting += line
        if len(self._waiting) >= BLOCK:
            self.flush()
        elif self._call is None:
            self._call = self._reactor.callLater(DELAY, self._due)

    def flush(self) -> None:
        """Write what waits, now."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if not self._waiting:
            return
        lines, self._waiting = self._waiting, bytearray()
        if self._descriptor is not None:
            self._append(lines)

    def _append(self, lines: bytearray) -> None:
        apology = b""
        if self._lost:
            apology = self._epitaph(self._lost, self._trouble, self._wallClock())
            if self._torn:
                apology = b"\n" + apology
        data = apology + lines if apology else lines
        assert self._descriptor is not None
        written, error = _write(self._descriptor, data)
        if written:
            self._torn = data[written - 1] != _LINE_FEED
        told = written >= len(apology)
        missing = data.count(b"\n", max(written, len(apology)))
        before, self._lost = self._lost, missing + (0 if told else self._lost)
        if error is not None:
            self._troubled(error)
        elif self._trouble:
            self._trouble = ""
            self._log.info("the access log is written again; {lost} lines were lost", lost=before)

    def _troubled(self, error: OSError) -> None:
        if not self._trouble:
            self._trouble = error.strerror or type(error).__name__
            self._log.error("the access log cannot be written: {trouble}", trouble=self._trouble)

    def _due(self) -> None:
        self._call = None
        self.flush()

    def _opened(self) -> int:
        if self._path == "-":
            return _STDOUT
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        return os.open(self._path, flags, 0o644)


def _write(descriptor: int, data: bytes | bytearray) -> tuple[int, OSError | None]:
    """Write all of the bytes; or how many were written, and why not more."""
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:] if written else data)
    except OSError as error:
        return written, error
    return written, None
