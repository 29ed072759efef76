"""
What the protocol layer decides about requests and their connection, as plain values for `explain`.

Nothing is parsed or decided here: the bytes go through a `ServerConnection`, and what comes out is
written down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core.errors import LocalProtocolError, RemoteProtocolError
from ..core.exchange import VERSION_NAMES
from ..core.framing import Delimiter, Framing
from ..core.headers import NO_FIELDS, ResponseFields, response_fields
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..core.semantics import SAFE_METHODS
from ..http1.caches import ServerCaches
from ..http1.events import BodyComplete, BodyFailed, Event, RequestRefused
from ..http1.exchange import Exchange
from ..http1.request_fields import RequestFields
from ..http1.response_heads import parse_response_head
from ..http1.server import ServerConnection
from ..http1.states import Expectation, Reading
from .document import (
    ErrorJson,
    ExplanationJson,
    FramingJson,
    HandshakeJson,
    OverlapJson,
    PersistenceJson,
    RequestJson,
    ResponseJson,
)

#: The response fields that speak of the connection and of the end of the message.
_CONNECTION_FIELDS = ("Upgrade", "Connection", "Keep-Alive", "Content-Length", "Transfer-Encoding")
_CLOSING = ResponseFields(asks_close=True)
_LF_ALONE = re.compile(rb"(?<!\r)\n")
#: Bytes that are shown of what is no request line.
_EXCERPT = 60


@dataclass(frozen=True)
class Reply:
    """
    A final response, as an application asks for it.

    :ivar length: bytes of the body; None where they are not known beforehand.
    :ivar assumed: what the response is was not given.
    """

    status: int
    fields: ResponseFields
    length: int | None
    assumed: bool = False


#: Something ordinary, with an end that can be told.
ORDINARY = Reply(200, NO_FIELDS, 6, assumed=True)


def readReply(head: bytes) -> Reply:
    """
    The reply that a raw response head stands for; what follows the head is left alone.

    :raises ValueError: with one sentence, when it is none, or not that of a final response.
    """
    end = head.find(b"\r\n\r\n") + 4
    if end < 4:
        raise ValueError(f"the response head does not end in an empty line{lfHint(head)}")
    try:
        parsed = parse_response_head(head[:end])
        fields = response_fields(parsed.headers.raw)
    except (RemoteProtocolError, LocalProtocolError) as error:
        raise ValueError(f"{error}{lfHint(head[:end])}") from None
    if not 200 <= parsed.status < 600:
        raise ValueError(f"a final response has a status from 200 to 599, not {parsed.status}")
    coded = b"transfer-encoding" in parsed.headers
    return Reply(parsed.status, fields, None if coded else fields.length)


def lfHint(data: bytes) -> str:
    """What to do about lines that end as editors end them; empty where there are none."""
    if _LF_ALONE.search(data) is None:
        return ""
    return "; some lines end in LF alone where HTTP has CR LF: --crlf converts them"


def explain(data: bytes, terms: ServerCaches, reply: Reply = ORDINARY) -> ExplanationJson:
    """
    Explain the requests of one connection.

    :param data: all that a client sends, from the first byte.
    :param reply: what each request is answered with.
    :return: ``requests``, a list; ``unread``, the bytes at the end that are not looked at.
    """
    told = _Explanation(data, terms, reply)
    return {"requests": list(iter(told.next, None)), "unread": told.unread}


class _Explanation:
    """One connection, fed no more at a time than belongs to one request."""

    def __init__(self, data: bytes, terms: ServerCaches, reply: Reply) -> None:
        self._data = data
        self._position = 0
        self._caches = terms
        self._reply = reply
        self._core = ServerConnection(terms)

    @property
    def unread(self) -> int:
        """Bytes behind the last request that is served."""
        return len(self._data) - self._position

    def next(self) -> RequestJson | None:
        """The next request explained; None at the end."""
        if self._core.ending is not None:
            return None
        start = self._position
        self._core.take_output()
        event = self._head()
        if isinstance(event, Exchange):
            return self._served(event, start)
        if isinstance(event, RequestRefused):
            return self._refused(event, self._data[start : self._position])
        return None

    def _head(self) -> Exchange | Event | None:
        """The next request, or what the end of the input makes of a part of one."""
        core = self._core
        while (event := core.next_event()) is None:
            if not self._feed(self._line()):
                if core.reading is not Reading.HEAD:
                    return None
                core.receive_eof()
        return event

    def _feed(self, size: int) -> int:
        piece = self._data[self._position : self._position + size]
        self._position += len(piece)
        self._core.receive(piece)
        return len(piece)

    def _line(self) -> int:
        """Bytes up to the next line feed, or to the end."""
        return (self._data.find(b"\n", self._position) + 1 or len(self._data)) - self._position

    def _served(self, exchange: Exchange, start: int) -> RequestJson:
        """A request that the application gets."""
        told = _meaning(exchange)
        error = None
        if exchange.framing.delimiter is not Delimiter.NONE:
            error = self._body(exchange, told)
            if error is not None and not self._core.eof:
                told["refused"] = _error(error)
                return self._said(exchange, told)
        told["response"], told["persistence"], told["carries"] = self._answered(exchange)
        keeps = told["persistence"]["keep"]
        if error is not None:
            told["body"]["ifThisIsAll"] = _error(error)
            if keeps:
                told["ifLeftUnread"] = self._leftUnread(start)
        elif self._core.ending is None:
            exchange.respond(200, NO_FIELDS if keeps else _CLOSING, b"")
        return told

    def _body(self, exchange: Exchange, told: RequestJson) -> RemoteProtocolError | None:
        """Read the body; the error is that of a broken body, or of one that is not complete."""
        core = self._core
        start = self._position
        self._feed(self._due(exchange))
        handshake = exchange.handshake
        exchange.begin_body()
        core.take_output()  # perhaps 100 Continue
        exchange.flowing = True
        while not isinstance(event := core.next_event(), (BodyComplete, BodyFailed)):
            if event is None and not self._feed(self._due(exchange)):
                core.receive_eof()
        complete = isinstance(event, BodyComplete)
        told["body"] = {"bytes": self._position - start, "complete": complete}
        if handshake is not Expectation.NONE:
            told["expectation"]["answer"] = _handshake(handshake, complete)
        return None if isinstance(event, BodyComplete) else event.error

    def _due(self, exchange: Exchange) -> int:
        """Bytes that belong to the body for certain: its rest, or a line."""
        rest = exchange.request_body.remaining if exchange.request_body is not None else None
        return self._line() if rest is None else rest

    def _answered(self, exchange: Exchange) -> tuple[ResponseJson, PersistenceJson, list[str]]:
        """The reply to a request that is wholly read, on a connection of its own."""
        twin = ServerConnection(self._caches)
        answered = Exchange(exchange.number, exchange.head, twin)
        twin.add(answered)
        decision, ending = self._start(twin, answered)
        response: ResponseJson = {
            "status": self._reply.status,
            "length": self._reply.length,
            "assumed": self._reply.assumed,
            "framing": _framing(ending),
        }
        return response, _persistence(decision), _carried(twin)

    def _leftUnread(self, start: int) -> PersistenceJson:
        """The decision when the request is answered without any more of its body."""
        other = ServerConnection(self._caches)
        other.receive(self._data[start : self._position])
        exchange = other.next_event()
        assert isinstance(exchange, Exchange)
        return _persistence(self._start(other, exchange)[0])

    def _start(self, core: ServerConnection, exchange: Exchange) -> tuple[Persistence, Framing]:
        reply = self._reply
        exchange.start(reply.status, reply.fields, reply.length)
        assert exchange.persistence is not None
        assert exchange.response_framing is not None
        return exchange.persistence, exchange.response_framing

    def _refused(self, event: RequestRefused, data: bytes) -> RequestJson:
        """A request that the connection answers by itself."""
        exchange = event.exchange
        told: RequestJson = {
            "number": exchange.number,
            "line": None,
            "bytes": _text(data[:_EXCERPT]),
        }
        if exchange.method:
            told = {"number": exchange.number, "line": _requestLine(exchange)}
        if exchange.fields is not None:
            told = _meaning(exchange)
        told["refused"] = refused = _error(event.error)
        refused["hint"] = lfHint(data).removeprefix("; ")
        if self._core.eof and not refused["hint"]:
            refused["hint"] = "the input ends here; a request head ends in an empty line"
        return self._said(exchange, told)

    def _said(self, exchange: Exchange, told: RequestJson) -> RequestJson:
        """With what the connection has decided and written by itself."""
        assert exchange.persistence is not None
        told["persistence"] = _persistence(exchange.persistence)
        told["carries"] = _carried(self._core)
        return told


# -- values as JSON has them -------------------------------------------------------------------------


def _text(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace")


def _requestLine(exchange: Exchange) -> str:
    return f"{_text(exchange.method)} {_text(exchange.target)} {VERSION_NAMES[exchange.version]}"


def _meaning(exchange: Exchange) -> RequestJson:
    """What the head of a request says about the connection."""
    fields = exchange.fields
    assert fields is not None
    expected = fields.expected
    return {
        "number": exchange.number,
        "line": _requestLine(exchange),
        "host": _text(fields.host),
        "connection": sorted(map(_text, fields.options)),
        "upgrades": list(map(_text, fields.upgrades)),
        "framing": _framing(fields.framing),
        "expectation": {
            "awaits": expected.expects_continue,
            "met": expected.supported,
            "clause": expected.clause,
            "row": expected.row,
        },
        "overlap": _overlap(exchange, fields),
    }


def _framing(framing: Framing) -> FramingJson:
    return {
        "delimiter": framing.delimiter.value,
        "length": framing.length,
        "clause": framing.clause,
        "row": framing.row,
    }


def _persistence(decision: Persistence) -> PersistenceJson:
    reason = decision.reason
    return {
        "keep": decision.keep,
        "reason": reason.name,
        "text": reason.text if isinstance(reason, CloseReason) else reason.value,
        "clause": decision.clause,
        "row": decision.row,
    }


def _error(error: RemoteProtocolError) -> ErrorJson:
    return {
        "status": error.status,
        "sentence": str(error),
        "clause": error.clause,
        "row": error.row,
        "closeReason": error.reason.name,
    }


def _overlap(exchange: Exchange, fields: RequestFields) -> OverlapJson:
    """Whether a request may be in service beside its neighbours."""
    why = f"{_text(exchange.method)} is safe, and nothing follows the head"
    if exchange.method not in SAFE_METHODS:
        why = f"{_text(exchange.method)} is not safe"
    elif fields.framing.delimiter is not Delimiter.NONE:
        why = "a body follows"
    elif fields.upgrades:
        why = "the connection may leave HTTP"
    return {"allowed": exchange.head.pipelinable, "why": why, "clause": "RFC 9112 9.3.2", "row": "N-02"}


_WHOLE: HandshakeJson = {"continue": False, "text": "the body is here already", "row": "D3-08"}
_PART: HandshakeJson = {"continue": False, "text": "part of the body is here already", "row": "D3-14"}
_NONE: HandshakeJson = {"continue": True, "text": "100 when the application reads the body", "row": "D3-09"}


def _handshake(handshake: Expectation, complete: bool) -> HandshakeJson:
    """Whether 100 goes out, given how much of the body has come without."""
    if handshake is Expectation.HELD:
        return _NONE
    return _WHOLE if complete else _PART


def _carried(core: ServerConnection) -> list[str]:
    """The lines about the connection in the response that has just been written."""
    head = b"".join(core.take_output()).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    headers = parse_response_head(head).headers
    return [f"{name}: {value}" for name in _CONNECTION_FIELDS for value in headers.all(name)]
