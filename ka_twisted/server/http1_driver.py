"""
HTTP/1 on a connection: bytes between its transport and `http1.server.ServerConnection`, its timers, and its end.

What becomes of requests is in `handling`.
"""

from __future__ import annotations

from math import inf

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.errors import RemoteProtocolError
from ..core.exchange import Exchange
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
from ..http1.exchange import Exchange as Http1Exchange
from ..http1.server import ServerConnection
from ..http1.states import Reading
from ..net.alarms import Pace
from . import handling
from .driver import Driver
from .hooks import Hooks
from .http1_stream import Http1Connection, Http1Stream
from .request import Request
from .response import Response
from .settings import ServerSettings
from .stream import apart

_log = Logger()
#: Bytes of responses that are handed over before the transport is looked at again, and what each is taken to weigh
#: beside its body.
_PASS = 262144
_OVERHEAD = 256
#: Seconds that a wake-up may be early by: sums of times are not exact.
_SOON = 0.001
#: Between two requests, and what is awaited then. Before Python 3.12 it takes a while to find a member of an Enum by
#: its name.
_BETWEEN, _IDLE = Reading.IDLE, Deadline.IDLE
#: Deadlines that the protocol layer knows what to do about.
_OWN = frozenset((Deadline.HEADER, Deadline.BODY, Deadline.UNREAD, Deadline.EXPECTATION, Deadline.HALF_CLOSED))
#: Those whose time runs while the peer is read, and goes on where it stopped when the peer is read again.
_SUSPENDED = frozenset((Deadline.HEADER, Deadline.UNREAD))


class Http1Driver(Driver):
    """
    A connection that speaks HTTP/1.

    :ivar core: the protocol layer's side of it.
    :ivar pumping: whether it is at work on what was received: answers leave when that is done.
    """

    __slots__ = ("_pace", "_served", "_suspended", "core", "pumping")

    core: ServerConnection
    version = "1"

    def __init__(self, settings: ServerSettings, hooks: Hooks, number: int) -> None:
        super().__init__(settings, hooks, number)
        self.pumping = False
        self._served = 0
        self._pace: Pace | None = None
        #: A deadline of the latest request that was interrupted, and the seconds that are left of it.
        self._suspended: tuple[Deadline | None, float] | None = None

    def begin(self) -> None:
        """See `Driver.begin`."""
        self.core = Http1Connection(self.settings.caches, self, reviews=self.settings.reviews)

    # -- what there is to see ------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """See `Driver.state`."""
        if self._closing is not None:
            return "closing"
        state = self.core.state
        return "responding" if state == "idle" and self.output.pending else state

    @property
    def eof(self) -> bool:
        """See `Driver.eof`."""
        return self.core.eof

    @property
    def requestCount(self) -> int:
        """See `Driver.requestCount`."""
        return self.core.request_count

    @property
    def lastDecision(self) -> Persistence | None:
        """See `Driver.lastDecision`."""
        return self.core.decision

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """See `Driver.exchanges`."""
        return self.core.exchanges

    # -- what the transport tells --------------------------------------------------------------------------------------

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
            if self.deadline is Deadline.BODY:
                self.await_(None, inf)  # progress: due anew
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

    def lost(self, reason: Failure) -> CloseReason | None:
        """
        The connection is gone.

        :return: why; None when that was told before.
        """
        if self.closed:
            return None
        self._lost(reason)
        if self._reason is None:
            self._reason = self._peerCloseReason(reason)
        self._tellQueued()
        for exchange in self.core.lost():
            assert isinstance(exchange, Http1Stream)
            handling.cancel(exchange, reason)
            exchange.conclude()
        for _, waiter in self._takeWaiters():
            waiter.errback(apart(reason))
        return self._reason

    def _peerCloseReason(self, reason: Failure) -> CloseReason:
        """Why the connection ended when that was not decided here."""
        state = self.core.state
        if reason.check(ConnectionAborted) or getattr(self.transport, "disconnecting", False):
            return CloseReason.APPLICATION_ABORT.at(state)  # a protocol has ended its transport by itself
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
        hooks = self.hooks
        told = bool(settings.observers) or settings.reviews
        now = settings.now()
        handler = settings.handler if settings.direct else None
        budget = _PASS
        try:
            while not output.pending and (event := core.next_event()) is not None:
                if event.__class__ is not Http1Stream:
                    self._tell(event)
                    continue
                event.started = now
                request = Request(event)
                if not event.head.pipelinable:
                    self._pace = None
                    handling.begin(hooks, request, settings)
                else:
                    if told:
                        event.user = request
                    try:
                        if handler is None:
                            hooks.requestReceived(request)
                        elif (result := handler(request)).__class__ is Response:
                            handling.respond(request, result)
                        else:
                            handling.answer(request, result)
                    except BaseException:
                        handling.fail(request, Failure())
                budget -= event.bytes_sent + _OVERHEAD
                if budget < 0 and core.output:
                    budget = _PASS
                    self.send(core.take_output())
                if not core.buffer.data and not core.exchanges and core.reading is _BETWEEN and core.events is None:
                    break  # all is answered, and nothing is in hand: there is no need to ask
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
            if self._served != core.request_count or self.deadline is not _IDLE:
                self._served = core.request_count
                self.deadline = _IDLE
                self.due = self.settings.now() + self.settings.idle
                if self.due < self.wakeup:
                    self.await_(_IDLE, self.due)
            return
        if self.settings.timeouts.handler:
            self._boundHandlers()
        if core.eof:
            self._boundHalfClosed(progress=parts is not None)
        if core.backlog:
            self._regulate()
        self._awaitPeer(None if self._paused else core.deadline)  # a peer that is not read owes nothing

    def backed(self) -> None:
        """See `Driver.backed`."""
        super().backed()
        self._tellQueued()

    def _regulate(self) -> None:
        """Hold the peer back while enough is in hand, by not reading (ledger P-16)."""
        if self.core.wants_input and not (self.output.pending and self.core.backlog):
            self.resumeReading()
        else:
            self.pauseReading()

    def _tell(self, event: Http1Exchange | Event) -> None:
        """Pass on what the protocol layer says of an exchange."""
        assert not isinstance(event, Http1Exchange)
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

    def handOver(self, stream: Http1Stream, successor: IProtocol, data: bytes) -> None:
        """101 was answered: let another protocol have the transport, and what came behind the request."""
        self.output.write(self.core.take_output())
        stream.conclude()
        self._handOver(successor, data)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _awaitPeer(self, deadline: Deadline | None) -> None:
        """Have the clock watch what the peer owes now, when it is not merely the next request."""
        if deadline is Deadline.IDLE:
            deadline = None  # the peer is still taking the response
        if deadline is Deadline.BODY:
            if self.deadline is not deadline:
                self.await_(deadline, self._bodyPace().awaiting(self.settings.now()))
        elif self.deadline is not deadline or self._served != self.core.request_count:
            now = self.settings.now()
            if self._served != self.core.request_count:
                self._served = self.core.request_count
                self._suspended = None
            elif self.deadline in _SUSPENDED:
                self._suspended = self.deadline, max(0.0, self.due - now)
            if self._pace is not None:
                self._pace.paused(now)
            if self._suspended is not None and self._suspended[0] is deadline:
                self.await_(deadline, now + self._suspended[1])
            else:
                self._owe(deadline, now)

    def _owe(self, deadline: Deadline | None, now: float) -> None:
        seconds = self.settings.deadlineSeconds[deadline]
        self.await_(deadline, now + seconds if seconds else inf)

    def _boundHandlers(self) -> None:
        """Have the clock watch the oldest request whose response has not begun."""
        if not self.armed(Deadline.HANDLER) and (exchange := self._unanswered()) is not None:
            due = exchange.started + self.settings.timeouts.handler
            self.arm(Deadline.HANDLER, max(_SOON, due - self.settings.now()))

    def _unanswered(self) -> Http1Exchange | None:
        return next((exchange for exchange in self.core.exchanges if not exchange.answered), None)

    def _handlerLate(self) -> None:
        """The response that was watched has not begun in time, or it has, and the next one is to be watched."""
        exchange = self._unanswered()
        if exchange is not None and self.settings.now() - exchange.started > self.settings.timeouts.handler - _SOON:
            assert isinstance(exchange, Http1Stream)
            error = self.core.late_response(exchange)  # first: what the handler makes of the cancel is no answer
            handling.cancel(exchange, Failure(error))
            if not exchange.concluded:
                exchange.conclude()
        self.pump()

    def _boundHalfClosed(self, *, progress: bool) -> None:
        """
        The peer has ended its side: bound how long it is kept for a response that has not begun (ledger P-13).

        :param progress: whether something was sent just now: then the time begins anew.
        """
        if self.core.unanswered and (progress or not self.armed(Deadline.HALF_CLOSED)):
            self.arm(Deadline.HALF_CLOSED, self.settings.timeouts.halfClosed)

    def _bodyPace(self) -> Pace:
        if self._pace is None:
            timeouts = self.settings.timeouts
            self._pace = Pace(timeouts.body, timeouts.bodyGrace, self.settings.limits.minBodyRate)
        return self._pace

    def expired(self, deadline: Deadline) -> None:
        """A deadline has passed."""
        if self._handedOver is not None:
            super().expired(deadline)  # nothing is owed to HTTP any more
        elif deadline is Deadline.HANDLER:
            self._handlerLate()
        elif deadline is Deadline.HALF_CLOSED and self.output.pending:
            pass  # the peer is there, and takes an earlier response: armed anew when it has it
        elif deadline in _OWN:
            self.core.expire(deadline)
            self.pump()
        elif deadline is Deadline.AGE:
            self.core.retire(CloseReason.MAX_AGE)
        elif deadline is Deadline.IDLE or deadline is Deadline.FIRST_REQUEST:
            self._idleLate(deadline)
        else:
            super().expired(deadline)

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

    def turnAway(self, error: RemoteProtocolError) -> None:
        """See `Driver.turnAway`."""
        self.core.turn_away(error)

    def retire(self) -> None:
        """See `Driver.retire`."""
        if self._handedOver is not None:
            self._handedOver.retire()
        else:
            self.core.retire(CloseReason.DRAINING)

    def drain(self) -> None:
        """See `Driver.drain`."""
        if self._handedOver is not None:
            self._handedOver.drain()
        elif self._reason is None:
            self.core.drain()
            self.pump()

    def _end(self) -> None:
        """Nothing more will be said."""
        ending = self.core.ending
        if self._reason is None and ending is not None:
            self._reason = ending.reason
            self._tellQueued()
            self._close(ending.reason, reset=ending.reset)
