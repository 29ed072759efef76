"""What a handler is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime

from ..core.errors import LocalProtocolError
from ..core.expectation import Expected
from ..core.framing import Framing
from ..core.headers import FieldsInput, Headers, response_fields
from ..core.persistence import Persistence
from ..core.targets import split_target
from ..http1 import persistence
from ..http1.messages import check_target
from ..http1.pipeline import Exchange
from .body import RequestBody

if TYPE_CHECKING:
    from .protocol import KeepAliveProtocol


class ConnectionView:
    """A connection, as the application sees it from one of its requests."""

    __slots__ = ("_protocol", "requestNumber")

    def __init__(self, protocol: KeepAliveProtocol, requestNumber: int) -> None:
        self._protocol = protocol
        #: Number of the request on its connection, from 1.
        self.requestNumber = requestNumber

    @property
    def id(self) -> int:
        """Number of the connection in its factory, from 1."""
        return self._protocol.id

    @property
    def peer(self) -> IAddress:
        """Where the client is."""
        return self._protocol.peer

    @property
    def host(self) -> IAddress:
        """Where the client reached us."""
        return self._protocol.host

    @property
    def secure(self) -> bool:
        """Whether it runs on TLS."""
        return self._protocol.secure

    @property
    def requestCount(self) -> int:
        """Requests taken up so far."""
        return self._protocol.requestCount

    @property
    def age(self) -> float:
        """Seconds since it was accepted."""
        return self._protocol.age

    @property
    def lastDecision(self) -> Persistence | None:
        """What was decided with the latest response; None before the first."""
        return self._protocol.lastDecision

    @property
    def clock(self) -> IReactorTime:
        """The reactor, or whatever keeps the time in its place."""
        return self._protocol.factory.clock

    @property
    def protocol(self) -> KeepAliveProtocol:
        """The connection itself."""
        return self._protocol


class Request:
    """
    A request whose head is complete. Its body, if there is one, has not been read: see `body` and `read`.

    Names and values are ``str``: targets are ASCII, field values Latin-1, as they came.
    """

    #: The handler's Deferred, while it has not fired.
    pending: Deferred[Any] | None = None
    #: For the application's own use.
    state: Any = None
    _body: RequestBody | None = None
    _query: tuple[str, str] | None = None

    def __init__(self, protocol: KeepAliveProtocol, exchange: Exchange) -> None:
        self._protocol = protocol
        self._exchange = exchange

    @property
    def method(self) -> str:
        """The method, case kept."""
        return self._exchange.method.decode("ascii")

    @property
    def target(self) -> str:
        """The target as it came."""
        return self._exchange.target.decode("ascii")

    @property
    def path(self) -> str:
        """The path of the target, percent-escapes kept; ``*`` for the server as a whole."""
        return self._split()[0]

    @property
    def query(self) -> str:
        """The target behind its first question mark, percent-escapes kept."""
        return self._split()[1]

    def _split(self) -> tuple[str, str]:
        if self._query is None:
            self._query = split_target(self._exchange.target)
        return self._query

    @property
    def version(self) -> str:
        """``"1.1"`` or ``"1.0"``; later minor versions are served, and shown, as 1.1 (ledger H-02)."""
        return "1.1" if self._exchange.http11 else "1.0"

    @property
    def headers(self) -> Headers:
        """The fields, less those that Connection names: they were for the connection only (ledger K-08)."""
        return self._exchange.headers

    @property
    def host(self) -> str:
        """The authority asked for: the target's where it has one, else the Host field's (RFC 9112 3.3)."""
        exchange = self._exchange
        named = None if exchange.target[:1] == b"/" else check_target(exchange.method, exchange.target)
        if named is None:
            named = exchange.fields.host if exchange.fields is not None else b""
        return named.decode("ascii")

    @property
    def contentLength(self) -> int | None:
        """Bytes of the body; 0 where there is none, None where its end is not known beforehand."""
        return self._exchange.framing.length

    @property
    def number(self) -> int:
        """Number of the request on its connection, from 1."""
        return self._exchange.number

    @property
    def upgrades(self) -> tuple[str, ...]:
        """The protocols that the client offers to switch to, in its order of preference."""
        fields = self._exchange.fields
        return () if fields is None else tuple(name.decode("ascii", "replace") for name in fields.upgrades)

    @property
    def exchange(self) -> Exchange:
        """What the protocol layer knows of it."""
        return self._exchange

    @property
    def connection(self) -> ConnectionView:
        """The connection that it came on."""
        return ConnectionView(self._protocol, self._exchange.number)

    @property
    def framing(self) -> Framing:
        """How its body ends, and by which rule."""
        return self._exchange.framing

    @property
    def expectation(self) -> Expected:
        """What the client expects before it sends the body, and by which rule."""
        fields = self._exchange.fields
        assert fields is not None
        return fields.expected

    @property
    def persistence(self) -> Persistence:
        """
        What becomes of the connection.

        The decision, once it was made with the response; until then, what it would be for an ordinary response to a
        request that is wholly read.
        """
        exchange = self._exchange
        if exchange.persistence is not None:
            return exchange.persistence
        if self._protocol.core.draining:
            return persistence.DRAINING
        assert exchange.fields is not None
        return exchange.fields.persistence

    @property
    def body(self) -> RequestBody:
        """The body: ``async for chunk in request.body``. The first read invites a withheld body."""
        if self._body is None:
            self._body = RequestBody(self._protocol, self._exchange)
            self._exchange.owner = self
        return self._body

    def read(self, limit: int | None = None) -> Deferred[bytes]:
        """The whole body; see `RequestBody.read`."""
        return self.body.read(limit)

    def interim(self, status: int, headers: FieldsInput | None = None) -> None:
        """
        Send an interim response, e.g. 103; swallowed where the client speaks HTTP/1.0.

        :raises ValueError: after the final response has begun; for a status outside 102 to 199; for fields that are
            none.
        """
        fields = response_fields(headers)
        self._protocol.core.interim(self._exchange, status, fields)
        self._protocol.turn()

    def respond(self, result: Any) -> None:
        """
        Answer: with whatever a handler may return, a Deferred and a coroutine included.

        For subclasses of the protocol that override ``requestReceived``.

        :raises ValueError: when it has been answered.
        """
        if self._exchange.answered or self.pending is not None:
            raise LocalProtocolError("the request has been answered")
        self._protocol.answer(self, result)

    def __repr__(self) -> str:
        return f"<Request {self.number} {self.method} {self.target}>"
