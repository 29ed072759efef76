"""
How long a connection lasts: request bodies that are read or thrown away, decisions about persistence, and the end.
"""

from __future__ import annotations

from ..core.errors import RemoteProtocolError
from ..core.framing import Delimiter, Framing
from ..core.headers import ResponseFields
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from . import persistence, responses, states
from .caches import ServerCaches
from .events import BodyComplete, BodyFailed, BodyReceived, Ending, Event, ExchangeCancelled, ResponseDue
from .exchange import Exchange
from .incoming import incomplete_body
from .persistence import UnreadBody
from .pipeline import Pipeline
from .request_buffer import RequestBuffer
from .request_fields import RequestFields
from .request_heads import RequestHead
from .states import Answer, Body, Expectation, Handshake, Input, Output, Reading


class Lifetime(Pipeline):
    """
    The exchanges of a connection, and what becomes of it by them.

    :ivar reading: what the next byte is taken for.
    :ivar incoming: the exchange whose body is being read.
    :ivar waiting: a head that waits for the exchanges in service.
    :ivar decision: what was decided last about the connection.
    :ivar needs_full_decision: something besides request and response has a say about the connection.
    :ivar retired: why the next response closes the connection, if not for its own sake: MAX_AGE or DRAINING.
    :ivar ending: set once, when the connection is over but for what `take_output` still gives.
    """

    __slots__ = (
        "buffer",
        "caches",
        "decision",
        "draining",
        "ending",
        "eof",
        "events",
        "incoming",
        "needs_full_decision",
        "reading",
        "retired",
        "waiting",
    )

    def __init__(self, caches: ServerCaches, reviews: bool) -> None:
        super().__init__()
        self.caches = caches
        self.buffer = RequestBuffer(caches)
        self.reading = Reading.UNUSED
        self.incoming: Exchange | None = None
        self.waiting: RequestHead | None = None
        self.events: list[Event] | None = None
        self.needs_full_decision = reviews or bool(caches.limits.maxRequests)
        self.eof = False
        self.draining = False
        self.retired: CloseReason | None = None
        self.decision: Persistence | None = None
        self.ending: Ending | None = None

    @property
    def backlog(self) -> int:
        """Bytes received and not consumed."""
        return len(self.buffer.data) - self.buffer.position

    # -- request bodies ------------------------------------------------------------------------------------------------

    def take_body(self, exchange: Exchange) -> bytes | None:
        """The whole of a body whose length is known and whose bytes are all in hand, consumed; None for any other."""
        body = exchange.request_body
        if self.incoming is not exchange or body is None:
            return None
        data = body.take_whole(self.buffer)
        if data is not None:
            if exchange.handshake is not Expectation.NONE:
                exchange.accept()
            self._end_body(exchange)
        return data

    def abandon_body(self, exchange: Exchange) -> None:
        """The application will not read the rest of the body."""
        if exchange.body in (Body.HELD, Body.WANTED) and exchange.handshake is not Expectation.HELD:
            assert exchange.request_body is not None
            exchange.request_body.abandon(self.caches.limits.unread)

    def read_body(self, exchange: Exchange) -> Event | None:
        """The next bytes of the body for the application; ``self.incoming`` is None once it is at its end."""
        body = exchange.request_body
        assert body is not None
        if self.eof and exchange.handshake is Expectation.HELD:
            body.cut()
            return self._fail_body(exchange, incomplete_body(row="D3-25"))
        wanted = body.state is Body.WANTED
        if body.state is Body.HELD or (wanted and not body.flowing):
            return None
        try:
            data = body.read(self.buffer, charged=exchange.over)
            if data:
                return BodyReceived(exchange, data)
            if self.eof:
                body.end_input()
        except RemoteProtocolError as error:
            return self._fail_body(exchange, error, read_away=not wanted)
        if body.complete:
            self._end_body(exchange)
            return BodyComplete(exchange) if wanted else None
        if body.budget < 0:
            self.end(CloseReason.BODY_UNREAD)
        return None

    def _end_body(self, exchange: Exchange) -> None:
        self.incoming = None
        self.reading = states.step(states.READING, Input.BODY_END, self.reading)
        if self.is_last(exchange):
            self.last()
        if self.draining and exchange.over:
            self._drained(exchange, "reading a body")

    def _fail_body(
        self, exchange: Exchange, error: RemoteProtocolError, *, read_away: bool = False
    ) -> BodyFailed | None:
        """The body was cut: it will never be complete. Of one that is read away only an end of the response is told."""
        was_over = exchange.over
        self.incoming = None
        self.last()
        if exchange.handshake is Expectation.HELD:  # the client left while it waited: nothing is sent
            exchange.answer = states.step(states.ANSWER, Output.ABORT, exchange.answer)
            self.end(error.reason)
        elif not exchange.answered:
            self.answer_error(exchange, error)
        elif exchange.over:
            self.end(error.reason)
        else:
            exchange.persistence = persistence.refused(error.reason)
            if error.breaks_response:
                exchange.abort()
        ends_response = exchange.over and not was_over
        return BodyFailed(exchange, error) if ends_response or not read_away else None

    def late_body(self, exchange: Exchange, error: RemoteProtocolError) -> BodyFailed | None:
        """The body did not come in time."""
        body = exchange.request_body
        assert body is not None
        read_away = body.state is Body.DISCARDED
        body.cut()
        return self._fail_body(exchange, error, read_away=read_away)

    def read_away(self, exchange: Exchange, streaming: bool) -> UnreadBody:
        """
        What is left of the body now that the response is decided; what is in hand already is consumed.

        :raises RemoteProtocolError: when that is broken; the body is cut then.
        """
        body = exchange.request_body
        if self.incoming is not exchange or body is None:
            return UnreadBody.READ
        unread = self.caches.limits.unread
        if exchange.handshake is Expectation.HELD:
            exchange.handshake = states.step(states.EXPECTATION, Handshake.FINAL, exchange.handshake)
            body.abandon(unread)  # it may come or not: it is never read
            self.incoming = None
            self.last()
            return UnreadBody.EXPECTED
        reads_on = body.state is Body.WANTED and (streaming or body.flowing)
        if not reads_on:
            body.abandon(unread)
            body.read(self.buffer, charged=False)
            if body.complete:
                self._end_body(exchange)
                return UnreadBody.READ
        remaining = body.remaining
        if remaining is not None and remaining <= unread:
            return UnreadBody.SHORT
        if reads_on and (streaming or remaining is None):
            return UnreadBody.OPEN
        return UnreadBody.REFUSED if remaining is None else UnreadBody.LONG

    # -- decisions -----------------------------------------------------------------------------------------------------

    def decide(self, exchange: Exchange, ending: Framing, fields: ResponseFields, streaming: bool) -> Persistence:
        """Keep or close: table D1."""
        request = exchange.fields
        assert request is not None
        if (
            self.incoming is None
            and not (fields.asks_close or self.needs_full_decision)
            and ending.delimiter is not Delimiter.CLOSE
        ):
            decision = request.persistence  # nothing but the request has a say
        else:
            decision = self._decide_at_length(exchange, request, ending, fields, streaming)
        reviewed = self.review(exchange, decision)
        decision = reviewed if decision.keep or not reviewed.keep else decision
        self.decision = exchange.persistence = decision
        if not decision.keep:
            self.serve_nothing_behind(exchange)
        return decision

    def review(self, exchange: Exchange, decision: Persistence) -> Persistence:
        """Asked about every decision before it is carried out; a decision to close stands."""
        return decision

    def _decide_at_length(
        self, exchange: Exchange, request: RequestFields, ending: Framing, fields: ResponseFields, streaming: bool
    ) -> Persistence:
        try:
            unread = self.read_away(exchange, streaming)
        except RemoteProtocolError as error:  # what is in hand of a body that is thrown away is broken
            self.incoming = None
            self.last()
            return persistence.refused(error.reason)
        policy = self.caches.policy
        last = self.exchanges[-1] is exchange and self.waiting is None
        return persistence.decide(
            exchange.http11,
            request.options,
            keep_alive_field=request.keep_alive_field,
            framed=ending.framed,
            asks_close=fields.asks_close,
            unread=unread,
            limit=self._limit(exchange),
            draining=last and (self.draining or (self.retired is CloseReason.DRAINING and not self.buffer)),
            half_closed=self.eof and last and not len(self.buffer),
            keep_alive_10=policy.keepAlive10,
            persistent=policy.persistent,
        )

    def _limit(self, exchange: Exchange) -> CloseReason | None:
        limits = self.caches.limits
        if limits.maxRequests and exchange.number >= limits.maxRequests:
            return CloseReason.MAX_REQUESTS
        return CloseReason.MAX_AGE if self.retired is CloseReason.MAX_AGE else None

    # -- the end -------------------------------------------------------------------------------------------------------

    def answer_error(self, exchange: Exchange, error: RemoteProtocolError) -> None:
        """Answer a protocol error by ourselves; it ends the connection."""
        exchange.error = error.fact()
        exchange.answer = states.step(states.ANSWER, Output.WHOLE, exchange.answer)
        exchange.status = error.status
        self.decision = exchange.persistence = decision = persistence.refused(error.reason)
        if exchange.body in (Body.HELD, Body.WANTED):
            assert exchange.request_body is not None
            exchange.request_body.abandon(0)
        self.incoming = None
        self.serve_nothing_behind(exchange)
        fields, text = responses.error_response(error)
        exchange.response_framing = Framing(Delimiter.LENGTH, len(text), error.row, error.clause)
        body = b"" if exchange.method == b"HEAD" else text
        exchange.bytes_sent = len(body)
        lines = b"Content-Length: %d\r\n" % len(text)
        self.put(exchange, [responses.head(self.caches, exchange.number, error.status, fields, lines, decision), body])
        self.completed(exchange)

    def completed(self, exchange: Exchange) -> None:
        """A response is over; those behind it that are over too may leave with it."""
        first = self.exchanges[0]
        if exchange is not first:
            return
        while True:
            if first.body is Body.WANTED:
                self.abandon_body(first)
            decision = first.persistence
            assert decision is not None
            if not decision.keep:
                assert isinstance(decision.reason, CloseReason)
                unframed = first.response_framing is not None and not first.response_framing.framed
                self.end(decision.reason, reset=first.answer is Answer.ABORTED and unframed)
                return
            following = self.next_first()
            if following is None:
                break
            first = following
            if not first.over:
                if first.answer is Answer.STREAMING:
                    self.queue(ResponseDue(first))
                return
        if self.draining and self.incoming is None:
            self._drained(first, "responding")

    def serve_nothing_behind(self, exchange: Exchange) -> None:
        """This exchange ends the connection (ledger N-08)."""
        for other in self.withdraw(self.exchanges.index(exchange) + 1):
            self.queue(ExchangeCancelled(other))
        if self.incoming is None:
            self.last()

    def withdraw(self, place: int) -> list[Exchange]:
        """Take the exchanges from this place on out of service; those that were not over are now, and returned."""
        self.waiting = None
        unfinished = [exchange for exchange in self.drop(place) if not exchange.over]
        for exchange in unfinished:
            exchange.answer = states.step(states.ANSWER, Output.ABORT, exchange.answer)
            if exchange is self.incoming:
                assert exchange.request_body is not None
                exchange.request_body.cut()
        return unfinished

    def _drained(self, last: Exchange, state: str) -> None:
        """A shutdown began after the head of the last response had left: the close was not announced (ledger D1-29)."""
        self.decision = last.persistence = persistence.DRAINING_LATE
        self.end(CloseReason.DRAINING.at(state))

    def is_last(self, exchange: Exchange) -> bool:
        """Whether, by what is known now, nothing behind this exchange will be HTTP to be served."""
        decision, fields = exchange.persistence, exchange.head.fields
        if decision is not None:
            return self.draining or not decision.keep
        if fields is None or fields.upgrades:  # what follows may be another protocol's
            return False
        return not fields.persistence.keep or (
            self.needs_full_decision and (self.draining or self._limit(exchange) is not None)
        )

    def last(self) -> None:
        """No further request will be served: what comes is thrown away."""
        if self.reading is not Reading.DISCARD:
            self.reading = states.step(states.READING, Input.LAST, self.reading)
        if self.incoming is None:
            self.buffer.clear()

    def end(self, reason: CloseReason, *, reset: bool = False) -> None:
        """The connection is over, and with it whatever is still in service."""
        if self.ending is None:
            self.ending = Ending(reason, reset)
            for exchange in self.withdraw(0):
                self.queue(ExchangeCancelled(exchange))
            self.incoming = None
            self.last()

    def queue(self, event: Event | None) -> None:
        if event is not None:
            if self.events is None:
                self.events = []
            self.events.append(event)
