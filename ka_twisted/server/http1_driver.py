"""
HTTP/1 on a connection: bytes between its transport and `http1.server.ServerConnection`, its timers, and its end.

What becomes of requests is in `handling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.errors import RemoteProtocolError
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..http1.events import (
    BodyComplete,
    BodyFailed,
    BodyReceived,
    Event,
    ExchangeCancelled,
    RequestRefused,
    ResponseDue,
)
from ..http1.exchange import Exchange
from ..http1.server import ServerConnection
from ..http1.states import Reading
from ..net.alarms import Pace, Watch
from ..net.closing import SendingWatch, StagedClose
from ..net.output import OutputStream, outputFor
from ..net.registry import Admission
from ..net.tcp import isTcp, setTcpKeepAlive
from . import handling
from .handover import HandedOver
from .hooks import HookedConnection
from .http1_stream import Http1Stream
from .request import Request
from .settings import ServerSettings

_log = Logger()
#: Bytes of responses that are handed over before the transport is looked at again, and what each is taken to weigh
#: beside its body.
_PASS = 262144
_OVERHEAD = 256
#: Between two requests, and what is awaited then. Before Python 3.12 it takes a while to find a member of an Enum by
#: its name.
_BETWEEN, _IDLE = Reading.IDLE, Deadline.IDLE
#: Bytes that Twisted's own transports read at once: a head, and the 64 KiB of a body that many clients send with it.
_RECEIVE = 98304


class Http1Driver:
    """
    A connection that speaks HTTP/1.

    :param connection: the protocol that it speaks for, and whose hooks it calls.
    :ivar id: its number on the server, from 1.
    :ivar opened: when it was accepted, in seconds by the clock of the settings.
    :ivar core: the protocol layer's side of it.
    :ivar watch: its deadlines.
    :ivar output: its way to the transport.
    """

    core: ServerConnection
    watch: Watch
    output: OutputStream

    __slots__ = (
        "_closing",
        "_handedOver",
        "_pace",
        "_paused",
        "_reason",
        "_sending",
        "_served",
        "_waiters",
        "bytesReceived",
        "closed",
        "connection",
        "core",
        "id",
        "opened",
        "output",
        "pumping",
        "settings",
        "transport",
        "watch",
    )

    def __init__(self, settings: ServerSettings, connection: HookedConnection, number: int) -> None:
        self.settings = settings
        self.connection = connection
        self.id = number
        self.opened = 0.0
        self.bytesReceived = 0
        self.pumping = self._paused = self.closed = False
        self._served = 0
        self._reason: CloseReason | None = None
        self._closing: StagedClose | None = None
        self._sending: SendingWatch | None = None
        self._pace: Pace | None = None
        self._waiters: list[tuple[Http1Stream, Deferred[None]]] | None = None
        self._handedOver: HandedOver | None = None

    # -- what there is to see ------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """What it is doing, in a word or three."""
        if self._closing is not None:
            return "closing"
        state = self.core.state
        return "responding" if state == "idle" and self.output.pending else state

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

    @property
    def eof(self) -> bool:
        """Whether the peer has closed its side."""
        return self.core.eof

    # -- what the transport tells --------------------------------------------------------------------------------------

    def connected(self, transport: Any) -> None:
        """The connection was accepted."""
        settings = self.settings
        self.transport = transport
        review = self._review if settings.reviews else None
        self.core = ServerConnection(settings.caches, Http1Stream, self, review)
        self.output = outputFor(transport, self)
        self.watch = Watch(settings.alarms, self)
        if isTcp(transport):
            transport.setTcpNoDelay(True)
            transport.bufferSize = _RECEIVE
            if settings.tcpKeepAlive is not None:
                setTcpKeepAlive(transport, settings.tcpKeepAlive)
        self.opened = settings.now()
        if settings.limits.maxAge:
            self.watch.arm(Deadline.AGE, settings.limits.maxAge)
        registry = settings.registry
        admission = registry.open(self, getattr(transport.getPeer(), "host", None))
        settings.tellOpened(self.connection)
        if admission is not Admission.ADMITTED:
            self._refuse(admission)
        elif registry.draining:
            self.core.drain()
        elif registry.retiring:
            self.retire()
        self.settle()

    def _refuse(self, admission: Admission) -> None:
        """The connection is one too many (ledger P-15)."""
        if admission is Admission.DROPPED:
            self.abort(CloseReason.TOO_MANY_CONNECTIONS)
            return
        self.core.turn_away(
            RemoteProtocolError(
                503,
                "more connections than this server allows",
                "RFC 9110 15.6.4",
                row="P-15",
                reason=CloseReason.TOO_MANY_CONNECTIONS,
                retry_after=1,
            )
        )
        self.watch.arm(Deadline.REFUSED, self.settings.timeouts.refused)

    def received(self, data: bytes) -> None:
        """Bytes came."""
        if self._closing is not None:
            self._closing.received(data)
            return
        self.bytesReceived += len(data)
        if self._handedOver is not None:
            self._handedOver.received(data)
            return
        if self._pace is not None:
            self._pace.received(len(data))
            if self.watch.deadline is Deadline.BODY:
                self.watch.await_(None, inf)  # progress: due anew
        self.core.receive(data)
        self.pump()

    def readLost(self) -> None:
        """The peer has closed its side."""
        if self._handedOver is not None:
            self._handedOver.readLost()
            return
        self.core.receive_eof()
        if self._closing is not None:
            self._closing.peerEnded()
        else:
            self.pump()

    def writeLost(self) -> None:
        """Our side is closed."""
        if self._handedOver is not None:
            self._handedOver.writeLost()

    def lost(self, reason: Failure) -> CloseReason | None:
        """
        The connection is gone.

        :return: why; None when that was told before.
        """
        if self.closed:
            return None
        self.closed = True
        self.watch.close()
        if self._handedOver is not None:
            self._handedOver.lost(reason)
        if self._reason is None:
            self._reason = self._peerCloseReason(reason)
        self._tellQueued()
        for exchange in self.core.lost():
            assert isinstance(exchange, Http1Stream)
            handling.cancel(exchange, reason)
            exchange.conclude()
        for _, waiter in self._takeWaiters():
            waiter.errback(reason)
        return self._reason

    def gone(self) -> None:
        """The application knows that the connection is gone: so shall others."""
        assert self._reason is not None
        self.settings.registry.close(self)
        self.settings.tellClosed(self.connection, self._reason)
        self.settings.registry.settle()

    def _peerCloseReason(self, reason: Failure) -> CloseReason:
        """Why the connection ended when it was not by our doing."""
        if self._handedOver is not None:
            return CloseReason.SWITCHED
        state = self.core.state
        if state in ("reading a head", "reading a body"):
            return CloseReason.PEER_CLOSED_MID_REQUEST.at(state)
        if self.core.busy or self.output.pending:
            return CloseReason.PEER_CLOSED_MID_RESPONSE
        return (CloseReason.PEER_CLOSED_IDLE if reason.check(ConnectionDone) else CloseReason.TRANSPORT_ERROR).at(state)

    # -- requests in, responses out ------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Do all that can be done with what was received and answered, and send what comes of it in one write."""
        if self.pumping or self.closed:
            return
        self.pumping = True
        core = self.core
        output = self.output
        settings = self.settings
        connection = self.connection
        told = bool(settings.observers) or settings.reviews
        now = settings.now() if told else 0.0
        budget = _PASS
        try:
            while not output.pending and (event := core.next_event()) is not None:
                if not isinstance(event, Http1Stream):
                    self._tell(event)
                    continue
                event.started = now
                request = Request(event)
                if not event.head.pipelinable:
                    self._pace = None
                    handling.begin(connection, request, settings)
                else:
                    if told:
                        event.user = request
                    try:
                        connection.requestReceived(request)
                    except BaseException:
                        handling.fail(request, Failure())
                budget -= event.bytes_sent + _OVERHEAD
                if budget < 0 and core.output:
                    budget = _PASS
                    self.send(core.take_output())
        finally:
            self.pumping = False
        self.settle()

    def settle(self) -> None:
        """Send, then end or wait."""
        core = self.core
        output = self.output
        if parts := core.output:
            core.output = None
            output.write(parts)
            if output.pending:
                self.backed()
        if core.ending is not None:
            self._end()
            return
        if self._paused:
            self._regulate()
        if core.reading is _BETWEEN and not core.exchanges and not output.pending and not self._paused:
            # The next request is all that is awaited: this is every request's way. The clock is there already, and
            # looks again when it wakes.
            watch = self.watch
            if self._served != core.request_count or watch.deadline is not _IDLE:
                self._served = core.request_count
                watch.deadline = _IDLE
                watch.due = self.settings.now() + self.settings.idle
                if watch.due < watch.wakeup:
                    watch.await_(_IDLE, watch.due)
            return
        if core.backlog:
            self._regulate()
        self._await(None if self._paused else core.deadline)  # a peer that is not read owes nothing

    def send(self, output: Sequence[bytes]) -> None:
        """Send some of what is answered before the rest is."""
        self.output.write(output)
        if self.output.pending:
            self.backed()

    def backed(self) -> None:
        """The transport holds what was sent."""
        if self._sending is None:
            self._sending = SendingWatch(self.watch, self.output, self.settings)
        self._sending.begin()
        self._tellQueued()

    def _regulate(self) -> None:
        """Hold the peer back while enough is in hand, by not reading (ledger P-16)."""
        wanted = self.core.wants_input and not (self.output.pending and self.core.backlog)
        if wanted is self._paused:
            self._paused = not wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _tell(self, event: Exchange | Event) -> None:
        """Pass on what the protocol layer says of an exchange."""
        assert not isinstance(event, Exchange)
        exchange = event.exchange
        assert isinstance(exchange, Http1Stream)
        if isinstance(event, RequestRefused):
            exchange.started = self.settings.now()
            exchange.conclude()
        elif isinstance(event, ResponseDue):
            self._wake()
        elif isinstance(event, ExchangeCancelled):
            handling.cancel(exchange, Failure(ConnectionDone("an earlier response ends the connection")))
            exchange.conclude()
        elif isinstance(event, BodyReceived):
            exchange.flowing = False
            assert exchange.receiver is not None
            exchange.receiver.received(event.data)
        elif isinstance(event, BodyComplete):
            self._pace = None
            exchange.flowing = False
            assert exchange.receiver is not None
            exchange.receiver.ended()
        elif isinstance(event, BodyFailed):
            self._bodyFailed(exchange, event.error)

    def _bodyFailed(self, exchange: Http1Stream, error: BaseException) -> None:
        self._pace = None
        exchange.flowing = False
        if exchange.receiver is not None:
            exchange.receiver.failed(error)
        if exchange.over and not exchange.concluded:  # else the application has ended the response by now
            handling.cancel(exchange, Failure(error))
            exchange.conclude()

    def _tellQueued(self) -> None:
        """Pass on what takes no bytes: also while the transport holds its fill, and requests wait."""
        while (event := self.core.queued_event()) is not None:
            self._tell(event)

    def _review(self, exchange: Http1Stream, decision: Persistence) -> Persistence:
        """Show a decision to the application."""
        try:
            assert isinstance(exchange.user, Request)
            reviewed = self.connection.persistenceDecided(exchange.user, decision)
            if isinstance(reviewed, Persistence):
                return reviewed
            raise TypeError(f"persistenceDecided returns a Persistence, not {reviewed!r}")
        except Exception:
            _log.failure("persistenceDecided failed on connection {id}; the decision stands", id=self.id)
            return decision

    # -- flow ----------------------------------------------------------------------------------------------------------

    def whenWritable(self, stream: Http1Stream) -> Deferred[None]:
        """Fires once more of this response can be sent; fails when the connection is lost."""
        waiter: Deferred[None] = Deferred()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append((stream, waiter))
        return waiter

    def _takeWaiters(self) -> list[tuple[Http1Stream, Deferred[None]]]:
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

    def handOver(self, stream: Http1Stream, successor: IProtocol, data: bytes) -> None:
        """101 was answered: let another protocol have the transport, and what came behind the request."""
        self.output.write(self.core.take_output())
        self.output.release()
        self.watch.close()
        stream.conclude()
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        self._handedOver = HandedOver(self, successor)
        self._handedOver.begin(data)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _await(self, deadline: Deadline | None) -> None:
        """Have the clock watch what the peer owes now, when it is not merely the next request."""
        watch = self.watch
        if deadline is Deadline.IDLE:
            deadline = None  # the peer is still taking the response
        if deadline is Deadline.BODY:
            if watch.deadline is not deadline:
                watch.await_(deadline, self._bodyPace().awaiting(self.settings.now()))
        elif watch.deadline is not deadline or self._served != self.core.request_count:
            self._served = self.core.request_count
            now = self.settings.now()
            if self._pace is not None:
                self._pace.paused(now)
            self._owe(deadline, now)

    def _owe(self, deadline: Deadline | None, now: float) -> None:
        seconds = self.settings.deadlineSeconds[deadline]
        self.watch.await_(deadline, now + seconds if seconds else inf)

    def _bodyPace(self) -> Pace:
        if self._pace is None:
            timeouts = self.settings.timeouts
            self._pace = Pace(timeouts.body, timeouts.bodyGrace, self.settings.limits.minBodyRate)
        return self._pace

    def expired(self, deadline: Deadline) -> None:
        """A deadline has passed."""
        if self._handedOver is not None:
            self._handedOver.expired(deadline)
        elif deadline is Deadline.WRITE:
            if self._sending is not None and not self._sending.look():
                self.abort(CloseReason.WRITE_TIMEOUT)
        elif deadline is Deadline.LINGER:
            if self._closing is not None:
                self._closing.expired()
        elif deadline is Deadline.AGE:
            self.core.retire(CloseReason.MAX_AGE)
        elif deadline is Deadline.REFUSED:
            if self._reason is None:
                self.abort(CloseReason.TOO_MANY_CONNECTIONS)
        elif deadline is Deadline.IDLE or deadline is Deadline.FIRST_REQUEST:
            self._idleLate(deadline)
        else:
            self.core.expire(deadline)
            self.pump()

    def guardSending(self, taken: int, since: float) -> None:
        """See to it that the transport goes on sending: the peer had taken so many bytes then."""
        if self._sending is None:
            self._sending = SendingWatch(self.watch, self.output, self.settings)
        self._sending.begin(taken, since)

    def _idleLate(self, deadline: Deadline) -> None:
        """
        No request came in time. One more turn of the reactor reads what has come by now: a request that is under way
        is served, not lost (ledger P-12).
        """
        now = self.settings.now()
        if self.output.unsent():  # the peer is still taking the last response: it cannot have been idle
            self.guardSending(self.output.taken(), now)
            self._owe(deadline, now)
            return
        count = self.core.request_count

        def close() -> None:
            if self._reason is None and self.core.deadline is deadline and self.core.request_count == count:
                self.core.expire(deadline)
                self.pump()

        self.settings.clock.callLater(0, close)

    # -- the end -------------------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """Have the last response to what has arrived by then close the connection, which stays open until it does."""
        if self._handedOver is not None:
            self._handedOver.retire()
        else:
            self.core.retire(CloseReason.DRAINING)

    def drain(self) -> None:
        """Serve what has been taken up, then close (ledger P-18)."""
        if self._handedOver is not None:
            self._handedOver.drain()
        elif self._reason is None:
            self.core.drain()
            self.pump()

    def abort(self, reason: CloseReason = CloseReason.APPLICATION_ABORT) -> None:
        """Close now, whatever is under way, and by a reset."""
        if not self.closed:
            if self._reason is None or (self._sending is not None and self._sending.running):
                self._reason = reason  # else its last response is out
            self.output.abort()

    def _end(self) -> None:
        """Nothing more will be said: end the connection in stages."""
        ending = self.core.ending
        if self._reason is not None or ending is None:
            return
        self._reason = ending.reason
        self._closing = StagedClose(self, self.output, self.settings, ending.reason)
        self.watch.await_(None, inf)
        self._tellQueued()
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        if ending.reset:
            self.output.abort()
        elif not self.output.pending:
            self._closing.flushed()
