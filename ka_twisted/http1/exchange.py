"""One request on an HTTP/1 connection, and its response."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn, Protocol

from ..core import exchange as core_exchange
from ..core.errors import LocalProtocolError
from ..core.framing import Delimiter, Framing
from ..core.headers import NO_FIELDS, NO_HEADERS, Headers, ResponseFields
from ..core.persistence import Persistence
from ..core.semantics import BODILESS_STATUSES
from . import framing, persistence, responses, states
from .caches import ServerCaches
from .encoding import STATUS_LINES, block, field_lines
from .incoming import IncomingBody
from .outgoing import OutgoingBody
from .request_fields import RequestFields
from .request_heads import RequestHead
from .states import Answer, Body, Expectation, Handshake, Output

# Before Python 3.12 it takes a while to find a member of an Enum by its name.
_AWAITED, _STREAMING, _COMPLETE = Answer.AWAITED, Answer.STREAMING, Answer.COMPLETE

#: Bodies up to this size are joined to their head: one small copy is cheaper than a second piece of output.
_JOIN = 16384


class Carrier(Protocol):
    """What an exchange needs of the connection that carries it; see `server.ServerConnection`."""

    caches: ServerCaches
    exchanges: tuple[Exchange, ...]
    incoming: Exchange | None
    needs_full_decision: bool
    decision: Persistence | None
    output: list[bytes] | None

    def put(self, exchange: Exchange, parts: list[bytes]) -> None: ...

    def decide(self, exchange: Exchange, ending: Framing, fields: ResponseFields, streaming: bool) -> Persistence: ...

    def completed(self, exchange: Exchange) -> None: ...

    def serve_nothing_behind(self, exchange: Exchange) -> None: ...

    def take_body(self, exchange: Exchange) -> bytes | None: ...

    def abandon_body(self, exchange: Exchange) -> None: ...

    def leave_http(self, exchange: Exchange) -> bytes: ...


class Exchange(core_exchange.Exchange):
    """
    A request and what becomes of it, over HTTP/1.

    The owner of the connection answers through `respond`, or `start` .. `write` .. `finish`, and may set `started`,
    `responded`, `ended` and `flowing`. The rest is written by the exchange itself and its connection.
    """

    head: RequestHead
    #: The 100-continue handshake.
    handshake: Expectation = Expectation.NONE
    #: How far the response is.
    answer: Answer
    request_body: IncomingBody | None = None
    response_body: OutgoingBody | None = None
    #: Output that waits for earlier responses; None: it goes out directly.
    held: list[bytes] | None

    def __init__(self, number: int, head: RequestHead, carrier: Carrier) -> None:
        self.number = number
        self.head = head
        self.carrier = carrier
        self.answer = _AWAITED
        self.held = None
        self.responded = 0.0
        self.depth = 1

    # -- what there is to know -----------------------------------------------------------------------------------------

    @property
    def http11(self) -> bool:
        """Whether the client speaks HTTP/1.1 or later, not 1.0."""
        return self.head.http11

    @property
    def fields(self) -> RequestFields | None:
        """What the header section means; None where it could not be read."""
        return self.head.fields

    @property
    def trailers(self) -> Headers:  # type: ignore[override]
        """The trailer section of a complete body."""
        return NO_HEADERS if self.request_body is None else self.request_body.trailers

    @property
    def bytes_received(self) -> int:  # type: ignore[override]
        """Bytes of the request's body, decoded, that the application has got."""
        return 0 if self.request_body is None else self.request_body.received

    @property
    def body(self) -> Body:
        """Who takes the request's body."""
        return Body.ABSENT if self.request_body is None else self.request_body.state

    @property
    def flowing(self) -> bool:
        """Whether the application can take bytes of the request's body now."""
        return self.request_body is not None and self.request_body.flowing

    @flowing.setter
    def flowing(self, flowing: bool) -> None:
        if self.request_body is not None:
            self.request_body.flowing = flowing

    @property
    def answered(self) -> bool:
        """Whether a final response has begun, or is not wanted any more."""
        return self.answer is not _AWAITED

    @property
    def over(self) -> bool:
        """Whether nothing more will be written."""
        return self.answer is not _AWAITED and self.answer is not _STREAMING

    @property
    def completed(self) -> bool:
        """Whether the response was written whole."""
        return self.answer is _COMPLETE or self.answer is Answer.SWITCHED

    @property
    def withheld(self) -> bool:
        """Whether the client waits for a decision before it sends the body."""
        return self.handshake is Expectation.HELD

    @property
    def consumed(self) -> bool:
        """Whether nothing of the body is left to be read."""
        return self.request_body is None or self.request_body.state is Body.READ

    @property
    def unread(self) -> bool:
        """Whether the body has not been asked for, and is not being thrown away."""
        return self.body is Body.HELD

    @property
    def remaining(self) -> int | None:
        """Bytes of a response body of stated length that are still to come; None where no length is stated."""
        return None if self.response_body is None else self.response_body.remaining

    @property
    def excess(self) -> int:
        """Bytes of the response body beyond what its framing can carry: they were dropped (ledger D4-16)."""
        return 0 if self.response_body is None else self.response_body.excess

    # -- the request's body --------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """
        The application wants the body, or time has decided for it: 100 goes out, once, if the client waits for it.

        :raises LocalProtocolError: when the request has been answered, or its response is not wanted any more.
        """
        before = self.handshake
        after = states.step(states.EXPECTATION, Handshake.ACCEPT, before)
        if before is Expectation.HELD:
            states.step(states.ANSWER, Output.INTERIM, self.answer)
            self.carrier.put(self, [b"HTTP/1.1 100 Continue\r\n\r\n"])
        self.handshake = after

    def begin_body(self) -> None:
        """
        The application reads: a withheld body is invited, and its bytes are delivered while ``flowing`` is set.

        :raises LocalProtocolError: when it cannot be read any more.
        """
        self.accept()
        if self.request_body is None:
            raise LocalProtocolError("the request has no body")
        self.request_body.want()

    def take_body(self) -> bytes | None:
        """The whole of a body whose length is known and whose bytes are all in hand, consumed; None for any other."""
        if self.answer is not _AWAITED and self.answer is not _STREAMING:
            return None
        return self.carrier.take_body(self)

    def abandon_body(self) -> None:
        """The application will not read the rest of the body."""
        if not self.over:
            self.carrier.abandon_body(self)

    # -- the response --------------------------------------------------------------------------------------------------

    def respond(self, status: int, fields: ResponseFields, body: bytes) -> int:
        """
        Answer with a whole response.

        :param status: 200 to 599.
        :param body: the whole body; left out where the response has none by nature.
        :return: bytes of the body that had no room, and were dropped (ledger D4-16); 0 for HEAD, which asks for none.
        :raises LocalProtocolError: when the exchange is answered already, or for another status.
        """
        if self.answer is not _AWAITED:
            self._cannot_answer(status)
        carrier = self.carrier
        caches = carrier.caches
        request = self.head
        size = len(body)
        if caches.seconds() >= caches.date_due:
            caches.renew_date()
        if (
            request.fast_path
            and carrier.incoming is None
            and not carrier.needs_full_decision
            and (
                head := caches.heads[request.sends_keep_alive].get((status, fields, size))
                or caches.ordinary_head(status, fields, size, request.sends_keep_alive)
            )
        ):
            carrier.decision = self.persistence = request.persistence
            self.answer = _COMPLETE
            self.status = status
            self.bytes_sent = size
            if self.held is not None or size >= _JOIN:
                carrier.put(self, [head, body])
            elif carrier.output is None:
                carrier.output = [head + body]
            else:
                carrier.output.append(head + body)
            if len(carrier.exchanges) == 1:
                carrier.exchanges = ()
            else:
                carrier.completed(self)
            return 0
        return self._respond(status, fields, body)

    def _respond(self, status: int, fields: ResponseFields, body: bytes) -> int:
        if not 200 <= status < 600:
            self._cannot_answer(status)
        excess = 0
        if status in BODILESS_STATUSES or self.method == b"HEAD":
            stated = fields.length if fields.length is not None else (len(body) or None)
            ending = self._frame(status, stated, fields.length)
            if self.method != b"HEAD":
                excess = len(body)
            body = b""
        elif fields.length is not None and fields.length != len(body):
            self.start(status, fields, fields.length)
            self.write(body)
            self.finish()
            return self.excess
        else:
            ending = self._frame(status, len(body), fields.length)
        decision = self.carrier.decide(self, ending, fields, False)
        self.answer = states.step(states.ANSWER, Output.WHOLE, self.answer)
        self.bytes_sent = len(body)
        self._put_head(status, fields, ending, responses.length_lines(ending), decision, body)
        self.carrier.completed(self)
        return excess

    def start(
        self,
        status: int,
        fields: ResponseFields = NO_FIELDS,
        length: int | None = None,
        trailers: Sequence[bytes] = (),
    ) -> None:
        """
        Begin a response whose body is to follow by `write` and `finish`.

        :param length: bytes of the body, None when not known.
        :param trailers: the names of the fields that will follow the body, where it is chunked.
        :raises LocalProtocolError: as `respond`.
        """
        if self.answer is not _AWAITED or not 200 <= status < 600:
            self._cannot_answer(status)
        ending = self._frame(status, length, fields.length)
        decision = self.carrier.decide(self, ending, fields, True)
        if not decision.keep and ending.delimiter is Delimiter.CHUNKED:
            ending = framing.decide_response(self.method, status, True, None, closing=True)
        self.answer = states.step(states.ANSWER, Output.START, self.answer)
        self.response_body = OutgoingBody(ending)
        lines = responses.length_lines(ending)
        if trailers and ending.delimiter is Delimiter.CHUNKED:
            lines += b"Trailer: %b\r\n" % b", ".join(trailers)
        self._put_head(status, fields, ending, lines, decision)

    def _put_head(
        self,
        status: int,
        fields: ResponseFields,
        ending: Framing,
        lines: bytes,
        decision: Persistence,
        body: bytes = b"",
    ) -> None:
        self.status = status
        self.response_framing = ending
        head = responses.head(self.carrier.caches, self.number, status, fields, lines, decision)
        self.carrier.put(self, [head, body] if body else [head])

    def write(self, data: bytes) -> None:
        """
        Send some body.

        Bytes beyond the stated length are dropped and counted in `excess` (ledger D4-16).

        :raises LocalProtocolError: when no response has begun.
        """
        if self.answer is not _STREAMING:
            raise LocalProtocolError(f"body data: not possible when {self.answer.value}")
        assert self.response_body is not None
        out = self.response_body.write(data)
        self.bytes_sent = self.response_body.sent
        self.carrier.put(self, out)

    def written_past(self, size: int) -> None:
        """
        So many bytes of a body of stated length were sent by other means, behind all that was given as output.

        :raises LocalProtocolError: unless it is this body's turn, and has a stated length with room for them.
        """
        if self.answer is not _STREAMING or self.held is not None or self.carrier.output:
            raise LocalProtocolError("body data sent past the connection, out of turn")
        assert self.response_body is not None
        self.response_body.sent_past(size)
        self.bytes_sent = self.response_body.sent

    def finish(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """
        End a response. With fewer bytes than stated it is aborted instead, never padded (ledger D4-17).

        :param trailers: the fields behind a chunked body, checked.
        :raises LocalProtocolError: when no response has begun.
        """
        if self.answer is not _STREAMING:
            raise LocalProtocolError(f"the end of a body: not possible when {self.answer.value}")
        assert self.response_body is not None
        out = self.response_body.finish(field_lines(trailers))
        if out is None:
            return self.abort()
        carrier = self.carrier
        carrier.put(self, out)
        self.answer = states.step(states.ANSWER, Output.FINISH, self.answer)
        ending = self.response_framing
        if self.response_body.excess and ending is not None and ending.delimiter is Delimiter.LENGTH:
            carrier.decision = self.persistence = persistence.OVERRUN
        carrier.completed(self)

    def interim(self, status: int, fields: ResponseFields = NO_FIELDS) -> None:
        """
        Send an interim response, 102 to 199; swallowed where the client speaks HTTP/1.0 (ledger X-09).

        :raises LocalProtocolError: after the final response has begun, or for another status.
        """
        states.step(states.ANSWER, Output.INTERIM, self.answer)
        if not 102 <= status < 200:
            raise LocalProtocolError(f"not an interim status: {status}")
        if self.http11:
            self.carrier.put(self, [b"%b%b\r\n" % (STATUS_LINES[status], block(fields))])

    def switch(self, protocol: bytes, fields: ResponseFields = NO_FIELDS) -> bytes:
        """
        Answer 101 and leave HTTP.

        :return: bytes that came behind the request: the first of the new protocol.
        :raises LocalProtocolError: unless the protocol was offered, the body is read, and no other exchange is in
            service.
        """
        if protocol.lower() not in (name.lower() for name in self.head.upgrades):
            raise LocalProtocolError(f"the client did not offer {protocol!r}")
        carrier = self.carrier
        if carrier.incoming is not None or carrier.exchanges != (self,):
            raise LocalProtocolError("the request is not complete, or not alone")
        self.answer = states.step(states.ANSWER, Output.SWITCH, self.answer)
        self.status = 101
        self.persistence = persistence.SWITCHED
        self.response_framing = framing.decide_response(self.method, 101, True, None)
        lines = b"Upgrade: %b\r\nConnection: upgrade\r\n" % protocol
        carrier.put(self, [b"%b%b%b\r\n" % (STATUS_LINES[101], lines, block(fields))])
        return carrier.leave_http(self)

    def abort(self) -> None:
        """End a response unfinished; the connection ends with it (ledger D4-19, D4-20)."""
        if self.answer is Answer.ABORTED:
            return
        self.answer = states.step(states.ANSWER, Output.ABORT, self.answer)
        if self.persistence is None or not self.persistence.fault:
            self.persistence = persistence.ABORTED
        self.carrier.serve_nothing_behind(self)
        self.carrier.completed(self)

    def _cannot_answer(self, status: int) -> NoReturn:
        if self.answer is not _AWAITED:
            raise LocalProtocolError(f"a response: not possible when {self.answer.value}")
        raise LocalProtocolError(f"not the status of a final response: {status}")

    def _frame(self, status: int, length: int | None, stated: int | None) -> Framing:
        return framing.decide_response(
            self.method,
            status,
            self.http11,
            length,
            stated=stated,
            chunked=self.carrier.caches.policy.chunkedResponses,
        )
