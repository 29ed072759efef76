"""
How a connection ends: what is still being sent is watched, and then both sides close in stages.

A reset destroys what the peer has not read yet, so the last response must not be followed by one (RFC 9112 9.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.deadlines import Deadline
from ..core.reasons import CloseReason

if TYPE_CHECKING:
    from ..server.protocol import KeepAliveProtocol
    from .output import OutputStream

#: How often within its time-out it is looked whether sending goes on.
_LOOKS = 5
#: Sums of clock readings are not exact.
_ALMOST = 0.999


class SendingWatch:
    """
    Sees to it that what the transport holds goes on moving.

    Progress is what the peer has acknowledged, not what the transport has room for again: the kernel's buffer is
    large, and reports room late, so that a slow but live download would look like a stalled one.

    :param taken: bytes that the peer had taken when it was last seen to.
    :param since: when that was.
    """

    __slots__ = ("_connection", "_outlet", "_since", "_taken")

    def __init__(self, connection: KeepAliveProtocol, outlet: OutputStream, taken: int, since: float) -> None:
        self._connection = connection
        self._outlet = outlet
        self._taken = taken
        self._since = since
        self._lookLater()

    def _lookLater(self) -> None:
        self._connection.watch.arm(Deadline.WRITE, self._connection.factory.timeouts.write / _LOOKS)

    def look(self) -> bool:
        """
        See whether the peer has taken anything lately, and look again later unless it has taken all.

        :return: False when it has not, for longer than `Timeouts.write`.
        """
        taken, now = self._outlet.taken(), self._connection.factory.now()
        if taken > self._taken:
            self._taken, self._since = taken, now
        if not self._outlet.unsent():
            return True
        if now - self._since >= self._connection.factory.timeouts.write * _ALMOST:
            return False
        self._lookLater()
        return True


class StagedClose:
    """
    The end of a connection from our side (ledger P-11).

    Once everything is sent our side is closed, then the peer's is read and thrown away until it closes too or its
    time is up. On TLS the closure alert takes the place of the half-close.

    :ivar reason: why.
    :ivar late: bytes that arrived after our close.
    """

    __slots__ = ("_connection", "_outlet", "_since", "_taken", "late", "reason")

    def __init__(self, connection: KeepAliveProtocol, outlet: OutputStream, reason: CloseReason) -> None:
        self._connection = connection
        self._outlet = outlet
        self._taken = 0
        self._since = 0.0
        self.reason = reason
        self.late = 0

    def flushed(self) -> None:
        """Everything is sent: close our side, and listen for the peer's close for a while."""
        outlet = self._outlet
        linger = self._connection.factory.timeouts.linger
        if self._connection.core.eof or not linger:
            outlet.close()
            if outlet.unsent():  # the transport closes once the peer has taken that
                self._connection.guardSending(outlet.taken(), self._connection.factory.now())
            return
        outlet.close(half=outlet.halfCloses)
        self._linger()

    def _linger(self) -> None:
        factory = self._connection.factory
        self._taken, self._since = self._outlet.taken(), factory.now()
        self._connection.watch.arm(Deadline.LINGER, factory.timeouts.linger)

    def received(self, data: bytes) -> None:
        """Bytes that come now are counted and thrown away, up to a bound."""
        self.late += len(data)
        limit = self._connection.factory.limits.lingerBytes
        if limit and self.late > limit:
            self._outlet.abort()

    def peerEnded(self) -> None:
        """The peer has closed its side, too."""
        if not self._outlet.pending:
            self._outlet.close()

    def expired(self) -> None:
        """
        The peer has not closed in time. Its time begins when it has the whole last response, and until then it is that
        of `Timeouts.write`. Then it is left, and the kernel resets it if it goes on sending.
        """
        outlet = self._outlet
        progress = outlet.taken() > self._taken
        if progress or outlet.unsent():
            if not progress:
                self._connection.guardSending(self._taken, self._since)
            self._linger()
        elif outlet.halfCloses:
            outlet.close()
        else:
            outlet.abort()
