"""
One connection of a server: bytes between its transport and `core.server.ServerConnection`, and its timers.

What becomes of requests is in `answering`, how connections end in `closing`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import TcpKeepAlive
from ..core.deadlines import Deadline
from ..core.errors import LocalProtocolError
from ..core.framing import Delimiter
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..http1.events import BodyComplete, BodyFailed, BodyReceived, Event, ExchangeCancelled, RequestRefused, ResponseDue
from ..http1.pipeline import Exchange
from ..http1.server import ServerConnection
from ..http1.states import Body, Reading
from ..interfaces import IConnection, IConnectionRegistry
from ..net.alarms import Pace, Watch
from ..net.closing import SendingWatch, StagedClose
from ..net.output import OutputStream, SocketOutput, outputFor
from ..net.tcp import isTcp, setTcpKeepAlive
from . import handling as answering
from .request import Request
from .response import Response, Switch

if TYPE_CHECKING:
    from .factory import KeepAliveFactory

#: Bytes of responses that are handed over before the transport is looked at again, and what each is taken to weigh
#: beside its body.
_PASS = 262144
_OVERHEAD = 256
#: Between two requests, and what is awaited then. Before Python 3.12 it takes a while to find a member of an Enum by
#: its name.
_BETWEEN, _IDLE = Reading.IDLE, Deadline.IDLE
#: Bytes that Twisted's own transports read at once: a head, and the 64 KiB of a body that many clients send with it.
_RECEIVE = 98304
#: Bytes of a body that are gathered within a turn before they are sent, and it shows whether the client takes them.
_SEND_NOW = 16384


@implementer(IHalfCloseableProtocol, IConnection)
class KeepAliveProtocol(Protocol):
    """
    A connection. Subclass it to see its decisions and to change them; give the class to `KeepAliveFactory`.

    :ivar factory: the `KeepAliveFactory` that made it.
    :ivar id: its number in that factory, from 1.
    :ivar opened: when it was accepted, by the reactor's clock.
    :ivar bytesReceived: bytes of HTTP that have come so far, heads and framing included.
    :ivar core: the protocol layer's side of it.
    :ivar watch: its deadlines.
    """

    _log = Logger()

    factory: KeepAliveFactory
    id: int = 0
    opened: float = 0.0
    core: ServerConnection
    watch: Watch
    _outlet: OutputStream
    # Class attributes are the initial values: an idle connection has few of its own. Those that every request asks for
    # are set at once: an instance's own are found faster.
    bytesReceived: int = 0
    _turning = False
    _paused = False
    _served = 0
    _closed = False
    _reason: CloseReason | None = None
    _closing: StagedClose | None = None
    _sending: SendingWatch | None = None
    _pace: Pace | None = None
    _waiters: list[tuple[Exchange, Deferred[None]]] | None = None
    _successor: IProtocol | None = None

    # What a subclass may override.

    def requestReceived(self, request: Request) -> None:
        """A request's head is complete. The default lets the factory's handler answer."""
        handler = self.factory.handler
        result = handler(request)
        if result.__class__ is Response:
            answering.respond(self, request, result)
        else:
            answering.answer(self, request, result)

    def continueExpected(self, request: Request) -> Any:
        """
        The client withholds the body until it is invited (RFC 9110 10.1.1).

        :return: True to invite it, False to refuse (417), a `Response` to refuse with, None to leave it to the handler
            (its first read invites, its response refuses); or a Deferred or coroutine of one of them. After
            ``Timeouts.expectation`` without an answer the body is invited.
        """
        return None

    def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
        """
        What becomes of the connection after this response, before it is said and done.

        :return: the decision, or ``decision.close("why")``. A decision to close stands.
        """
        return decision

    def connectionClosed(self, reason: CloseReason) -> None:
        """The connection is gone; called once."""

    # What can be seen.

    @property
    def requestCount(self) -> int:
        """Requests taken up so far."""
        return self.core.request_count

    @property
    def lastDecision(self) -> Persistence | None:
        """What was decided with the latest response; None before the first."""
        return self.core.decision

    @property
    def peer(self) -> IAddress:
        """Where the client is."""
        assert self.transport is not None
        return self.transport.getPeer()

    @property
    def host(self) -> IAddress:
        """Where the client reached us."""
        assert self.transport is not None
        return self.transport.getHost()

    @property
    def secure(self) -> bool:
        """Whether the connection runs on TLS."""
        return bool(ISSLTransport.providedBy(self.transport))

    @property
    def age(self) -> float:
        """Seconds since it was accepted."""
        return self.factory.now() - self.opened

    @property
    def state(self) -> str:
        """What it is doing, in a word or three."""
        if self._closing is not None:
            return "closing"
        state = self.core.state
        return "responding" if state == "idle" and self._outlet.pending else state

    @property
    def eof(self) -> bool:
        """Whether the client has closed its side."""
        return self.core.eof

    @property
    def closeReason(self) -> CloseReason | None:
        """Why it ends or has ended; None while it does not."""
        return self._reason

    @property
    def bytesSent(self) -> int:
        """Bytes of HTTP that were sent so far, or are kept to be sent, heads and framing included."""
        return self._outlet.written

    @property
    def lateBytes(self) -> int:
        """Bytes that arrived after our side was closed, and were thrown away."""
        return 0 if self._closing is None else self._closing.late

    def setTcpKeepAlive(self, setting: TcpKeepAlive | None) -> None:
        """Switch the kernel's keep-alive probes of this connection on, with these figures, or off (ledger T-02)."""
        if isTcp(self.transport):
            setTcpKeepAlive(self.transport, setting)

    @property
    def version(self) -> str:
        """The major version of HTTP that it speaks."""
        return "1"

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The exchanges in service, oldest first."""
        return self.core.exchanges

    @property
    def registry(self) -> IConnectionRegistry:
        """The connections that it is one of."""
        return self.factory

    # What the transport tells.

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        factory = self.factory
        transport: Any = self.transport
        self.core = ServerConnection(factory.terms)
        self._outlet = outputFor(transport, self)
        self.watch = Watch(factory.alarms, self)
        self._turning = self._paused = self._closed = False
        self._closing = self._successor = self._pace = None
        if isTcp(transport):
            transport.setTcpNoDelay(True)
            transport.bufferSize = _RECEIVE
            if factory.tcpKeepAlive is not None:
                self.setTcpKeepAlive(factory.tcpKeepAlive)
        self.opened = factory.now()
        factory.opened(self)
        self._settle(self.opened)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        if self._closing is not None:
            self._closing.received(data)
            return
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        if self._pace is not None:
            self._pace.received(len(data))
            if self.watch.deadline is Deadline.BODY:
                self.watch.await_(None, inf)  # progress: due anew
        self.bytesReceived += len(data)
        self.core.receive(data)
        self.turn()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol.readConnectionLost`."""
        if self._successor is not None:
            if IHalfCloseableProtocol.providedBy(self._successor):
                self._successor.readConnectionLost()
            else:
                self._outlet.transport.loseConnection()
            return
        self.core.receive_eof()
        if self._closing is not None:
            self._closing.peerEnded()
        else:
            self.turn()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol.writeConnectionLost`."""
        if IHalfCloseableProtocol.providedBy(self._successor):
            self._successor.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        if self._closed:
            return
        self._closed = True
        self.watch.close()
        if self._successor is not None:
            self._successor.connectionLost(reason)
        if self._reason is None:
            self._reason = self._peer_close_reason(reason)
        self._tellQueued()
        for exchange in self.core.lost():
            answering.cancel(exchange, reason)
            self.over(exchange)
        for _, waiter in self._takeWaiters():
            waiter.errback(reason)
        try:
            self.connectionClosed(self._reason)
        except Exception:
            self._log.failure("connectionClosed failed on connection {id}", id=self.id)
        self.factory.closed(self, self._reason)

    def _peer_close_reason(self, reason: Failure) -> CloseReason:
        """Why the connection ended when it was not by our doing."""
        if self._successor is not None:
            return CloseReason.SWITCHED
        state = self.core.state
        if state in ("reading a head", "reading a body"):
            return CloseReason.PEER_CLOSED_MID_REQUEST.at(state)
        if self.core.busy or self._outlet.pending:
            return CloseReason.PEER_CLOSED_MID_RESPONSE
        return (CloseReason.PEER_CLOSED_IDLE if reason.check(ConnectionDone) else CloseReason.TRANSPORT_ERROR).at(state)

    # One turn.

    def turn(self) -> None:
        """Do all that can be done with what was received and answered, and send what comes of it in one write."""
        if self._turning or self._closed:
            return
        self._turning = True
        core = self.core
        way = self._outlet
        factory = self.factory
        seconds = factory.now  # an attribute, not a method, that is called by way of a name: it is found faster
        now = seconds()
        if now >= factory.dateDue or factory.maxAge:
            self.refreshDate()
        budget = _PASS
        try:
            while not way.pending and (event := core.next_event()) is not None:
                if not isinstance(event, Exchange):
                    self._tell(event)
                    continue
                event.started = now
                if not event.head.pipelinable:
                    self._pace = None
                    answering.begin(self, event)
                else:
                    request = Request(self, event)
                    try:
                        self.requestReceived(request)
                    except Exception:
                        answering.fail(self, request, Failure())
                budget -= event.bytes_sent + _OVERHEAD
                if budget < 0 and core.output:
                    budget = _PASS
                    self._send(core.take_output())
        finally:
            self._turning = False
        self._settle(now)

    def refreshDate(self) -> None:
        """See what time has brought: another Date, and age. To be done before a response is made outside a turn."""
        self.factory.renewDate()
        maxAge = self.factory.maxAge
        if maxAge and self.age >= maxAge and self.core.retired is None:
            self.core.retire(CloseReason.MAX_AGE)

    def _settle(self, now: float) -> None:
        """Send, then end or wait."""
        core = self.core
        way = self._outlet
        if output := core.output:
            core.output = None
            way.write(output)
            if way.pending:
                self._backed()
        if core.ending is not None:
            self._end()
            return
        if self._paused:
            self._regulate()
        if core.reading is _BETWEEN and not core.exchanges and not way.pending and not self._paused:
            # The next request is all that is awaited: this is every request's way. The clock is there already, and
            # looks again when it wakes.
            watch = self.watch
            if self._served != core.request_count or watch.deadline is not _IDLE:
                self._served = core.request_count
                watch.deadline = _IDLE
                watch.due = now + self.factory.idle
                if watch.due < watch.wakeup:
                    watch.await_(_IDLE, watch.due)
            return
        if core.backlog:
            self._regulate()
        self._await(None if self._paused else core.deadline, now)  # who is not read owes nothing

    def _send(self, output: list[bytes]) -> None:
        self._outlet.write(output)
        if self._outlet.pending:
            self._backed()

    def _backed(self) -> None:
        """The transport holds what was sent."""
        self.guardSending()
        self._tellQueued()

    def _await(self, deadline: Deadline | None, now: float) -> None:
        """Have the clock watch what the peer owes now, when it is not merely the next request."""
        watch = self.watch
        if deadline is Deadline.IDLE:
            deadline = None  # the peer is still taking the response
        if deadline is Deadline.BODY:
            if watch.deadline is not deadline:
                watch.await_(deadline, self._bodyPace().awaiting(now))
        elif watch.deadline is not deadline or self._served != self.core.request_count:
            self._served = self.core.request_count
            if self._pace is not None:
                self._pace.paused(now)
            self._owe(deadline, now)

    def _owe(self, deadline: Deadline | None, now: float) -> None:
        seconds = self.factory.deadlineSeconds[deadline]
        self.watch.await_(deadline, now + seconds if seconds else inf)

    def _bodyPace(self) -> Pace:
        if self._pace is None:
            timeouts = self.factory.timeouts
            self._pace = Pace(timeouts.body, timeouts.bodyGrace, self.factory.limits.minBodyRate)
        return self._pace

    def _regulate(self) -> None:
        """Hold the peer back while enough is in hand, by not reading (ledger P-16)."""
        wanted = self.core.wants_input and not (self._outlet.pending and self.core.backlog)
        if wanted is self._paused:
            self._paused = not wanted
            (self.transport.resumeProducing if wanted else self.transport.pauseProducing)()  # type: ignore[union-attr]

    def _tell(self, event: Event) -> None:
        """Pass on what the protocol layer says of an exchange."""
        exchange = event.exchange
        request: Request | None = exchange.owner
        if isinstance(event, RequestRefused):
            exchange.started = self.factory.now()
            self.over(exchange)
        elif isinstance(event, ResponseDue):
            self._wake()
        elif isinstance(event, ExchangeCancelled):
            answering.cancel(exchange, Failure(ConnectionDone("an earlier response ends the connection")))
            self.over(exchange)
        elif isinstance(event, BodyReceived):
            assert request is not None
            request.body.received(event.data)
        elif isinstance(event, BodyComplete):
            assert request is not None
            self._pace = None
            request.body.ended()
        elif isinstance(event, BodyFailed):
            self._pace = None
            if request is not None:
                request.body.failed(event.error)
            if exchange.over and exchange.owner is not None:  # else whoever read it has ended the response by now
                answering.cancel(exchange, Failure(event.error))
                self.over(exchange)

    def _tellQueued(self) -> None:
        """Pass on what takes no bytes: also while the transport holds its fill, and no turn is taken."""
        while (event := self.core.queued_event()) is not None:
            self._tell(event)

    # What requests and responses need of their connection.

    def answer(self, request: Request, result: Any) -> None:
        """Answer a request with whatever a handler may return."""
        self.refreshDate()
        try:
            answering.answer(self, request, result)
        except Exception:
            answering.fail(self, request, Failure())
        self.turn()

    def review(self, exchange: Exchange, decision: Persistence) -> Persistence:
        """Show a decision to the subclass."""
        try:
            reviewed = self.persistenceDecided(exchange.owner, decision)
            if isinstance(reviewed, Persistence):
                return reviewed
            raise TypeError(f"persistenceDecided returns a Persistence, not {reviewed!r}")
        except Exception:
            self._log.failure("persistenceDecided failed; the decision stands")
            return decision

    def over(self, exchange: Exchange) -> None:
        """Nothing more is written for this request, and nobody is to wait for anything of it."""
        self.watch.disarm(Deadline.EXPECTATION)
        request: Request | None = exchange.owner
        if request is not None and exchange.body is not Body.READ:
            request.body.failed(LocalProtocolError("the request has been answered"))
        if self.factory.observers:
            self.factory.finished(self, exchange)
        exchange.owner = None

    def readBody(self, exchange: Exchange) -> None:
        """
        The application reads: have the next bytes delivered.

        :raises ProtocolError: when they cannot be.
        """
        if self._closed:
            raise LocalProtocolError("the connection is gone")
        self.core.begin_body(exchange)
        self.watch.disarm(Deadline.EXPECTATION)
        exchange.flowing = True
        self.turn()

    def writeBody(self, exchange: Exchange, data: bytes) -> None:
        """
        Send some of a response body.

        :raises ProtocolError: when the response is over.
        """
        before = exchange.bytes_sent // _SEND_NOW
        self.core.write(exchange, data)
        if not self._turning:
            self._settle(self.factory.now())
        elif exchange.bytes_sent // _SEND_NOW > before and (output := self.core.take_output()):
            self._send(output)

    def sendsFiles(self, exchange: Exchange) -> bool:
        """Whether the kernel could send the rest of this body from a file: see `sendFile`."""
        length = exchange.response_framing is not None and exchange.response_framing.delimiter is Delimiter.LENGTH
        return length and exchange.held is None and isinstance(self._outlet, SocketOutput)

    def sendFile(self, exchange: Exchange, file: int, offset: int, count: int) -> int:
        """
        Have the kernel send some of a response body from a file.

        :param file: its descriptor.
        :return: how many bytes went; 0 when the file has no more, or while the connection is `congested`.
        :raises OSError: when this file cannot be sent in this way.
        :raises ProtocolError: when the response is over.
        """
        way = self._outlet
        assert isinstance(way, SocketOutput)
        if output := self.core.take_output():
            way.write(output)
        sent = way.sendFile(file, offset, count)
        self.core.written_past(exchange, sent)
        if way.pending:
            self._backed()
        return sent

    def congested(self, exchange: Exchange) -> bool:
        """Whether whoever makes this body should wait for `whenDrained`."""
        if exchange.held is None:
            return self._outlet.pending
        return self.core.held_bytes > self.factory.limits.maxHeldBytes

    def whenDrained(self, exchange: Exchange) -> Deferred[None]:
        """Fires once more of this body can be sent; fails when the connection is lost."""
        waiter: Deferred[None] = Deferred()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append((exchange, waiter))
        return waiter

    def _takeWaiters(self) -> list[tuple[Exchange, Deferred[None]]]:
        waiters, self._waiters = self._waiters or [], None
        return waiters

    def flushed(self) -> None:
        """The transport has sent what it held."""
        if self._sending is not None:
            self._sending.rest()
        if self._closing is not None:
            self._closing.flushed()
            return
        self.turn()  # first: a body that is made faster than it is sent would keep what comes in waiting for ever
        self._wake()

    def _wake(self) -> None:
        """Have those go on that no longer wait for anything."""
        for exchange, waiter in self._takeWaiters():
            if self.congested(exchange):
                self._waiters = [*(self._waiters or ()), (exchange, waiter)]
            else:
                waiter.callback(None)

    def switch(self, request: Request, name: str, switch: Switch) -> None:
        """
        Leave HTTP: answer 101 and let another protocol have the transport.

        :raises ProtocolError: when the client did not offer it.
        """
        exchange = request.exchange
        rest = self.core.switch(exchange, name.encode("ascii"), switch.fields)
        self._outlet.write(self.core.take_output())
        self._outlet.release()
        self.watch.close()
        self.over(exchange)
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]
        self._successor = successor = switch.protocol
        successor.makeConnection(self.transport)  # type: ignore[arg-type]
        if rest:
            successor.dataReceived(rest)

    # Timers.

    def expired(self, deadline: Deadline) -> None:
        """A deadline has passed."""
        if deadline is Deadline.WRITE:
            self._lookAtSending()
        elif deadline is Deadline.LINGER:
            if self._closing is not None:
                self._closing.expired()
        elif deadline is Deadline.REFUSED:
            if self._reason is None:  # else its request has come
                self.abort(CloseReason.TOO_MANY_CONNECTIONS)
        elif deadline is Deadline.IDLE or deadline is Deadline.FIRST_REQUEST:
            self._idleLate(deadline)
        else:
            self.core.expire(deadline)
            self.turn()

    def _lookAtSending(self) -> None:
        if self._sending is not None and self._sending.running and not self._sending.look():
            self.abort(CloseReason.WRITE_TIMEOUT)

    def guardSending(self, taken: int | None = None, since: float | None = None) -> None:
        """See to it that the peer takes what is sent; see `SendingWatch.begin`."""
        if self._sending is None:
            self._sending = SendingWatch(self.watch, self._outlet, self.factory)
        self._sending.begin(taken, since)

    def _idleLate(self, deadline: Deadline) -> None:
        """
        No request came in time. One more turn of the reactor reads what has come by now: a request that is under way
        is served, not lost (ledger P-12).
        """
        if self._outlet.unsent():  # the peer is still taking the last response: it cannot have been idle
            self.guardSending()
            self._owe(deadline, self.factory.now())
            return
        count = self.core.request_count

        def close() -> None:
            if self._reason is None and self.core.deadline is deadline and self.core.request_count == count:
                self.core.expire(deadline)
                self.turn()

        self.factory.clock.callLater(0, close)

    # The end.

    def retire(self) -> None:
        """Have the last response to what has arrived by then close the connection, which stays open until it does."""
        self.core.retire(CloseReason.DRAINING)

    def drain(self) -> None:
        """Serve what has been taken up, then close (ledger P-18)."""
        if self._reason is None and self._successor is None:
            self.core.drain()
            self.turn()

    def abort(self, reason: CloseReason = CloseReason.APPLICATION_ABORT) -> None:
        """Close now, whatever is under way, and by a reset."""
        if not self._closed:
            sending, self._sending = self._sending, None
            if self._reason is None or (sending is not None and sending.running):  # else its last response is out
                self._reason = reason
            self._outlet.abort()

    def _end(self) -> None:
        """Nothing more will be said: end the connection in stages."""
        ending = self.core.ending
        if self._reason is not None or ending is None:
            return
        self._reason = ending.reason
        self._closing = StagedClose(self, self._outlet, self.factory, ending.reason)
        self.watch.await_(None, inf)
        self._tellQueued()
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]
        if ending.reset:
            self._outlet.abort()
        elif not self._outlet.pending:
            self._closing.flushed()
