"""
The server side of one HTTP/1 connection: bytes in, exchanges and events out; answers in, bytes out.

The owner feeds `ServerConnection.receive` and `ServerConnection.receive_eof`, pulls `ServerConnection.next_event` until
it gives None, answers through `ServerConnection.respond` or `start` .. `write` .. `finish`, sends what `take_output`
gives, arms a timer for `deadline` and tells `expire` when one has passed, and ends the transport once `ending` is set
and everything is sent. Nothing here knows of sockets or clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from ..core.deadlines import Deadline
from ..core.errors import IncompleteBody, LocalProtocolError, RemoteProtocolError
from ..core.expectation import Expected
from ..core.framing import Delimiter, Framing
from ..core.headers import NO_FIELDS, ResponseFields
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..core.semantics import BODILESS_STATUSES
from . import framing, messages, persistence, responses, states
from .caches import ServerCaches
from .encoding import block
from .events import (
    BodyComplete,
    BodyFailed,
    BodyReceived,
    Ending,
    Event,
    ExchangeCancelled,
    RequestRefused,
    ResponseDue,
)
from .heads import RequestBuffer
from .incoming import body_reader
from .messages import RequestFields
from .outgoing import LengthWriter, body_writer
from .persistence import UnreadBody
from .pipeline import Exchange, Pipeline
from .states import Answer, Body, BodyEvent, Expectation, Handshake, Input, Output, Reading

# What every request needs of the tables. Before Python 3.12 it takes a while to find a member of an Enum by its name.
_IDLE, _DISCARD = Reading.IDLE, Reading.DISCARD
_AWAITED, _COMPLETE = Answer.AWAITED, Answer.COMPLETE
_NEXT_REQUEST = Deadline.IDLE
_NO_BODY = Delimiter.NONE

#: Asked about every decision before it is carried out.
Review = Callable[[Exchange, Persistence], Persistence]


class ServerConnection(Pipeline):
    """
    One connection, as its server sees it.

    :ivar reading: what the next byte is taken for.
    :ivar ending: set once, when the connection is over but for what `take_output` still gives.
    :ivar request_count: requests taken up so far.
    :ivar decision: what was decided last about the connection.
    :ivar overloaded: set to answer the first request with this error and close (ledger P-15).
    """

    __slots__ = (
        "_buffer",
        "_caches",
        "_events",
        "_incoming",
        "_needs_full_decision",
        "_peer_close_reason",
        "_unread",
        "_waiting",
        "decision",
        "draining",
        "ending",
        "eof",
        "overloaded",
        "reading",
        "request_count",
        "retired",
    )

    def __init__(self, terms: ServerCaches) -> None:
        super().__init__()
        self._caches = terms
        self._buffer = RequestBuffer(terms)
        self.reading = Reading.UNUSED
        #: The exchange whose body is being read, and one that waits for those in service.
        self._incoming: Exchange | None = None
        self._waiting: Exchange | None = None
        self._unread = 0
        self._events: list[Event] | None = None
        self._peer_close_reason = CloseReason.PEER_CLOSED_IDLE
        #: Something besides request and response has a say about the connection.
        self._needs_full_decision = bool(terms.limits.maxRequests)
        self.request_count = 0
        self.eof = False
        self.draining = False
        #: Why the next response closes the connection, if not for its own sake: MAX_AGE or DRAINING.
        self.retired: CloseReason | None = None
        self.decision: Persistence | None = None
        self.overloaded: RemoteProtocolError | None = None
        self.ending: Ending | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is in progress: being answered, or its body being read."""
        return bool(self.exchanges) or self._incoming is not None

    @property
    def wants_input(self) -> bool:
        """False when enough is held for now: reading should pause (ledger P-16)."""
        return len(self._buffer) < self._caches.limits.readAhead or not self.busy

    @property
    def backlog(self) -> int:
        """Bytes received and not consumed."""
        return len(self._buffer.data) - self._buffer.position

    @property
    def state(self) -> str:
        """In a word or three, for reports: unused, idle, reading a head, reading a body, responding, switched."""
        incoming = self._incoming
        if incoming is not None and not incoming.answered:
            return "reading a body"
        if self.exchanges:
            return "responding"
        return _STATE_NAMES[self.reading]

    @property
    def deadline(self) -> Deadline | None:
        """What the peer can be late with now."""
        if self.reading is _IDLE:
            return None if self.exchanges else _NEXT_REQUEST
        incoming = self._incoming
        if incoming is not None:
            if incoming.body is Body.DISCARDED:
                return Deadline.UNREAD if incoming.over else None
            return Deadline.BODY if incoming.body is Body.WANTED and incoming.flowing else None
        if self.reading is Reading.HEAD:
            return None if self._is_full() else Deadline.HEADER
        return Deadline.FIRST_REQUEST if self.reading is Reading.UNUSED else None

    def expecting(self) -> Exchange | None:
        """The exchange whose client waits for a decision about its body, if there is one."""
        incoming = self._incoming
        return incoming if incoming is not None and incoming.handshake is Expectation.HELD else None

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; `next_event` makes something of them."""
        incoming = self._incoming
        if incoming is None:
            if self.reading is _DISCARD:
                return
        elif data and incoming.handshake is Expectation.HELD:
            incoming.handshake = states.step(states.EXPECTATION, Handshake.ARRIVE, incoming.handshake)
        buffer = self._buffer
        if buffer.data:
            buffer.append(data)
        else:
            buffer.data = data

    def receive_eof(self) -> None:
        """The peer has ended its side. Requests that are complete are still served (ledger P-13)."""
        self.eof = self._needs_full_decision = True
        if self.busy or len(self._buffer):
            self._peer_close_reason = CloseReason.PEER_HALF_CLOSED

    def next_event(self) -> Exchange | Event | None:
        """
        Make the next thing of what has been received: a new exchange, or an event of one in service.

        :return: None when nothing more can be done before more bytes come or an answer is given.
        """
        if self.reading is _IDLE and not self.exchanges and self._waiting is None:
            # The ordinary case: a client that repeats itself, and nothing in service.
            buffer = self._buffer
            data = buffer.data
            if not data and not self.eof:
                return None
            repeated = buffer.repeated
            if repeated is not None and data.startswith(repeated, buffer.position):
                end = buffer.position + len(repeated)  # `ReceiveBuffer.move_to`, inlined
                if end == len(data):
                    buffer.data = b""
                    end = 0
                buffer.position = end
                buffer.blank_lines = 0
                self.request_count = number = self.request_count + 1
                exchange = Exchange(number, buffer.head)
                self.exchanges = (exchange,)
                return exchange
        return self._next_event()

    def queued_event(self) -> Event | None:
        """The next event that took no bytes to make; `next_event` gives them first, too."""
        return self._events.pop(0) if self._events else None

    def _next_event(self) -> Exchange | Event | None:
        if self._events:
            return self.queued_event()
        if self._incoming is not None:
            event = self._read_body(self._incoming)
            if event is not None or self._incoming is not None or self.ending is not None:
                return event
        if self._is_full():
            return None
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            if self.reading is _DISCARD or self.reading is Reading.SWITCHED:
                return None
            try:
                waiting = self._read_head()
            except RemoteProtocolError as error:
                return self._refuse_head(error)
            if waiting is None:
                return None
        if self.exchanges and not self.admits(waiting, self._caches.limits.pipelineDepth):
            self._waiting = waiting
            return None
        return self._take_up(waiting)

    def _is_full(self) -> bool:
        """Whether no request is read before one of those in service is over."""
        exchanges = self.exchanges
        limits = self._caches.limits
        return bool(exchanges) and (
            not exchanges[-1].head.pipelinable
            or len(exchanges) >= limits.pipelineDepth
            or self.held_bytes > limits.maxHeldBytes
        )

    def expire(self, deadline: Deadline) -> None:
        """
        A deadline has passed; `next_event` and `ending` show what follows.

        One that is not running does nothing: a timer may fire late. Those on sending are the owner's own affair.
        """
        if deadline is Deadline.EXPECTATION:
            if (exchange := self.expecting()) is not None:
                exchange.overdue = True
                self.accept(exchange)
            return
        if deadline is not self.deadline:
            return
        assert deadline.reason is not None
        error = RemoteProtocolError(
            408,
            f"{deadline.awaited} did not come in time",
            "RFC 9110 15.5.9",
            row="D2-30" if deadline is Deadline.BODY else "P-17",
            reason=deadline.reason,
            breaks_response=False,
        )
        if deadline is Deadline.HEADER:
            self._queue(self._refuse_head(error))
        elif deadline is Deadline.BODY and self._incoming is not None:
            self._queue(self._fail_body(self._incoming, error))
        else:
            self._end(deadline.reason)

    def lost(self) -> list[Exchange]:
        """The transport is gone: the exchanges that were in service and not over, which they are now."""
        unfinished = self._withdraw(0)
        self._incoming = None
        if self.reading is not Reading.SWITCHED:
            self._last()
        return unfinished

    def retire(self, reason: CloseReason) -> None:
        """
        Have the next response close the connection, which stays open until then.

        :param reason: MAX_AGE, past `Limits.maxAge` (ledger D1-05); or DRAINING, ahead of a shutdown: then whatever
            was pipelined behind is served as well, and the last response announces the close (P-18).
        """
        self.retired = reason
        self._needs_full_decision = True

    def drain(self) -> None:
        """Serve what has been taken up, then end (ledger P-18)."""
        self.draining = self._needs_full_decision = True
        self._waiting = None
        if self.exchanges:
            if self._incoming is None and self._is_last(self.exchanges[-1]):
                self._last()
        elif self._incoming is None and self.reading is not Reading.HEAD:
            self._end(CloseReason.DRAINING.at(self.state))

    def _read_head(self) -> Exchange | None:
        """The exchange that the next complete head opens; None when more bytes are needed."""
        head = self._buffer.read_head()
        if head is None:
            self._await_head()
            return None
        if self.reading is not _IDLE:
            self.reading = states.step(states.READING, Input.HEAD_END, self.reading)
        return Exchange(self.request_count + 1, head)

    def _await_head(self) -> None:
        """More bytes are needed, and perhaps due."""
        if self._buffer.head_begun:
            if self.eof:
                raise RemoteProtocolError(
                    400,
                    "the request ends inside its head",
                    "RFC 9112 8",
                    row="L-31",
                    reason=CloseReason.PEER_CLOSED_MID_REQUEST,
                )
            self.reading = states.step(states.READING, Input.PART, self.reading)
        elif self.eof and not self.exchanges:
            self._end(self._peer_close_reason.at(self.state))

    def _refuse_head(self, error: RemoteProtocolError) -> RequestRefused:
        """What came is no request: answer it behind the others, and read nothing more."""
        self.request_count += 1
        exchange = Exchange(self.request_count, self._buffer.refused_head)
        self._last()
        self.add(exchange)
        self._answer_error(exchange, error)
        return RequestRefused(exchange, error)

    def _take_up(self, exchange: Exchange) -> Exchange | RequestRefused:
        """An exchange starts."""
        self.request_count = exchange.number
        self.add(exchange)
        head = exchange.head
        if head.pipelinable and head.fast_path and not self._needs_full_decision and self.overloaded is None:
            return exchange  # and nothing is to be decided
        fields = exchange.fields
        assert fields is not None
        body = fields.framing
        exchange.framing = body
        if body.delimiter is not _NO_BODY:
            self.reading = states.step(states.READING, Input.BODY_STARTS, Reading.IDLE)
            self._incoming = exchange
            exchange.body = Body.HELD
            exchange.reader = body_reader(body, self._caches.limits)
            if fields.expected.expects_continue:
                exchange.handshake = Expectation.WAIVED if len(self._buffer) else Expectation.HELD
        elif self._is_last(exchange):
            self._last()
        if fields.expected.supported and self.overloaded is None:
            return exchange
        return self._decline(exchange, fields.expected)

    def _decline(self, exchange: Exchange, expected: Expected) -> RequestRefused:
        """A request that is well-formed, and yet not for the application."""
        if self.overloaded is not None:
            self._answer_error(exchange, self.overloaded)
            return RequestRefused(exchange, self.overloaded)
        error = RemoteProtocolError(417, "the expectation is not understood", expected.clause, row=expected.row)
        exchange.error = error
        self.respond(exchange, error.status, *responses.error_response(error))
        return RequestRefused(exchange, error)

    def begin_body(self, exchange: Exchange) -> None:
        """
        The application reads: a withheld body is invited, and its bytes are delivered while ``flowing`` is set.

        :raises LocalProtocolError: when nobody can read it any more.
        """
        self.accept(exchange)
        if exchange.body is not Body.READ:
            exchange.body = states.step(states.BODY, BodyEvent.READ, exchange.body)

    def accept(self, exchange: Exchange) -> None:
        """
        The application wants the body, or time has decided for it: 100 goes out, once, if anybody waits for it.

        :raises LocalProtocolError: when the request has been answered, or nobody waits for its response any more.
        """
        before = exchange.handshake
        after = states.step(states.EXPECTATION, Handshake.ACCEPT, before)
        if before is Expectation.HELD:
            states.step(states.ANSWER, Output.INTERIM, exchange.answer)
            self.put(exchange, [b"HTTP/1.1 100 Continue\r\n\r\n"])
        exchange.handshake = after

    def take_whole_body(self, exchange: Exchange) -> bytes | None:
        """The whole of a body whose length is known and whose bytes are all in hand, consumed; None for any other."""
        if self._incoming is not exchange or exchange.body is not Body.HELD:
            return None
        reader = exchange.reader
        assert reader is not None
        if reader.remaining is None or reader.remaining > self.backlog:
            return None
        self.begin_body(exchange)
        data = reader.read(self._buffer)
        self._end_body(exchange)
        return data

    def abandon_body(self, exchange: Exchange) -> None:
        """The application will not read the rest of the body."""
        if exchange.body in (Body.HELD, Body.WANTED) and exchange.handshake is not Expectation.HELD:
            exchange.body = states.step(states.BODY, BodyEvent.ABANDON, exchange.body)
            self._unread = self._caches.limits.unread

    def _read_body(self, exchange: Exchange) -> Event | None:
        """The next bytes of the body for whoever takes them; ``self._incoming`` is None once it is at its end."""
        reader = exchange.reader
        assert reader is not None
        wanted = exchange.body is Body.WANTED
        if self.eof and exchange.handshake is Expectation.HELD:
            return self._fail_body(exchange, _incomplete("D3-25"))
        if exchange.body is Body.HELD or (wanted and not exchange.flowing):
            return None
        try:
            data = reader.read(self._buffer)
        except RemoteProtocolError as error:
            return self._fail_body(exchange, error)
        if data and wanted:
            return BodyReceived(exchange, data)
        if reader.complete:
            self._end_body(exchange)
            return BodyComplete(exchange) if wanted else None
        if not wanted and exchange.over:
            self._unread -= len(data)
            if self._unread < 0:
                self._end(CloseReason.BODY_UNREAD)
                return None
        if self.eof:  # the reader has taken what it can: what is left over is part of a line
            return self._fail_body(exchange, _incomplete())
        return None

    def _end_body(self, exchange: Exchange) -> None:
        self._incoming = None
        exchange.body = states.step(states.BODY, BodyEvent.END, exchange.body)
        assert exchange.fields is not None
        self.reading = states.step(states.READING, Input.BODY_END, self.reading)
        if self._is_last(exchange):
            self._last()
        if self.draining and exchange.over:
            self._drained(exchange, "reading a body")

    def _fail_body(self, exchange: Exchange, error: RemoteProtocolError) -> Event | None:
        """The body will never be complete."""
        read_away = exchange.body is Body.DISCARDED
        exchange.body = states.step(states.BODY, BodyEvent.CUT, exchange.body)
        self._incoming = None
        self._last()
        if exchange.handshake is Expectation.HELD:  # the client left while it waited: nothing is sent
            exchange.answer = states.step(states.ANSWER, Output.ABORT, exchange.answer)
            self._end(error.reason)
        elif exchange.answer is Answer.AWAITED:
            self._answer_error(exchange, error)
        elif exchange.over:
            self._end(error.reason)
        else:
            exchange.persistence = persistence.refused(error.reason)
            if error.breaks_response:
                self.abort(exchange)
        return None if read_away else BodyFailed(exchange, error)

    def _read_away(self, exchange: Exchange, streaming: bool) -> UnreadBody:
        """What is left of the body now that the response is decided; what is in hand already is consumed."""
        incoming = self._incoming
        if incoming is not exchange:
            return UnreadBody.READ
        if exchange.handshake is Expectation.HELD:
            exchange.handshake = states.step(states.EXPECTATION, Handshake.FINAL, exchange.handshake)
            self._forget_body(exchange)
            return UnreadBody.EXPECTED
        reader = exchange.reader
        assert reader is not None
        reads_on = exchange.body is Body.WANTED and (streaming or exchange.flowing)
        if not reads_on:
            exchange.body = states.step(states.BODY, BodyEvent.ABANDON, exchange.body)
            self._unread = self._caches.limits.unread
            reader.read(self._buffer)
            if reader.complete:
                self._end_body(exchange)
                return UnreadBody.READ
        rest = reader.remaining
        if rest is not None and rest <= self._caches.limits.unread:
            return UnreadBody.SHORT
        if reads_on and (streaming or rest is None):
            return UnreadBody.OPEN
        return UnreadBody.REFUSED if rest is None else UnreadBody.LONG

    def _forget_body(self, exchange: Exchange) -> None:
        """The body may come or not: it is never read."""
        exchange.body = states.step(states.BODY, BodyEvent.ABANDON, exchange.body)
        self._incoming = None
        self._last()

    def respond(
        self, exchange: Exchange, status: int, fields: ResponseFields, body: bytes, review: Review | None = None
    ) -> None:
        """
        Answer with a whole response.

        :param status: 200 to 599.
        :param body: the whole body; left out where the response has none by nature.
        :param review: may change the decision about the connection.
        :raises LocalProtocolError: when the exchange is answered already, or for another status.
        """
        terms = self._caches
        request = exchange.head
        size = len(body)
        if (
            review is None
            and exchange.answer is _AWAITED
            and request.fast_path
            and self._incoming is None
            and not self._needs_full_decision
            and (
                head := terms.heads[request.sends_keep_alive].get((status, fields, size))
                or terms.ordinary_head(status, fields, size, request.sends_keep_alive)
            )
        ):
            self.decision = exchange.persistence = request.persistence
            exchange.answer = _COMPLETE
            exchange.status = status
            exchange.bytes_sent = size
            if exchange.held is not None or size >= _JOIN:
                self.put(exchange, [head, body])
            else:
                if self.output is None:
                    self.output = [head + body]
                else:
                    self.output.append(head + body)
            if len(self.exchanges) == 1:
                self.exchanges = ()
            else:
                self._completed(exchange)
            return
        self._respond(exchange, status, fields, body, review)

    def _respond(
        self, exchange: Exchange, status: int, fields: ResponseFields, body: bytes, review: Review | None
    ) -> None:
        if exchange.answer is not Answer.AWAITED or not 200 <= status < 600:
            self._cannot_answer(exchange, status)
        if status in BODILESS_STATUSES or exchange.method == b"HEAD":
            stated = fields.length if fields.length is not None else (len(body) or None)
            ending = self._frame(exchange, status, stated, fields.length)
            body = b""
        elif fields.length is not None and fields.length != len(body):
            self.start(exchange, status, fields, fields.length, review)
            self.write(exchange, body)
            return self.finish(exchange)
        else:
            ending = self._frame(exchange, status, len(body), fields.length)
        decision = self._decide(exchange, ending, fields, False, review)
        exchange.answer = states.step(states.ANSWER, Output.WHOLE, exchange.answer)
        exchange.status = status
        exchange.response_framing = ending
        exchange.bytes_sent = len(body)
        lines = responses.length_lines(ending)
        self.put(exchange, [responses.head(self._caches, exchange, status, fields, lines, decision), body])
        self._completed(exchange)

    def start(
        self,
        exchange: Exchange,
        status: int,
        fields: ResponseFields = NO_FIELDS,
        length: int | None = None,
        review: Review | None = None,
        trailers: bytes = b"",
    ) -> None:
        """
        Begin a response whose body is to follow by `write` and `finish`.

        :param length: bytes of the body, None when not known.
        :param trailers: the value of the Trailer field, if trailers will follow; only for chunked responses.
        :raises LocalProtocolError: as `respond`.
        """
        if exchange.answer is not Answer.AWAITED or not 200 <= status < 600:
            self._cannot_answer(exchange, status)
        ending = self._frame(exchange, status, length, fields.length)
        decision = self._decide(exchange, ending, fields, True, review)
        if not decision.keep and ending.delimiter is Delimiter.CHUNKED:
            ending = framing.decide_response(exchange.method, status, True, None, closing=True)
        exchange.answer = states.step(states.ANSWER, Output.START, exchange.answer)
        exchange.status = status
        exchange.response_framing = ending
        exchange.writer = body_writer(ending)
        lines = responses.length_lines(ending)
        if trailers and ending.delimiter is Delimiter.CHUNKED:
            lines += b"Trailer: %b\r\n" % trailers
        self.put(exchange, [responses.head(self._caches, exchange, status, fields, lines, decision)])

    def write(self, exchange: Exchange, data: bytes) -> None:
        """
        Send some body.

        Bytes beyond the stated length are dropped and counted in ``exchange.writer.excess`` (ledger D4-16).

        :raises LocalProtocolError: when no response has begun.
        """
        if exchange.answer is not Answer.STREAMING:
            raise LocalProtocolError(f"body data: not possible when {exchange.answer.value}")
        assert exchange.writer is not None
        out: list[bytes] = []
        exchange.bytes_sent += exchange.writer.write(data, out)
        self.put(exchange, out)

    def written_past(self, exchange: Exchange, size: int) -> None:
        """
        So many bytes of a body of stated length were sent by other means, behind all that `take_output` gave.

        :raises LocalProtocolError: unless it is this body's turn, and has a stated length with room for them.
        """
        writer = exchange.writer
        if exchange.answer is not Answer.STREAMING or exchange.held is not None or self.output:
            raise LocalProtocolError("body data sent past the connection, out of turn")
        if not isinstance(writer, LengthWriter) or size > writer.remaining:
            raise LocalProtocolError("body data sent past the connection, beyond a stated length")
        writer.remaining -= size
        exchange.bytes_sent += size

    def finish(self, exchange: Exchange, trailers: bytes = b"") -> None:
        """
        End a response. With fewer bytes than stated it is aborted instead, never padded (ledger D4-17).

        :raises LocalProtocolError: when no response has begun.
        """
        if exchange.answer is not Answer.STREAMING:
            raise LocalProtocolError(f"the end of a body: not possible when {exchange.answer.value}")
        assert exchange.writer is not None
        out: list[bytes] = []
        if not exchange.writer.finish(out, trailers):
            return self.abort(exchange)
        self.put(exchange, out)
        exchange.answer = states.step(states.ANSWER, Output.FINISH, exchange.answer)
        ending = exchange.response_framing
        if exchange.writer.excess and ending is not None and ending.delimiter is Delimiter.LENGTH:
            self.decision = exchange.persistence = persistence.OVERRUN
        self._completed(exchange)

    def interim(self, exchange: Exchange, status: int, fields: ResponseFields = NO_FIELDS) -> None:
        """
        Send an interim response, 102 to 199; swallowed where the client speaks HTTP/1.0 (ledger X-09).

        :raises LocalProtocolError: after the final response has begun, or for another status.
        """
        states.step(states.ANSWER, Output.INTERIM, exchange.answer)
        if not 102 <= status < 200:
            raise LocalProtocolError(f"not an interim status: {status}")
        if exchange.http11:
            self.put(exchange, [b"%b%b\r\n" % (messages.STATUS_LINES[status], block(fields))])

    def switch(self, exchange: Exchange, protocol: bytes, fields: ResponseFields = NO_FIELDS) -> bytes:
        """
        Answer 101 and leave HTTP.

        :return: bytes that came behind the request: the first of the new protocol.
        :raises LocalProtocolError: unless the protocol was offered, the body is read, and no other exchange is in
            service.
        """
        offered = exchange.fields.upgrades if exchange.fields is not None else ()
        if protocol.lower() not in (name.lower() for name in offered):
            raise LocalProtocolError(f"the client did not offer {protocol!r}")
        if self._incoming is not None or self.exchanges != (exchange,):
            raise LocalProtocolError("the request is not complete, or not alone")
        exchange.answer = states.step(states.ANSWER, Output.SWITCH, exchange.answer)
        self.reading = states.step(states.READING, Input.SWITCH, self.reading)
        exchange.status = 101
        exchange.persistence = persistence.SWITCHED
        exchange.response_framing = framing.decide_response(exchange.method, 101, True, None)
        self.put(
            exchange,
            [b"%bUpgrade: %b\r\nConnection: upgrade\r\n%b\r\n" % (messages.STATUS_LINES[101], protocol, block(fields))],
        )
        self.next_first()
        return self._buffer.take(len(self._buffer))

    def abort(self, exchange: Exchange) -> None:
        """End a response unfinished; the connection ends with it (ledger D4-19, D4-20)."""
        if exchange.answer is Answer.ABORTED:
            return
        exchange.answer = states.step(states.ANSWER, Output.ABORT, exchange.answer)
        if exchange.persistence is None or not exchange.persistence.fault:
            exchange.persistence = persistence.ABORTED
        self._serve_nothing_behind(exchange)
        self._completed(exchange)

    def _cannot_answer(self, exchange: Exchange, status: int) -> NoReturn:
        if exchange.answer is not Answer.AWAITED:
            raise LocalProtocolError(f"a response: not possible when {exchange.answer.value}")
        raise LocalProtocolError(f"not the status of a final response: {status}")

    def _frame(self, exchange: Exchange, status: int, length: int | None, stated: int | None) -> Framing:
        return framing.decide_response(
            exchange.method,
            status,
            exchange.http11,
            length,
            stated=stated,
            chunked=self._caches.policy.chunkedResponses,
        )

    def _decide(
        self, exchange: Exchange, ending: Framing, fields: ResponseFields, streaming: bool, review: Review | None
    ) -> Persistence:
        """Keep or close: table D1."""
        request = exchange.fields
        assert request is not None
        if (
            self._incoming is None
            and not (fields.asks_close or self._needs_full_decision)
            and ending.delimiter is not Delimiter.CLOSE
        ):
            decision = request.persistence  # nothing but the request has a say
        else:
            decision = self._decide_at_length(exchange, request, ending, fields, streaming)
        if review is not None:
            reviewed = review(exchange, decision)
            decision = reviewed if decision.keep or not reviewed.keep else decision
        self.decision = exchange.persistence = decision
        if not decision.keep:
            self._serve_nothing_behind(exchange)
        return decision

    def _decide_at_length(
        self, exchange: Exchange, request: RequestFields, ending: Framing, fields: ResponseFields, streaming: bool
    ) -> Persistence:
        try:
            rest = self._read_away(exchange, streaming)
        except RemoteProtocolError as error:  # what is in hand of a body that nobody reads is broken
            exchange.body = states.step(states.BODY, BodyEvent.CUT, exchange.body)
            self._incoming = None
            self._last()
            return persistence.refused(error.reason)
        policy = self._caches.policy
        last = self.exchanges[-1] is exchange and self._waiting is None
        return persistence.decide(
            exchange.http11,
            request.options,
            keep_alive_field=request.keep_alive_field,
            framed=ending.framed,
            asks_close=fields.asks_close,
            unread=rest,
            limit=self._limit(exchange),
            draining=last and (self.draining or (self.retired is CloseReason.DRAINING and not self._buffer)),
            half_closed=self.eof and last and not len(self._buffer),
            keep_alive_10=policy.keepAlive10,
            persistent=policy.persistent,
        )

    def _limit(self, exchange: Exchange) -> CloseReason | None:
        limits = self._caches.limits
        if limits.maxRequests and exchange.number >= limits.maxRequests:
            return CloseReason.MAX_REQUESTS
        return CloseReason.MAX_AGE if self.retired is CloseReason.MAX_AGE else None

    def _answer_error(self, exchange: Exchange, error: RemoteProtocolError) -> None:
        """Answer a protocol error by ourselves; it ends the connection."""
        exchange.error = error
        exchange.answer = states.step(states.ANSWER, Output.WHOLE, exchange.answer)
        exchange.status = error.status
        self.decision = exchange.persistence = decision = persistence.refused(error.reason)
        if exchange.body in (Body.HELD, Body.WANTED):
            exchange.body = states.step(states.BODY, BodyEvent.ABANDON, exchange.body)
        self._incoming = None
        self._serve_nothing_behind(exchange)
        fields, text = responses.error_response(error)
        exchange.response_framing = Framing(Delimiter.LENGTH, len(text), error.row, error.clause)
        body = b"" if exchange.method == b"HEAD" else text
        exchange.bytes_sent = len(body)
        lines = b"Content-Length: %d\r\n" % len(text)
        self.put(exchange, [responses.head(self._caches, exchange, error.status, fields, lines, decision), body])
        self._completed(exchange)

    def _completed(self, exchange: Exchange) -> None:
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
                self._end(decision.reason, reset=first.answer is Answer.ABORTED and unframed)
                return
            following = self.next_first()
            if following is None:
                break
            first = following
            if not first.over:
                if first.answer is Answer.STREAMING:
                    self._queue(ResponseDue(first))
                return
        if self.draining and self._incoming is None:
            self._drained(first, "responding")

    def _serve_nothing_behind(self, exchange: Exchange) -> None:
        """This exchange ends the connection (ledger N-08)."""
        for other in self._withdraw(self.exchanges.index(exchange) + 1):
            self._queue(ExchangeCancelled(other))
        if self._incoming is None:
            self._last()

    def _withdraw(self, place: int) -> list[Exchange]:
        """Take the exchanges from this place on out of service; those that were not over are now, and returned."""
        self._waiting = None
        unfinished = [exchange for exchange in self.drop(place) if not exchange.over]
        for exchange in unfinished:
            exchange.answer = states.step(states.ANSWER, Output.ABORT, exchange.answer)
            if exchange is self._incoming:
                exchange.body = states.step(states.BODY, BodyEvent.CUT, exchange.body)
        return unfinished

    def _drained(self, last: Exchange, state: str) -> None:
        """A shutdown began after the head of the last response had left: the close was not announced (ledger D1-29)."""
        self.decision = last.persistence = persistence.DRAINING_LATE
        self._end(CloseReason.DRAINING.at(state))

    def _is_last(self, exchange: Exchange) -> bool:
        """Whether, by what is known now, nothing behind this exchange will be HTTP to be served."""
        decision, fields = exchange.persistence, exchange.fields
        if decision is not None:
            return self.draining or not decision.keep
        if fields is None or fields.upgrades:  # what follows may be another protocol's
            return False
        return not fields.persistence.keep or (
            self._needs_full_decision and (self.draining or self._limit(exchange) is not None)
        )

    def _last(self) -> None:
        """No further request will be served: what comes is thrown away."""
        if self.reading is not Reading.DISCARD:
            self.reading = states.step(states.READING, Input.LAST, self.reading)
        if self._incoming is None:
            self._buffer.clear()

    def _end(self, reason: CloseReason, *, reset: bool = False) -> None:
        """The connection is over, and with it whatever is still in service."""
        if self.ending is None:
            self.ending = Ending(reason, reset)
            for exchange in self._withdraw(0):
                self._queue(ExchangeCancelled(exchange))
            self._incoming = None
            self._last()

    def _queue(self, event: Event | None) -> None:
        if event is not None:
            if self._events is None:
                self._events = []
            self._events.append(event)


def _incomplete(row: str = "D2-29") -> IncompleteBody:
    return IncompleteBody(
        400,
        "the request ends inside its body",
        "RFC 9112 8",
        row=row,
        reason=CloseReason.PEER_CLOSED_MID_REQUEST.at("reading a body"),
        breaks_response=False,
    )


#: Bodies up to this size are joined to their head: one small copy is cheaper than a second piece of output.
_JOIN = 16384
_STATE_NAMES = {
    Reading.UNUSED: "unused",
    Reading.IDLE: "idle",
    Reading.HEAD: "reading a head",
    Reading.BODY: "reading a body",
    Reading.DISCARD: "closing",
    Reading.SWITCHED: "switched",
}
