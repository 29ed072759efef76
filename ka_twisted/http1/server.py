"""
The server side of one HTTP/1 connection: bytes in, exchanges and events out; answers in, bytes out.

The owner feeds `ServerConnection.receive` and `ServerConnection.receive_eof`, pulls `ServerConnection.next_event` until
it gives None, answers through the exchanges, and sends what `take_output` gives. It arms a timer for `deadline` and
tells `expire` when one has passed, and ends the transport once `ending` is set and everything is sent. Nothing here
knows of sockets or clocks.
"""

from __future__ import annotations

from typing import Any

from ..core.deadlines import Deadline
from ..core.errors import RemoteProtocolError
from ..core.expectation import Expected
from ..core.framing import Delimiter
from ..core.reasons import CloseReason
from . import responses, states
from .caches import ServerCaches
from .events import Event, RequestRefused
from .exchange import Exchange
from .incoming import IncomingBody
from .lifetime import Lifetime
from .request_heads import RequestHead
from .states import Body, Expectation, Handshake, Input, Reading

# What every request needs of the tables. Before Python 3.12 it takes a while to find a member of an Enum by its name.
_IDLE, _DISCARD = Reading.IDLE, Reading.DISCARD
_NEXT_REQUEST = Deadline.IDLE
_NO_BODY = Delimiter.NONE


class ServerConnection(Lifetime):
    """
    One connection, as its server sees it.

    A subclass may have a class of exchanges of its own, and a say in decisions: see `exchange_class` and `review`.

    :param owner: whatever owns it, for the exchanges to find.
    :param reviews: whether `review` has a say.
    :ivar request_count: requests taken up so far.
    """

    __slots__ = ("_overloaded", "_peer_close_reason", "owner", "request_count")

    #: Makes the exchanges.
    exchange_class: type[Exchange] = Exchange

    def __init__(self, caches: ServerCaches, owner: Any = None, *, reviews: bool = False) -> None:
        super().__init__(caches, reviews)
        self.owner = owner
        self._peer_close_reason = CloseReason.PEER_CLOSED_IDLE
        self._overloaded: RemoteProtocolError | None = None
        self.request_count = 0

    @property
    def busy(self) -> bool:
        """Whether a request is in progress: being answered, or its body being read."""
        return bool(self.exchanges) or self.incoming is not None

    @property
    def wants_input(self) -> bool:
        """False when enough is held for now: reading should pause (ledger P-16)."""
        return len(self.buffer) < self.caches.limits.readAhead or not self.busy

    @property
    def state(self) -> str:
        """In a word or three, for reports: unused, idle, reading a head, reading a body, responding, switched."""
        incoming = self.incoming
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
        incoming = self.incoming
        if incoming is not None:
            if incoming.body is Body.DISCARDED:
                return Deadline.UNREAD if incoming.over else None
            return Deadline.BODY if incoming.body is Body.WANTED and incoming.flowing else None
        if self.reading is Reading.HEAD:
            return None if self._is_full() else Deadline.HEADER
        return Deadline.FIRST_REQUEST if self.reading is Reading.UNUSED else None

    @property
    def unanswered(self) -> bool:
        """Whether the peer has ended its side, and the response that is due to it has not begun."""
        return self.eof and bool(self.exchanges) and not self.exchanges[0].answered

    def expecting(self) -> Exchange | None:
        """The exchange whose client waits for a decision about its body, if there is one."""
        incoming = self.incoming
        return incoming if incoming is not None and incoming.handshake is Expectation.HELD else None

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; `next_event` makes something of them."""
        incoming = self.incoming
        if incoming is None:
            if self.reading is _DISCARD:
                return
        elif data and incoming.handshake is Expectation.HELD:
            incoming.handshake = states.step(states.EXPECTATION, Handshake.ARRIVE, incoming.handshake)
        buffer = self.buffer
        if buffer.data:
            buffer.append(data)
        else:
            buffer.data = data

    def receive_eof(self) -> None:
        """The peer has ended its side. Requests that are complete are still served (ledger P-13)."""
        self.eof = self.needs_full_decision = True
        if self.busy or len(self.buffer):
            self._peer_close_reason = CloseReason.PEER_HALF_CLOSED

    def next_event(self) -> Exchange | Event | None:
        """
        Make the next thing of what has been received: a new exchange, or an event of one in service.

        :return: None when nothing more can be done before more bytes come or an answer is given.
        """
        buffer = self.buffer
        if (
            self.reading is _IDLE
            and not self.exchanges
            and self.waiting is None
            and (repeated := buffer.repeated) is not None
            and buffer.data.startswith(repeated, buffer.position)
        ):
            # Nothing is in service, and a client repeats itself.
            head = buffer.head
            end = buffer.position + len(repeated)  # `ReceiveBuffer.move_to`, inlined
            if end == len(buffer.data):
                buffer.data = b""
                end = 0
            buffer.position = end
            buffer.blank_lines = 0
        else:
            found = self._next_head()
            if not isinstance(found, RequestHead):
                return found
            head = found
        # A request starts: this is the only way.
        self.request_count = number = self.request_count + 1
        exchange = self.exchange_class(number, head, self)
        if self.exchanges:
            self.add(exchange)
        else:
            self.exchanges = (exchange,)
        if head.fast_path and head.pipelinable and not self.needs_full_decision:
            return exchange  # and nothing is to be decided
        return self._begin(exchange, head)

    def turn_away(self, error: RemoteProtocolError) -> None:
        """Answer the first request with this error, and close (ledger P-15)."""
        self._overloaded = error
        self.needs_full_decision = True

    def queued_event(self) -> Event | None:
        """The next event that took no bytes to make; `next_event` gives them first, too."""
        return self.events.pop(0) if self.events else None

    def _next_head(self) -> RequestHead | Event | None:
        """The head of the request that is to start, or an event of one in service."""
        if self.events:
            return self.queued_event()
        if self.incoming is not None:
            event = self.read_body(self.incoming)
            if event is not None or self.incoming is not None or self.ending is not None:
                return event
        if self.exchanges and self._is_full():
            return None
        head, self.waiting = self.waiting, None
        if head is None:
            if self.reading is _DISCARD or self.reading is Reading.SWITCHED:
                return None
            try:
                head = self._read_head()
            except RemoteProtocolError as error:
                return self._refuse_head(error)
            if head is None:
                return None
        if self.exchanges and not self.admits(head, self.caches.limits.pipelineDepth):
            self.waiting = head
            return None
        return head

    def _is_full(self) -> bool:
        """Whether no request is read before one of those in service is over."""
        exchanges = self.exchanges
        limits = self.caches.limits
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
                exchange.accept()
            return
        if deadline is Deadline.HALF_CLOSED:
            if self.unanswered and deadline.reason is not None:
                self.end(deadline.reason)
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
            self.queue(self._refuse_head(error))
        elif deadline is Deadline.BODY and self.incoming is not None:
            self.queue(self.late_body(self.incoming, error))
        else:
            self.end(deadline.reason)

    def late_response(self, exchange: Exchange) -> RemoteProtocolError:
        """
        The application has not begun this response in time: 503, in its turn, and the end.

        :return: what to tell the application.
        """
        error = RemoteProtocolError(
            503,
            f"{Deadline.HANDLER.awaited} did not begin in time",
            "RFC 9110 15.6.4",
            reason=CloseReason.HANDLER_TIMEOUT,
        )
        self.answer_error(exchange, error)
        return error

    def lost(self) -> list[Exchange]:
        """The transport is gone: the exchanges that were in service and not over, which they are now."""
        unfinished = self.withdraw(0)
        self.incoming = None
        if self.reading is not Reading.SWITCHED:
            self.last()
        return unfinished

    def retire(self, reason: CloseReason) -> None:
        """
        Have the next response close the connection, which stays open until then.

        :param reason: MAX_AGE, past `Limits.maxAge` (ledger D1-05); or DRAINING, ahead of a shutdown: then whatever
            was pipelined behind is served as well, and the last response announces the close (P-18).
        """
        self.retired = reason
        self.needs_full_decision = True

    def leave_http(self, exchange: Exchange) -> bytes:
        """101 was written: give what came behind the request, the first bytes of the new protocol."""
        self.reading = states.step(states.READING, Input.SWITCH, self.reading)
        self.next_first()
        return self.buffer.take(len(self.buffer))

    def drain(self) -> None:
        """Serve what has been taken up, then end (ledger P-18)."""
        self.draining = self.needs_full_decision = True
        self.waiting = None
        if self.exchanges:
            if self.incoming is None and self.is_last(self.exchanges[-1]):
                self.last()
        elif self.incoming is None and self.reading is not Reading.HEAD:
            self.end(CloseReason.DRAINING.at(self.state))

    def _read_head(self) -> RequestHead | None:
        """The next head that is complete; None when more bytes are needed."""
        head = self.buffer.read_head()
        if head is None:
            self._await_head()
        elif self.reading is not _IDLE:
            self.reading = states.step(states.READING, Input.HEAD_END, self.reading)
        return head

    def _await_head(self) -> None:
        """More bytes are needed, and perhaps due."""
        if self.buffer.head_begun:
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
            self.end(self._peer_close_reason.at(self.state))

    def _refuse_head(self, error: RemoteProtocolError) -> RequestRefused:
        """What came is no request: answer it behind the others, and read nothing more."""
        exchange = self._open(self.buffer.refused_head)
        self.last()
        self.answer_error(exchange, error)
        return RequestRefused(exchange, error)

    def _open(self, head: RequestHead) -> Exchange:
        """Take a request into service, behind the others."""
        self.request_count = number = self.request_count + 1
        exchange = self.exchange_class(number, head, self)
        self.add(exchange)
        return exchange

    def _begin(self, exchange: Exchange, head: RequestHead) -> Exchange | RequestRefused:
        """A request starts that has a body, or about which something is to be decided."""
        fields = head.fields
        assert fields is not None
        body = fields.framing
        exchange.framing = body
        if body.delimiter is not _NO_BODY:
            self.reading = states.step(states.READING, Input.BODY_STARTS, Reading.IDLE)
            self.incoming = exchange
            exchange.request_body = IncomingBody(body, self.caches.limits)
            if fields.expected.expects_continue:
                exchange.handshake = Expectation.WAIVED if len(self.buffer) else Expectation.HELD
        elif self.is_last(exchange):
            self.last()
        if fields.expected.supported and self._overloaded is None:
            return exchange
        return self._decline(exchange, fields.expected)

    def _decline(self, exchange: Exchange, expected: Expected) -> RequestRefused:
        """A request that is well-formed, and yet not for the application."""
        if self._overloaded is not None:
            self.answer_error(exchange, self._overloaded)
            return RequestRefused(exchange, self._overloaded)
        error = RemoteProtocolError(417, "the expectation is not understood", expected.clause, row=expected.row)
        exchange.error = error.fact()
        exchange.respond(error.status, *responses.error_response(error))
        return RequestRefused(exchange, error)


_STATE_NAMES = {
    Reading.UNUSED: "unused",
    Reading.IDLE: "idle",
    Reading.HEAD: "reading a head",
    Reading.BODY: "reading a body",
    Reading.DISCARD: "closing",
    Reading.SWITCHED: "switched",
}
