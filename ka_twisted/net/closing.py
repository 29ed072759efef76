"""
How a connection ends: what is still being sent is watched, and then both sides close in stages.

A reset destroys what the peer has not read yet, so the last response must not be followed by one (RFC 9112 9.6).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from ..config import Limits, Timeouts
from ..core.deadlines import Deadline
from ..core.reasons import CloseReason
from .alarms import Watch
from .output import OutputStream

#: How often within its time-out it is looked whether sending goes on.
_LOOKS = 5
#: Sums of clock readings are not exact.
_ALMOST = 0.999


class ConnectionSettings(Protocol):
    """What is asked of the settings of a connection."""

    @property
    def timeouts(self) -> Timeouts:
        """The times of its stages."""

    @property
    def limits(self) -> Limits:
        """How much the peer may send, and how slowly it may take."""

    @property
    def now(self) -> Callable[[], float]:
        """The clock, in seconds."""


class ClosingConnection(Protocol):
    """What a `StagedClose` needs of its connection."""

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """Let a deadline pass; `Deadline.LINGER` is to be passed on to `StagedClose.expired`."""

    @property
    def eof(self) -> bool:
        """Whether the peer has closed its side."""

    def guardSending(self, taken: int, since: float) -> None:
        """Have what is being sent watched: see `SendingWatch.begin`."""


class SendingWatch:
    """
    Sees to it that the peer takes what is being sent: no silence longer than ``Timeouts.write``, and on average no
    slower than ``Limits.minSendRate``.

    Progress is what the peer has acknowledged, not what the transport has room for again: the kernel's buffer is
    large, and reports room late, so that a slow but live download would look like a stalled one. Only the time in which
    something waits to be sent counts. A connection needs one for all of its life: whether it is slow is not forgotten
    between two responses, or between two pieces of one.

    The rate is judged as by a bucket that holds ``Timeouts.sendGrace`` seconds: waiting empties it, bytes that the peer
    takes fill it at the rate. So a fast beginning buys no more than one grace of slowness. Bytes are what is too slow:
    whether a silence is too long is for ``Timeouts.write`` alone to say, so that it can be switched off.

    :param watch: is armed with `Deadline.WRITE` while this runs; when that has passed, call `look`.
    """

    __slots__ = ("_grace", "_looked", "_output", "_settings", "_since", "_taken", "_watch", "running")

    def __init__(self, watch: Watch, output: OutputStream, settings: ConnectionSettings) -> None:
        self._watch = watch
        self._output = output
        self._settings = settings
        #: Bytes that the peer had taken when it was seen to take some last, and when that was.
        self._taken = 0
        self._since = 0.0
        #: Until when time is accounted for, and the seconds that are left of the grace.
        self._looked = 0.0
        self._grace = settings.timeouts.sendGrace if settings.limits.minSendRate else 0.0
        self._grace = self._grace or inf
        #: Whether something waits to be sent.
        self.running = False

    def begin(self, taken: int | None = None, since: float | None = None) -> None:
        """
        Something waits to be sent. Nothing happens where that is known.

        :param taken: bytes that the peer had taken when it was seen to take some last; None: ask now.
        :param since: when that was; None: now.
        """
        if self.running:
            return
        self.running = True
        now = self._settings.now()
        self._looked = now
        self._progress(self._output.taken() if taken is None else taken)
        self._since = now if since is None else since
        self._lookLater()

    def rest(self) -> None:
        """Everything is sent, or with the kernel: the time does not count for now."""
        if not self.running:
            return
        self.running = False
        self._watch.disarm(Deadline.WRITE)
        self._account(self._settings.now())

    def look(self) -> bool:
        """
        See whether the peer goes on taking, and look again later unless it has taken all.

        :return: False when it is to be given up.
        """
        now = self._settings.now()
        progress = self._account(now)
        if not self._output.unsent():
            self.running = False
            return True
        if progress:
            if self._grace <= 0:
                return False
        elif 0 < self._settings.timeouts.write * _ALMOST <= now - self._since:
            return False
        self._lookLater()
        return True

    def _account(self, now: float) -> bool:
        """Take the time into account that has passed, and what the peer has taken in it, if it has."""
        self._grace -= now - self._looked
        self._looked = now
        progress = self._progress(self._output.taken())
        if progress:
            self._since = now
        return progress

    def _progress(self, taken: int) -> bool:
        size = taken - self._taken
        if size <= 0:
            return False
        self._taken = taken
        if self._grace < inf:
            grace = self._settings.timeouts.sendGrace
            self._grace = min(grace, self._grace + size / self._settings.limits.minSendRate)
        return True

    def _lookLater(self) -> None:
        timeouts = self._settings.timeouts
        spans = [timeouts.write] if timeouts.write else []
        if self._grace < inf:
            spans.append(timeouts.sendGrace)
        if spans:
            self._watch.arm(Deadline.WRITE, min(spans) / _LOOKS)


class StagedClose:
    """
    The end of a connection from our side (ledger P-11).

    Once everything is sent our side is closed, then the peer's is read and thrown away until it closes too, is silent
    for ``Timeouts.linger``, or has had ``Timeouts.lingerTotal``. On TLS the closure alert takes the place of the
    half-close.

    :ivar reason: why.
    :ivar late: bytes that arrived after our close.
    """

    __slots__ = ("_closed", "_connection", "_heard", "_output", "_settings", "_taken", "late", "reason")

    def __init__(
        self, connection: ClosingConnection, output: OutputStream, settings: ConnectionSettings, reason: CloseReason
    ) -> None:
        self._connection = connection
        self._output = output
        self._settings = settings
        self._taken = 0
        #: When our side was closed, or the peer was last seen to take some of what was sent before that.
        self._closed = 0.0
        #: When the peer has last sent something.
        self._heard = 0.0
        self.reason = reason
        self.late = 0

    def flushed(self) -> None:
        """Everything is sent: close our side, and listen for the peer's close for a while."""
        output = self._output
        if self._connection.eof or not self._settings.timeouts.linger:
            output.close()
            if output.unsent():  # the transport closes once the peer has taken that
                self._connection.guardSending(output.taken(), self._settings.now())
            return
        output.close(half=output.halfCloses)
        self._linger()

    def _linger(self) -> None:
        self._taken = self._output.taken()
        self._closed = self._heard = self._settings.now()
        self._connection.arm(Deadline.LINGER, self._settings.timeouts.linger)

    def received(self, data: bytes) -> None:
        """Bytes that come now are counted and thrown away, up to a bound."""
        self.late += len(data)
        self._heard = self._settings.now()
        limit = self._settings.limits.lingerBytes
        if limit and self.late > limit:
            self._output.abort()

    def peerEnded(self) -> None:
        """The peer has closed its side, too."""
        if not self._output.pending:
            self._output.close()

    def expired(self) -> None:
        """
        The peer has not closed in time, or was not silent for all of it.

        Its time begins when it has the whole last response, and until then it is that of ``Timeouts.write``. Then it is
        left, and the kernel resets it if it goes on sending.
        """
        output = self._output
        progress = output.taken() > self._taken
        if progress or output.unsent():
            if not progress:
                self._connection.guardSending(self._taken, self._closed)
            self._linger()
        elif left := self._left():
            self._connection.arm(Deadline.LINGER, left)
        elif output.halfCloses:
            output.close()
        else:
            output.abort()

    def _left(self) -> float:
        """Seconds that the peer still has, if it stays silent; 0: none."""
        timeouts, now = self._settings.timeouts, self._settings.now()
        silence = timeouts.linger - (now - self._heard)
        whole = timeouts.lingerTotal - (now - self._closed) if timeouts.lingerTotal else inf
        left = min(silence, whole)
        return left if left > timeouts.linger * (1 - _ALMOST) else 0.0
