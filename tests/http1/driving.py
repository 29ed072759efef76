"""
A connection of the core with an application on it, the ways to cut what it receives, and an independent reader
of what it answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ka_twisted.config import Limits, Policy, Timeouts
from ka_twisted.core.headers import FieldsInput, response_fields
from ka_twisted.core.persistence import Persistence
from ka_twisted.http1.caches import ServerCaches
from ka_twisted.http1.events import (
    BodyComplete,
    BodyFailed,
    BodyReceived,
    Ending,
    Event,
    ExchangeCancelled,
    RequestRefused,
)
from ka_twisted.http1.exchange import Exchange
from ka_twisted.http1.server import ServerConnection

Review = Callable[[Exchange, Persistence], Persistence]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_10 = b"GET / HTTP/1.0\r\n\r\n"


def get(target: str = "/", *fields: str, method: str = "GET", minor: int = 1, body: bytes = b"") -> bytes:
    """A request with these field lines; a Host comes by itself with HTTP/1.1."""
    lines = [f"{method} {target} HTTP/1.{minor}", *(["Host: a"] if minor else []), *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def post(body: bytes, *fields: str, method: str = "POST", minor: int = 1) -> bytes:
    """A request with a counted body."""
    return get("/", f"Content-Length: {len(body)}", *fields, method=method, minor=minor, body=body)


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body of these pieces."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def upload(wire_body: bytes, *fields: str, method: str = "POST") -> bytes:
    """A request with ``Transfer-Encoding: chunked`` and these bytes behind it."""
    return get("/", "Transfer-Encoding: chunked", *fields, method=method, body=wire_body)


# -- cuts --------------------------------------------------------------------------------------------------------------


def cuts(data: bytes, *, seeds: int = 8) -> Iterator[list[bytes]]:
    """The bytes in segments: whole, one at a time, in two at every place when they are few, and at random places."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    if len(data) <= 200:
        yield from ([data[:i], data[i:]] for i in range(1, len(data)))
    for seed in range(seeds):
        yield cut_at_random(data, random.Random(seed))


def cut_at_random(data: bytes, chance: random.Random) -> list[bytes]:
    """The bytes in segments of random, mostly small, sizes."""
    pieces: list[bytes] = []
    while data:
        size = min(len(data), 1 + int(chance.expovariate(1 / 12)))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


# -- the answers, read by another parser -------------------------------------------------------------------------------


@dataclass
class Reply:
    """
    A response as read from the bytes.

    :ivar complete: False when the bytes end inside it.
    """

    status: int
    lines: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = True
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.lines if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None

    @property
    def connection(self) -> list[str]:
        """The Connection, Keep-Alive and Upgrade lines, in order."""
        return [f"{name}: {value}" for name, value in self.lines if name.lower() in _CONNECTION_FIELDS]


_CONNECTION_FIELDS = ("connection", "keep-alive", "upgrade")


def replies(data: bytes, methods: list[str], *, ended: bool = False) -> list[Reply]:
    """
    The responses that these bytes are, interim ones among them. Strict: what is not well-formed fails the test.

    :param methods: of the requests, in order; what they say about HEAD and CONNECT is needed to find the ends.
    :param ended: whether the connection ends behind the bytes.
    """
    found: list[Reply] = []
    finals = 0
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        if not separator:
            assert ended, f"half a head: {head!r}"
            raise AssertionError(f"the connection ends inside a head: {head!r}")
        reply = _head(head)
        found.append(reply)
        if 100 <= reply.status < 200:
            assert reply.get("Content-Length") is None
            assert reply.get("Transfer-Encoding") is None
            if reply.status == 101:
                reply.body = data
                return found
            continue
        assert finals < len(methods), f"a response too many: {head!r}"
        method = methods[finals]
        finals += 1
        data = _body(reply, method, data, ended)
        if not reply.complete:
            assert not data
    return found


def _head(head: bytes) -> Reply:
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert b"\r" not in head.replace(b"\r\n", b"")
    first, *rest = head.decode("latin-1").split("\r\n")
    version, code, _phrase = first.split(" ", 2)
    assert version == "HTTP/1.1"
    assert len(code) == 3
    return Reply(int(code), [_line(line) for line in rest])


def _line(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(": ")
    assert colon, f"no field: {line!r}"
    assert name, f"no field: {line!r}"
    assert not set(name) & set(' \t"(),/:;<=>?@[\\]{}'), f"no field: {line!r}"
    return name, value


def _body(reply: Reply, method: str, data: bytes, ended: bool) -> bytes:
    """Read the body into the reply; returns what is behind it."""
    coding, length = reply.get("Transfer-Encoding"), reply.get("Content-Length")
    assert coding is None or length is None, "both length fields"
    if method == "HEAD" or reply.status in (204, 304) or (method == "CONNECT" and reply.status < 300):
        return data
    if coding is not None:
        assert coding == "chunked"
        return _chunks(reply, data)
    if length is not None:
        reply.body, rest = data[: int(length)], data[int(length) :]
        reply.complete = len(reply.body) == int(length)
        return rest
    assert "close" in reply.all("Connection"), "nothing tells where the body ends"
    reply.body = data
    reply.complete = ended
    return b""


def _chunks(reply: Reply, data: bytes) -> bytes:
    while True:
        size, separator, data = data.partition(b"\r\n")
        if not separator:
            reply.complete = False
            return b""
        count = int(size, 16)
        if not count:
            break
        reply.body += data[:count]
        if len(data) < count + 2:
            reply.complete = False
            return b""
        assert data[count : count + 2] == b"\r\n"
        data = data[count + 2 :]
    while not data.startswith(b"\r\n"):
        line, separator, data = data.partition(b"\r\n")
        if not separator:
            reply.complete = False
            return b""
        reply.trailers.append(_line(line.decode("latin-1")))
    return data[2:]


# -- a connection with an application ----------------------------------------------------------------------------------

Application = Callable[["Wire", Exchange], object]


def at_once(wire: Wire, exchange: Exchange) -> None:
    """Answers when the head is there, and does not look at the body."""
    wire.answer(exchange)


def when_read(wire: Wire, exchange: Exchange) -> None:
    """Reads the body, and answers when it is complete with what it was."""
    if exchange.request_body is None:
        wire.answer(exchange)
    else:
        wire.read(exchange)


def later(wire: Wire, exchange: Exchange) -> None:
    """Leaves it to the test."""


class Reviewed(ServerConnection):
    """A connection about whose decisions a test is asked."""

    __slots__ = ("_review",)

    def __init__(self, caches: ServerCaches, review: Review) -> None:
        super().__init__(caches, reviews=True)
        self._review = review

    def review(self, exchange: Exchange, decision: Persistence) -> Persistence:
        return self._review(exchange, decision)


class Wire:
    """
    One connection from the peer's side and the application's.

    :ivar exchanges: those that the application was called for.
    :ivar events: everything that happened, in order.
    :ivar bodies: the request bodies so far, by request number.
    """

    def __init__(
        self,
        application: Application = at_once,
        *,
        limits: Limits | None = None,
        policy: Policy | None = None,
        timeouts: Timeouts | None = None,
        caches: ServerCaches | None = None,
        review: Review | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        self.seconds = 0.0
        if caches is None:
            caches = ServerCaches(limits, policy, timeouts, seconds=lambda: self.seconds, wall_clock=wall_clock)
        self.caches = caches
        self.core = ServerConnection(caches) if review is None else Reviewed(caches, review)
        self.application = application
        self.exchanges: list[Exchange] = []
        self.events: list[Exchange | Event] = []
        self.bodies: dict[int, bytes] = {}
        self.data = b""
        self._methods: list[str] = []

    # The peer.

    def send(self, *pieces: bytes) -> Wire:
        """Have these segments received, each with a turn of its own."""
        for piece in pieces:
            self.core.receive(piece)
            self.turn()
        return self

    def eof(self) -> Wire:
        """Half-close."""
        self.core.receive_eof()
        self.turn()
        return self

    @property
    def replies(self) -> list[Reply]:
        """The responses so far."""
        return replies(self.data, self._methods, ended=self.core.ending is not None)

    @property
    def finals(self) -> list[Reply]:
        """The final responses so far."""
        return [reply for reply in self.replies if reply.status >= 200]

    @property
    def reply(self) -> Reply:
        """The only response."""
        (reply,) = self.replies
        return reply

    @property
    def statuses(self) -> list[int]:
        """The statuses so far, interim ones among them."""
        return [reply.status for reply in self.replies]

    # The application.

    def turn(self) -> Wire:
        """Let the core and the application do what they can."""
        while (event := self.core.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, Exchange):
                self._methods.append(event.method.decode("ascii"))
                self.exchanges.append(event)
                self.application(self, event)
            elif isinstance(event, RequestRefused):
                self._methods.append(event.exchange.method.decode("ascii"))
            elif isinstance(event, BodyReceived):
                number = event.exchange.number
                self.bodies[number] = self.bodies.get(number, b"") + event.data
            elif isinstance(event, BodyComplete) and not event.exchange.answered:
                self.answer(event.exchange, body=self.bodies.get(event.exchange.number, b""))
        self.data += b"".join(self.core.take_output())
        return self

    def answer(
        self,
        exchange: Exchange | None = None,
        status: int = 200,
        fields: FieldsInput | None = None,
        body: bytes = b"hello\n",
    ) -> Wire:
        """Answer whole; the oldest request that is not answered unless another is given."""
        (exchange or self.due).respond(status, response_fields(fields), body)
        return self

    def start(
        self,
        exchange: Exchange | None = None,
        status: int = 200,
        fields: FieldsInput | None = None,
        length: int | None = None,
        trailers: Sequence[bytes] = (),
    ) -> Wire:
        """Begin a response, to the oldest request that is not answered unless another is given."""
        (exchange or self.due).start(status, response_fields(fields), length, trailers)
        return self

    def read(self, exchange: Exchange | None = None) -> Wire:
        """Read the body of the latest request, or another, as it comes."""
        exchange = exchange or self.exchange
        exchange.begin_body()
        exchange.flowing = True
        return self

    # What there is to see.

    @property
    def exchange(self) -> Exchange:
        """The latest request."""
        return self.exchanges[-1]

    @property
    def due(self) -> Exchange:
        """The oldest request that is not answered; the latest when all are."""
        return next((exchange for exchange in self.exchanges if not exchange.answered), self.exchange)

    @property
    def ending(self) -> Ending:
        """How the connection ended."""
        assert self.core.ending is not None
        return self.core.ending

    @property
    def reason(self) -> str | None:
        """The name of the reason why the connection ended, None while it has not."""
        return self.core.ending.reason.name if self.core.ending is not None else None

    @property
    def refusals(self) -> list[tuple[int, str]]:
        """Status and ledger row of the requests that the connection answered by itself."""
        return [(event.error.status, event.error.row) for event in self.events if isinstance(event, RequestRefused)]

    @property
    def failures(self) -> list[BodyFailed]:
        return [event for event in self.events if isinstance(event, BodyFailed)]

    @property
    def cancelled(self) -> list[int]:
        """The numbers of the requests that are not waited for any more."""
        return [event.exchange.number for event in self.events if isinstance(event, ExchangeCancelled)]


def run(data: bytes, application: Application = at_once, **settings: Limits | Policy | Timeouts) -> Wire:
    """One segment to a new connection."""
    return Wire(application, **settings).send(data)  # type: ignore[arg-type]
