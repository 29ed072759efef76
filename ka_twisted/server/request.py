"""What a handler is given."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.python.failure import Failure

from ..core.errors import LocalProtocolError
from ..core.exchange import Exchange
from ..core.expectation import Expected
from ..core.framing import Framing
from ..core.headers import FieldsInput, FieldText, Headers, encode_text, response_fields
from ..core.persistence import Persistence
from ..core.targets import split_target
from ..interfaces import IConnection
from .body import RequestBody
from .response import Result
from .stream import ServerStream
from .writer import ResponseWriter


class ConnectionView:
    """A connection, as the application sees it from one of its requests."""

    __slots__ = ("protocol", "requestNumber")

    def __init__(self, connection: IConnection, requestNumber: int) -> None:
        #: The connection itself: an instance of the protocol class that the factory was given.
        self.protocol = connection
        #: Number of the request on its connection, from 1.
        self.requestNumber = requestNumber

    @property
    def id(self) -> int:
        """Number of the connection in its factory, from 1."""
        return self.protocol.id

    @property
    def peer(self) -> IAddress:
        """Where the client is."""
        return self.protocol.peer

    @property
    def host(self) -> IAddress:
        """Where the client reached us."""
        return self.protocol.host

    @property
    def secure(self) -> bool:
        """Whether it runs on TLS."""
        return self.protocol.secure

    @property
    def requestCount(self) -> int:
        """Requests taken up so far."""
        return self.protocol.requestCount

    @property
    def age(self) -> float:
        """Seconds since it was accepted."""
        return self.protocol.age

    @property
    def lastDecision(self) -> Persistence | None:
        """What was decided with the latest response; None before the first."""
        return self.protocol.lastDecision

    @property
    def clock(self) -> IReactorTime:
        """The reactor, or whatever keeps the time in its place."""
        return self.protocol.clock


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
    _writer: ResponseWriter | None = None
    _finished: Deferred[None] | None = None
    _failure: Failure | None = None
    #: Kept when the stream, which is left with the facts, does not know it any more.
    _connection: IConnection | None = None

    def __init__(self, stream: ServerStream) -> None:
        self._stream = stream

    @property
    def method(self) -> str:
        """The method, case kept."""
        return self._stream.method.decode("ascii")

    @property
    def target(self) -> str:
        """The target as it came."""
        return self._stream.target.decode("ascii")

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
            self._query = split_target(self._stream.target)
        return self._query

    @property
    def version(self) -> str:
        """``"1.0"``, ``"1.1"`` or ``"2"``; later minor versions are served, and shown, as 1.1 (ledger H-02)."""
        return self._stream.version

    @property
    def headers(self) -> Headers:
        """The fields, less those that Connection names: they were for the connection only (ledger K-08)."""
        return self._stream.headers

    @property
    def host(self) -> str:
        """The authority asked for: the target's where it has one, else the Host field's (RFC 9112 3.3)."""
        return self._stream.head.authority.decode("ascii")

    @property
    def contentLength(self) -> int | None:
        """Bytes of the body; 0 where there is none, None where its end is not known beforehand."""
        return self._stream.framing.length

    @property
    def number(self) -> int:
        """Number of the request on its connection, from 1."""
        return self._stream.number

    @property
    def upgrades(self) -> tuple[str, ...]:
        """The protocols that the client offers to switch to, in its order of preference."""
        return tuple(name.decode("ascii", "replace") for name in self._stream.head.upgrades)

    @property
    def exchange(self) -> Exchange:
        """The facts about it and its response."""
        assert isinstance(self._stream, Exchange)
        return self._stream

    @property
    def log(self) -> dict[str, object]:
        """
        What its line in the access log is to say besides: ``request.log["user"] = "anna"``.

        The JSON format has it as the object ``log``, others take a field by ``%(log.user)s``. What is set after the
        response has ended is not told.
        """
        exchange = self.exchange
        if exchange.log is None:
            exchange.log = {}
        return exchange.log

    @property
    def connection(self) -> ConnectionView:
        """The connection that it came on."""
        return ConnectionView(self._connection or self._stream.connection, self._stream.number)

    @property
    def client(self) -> IAddress:
        """
        Where the client is: the peer of the connection, or whom a trusted proxy says that it asks for.

        The address is that of ``Forwarded`` (RFC 7239) or ``X-Forwarded-For``, with the port 0 where none is told.
        It is looked for each time it is asked for, and only where the server was told to trust proxies.
        """
        connection = self._connection or self._stream.connection
        peer = connection.peer
        trusted = getattr(connection.registry, "trustedProxies", None)  # other registries have no such thing
        if trusted is None or not trusted.trusts(None if isinstance(peer, UNIXAddress) else getattr(peer, "host", "")):
            return peer
        client = trusted.client(self.headers.raw)
        if client is None:
            return peer
        return (IPv6Address if ":" in client.host else IPv4Address)("TCP", client.host, client.port)

    @property
    def framing(self) -> Framing:
        """How its body ends, and by which rule."""
        return self._stream.framing

    @property
    def expectation(self) -> Expected:
        """What the client expects before it sends the body, and by which rule."""
        return self._stream.head.expected

    @property
    def persistence(self) -> Persistence:
        """
        What becomes of the connection.

        The decision, once it was made with the response; until then, what it would be for an ordinary response to a
        request that is wholly read.
        """
        return self._stream.persistence or self._stream.expectedPersistence

    @property
    def body(self) -> RequestBody:
        """The body: ``async for chunk in request.body``. The first read invites a withheld body."""
        if self._body is None:
            self._body = RequestBody(self._stream)
            if self._failure is not None:
                self._body.failed(self._failure.value or ConnectionDone())
            if self._stream.user is None:
                self._register()
        return self._body

    def _register(self) -> None:
        """Be told of the end of the stream."""
        if not self._stream.over:
            self._stream.user = self

    def read(self, limit: int | None = None) -> Deferred[bytes]:
        """The whole body; see `RequestBody.read`."""
        if self._body is None and limit is None and (whole := self._stream.take_body()) is not None:
            return succeed(whole)  # it is in hand: that is the way of most small ones
        return self.body.read(limit)

    def interim(self, status: int, headers: FieldsInput | None = None) -> None:
        """
        Send an interim response, e.g. 103; swallowed where the client speaks HTTP/1.0.

        :raises ValueError: after the final response has begun; for a status outside 102 to 199; for fields that are
            none.
        """
        self._stream.interim(status, response_fields(headers))
        self._stream.flush()

    def start(
        self,
        status: int = 200,
        headers: FieldsInput | None = None,
        *,
        length: int | None = None,
        trailers: tuple[FieldText, ...] = (),
    ) -> ResponseWriter:
        """
        Begin a response, and write its body whenever there is something: the handler returns None then.

        :param status: 200 to 599.
        :param length: bytes of the body, where they are known.
        :param trailers: names of the fields that `ResponseWriter.finish` will be given; sent where the client takes
            trailers and the body is chunked.
        :raises ValueError: when the request has been answered; for a status or fields that are none.
        """
        stream = self._stream
        fields = response_fields(headers)
        if fields.length is not None and length is None:
            length = fields.length
        names = [encode_text(name) for name in trailers] if stream.head.wants_trailers else []
        stream.start(status, fields, length, names)
        self._register()
        self._writer = ResponseWriter(stream, trailers, sendsTrailers=bool(names))
        stream.flush()
        return self._writer

    @property
    def started(self) -> bool:
        """Whether the application pushes the response; see `start`."""
        return self._writer is not None

    @property
    def finished(self) -> Deferred[None]:
        """
        Fires when the response is out: all of it has been handed to the connection. Fails with the reason when the
        client has gone before, or the response was aborted. The same Deferred each time.
        """
        if self._finished is None:
            self._finished = Deferred()
            if self._stream.over:
                self._tellFinished()
            else:
                self._register()
        return self._finished

    def respond(self, result: Result) -> None:
        """
        Answer: with whatever a handler may return, a Deferred and a coroutine included.

        For subclasses of the protocol that override ``requestReceived``.

        :raises ValueError: when it has been answered; None is then no answer, for a handler that pushes its response.
        """
        if result is None and self.started:
            return
        if self._stream.answered or self.pending is not None:
            raise LocalProtocolError("the request has been answered")
        self._stream.handle(self, result)

    # -- what the stream tells: see `stream.StreamUser` ----------------------------------------------------------------

    def streamConcluded(self, connection: IConnection) -> None:
        """Nothing more is written: there is nothing to wait for any more."""
        self._connection = connection
        if self._body is not None and not self._stream.consumed:
            self._body.failed(LocalProtocolError("the request has been answered"))
        if self._finished is not None:
            self._tellFinished()

    def streamCancelled(self, reason: Failure) -> None:
        """The client does not wait for the response any more: tell those who make it."""
        self._failure = reason
        if self._body is not None:
            self._body.failed(reason.value or ConnectionDone())
        if self._writer is not None:
            self._writer.stopProducer()
        if self.pending is not None:
            pending, self.pending = self.pending, None
            pending.cancel()

    def _tellFinished(self) -> None:
        finished = self._finished
        assert finished is not None
        if finished.called:
            return
        if self._failure is not None:
            finished.errback(self._failure)
        elif not self._stream.completed:
            finished.errback(LocalProtocolError("the response was aborted"))
        else:
            finished.callback(None)

    def __repr__(self) -> str:
        return f"<Request {self.number} {self.method} {self.target}>"
