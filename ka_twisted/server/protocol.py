"""
One connection of a server: octets between the transport and `core.server.ServerConnection`, handlers and their results,
timers, and the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import TcpKeepAlive
from ..core.deadlines import Deadline
from ..core.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from ..core.events import BodyComplete, BodyFailed, BodyReceived, ExchangeCancelled, RequestRefused
from ..core.headers import encode_text, encode_trailers
from ..core.persistence import Persistence
from ..core.pipeline import Exchange
from ..core.reasons import CloseReason
from ..core.server import ServerConnection
from ..core.states import Body, Expectation
from . import flow, negotiation
from .request import Request
from .response import Response, Switch
from .timers import Pace, Watch
from .transport import Outlet, outlet, setTcpKeepAlive

if TYPE_CHECKING:
    from .factory import KeepAliveFactory

#: Octets of responses that are handed over before the transport is looked at again.
_PASS = 262144
#: What a response is taken to weigh beside its body.
_OVERHEAD = 256
#: Pieces of a body from this size on are sent at once, smaller ones with the rest of the turn.
_SEND_NOW = 16384


@implementer(IHalfCloseableProtocol)
class KeepAliveProtocol(Protocol):
    """
    A connection. Subclass it to see its decisions and to change them; give the class to `KeepAliveFactory`.

    :ivar factory: the `KeepAliveFactory` that made it.
    :ivar id: its number in that factory, from 1.
    :ivar core: the protocol layer's side of it.
    :ivar lateOctets: octets that arrived after our side was closed.
    """

    _log = Logger()

    factory: KeepAliveFactory
    core: ServerConnection
    id: int = 0
    opened: float = 0.0
    lateOctets: int = 0
    _outlet: Outlet
    _watch: Watch
    _turning = False
    _paused = False
    _served = 0
    _closing: CloseReason | None = None
    _closed = False
    _taken = 0
    _takenAt = 0.0
    _pace: Pace | None = None
    _waiters: list[tuple[Exchange, Deferred[None]]] | None = None
    _successor: IProtocol | None = None

    # -- what a subclass may override ------------------------------------------------------------------------------

    def requestReceived(self, request: Request) -> None:
        """A request's head is complete. The default lets the factory's handler answer."""
        result = self.factory.handler(request)
        if result.__class__ is Response:
            self._respond(request, result)
        else:
            self.answer(request, result)

    def continueExpected(self, request: Request) -> Any:
        """
        The client withholds the body until it is invited (RFC 9110 10.1.1).

        :return: True to invite it, False to refuse (417), a `Response` to refuse with, None to leave it to the
            handler (its first read invites, its response refuses); or a Deferred or coroutine of one of them. After
            ``Timeouts.expectation`` without an answer the body is invited.
        """
        return None

    def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
        """
        What becomes of the connection after this response, before it is said and done.

        :return: the decision, or ``decision.close("why")``.
        """
        return decision

    def connectionClosed(self, reason: CloseReason) -> None:
        """The connection is gone; called once."""

    # -- what can be seen --------------------------------------------------------------------------------------------

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
        return "closing" if self._closing is not None else self.core.state

    def setTcpKeepAlive(self, setting: TcpKeepAlive | None) -> None:
        """Switch the kernel's keep-alive probes of this connection on, with these figures, or off (ledger T-02)."""
        setTcpKeepAlive(self.transport, setting)

    # -- the transport speaks ----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        factory = self.factory
        transport: Any = self.transport
        self.core = ServerConnection(factory.terms)
        self._outlet = outlet(transport, self)
        self._watch = Watch(factory.alarms, self)
        noDelay = getattr(transport, "setTcpNoDelay", None)
        if noDelay is not None:
            noDelay(True)
        if factory.tcpKeepAlive is not None:
            self.setTcpKeepAlive(factory.tcpKeepAlive)
        self.opened = factory.now()
        factory.opened(self)
        self._settle(self.opened)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        if self._closing is not None:
            self._late(data)
            return
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        if self._pace is not None:
            self._pace.received(len(data))
            self._watch.await_(None, _NEVER)  # progress: due anew
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
        if self._closing is None:
            self.turn()
        elif not self._outlet.pending:
            self._outlet.close()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol.writeConnectionLost`."""
        if IHalfCloseableProtocol.providedBy(self._successor):
            self._successor.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        if self._closed:
            return
        self._closed = True
        self._watch.close()
        if self._successor is not None:
            self._successor.connectionLost(reason)
        closing = self._closing or self._departure(reason)
        self._closing = closing
        for exchange in self.core.lost():
            self._cancel(exchange, reason)
            self._finished(exchange)
        for _, waiter in self._takeWaiters():
            waiter.errback(reason)
        try:
            self.connectionClosed(closing)
        except Exception:
            self._log.failure("connectionClosed failed on connection {id}", id=self.id)
        self.factory.closed(self, closing)

    def _departure(self, reason: Failure) -> CloseReason:
        """Why the connection ended when it was not by our doing."""
        if self._successor is not None:
            return CloseReason.SWITCHED
        state = self.core.state
        if self.core.busy:
            if state == "reading a body":
                return CloseReason.PEER_CLOSED_MID_REQUEST.at(state)
            return CloseReason.PEER_CLOSED_MID_RESPONSE
        if state == "reading a head":
            return CloseReason.PEER_CLOSED_MID_REQUEST
        return (CloseReason.PEER_CLOSED_IDLE if reason.check(ConnectionDone) else CloseReason.TRANSPORT_ERROR).at(state)

    # -- one turn ----------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Do all that can be done with what has been received and answered, and send what comes of it, in one write."""
        if self._turning or self._closed:
            return
        self._turning = True
        core = self.core
        way = self._outlet
        now = self._newTurn()
        receive = self.requestReceived
        budget = _PASS
        try:
            while not way.pending and (event := core.next_event()) is not None:
                if event.__class__ is not Exchange:
                    self._tell(event)
                    continue
                exchange: Exchange = event
                exchange.started = now
                if not exchange.head.light:
                    self._open(exchange)
                else:
                    request = Request(self, exchange)
                    try:
                        receive(request)
                    except Exception:
                        self._failed(request, Failure())
                budget -= exchange.bytes_sent + _OVERHEAD
                if budget < 0 and core.output:
                    budget = _PASS
                    self._send(core.take_output())
        finally:
            self._turning = False
        self._settle(now)

    def _newTurn(self) -> float:
        """The time of this turn, and what the time brings with it."""
        factory = self.factory
        now = factory.now()
        if now >= factory.dateDue:
            factory.renewDate(now)
        if factory.maxAge and now - self.opened >= factory.maxAge and not self.core.aged:
            self.core.grow_old()
        return now

    def _settle(self, now: float) -> None:
        """Send, end or wait."""
        core = self.core
        way = self._outlet
        if core.output:
            way.write(core.take_output())
            if way.pending:
                self._guardSending()
        if core.ending is not None:
            self._end()
            return
        deadline = core.deadline
        watch = self._watch
        if deadline is Deadline.IDLE and not way.pending:
            if self._served != core.request_count or watch.deadline is not deadline:
                # Anew after every request. The clock is there already, and looks again when it wakes.
                self._served = core.request_count
                watch.deadline = deadline
                watch.due = now + self.factory.idle
                if watch.due < watch.wakeup:
                    watch.await_(deadline, watch.due)
        else:
            self._await(deadline, now)
        if self._paused or core.backlog:
            self._regulate()

    def _regulate(self) -> None:
        """Hold the peer back while enough is in hand, by not reading (ledger P-16)."""
        wanted = self.core.wants_input and not (self._outlet.pending and self.core.backlog)
        if wanted is self._paused:
            self._paused = not wanted
            (self.transport.resumeProducing if wanted else self.transport.pauseProducing)()  # type: ignore[union-attr]

    def _send(self, output: list[bytes]) -> None:
        way = self._outlet
        way.write(output)
        if way.pending:
            self._guardSending()

    def _await(self, deadline: Deadline | None, now: float) -> None:
        """Have the clock watch what the peer owes now, when it is not merely the next request."""
        watch = self._watch
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
        seconds = self.factory.seconds[deadline]
        self._watch.await_(deadline, now + seconds if seconds else _NEVER)

    def _bodyPace(self) -> Pace:
        if self._pace is None:
            timeouts = self.factory.timeouts
            self._pace = Pace(timeouts.body, timeouts.bodyGrace, self.factory.limits.minBodyRate)
        return self._pace

    def _tell(self, event: Any) -> None:
        """Pass on what the protocol layer says of an exchange in service."""
        exchange: Exchange = event.exchange
        request: Request | None = exchange.owner
        if isinstance(event, RequestRefused):
                self._over(exchange)
        elif isinstance(event, ExchangeCancelled):
            self._cancel(exchange, Failure(ConnectionDone("an earlier response ends the connection")))
            self._over(exchange)
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
            if exchange.over:
                self._cancel(exchange, Failure(event.error))
                self._over(exchange)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _open(self, exchange: Exchange) -> None:
        """A request begins that has a body, or offers to switch, or may change something."""
        request = Request(self, exchange)
        fields = exchange.head.fields
        assert fields is not None
        exchange.owner = request
        self._pace = None
        if fields.expected.awaits:
            self._consult(request)
        else:
            self._negotiate(request)

    def _receive(self, request: Request) -> None:
        try:
            self.requestReceived(request)
        except Exception:
            self._failed(request, Failure())

    def _consult(self, request: Request) -> None:
        """Ask the application about a body that is withheld."""
        if request.exchange.handshake is Expectation.HELD:
            self._watch.arm(Deadline.EXPECTATION, self.factory.timeouts.expectation)
        try:
            answer = self.continueExpected(request)
        except Exception:
            self._failed(request, Failure())
            return
        if not isinstance(answer, (Deferred, Awaitable)):
            self._consulted(answer, request)
            return
        waiting = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(answer)  # type: ignore[arg-type]
        request.pending = waiting
        waiting.addCallback(self._consulted, request)
        waiting.addErrback(lambda failure: self._failed(request, failure))

    def _consulted(self, answer: object, request: Request) -> None:
        """The application has spoken about the body."""
        request.pending = None
        if request.exchange.answered:
            return
        if isinstance(answer, Response):
            self._respond(request, answer)
        elif answer is None:
            self._negotiate(request)
        elif answer:
            self.core.accept(request.exchange)
            self._watch.disarm(Deadline.EXPECTATION)
            self._negotiate(request)
        else:
            self._respond(request, Response.text("the body is not wanted\n", 417))
        self.turn()

    def _negotiate(self, request: Request) -> None:
        """Let another protocol take over where one is offered and spoken here; else receive the request."""
        upgrade = negotiation.choose(request, self.factory.upgrades) if self.factory.upgrades else None
        if upgrade is None:
            self._receive(request)
            return
        offered, handler = upgrade

        def chosen(switch: Switch | None) -> None:
            request.pending = None
            if request.exchange.answered:
                return
            if switch is None:
                self._receive(request)
            else:
                self._switch(request, offered, switch)

        negotiating = Deferred.fromCoroutine(negotiation.negotiate(request, handler, self.factory.limits.unread))
        request.pending = negotiating
        negotiating.addCallback(chosen)
        negotiating.addErrback(lambda failure: self._failed(request, failure))

    def _switch(self, request: Request, name: str, switch: Switch) -> None:
        """Leave HTTP."""
        exchange = request.exchange
        rest = self.core.switch(exchange, name.encode("ascii"), switch.fields)
        self._outlet.write(self.core.take_output())
        self._outlet.release()
        self._watch.close()
        self._over(exchange)
        self._successor = successor = switch.protocol
        successor.makeConnection(self.transport)  # type: ignore[arg-type]
        if rest:
            successor.dataReceived(rest)

    def readBody(self, exchange: Exchange) -> None:
        """
        The application reads: have the next octets delivered.

        :raises ProtocolError: when they cannot be.
        """
        if self._closed:
            raise LocalProtocolError("the connection is gone")
        self.core.begin_body(exchange)
        self._watch.disarm(Deadline.EXPECTATION)
        exchange.flowing = True
        self.turn()

    # -- responses -----------------------------------------------------------------------------------------------------

    def answer(self, request: Request, result: Any) -> None:
        """Answer a request with what its handler returned: a value, a Deferred or a coroutine."""
        if result.__class__ is Response:
            self._respond(request, result)
        elif result.__class__ is CoroutineType or isinstance(result, Coroutine):
            self._run(request, result)
        elif isinstance(result, Deferred):
            self._wait(request, result)
        elif isinstance(result, Awaitable):
            self._wait(request, Deferred.fromCoroutine(_awaiting(result)))
        else:
            self._respond(request, _response(result))

    def _run(self, request: Request, running: Coroutine[Any, Any, Any]) -> None:
        """A coroutine that does not wait is answered without a Deferred."""
        context = copy_context()
        try:
            waiting = context.run(running.send, None)
        except StopIteration as stop:
            self._respond(request, _response(stop.value))
        else:
            self._wait(request, context.run(Deferred.fromCoroutine, _resumed(running, waiting)))

    def _wait(self, request: Request, result: Deferred[Any]) -> None:
        request.exchange.owner = request
        request.pending = result
        result.addCallback(self._answered, request)
        result.addErrback(lambda failure: self._failed(request, failure))

    def _answered(self, result: Any, request: Request) -> None:
        request.pending = None
        if not request.exchange.answered:
            self._newTurn()
            self._respond(request, _response(result))
        self.turn()

    def _respond(self, request: Request, response: Response) -> None:
        exchange = request._exchange
        fields = response.fields
        body = response.body
        if fields.dropped:
            self._log.warn("a response header has no effect: {dropped}", dropped="; ".join(fields.dropped))
        if not isinstance(body, bytes) or response.trailers:
            self._stream(request, response)
            return
        if self.factory.reviews:
            exchange.owner = request
            self.core.respond(exchange, response.status, fields, body, self._review)
        else:
            self.core.respond(exchange, response.status, fields, body)
        if exchange.owner is not None:
            self._over(exchange)
        elif self.factory.observers:
            self._finished(exchange)

    def _review(self, exchange: Exchange, decision: Persistence) -> Persistence:
        try:
            return self.persistenceDecided(exchange.owner, decision)
        except Exception:
            self._log.failure("persistenceDecided failed; the decision stands")
            return decision

    def _stream(self, request: Request, response: Response) -> None:
        """Begin a response whose body is made while it is sent."""
        exchange = request.exchange
        exchange.owner = request
        core = self.core
        body = response.body if not isinstance(response.body, bytes) else [response.body]
        length = response.fields.length
        if length is None:
            length = flow.producerLength(body) if not isinstance(response.body, bytes) else None
        trailers = response.trailers or {}
        announced = b""
        if trailers and (response.optionalTrailers or (exchange.fields is not None and exchange.fields.wants_trailers)):
            announced = b", ".join(encode_text(name) for name in trailers)
        review = self._review if self.factory.reviews else None
        core.start(exchange, response.status, response.fields, length, review, announced)
        self._watch.disarm(Deadline.EXPECTATION)
        if not self._turning:
            self._settle(self._newTurn())
        bodiless = exchange.response_framing is not None and exchange.response_framing.row in _BODILESS_ROWS
        sending = flow.send(self, exchange, [] if bodiless else body)
        request.pending = sending

        def sent(_: None) -> None:
            request.pending = None
            if exchange.over:
                return
            encoded = b""
            if announced:
                values = ((name, value() if callable(value) else value) for name, value in trailers.items())
                encoded = encode_trailers(values, trailers)
            writer = exchange.writer
            if writer is not None and writer.excess:
                self._log.error(
                    "{excess} octets of a response beyond its stated length were dropped", excess=writer.excess
                )
            core.finish(exchange, encoded)
            self._over(exchange)
            self.turn()

        sending.addCallback(sent)
        sending.addErrback(lambda failure: self._failed(request, failure))

    def _failed(self, request: Request, failure: Failure) -> None:
        """The application failed: 500 while that can still be said, else the response ends unfinished (ledger D4)."""
        request.pending = None
        exchange = request.exchange
        error = failure.value
        if exchange.over:
            if not failure.check(CancelledError, ConnectionLost, ConnectionDone, ProtocolError):
                self._logFailure(request, failure)
            return
        if isinstance(error, RemoteProtocolError) and not exchange.answered:
            self._respond(request, Response.text(f"{error.status} {error}\n", error.status))
        else:
            self._logFailure(request, failure)
            if exchange.answered:
                self.core.abort(exchange)
                self._over(exchange)
            else:
                self._respond(request, Response.text("500 Internal Server Error\n", 500))
        self.turn()

    def _logFailure(self, request: Request, failure: Failure) -> None:
        self._log.failure(
            "the handler failed on {method} {target} (connection {id}, request {number})",
            failure,
            method=request.method,
            target=request.target,
            id=self.id,
            number=request.number,
        )

    def _cancel(self, exchange: Exchange, reason: Failure) -> None:
        """Nobody waits for this response any more: tell those who make it."""
        request: Request | None = exchange.owner
        if request is None:
            return
        request.body.failed(reason.value or ConnectionDone())
        if request.pending is not None:
            pending, request.pending = request.pending, None
            pending.cancel()

    def _over(self, exchange: Exchange) -> None:
        """Nothing more is written for this request, and nobody is to wait for anything of it."""
        self._watch.disarm(Deadline.EXPECTATION)
        request: Request | None = exchange.owner
        if request is not None and exchange.body is not Body.READ:
            request.body.failed(LocalProtocolError("the request has been answered"))
        self._finished(exchange)
        exchange.owner = None

    def _finished(self, exchange: Exchange) -> None:
        for observer in self.factory.observers:
            try:
                observer.exchangeFinished(self, exchange)
            except Exception:
                self._log.failure("an observer failed")

    # -- bodies on their way out
    # -----------------------------------------------------------------------------------------

    def writeBody(self, exchange: Exchange, data: bytes) -> None:
        """
        Send some of a response body.

        :raises ProtocolError: when the response is over.
        """
        self.core.write(exchange, data)
        if not self._turning:
            self._settle(self._newTurn())
        elif len(data) >= _SEND_NOW and (output := self.core.take_output()):
            self._send(output)

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
        self._watch.disarm(Deadline.WRITE)
        if self._closing is not None:
            self._shut()
            return
        for exchange, waiter in self._takeWaiters():
            if self.congested(exchange):
                self.whenDrained(exchange).chainDeferred(waiter)
            else:
                waiter.callback(None)
        self.turn()

    # -- timers
    # ------------------------------------------------------------------------------------------------------------

    def _guardSending(self) -> None:
        """See to it that what the transport holds goes on moving."""
        if not self._watch.armed(Deadline.WRITE):
            self._taken = self._outlet.taken()
            self._takenAt = self.factory.now()
            self._watch.arm(Deadline.WRITE, self.factory.timeouts.write / _LOOKS)

    def expired(self, deadline: Deadline) -> None:
        """A deadline has passed."""
        if deadline is Deadline.WRITE:
            self._sendingLate()
        elif deadline is Deadline.LINGER:
            self._lingerLate()
        elif deadline is Deadline.IDLE or deadline is Deadline.FIRST_REQUEST:
            self._idleLate(deadline)
        else:
            self.core.expire(deadline)
            self.turn()

    def _sendingLate(self) -> None:
        """Look whether the peer has taken something since it was last seen to."""
        taken, now = self._outlet.taken(), self.factory.now()
        write = self.factory.timeouts.write
        if taken > self._taken:
            self._taken, self._takenAt = taken, now
        elif now - self._takenAt >= write * _ALMOST and self._outlet.unsent():
            self._closing = self._closing or CloseReason.WRITE_TIMEOUT
            self._outlet.abort()
            return
        if self._outlet.unsent():
            self._watch.arm(Deadline.WRITE, write / _LOOKS)

    def _idleLate(self, deadline: Deadline) -> None:
        """
        No request came in time. One more turn of the reactor reads what has come by now: a request that is under way is
        served, not lost (ledger P-12).
        """
        count = self.core.request_count
        if self._outlet.unsent():  # the peer is still taking the last response: it cannot have been idle
            self._guardSending()
            self._owe(deadline, self.factory.now())
            return

        def close() -> None:
            if self._closing is None and self.core.deadline is deadline and self.core.request_count == count:
                self.core.expire(deadline)
                self.turn()

        self.factory.clock.callLater(0, close)

    # -- the end
    # -----------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Serve what has been taken up, then close (ledger P-18)."""
        if self._closing is None and self._successor is None:
            self.core.drain()
            self.turn()

    def abort(self, reason: CloseReason = CloseReason.APPLICATION_ABORT) -> None:
        """Close now, whatever is under way."""
        if self._closing is None:
            self._closing = reason
        if not self._closed:
            self._outlet.abort()

    def _end(self) -> None:
        """Nothing more will be said: end the connection in stages (ledger P-11)."""
        if self._closing is not None:
            return
        ending = self.core.ending
        assert ending is not None
        self._closing = ending.reason
        self._watch.await_(None, _NEVER)
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]
        if ending.reset:
            self._outlet.abort()
        elif not self._outlet.pending:
            self._shut()

    def _shut(self) -> None:
        """Everything is sent: close our side, and listen for the peer's close for a while."""
        timeouts = self.factory.timeouts
        if self.core.eof or not timeouts.linger:
            self._outlet.close()
            return
        self._outlet.close(half=self._outlet.halfCloses)
        self._taken = self._outlet.taken()
        self._watch.arm(Deadline.LINGER, timeouts.linger)

    def _late(self, data: bytes) -> None:
        """Octets that came after our close are counted and thrown away, up to a bound."""
        self.lateOctets += len(data)
        if self.factory.limits.lingerBytes and self.lateOctets > self.factory.limits.lingerBytes:
            self._outlet.abort()

    def _lingerLate(self) -> None:
        """
        The peer has not closed. One that still takes the last response gets more time; any other is left, and the
        kernel resets it if it goes on sending.
        """
        taken = self._outlet.taken()
        if taken > self._taken and self._outlet.unsent():
            self._taken = taken
            self._watch.arm(Deadline.LINGER, self.factory.timeouts.linger)
        elif self._outlet.halfCloses:
            self._outlet.close()
        else:
            self._outlet.abort()


_NEVER = float("inf")
#: How often within `Timeouts.write` it is looked whether sending goes on.
_LOOKS = 5
#: Sums of clock readings are not exact.
_ALMOST = 0.999
#: Rows of table D4 whose responses have no body: it is not even made.
_BODILESS_ROWS = frozenset(("D4-05", "D4-06", "D4-07", "D4-08", "D4-09"))


def _response(result: object) -> Response:
    """What a handler returned, as a response."""
    if isinstance(result, Response):
        return result
    if isinstance(result, bytes):
        return Response(200, result)
    if isinstance(result, str):
        return Response.text(result)
    raise TypeError(f"a handler returns a Response, bytes or str, not {result!r}")


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


@coroutine
def _resumed(running: Coroutine[Any, Any, Any], waiting: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that has been started and waits for something."""
    resume: Callable[[Any], Any]
    while True:
        try:
            value = yield waiting
        except GeneratorExit:
            running.close()
            raise
        except BaseException as error:
            resume, value = running.throw, error
        else:
            resume = running.send
        try:
            waiting = resume(value)
        except StopIteration as stop:
            return stop.value
