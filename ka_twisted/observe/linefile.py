"""
A file that takes lines: many in one write, soon, and never at the price of the connections that they are about.

What is behind it may be a pipe that no process reads: then lines wait in a bounded queue, and those that find no room
there are dropped, counted, and said.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from .outputs import STANDARD_OUTPUT, Output, hasRoom, openOutput

#: Bytes that are written at once rather than after `DELAY`.
BLOCK = 65536
#: Seconds that a line waits for others.
DELAY = 0.5
#: Seconds until an output that had no room is tried again: while its reader goes on, and while it does not. Many lines
#: that come meanwhile try it sooner.
SOON, RETRY = 0.005, 0.05
#: Bytes that wait for an output without room, at most, and a block of lines beyond: a second or two of a busy server.
QUEUE = 1 << 24
#: Seconds without progress that what waits is given when the file is closed.
PATIENCE = 0.25
_LINE_FEED = 0x0A

#: Makes the line that stands for lost ones: of their number, the trouble, and the time.
LostLine = Callable[[int, str, float], bytes]


class LineFile:
    """
    Appends lines to a file.

    What cannot be written is lost, and counted: it is logged once, and a line that says how many are missing stands in
    their place.

    :param path: ``-`` is standard output.
    :param reactor: for the delay.
    :param lostLine: makes that line.
    :param wallClock: gives the seconds since the epoch.
    :param opener: opens what is written to; see `outputs.openOutput`.
    :param limit: bytes that wait for an output without room.
    :ivar isOpen: whether lines are taken.
    :ivar droppedLines: how many were lost so far.
    :ivar dropped: called with the number of lines, each time that some are lost.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        reactor: IReactorTime,
        lostLine: LostLine,
        wallClock: Callable[[], float] = time.time,
        opener: Callable[[str], Output | None] = openOutput,
        limit: int = QUEUE,
    ) -> None:
        self.path = path
        self.lostLine = lostLine
        self.isOpen = False
        self.droppedLines = 0
        self.dropped: Callable[[int], object] = lambda count: None
        self._reactor = reactor
        self._wallClock = wallClock
        self._opener = opener
        self._limit = limit
        self._users = 0
        #: None while closed, and while a FIFO has no reader.
        self._output: Output | None = None
        self._waiting = bytearray()
        #: Bytes of the first line that waits which are written already.
        self._written = 0
        #: How many bytes wait when they are tried to be written; more where there was no room just now.
        self._mark = BLOCK
        #: Where in what waits lines are missing, and how many; where they were lost without a queue, in front.
        self._gap = 0
        self._lost = 0
        self._trouble = ""
        self._troubleSaid = False
        #: The file ends inside a line.
        self._torn = False
        self._call: IDelayedCall | None = None

    def open(self) -> None:
        """
        Begin to take lines; several users may have it open.

        :raises OSError: when the file cannot be opened for writing.
        """
        if not self._users:
            self._output = self._opener(self.path)
            self.isOpen = True
            if self._output is None:
                self._log.warn("no process reads the access log {path}: its lines wait", path=self.path)
        self._users += 1

    def reopen(self) -> None:
        """
        Close the file and open what has its name now, where the old one was renamed.

        :raises OSError: when that cannot be opened; lines go on into the old file.
        """
        if not self.isOpen:
            return
        successor = self._opener(self.path)
        former = self._output
        if former is not None:
            if successor is not None and successor.identity == former.identity and former.mayBeFull:
                successor.close()  # the same pipe, in which a line may be begun
                return
            self.flush()
            if self._output is former:  # else it had lost its reader, and is closed
                former.close()
        self._output, self._written = successor, 0
        self._schedule()

    def close(self) -> None:
        """Write what waits, and take no more, once every user has closed it."""
        self._users -= 1 if self._users else 0
        if self._users or not self.isOpen:
            return
        self.flush()
        while self._waiting and self._output is not None and self._output.wait(PATIENCE):
            if not self._writeQueue():
                break
        self._abandon()
        if self._output is not None:
            self._output.close()
        self._output = None
        self.isOpen = False

    def write(self, line: bytes) -> None:
        """Take a line, or several, with their line feeds; they are written soon."""
        waiting = self._waiting
        waiting += line
        if len(waiting) >= self._mark:
            self.flush()
        elif self._call is None:
            self._call = self._reactor.callLater(DELAY, self._due)

    def flush(self) -> None:
        """Write what waits, as far as there is room."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if not self._waiting or not self.isOpen:
            self._waiting.clear()
            return
        if self._output is not None and not self._output.mayBeFull:
            lines, self._waiting = self._waiting, bytearray()
            self._append(self._output, lines)
        else:
            self._writeQueue()

    def _due(self) -> None:
        self._call = None
        self.flush()

    def _schedule(self, seconds: float = RETRY) -> None:
        if self._waiting and self._call is None:
            self._call = self._reactor.callLater(DELAY if self._output is None else seconds, self._due)

    # -- what takes everything, or fails -------------------------------------------------------------------------------

    def _append(self, output: Output, lines: bytearray) -> None:
        notice = b""
        if self._lost:
            notice = self.lostLine(self._lost, self._trouble, self._wallClock())
            if self._torn:
                notice = b"\n" + notice
        data = notice + lines if notice else lines
        written, error = _writeAll(output, data)
        if written:
            self._torn = data[written - 1] != _LINE_FEED
        said = written >= len(notice)
        missing = data.count(b"\n", max(written, len(notice)))
        before, self._lost = self._lost, missing + (0 if said else self._lost)
        if missing:
            self._count(missing)
        if error is not None:
            self._troubled(error.strerror or type(error).__name__)
        elif self._trouble:
            self._recovered(before)

    # -- what may have no room -----------------------------------------------------------------------------------------

    def _writeQueue(self) -> bool:
        """Write pieces while there is room; see that the rest is tried again, and bounded. Whether any was written."""
        progress = False
        try:
            if self._output is None:
                self._output = self._opener(self.path)
            while self._waiting and self._output is not None and (taken := self._output.write(self._piece())):
                self._taken(taken)
                progress = True
                if self._lost and self._gap <= self._limit - BLOCK:  # else what fills it could be dropped again
                    self._fillGap()
        except OSError as error:
            self._failed(error)
        self._bound()
        self._mark = len(self._waiting) + BLOCK
        self._schedule(SOON if progress else RETRY)
        return progress

    def _piece(self) -> bytearray:
        """The next bytes to write: whole lines, unless the first is long or begun."""
        assert self._output is not None
        limit = self._output.piece
        end = 0 if self._written else self._waiting.rfind(b"\n", 0, limit) + 1
        if not end:
            end = self._waiting.find(b"\n", self._written) + 1
        return self._waiting[self._written : end]

    def _taken(self, count: int) -> None:
        self._written += count
        end = self._waiting.rfind(b"\n", 0, self._written) + 1
        if end:
            del self._waiting[:end]
            self._written -= end
            self._gap = max(0, self._gap - end)

    def _failed(self, error: OSError) -> None:
        """It cannot be written: a FIFO whose readers are gone waits for others, anything else loses what waits."""
        trouble = error.strerror or type(error).__name__
        if self.path != "-" and error.errno == errno.EPIPE and self._output is not None:
            self._output.close()
            self._output, self._written = None, 0
            self._log.warn("the access log {path} has lost its reader: its lines wait", path=self.path)
            return
        self._lose(0, trouble)

    def _bound(self) -> None:
        """Drop what finds no room in the queue: the latest lines."""
        if len(self._waiting) >= self._limit:
            start = self._gap if self._lost else self._waiting.rfind(b"\n", 0, self._limit) + 1
            self._lose(start, "no process reads it" if self._output is None else "its reader is too slow")

    def _lose(self, start: int, trouble: str) -> None:
        """Drop what waits from there on."""
        start = max(start, self._waiting.find(b"\n", self._written) + 1 if self._written else 0)
        count = self._waiting.count(b"\n", start)
        del self._waiting[start:]
        if count:
            self._gap = start
            self._lost += count
            self._count(count)
        self._troubled(trouble)

    def _fillGap(self) -> None:
        """There is room again: say in the log how many lines are missing, where they are."""
        lost, self._lost = self._lost, 0
        if self._written and not self._gap:  # not within a line that is begun
            self._gap = self._waiting.find(b"\n", self._written) + 1
        self._waiting[self._gap : self._gap] = self.lostLine(lost, self._trouble, self._wallClock())
        self._recovered(lost)

    def _abandon(self) -> None:
        """Nothing more is written: what waits is lost."""
        count = self._waiting.count(b"\n")
        self._waiting.clear()
        self._written = 0
        self._mark = BLOCK
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if count:
            self._count(count)
            if self._canSay():
                self._log.error("the access log was closed before {lost} lines were written", lost=count)

    # -- what is said --------------------------------------------------------------------------------------------------

    def _count(self, lines: int) -> None:
        self.droppedLines += lines
        self.dropped(lines)

    def _troubled(self, trouble: str) -> None:
        self._trouble = self._trouble or trouble
        if not self._troubleSaid and self._canSay():
            self._troubleSaid = True
            self._log.error("the access log cannot be written: {trouble}", trouble=self._trouble)

    def _recovered(self, lost: int) -> None:
        self._trouble = ""
        self._troubleSaid = False
        if self._canSay():
            self._log.info("the access log is written again; {lost} lines were lost", lost=lost)

    def _canSay(self) -> bool:
        """Whether the log may be written to: it may share a standard output that is full, and would wait for it."""
        return self.path != "-" or hasRoom(STANDARD_OUTPUT)


def _writeAll(output: Output, data: bytes | bytearray) -> tuple[int, OSError | None]:
    """Write all of the bytes; or how many were written, and why not more."""
    written = 0
    try:
        while written < len(data):
            written += output.write(data[written:] if written else data)
    except OSError as error:
        return written, error
    return written, None
