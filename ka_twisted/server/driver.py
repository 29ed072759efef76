"""
A connection of a server, whatever version of HTTP it speaks: its place among the others, its way out, and its end.

A driver is what a `protocol.KeepAliveProtocol` owns; HTTP/1's is `http1_driver.Http1Driver`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.errors import RemoteProtocolError
from ..core.exchange import Exchange
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..interfaces import IConnection
from ..net.alarms import Watch
from ..net.closing import SendingWatch, StagedClose
from ..net.output import OutputStream, outputFor
from ..net.registry import ADMITTED, Admission
from ..net.tcp import canonical, isTcp, peerOf, setTcpKeepAlive
from .handover import HandedOver
from .hooks import Hooks
from .settings import ServerSettings
from .stream import ServerStream

#: Bytes that Twisted's own transports read at once: a head, and the 64 KiB of a body that many clients send with it.
_RECEIVE = 98304


class Driver(Watch):
    """
    A connection.

    :param hooks: the protocol that it speaks for, and whose hooks it calls: an `IConnection`.
    :ivar id: its number on the server, from 1.
    :ivar opened: when it was accepted, in seconds by the clock of the settings.
    :ivar host: where the client reached us.
    :ivar output: its way to the transport.
    :ivar closed: whether the transport is gone.
    """

    __slots__ = (
        "_closing",
        "_handedOver",
        "_paused",
        "_reason",
        "_sending",
        "_waiters",
        "bytesReceived",
        "closed",
        "hooks",
        "host",
        "id",
        "opened",
        "output",
        "settings",
    )

    host: IAddress
    output: OutputStream

    def __init__(self, settings: ServerSettings, hooks: Hooks, number: int) -> None:
        super().__init__(settings.alarms)
        self.settings = settings
        self.hooks = hooks
        self.id = number
        self.opened = 0.0
        self.bytesReceived = 0
        self._paused = self.closed = False
        self._reason: CloseReason | None = None
        self._closing: StagedClose | None = None
        self._sending: SendingWatch | None = None
        self._waiters: list[tuple[ServerStream, Deferred[None]]] | None = None
        self._handedOver: HandedOver | None = None

    # -- what each version does ----------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """The major version of HTTP."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """What it is doing, in a word or three."""
        raise NotImplementedError

    @property
    def eof(self) -> bool:
        """Whether the peer has closed its side."""
        raise NotImplementedError

    @property
    def requestCount(self) -> int:
        """Requests taken up so far."""
        raise NotImplementedError

    @property
    def lastDecision(self) -> Persistence | None:
        """What was decided with the latest response; None before the first."""
        raise NotImplementedError

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The exchanges in service, oldest first."""
        raise NotImplementedError

    def begin(self) -> None:
        """The connection was accepted: be ready for its first byte."""
        raise NotImplementedError

    def pump(self) -> None:
        """Do all that can be done with what was received and answered."""
        raise NotImplementedError

    def turnAway(self, error: RemoteProtocolError) -> None:
        """Answer the first request with this error, and close."""
        raise NotImplementedError

    def retire(self) -> None:
        """Have the last response to what has arrived by then close the connection, which stays open until it does."""
        raise NotImplementedError

    def drain(self) -> None:
        """Serve what has been taken up, then close (ledger P-18)."""
        raise NotImplementedError

    def received(self, data: bytes) -> None:
        """Bytes came."""
        raise NotImplementedError

    def readLost(self) -> None:
        """The peer has closed its side."""
        raise NotImplementedError

    def lost(self, reason: Failure) -> CloseReason | None:
        """
        The transport is gone.

        :return: why; None when that was told before.
        """
        raise NotImplementedError

    # -- what there is to see ------------------------------------------------------------------------------------------

    @property
    def connection(self) -> IConnection:
        """The connection, as others see it."""
        return cast(IConnection, self.hooks)

    @property
    def transport(self) -> Any:
        """What it runs on."""
        return self.output.transport

    @property
    def closeReason(self) -> CloseReason | None:
        """Why it ends or has ended; None while it does not."""
        return self._reason

    @property
    def bytesSent(self) -> int:
        """Bytes that were sent so far, or are kept to be sent."""
        return self.output.written

    @property
    def lateBytes(self) -> int:
        """Bytes that arrived after our side was closed, and were thrown away."""
        return 0 if self._closing is None else self._closing.late

    # -- the beginning -------------------------------------------------------------------------------------------------

    def connected(self, transport: Any) -> None:
        """The connection was accepted: it takes its place among the others."""
        settings = self.settings
        self.output = outputFor(transport, self)
        if isTcp(transport):
            transport.setTcpNoDelay(True)
            transport.bufferSize = _RECEIVE
            if settings.tcpKeepAlive is not None:
                setTcpKeepAlive(transport, settings.tcpKeepAlive)
        self.opened = settings.now()
        self.host = settings.shared(
            canonical(transport.getHost())
        )  # a transport that is gone does not know it any more
        self.begin()
        if settings.limits.maxAge:
            self.arm(Deadline.AGE, settings.limits.maxAge)
        registry = settings.registry
        host = getattr(peerOf(transport), "host", None) if registry.countsPeers else None
        admission = registry.open(self, host)
        settings.tellOpened(self.connection)
        if admission is not ADMITTED:
            self._refuse(admission)
        if registry.draining:
            self.drain()
        elif registry.retiring:
            self.retire()
        self.pump()

    def _refuse(self, admission: Admission) -> None:
        """The connection is one too many (ledger P-15)."""
        if admission is Admission.DROPPED:
            self.abort(CloseReason.TOO_MANY_CONNECTIONS)
            return
        self.turnAway(
            RemoteProtocolError(
                503,
                "more connections than this server allows",
                "RFC 9110 15.6.4",
                row="P-15",
                reason=CloseReason.TOO_MANY_CONNECTIONS,
                retry_after=1,
            )
        )
        self.arm(Deadline.REFUSED, self.settings.timeouts.refused)

    # -- the way out ---------------------------------------------------------------------------------------------------

    def send(self, output: Sequence[bytes]) -> None:
        """Send bytes."""
        self.output.write(output)
        if self.output.pending:
            self.backed()

    def backed(self) -> None:
        """The transport holds what was sent: the peer has to take it in time."""
        self.guardSending(None, None)

    def guardSending(self, taken: int | None, since: float | None) -> None:
        """See to it that the transport goes on sending; see `SendingWatch.begin`."""
        if self._sending is None:
            self._sending = SendingWatch(self, self.output, self.settings)
        self._sending.begin(taken, since)

    def whenWritable(self, stream: ServerStream) -> Deferred[None]:
        """Fires once more of this response can be sent; fails when the connection is lost."""
        waiter: Deferred[None] = Deferred()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append((stream, waiter))
        return waiter

    def _takeWaiters(self) -> list[tuple[ServerStream, Deferred[None]]]:
        waiters, self._waiters = self._waiters or [], None
        return waiters

    def flushed(self) -> None:
        """The transport has sent what it held."""
        if self._sending is not None:
            self._sending.rest()
        if self._closing is not None:
            self._closing.flushed()
            return
        self.pump()  # first: a body that is made faster than it is sent would keep what comes in waiting for ever
        self._wake()

    def _wake(self) -> None:
        """Have those go on that no longer wait for anything."""
        for stream, waiter in self._takeWaiters():
            if stream.congested:
                self._waiters = [*(self._waiters or ()), (stream, waiter)]
            else:
                waiter.callback(None)

    def resumeReading(self) -> None:
        """Read again, if that was paused."""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def pauseReading(self) -> None:
        """Hold the peer back."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    # -- the end -------------------------------------------------------------------------------------------------------

    def expired(self, deadline: Deadline) -> None:
        """A deadline has passed that is none of a version's own."""
        if self._handedOver is not None:
            self._handedOver.expired(deadline)
        elif deadline is Deadline.WRITE:
            if self._sending is not None and not self._sending.look():
                self.abort(CloseReason.WRITE_TIMEOUT)
        elif deadline is Deadline.LINGER:
            if self._closing is not None:
                self._closing.expired()
        elif deadline is Deadline.REFUSED and self._reason is None:
            self.abort(CloseReason.TOO_MANY_CONNECTIONS)

    def abort(self, reason: CloseReason = CloseReason.APPLICATION_ABORT) -> None:
        """Close now, whatever is under way, and by a reset."""
        if not self.closed:
            if self._reason is None or (self._sending is not None and self._sending.running):
                self._reason = reason  # else its last response is out
            self.output.abort()

    def _close(self, reason: CloseReason, *, reset: bool) -> None:
        """Nothing more will be said: end the connection in stages."""
        self._reason = reason
        self._closing = StagedClose(self, self.output, self.settings, reason)
        self.await_(None, inf)
        self.resumeReading()
        if reset:
            self.output.abort()
        elif not self.output.pending:
            self._closing.flushed()

    def _handOver(self, successor: IProtocol, data: bytes) -> None:
        """Another protocol has the transport from now on, and what came behind the last request."""
        self.output.release()
        self.disarmAll()
        self.resumeReading()
        self._handedOver = HandedOver(self, successor)
        self._handedOver.begin(data)

    def writeLost(self) -> None:
        """Our side is closed."""
        if self._handedOver is not None:
            self._handedOver.writeLost()

    def _lost(self, reason: Failure) -> None:
        """The transport is gone: nothing is awaited any more."""
        self.closed = True
        self.disarmAll()
        if self._handedOver is not None:
            self._handedOver.lost(reason)
            if self._reason is None:
                self._reason = CloseReason.SWITCHED

    def gone(self) -> None:
        """The application knows that the connection is gone: so shall others."""
        assert self._reason is not None
        self.settings.registry.close(self)
        self.settings.tellClosed(self.connection, self._reason)
        self.settings.registry.settle()
