"""Bodies on their way out: every kind of them, no faster than the client takes them, and let go in every way."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock, Cooperator, deferLater
from twisted.web.client import FileBodyProducer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ka_twisted import CloseReason, KeepAliveFactory, Limits, Request, Response
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, GET_10, get
from tests.logs import Logged
from tests.server.driving import BIG, Held, Observer, core, endless, stream_echo, uncounted

PIECE = b"x" * 16384


class Trouble(Exception):
    """What bodies of these tests raise."""


class Body:
    """
    A body that keeps account of itself.

    :ivar made: pieces made so far.
    :ivar closed: how often it was closed.
    """

    def __init__(self, pieces: int = 100, piece: bytes = PIECE, *, fail: bool = False) -> None:
        self.made = 0
        self.closed = 0
        self._pieces, self._piece, self._fail = pieces, piece, fail

    def sync(self) -> Iterator[bytes]:
        try:
            for _ in range(self._pieces):
                self.made += 1
                yield self._piece
            if self._fail:
                raise Trouble
        finally:
            self.closed += 1

    async def asynchronous(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self._pieces):
                self.made += 1
                yield self._piece
            if self._fail:
                raise Trouble
        finally:
            self.closed += 1

    async def waiting(self, clock: Any) -> AsyncIterator[bytes]:
        try:
            for _ in range(self._pieces):
                await deferLater(clock, 1)
                self.made += 1
                yield self._piece
        finally:
            await deferLater(clock, 1)
            self.closed += 1


@implementer(IBodyProducer)
class Producer:
    """
    A push producer.

    :ivar calls: what was asked of it.
    """

    def __init__(self, length: Any = UNKNOWN_LENGTH) -> None:
        self.length = length
        self.calls: list[str] = []
        self.finished: Deferred[None] = Deferred()
        self.consumer: Any = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.calls.append("start")
        self.consumer = consumer
        return self.finished

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


def connect(body: Any, **settings: Any) -> tuple[MemoryServer, MemoryClient]:
    """A server whose responses have this body, or that which a function makes of a request."""
    make = body if callable(body) else lambda request: body
    server = MemoryServer(lambda request: Response.stream(make(request)), **settings)
    return server, server.connect()


# -- every kind --------------------------------------------------------------------------------------------------------


class Rows:
    """An iterable that is no iterator."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one,", b"two"])


class AsyncRows:
    """An async iterable that is no iterator."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._rows()

    async def _rows(self) -> AsyncIterator[bytes]:
        for row in Rows():
            yield row


def produced() -> Producer:
    producer = Producer()

    def start(consumer: Any) -> Deferred[None]:
        consumer.registerProducer(producer, True)
        for row in Rows():
            consumer.write(row)
        consumer.unregisterProducer()
        return succeed(None)

    producer.startProducing = start  # type: ignore[method-assign]
    return producer


@pytest.mark.parametrize(
    "make",
    [
        lambda: [b"one,", b"two"],
        lambda: (b"one,", b"two"),
        lambda: iter([b"one,", b"two"]),
        lambda: uncounted(b"one,", b"two"),
        lambda: [bytearray(b"one,"), memoryview(b"two")],
        lambda: [b"", b"one,", b"", b"two", b""],
        Rows,
        AsyncRows,
        lambda: AsyncRows().__aiter__(),
        lambda: io.BytesIO(b"one,two"),
        produced,
    ],
    ids=[
        "list", "tuple", "iterator", "generator", "buffers", "empty pieces", "iterable", "async iterable",
        "async generator", "file", "IBodyProducer",
    ],
)  # fmt: skip
@pytest.mark.ledger("D4-11", "D4-15", "P-08", "L-22")
def test_a_body_may_be(make: Callable[[], Any]) -> None:
    _, client = connect(lambda request: make())
    client.send(GET * 2)
    assert [response.body for response in client.responses] == [b"one,two"] * 2
    assert [response.headers.get("transfer-encoding") for response in client.responses] == ["chunked"] * 2
    _, client = connect(lambda request: make())
    client.send(GET_10)
    assert client.responses[0].body == b"one,two"
    assert client.ended
    assert client.closeReason in (CloseReason.HTTP10_DEFAULT, CloseReason.RESPONSE_UNFRAMED)


@pytest.mark.parametrize("piece", ["text", 7, None, [b"x"]])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_pieces_are_bytes(piece: Any, kind: str, logged: Logged) -> None:
    async def body() -> AsyncIterator[Any]:
        yield b"first"
        yield piece

    _, client = connect(lambda request: [b"first", piece] if kind == "sync" else body())
    client.send(GET)
    assert not client.responses[0].complete
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert len(logged.failures(ValueError)) == 1


def test_a_body_that_cannot_be_iterated_fails_in_time(logged: Logged) -> None:
    class Broken:
        def __iter__(self) -> Iterator[bytes]:
            raise Trouble

    _, client = connect(Broken())
    client.send(GET)
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert len(logged.failures(Trouble)) == 1


@pytest.mark.ledger("L-13", "D4-10")
def test_a_file_is_sent_with_its_length_and_type(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(BIG)
    files: list[Any] = []

    def handler(request: Request) -> Response:
        response = Response.file(path if request.path == "/path" else str(path))
        files.append(response.body)
        return response

    client = MemoryServer(handler).connect()
    client.send(get("/path") + get("/str") + get("/", method="HEAD"))
    for response in client.responses[:2]:
        assert response.headers.get("content-length") == str(len(BIG))
        assert response.headers.get("content-type") == "text/html"
        assert response.body == BIG
    assert client.responses[2].headers.get("content-length") == str(len(BIG))
    assert [file.closed for file in files] == [True] * 3


def test_an_open_file_is_sent_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(4)
        client = MemoryServer(lambda request: Response.file(file)).connect()
        client.send(GET)
        assert client.responses[0].body == b"456789"
        assert client.responses[0].headers.get("content-length") == "6"
        assert file.closed


def test_a_short_file_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        response = Response.file(file)
        assert file.closed
    assert response.body == b"0123456789"


def test_a_file_that_is_none_has_no_length() -> None:
    client = MemoryServer(lambda request: Response.file("/dev/null")).connect()
    client.send(GET)
    assert client.responses[0].headers.get("transfer-encoding") == "chunked"
    assert client.responses[0].body == b""
    assert client.responses[0].complete


def test_a_file_that_has_no_length_is_sent_in_chunks() -> None:
    client = MemoryServer(lambda request: Response.file(io.BytesIO(b"abc"))).connect()
    client.send(GET)
    assert client.responses[0].headers.get("transfer-encoding") == "chunked"
    assert client.responses[0].body == b"abc"


def test_a_file_that_cannot_be_opened_raises_in_the_handler(logged: Logged) -> None:
    client = MemoryServer(lambda request: Response.file("/no/such/file")).connect()
    client.send(GET)
    assert client.responses[0].status == 500
    assert len(logged.failures(FileNotFoundError)) == 1


@pytest.mark.ledger("D4-17")
def test_a_file_that_shrinks_meanwhile_is_an_abort(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(BIG)

    def handler(request: Request) -> Response:
        response = Response.file(path)
        path.write_bytes(b"less")
        return response

    client = MemoryServer(handler).connect()
    client.send(GET)
    assert not client.responses[0].complete
    assert client.closeReason == CloseReason.APPLICATION_ABORT


@pytest.mark.ledger("D4-16")
def test_a_file_that_grows_meanwhile_is_cut_at_its_length(tmp_path: Path, logged: Logged) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"12345")

    def handler(request: Request) -> Response:
        response = Response.file(path)
        with path.open("ab") as file:
            file.write(b"67890")
        return response

    client = MemoryServer(handler).connect()
    client.send(GET + GET)
    assert [response.body for response in client.responses] == [b"12345", b"1234567890"]
    assert not client.ended
    assert not logged.messages()


# -- no faster than the client takes them ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("size", [1000, 16384, 100_000])
@pytest.mark.ledger("P-16")
def test_a_stalled_reader_stops_the_body(kind: str, size: int) -> None:
    body = Body(10_000_000 // size, b"x" * size)
    server, client = connect(lambda request: getattr(body, kind)())
    client.stall()
    client.send(GET)
    assert body.made * size <= 65536 + 2 * max(size, 16384)
    seen = 0
    while not body.closed:
        before = body.made
        client.resume(100_000)
        server.settle()
        assert client.transport.unsentBytes() <= 65536 + 1.01 * size + 16384
        seen += body.made - before
    client.resume()
    assert len(client.responses[0].body) == body.made * size


def test_a_reader_that_takes_everything_gets_the_body_in_fair_portions() -> None:
    body = Body(1000)
    made: list[int] = []
    server, client = connect(lambda request: body.sync())
    server.clock.callLater(0, lambda: made.append(body.made))
    client.transport.arrive(GET)
    server.settle()
    assert 0 < made[0] < 1000
    assert client.responses[0].body == PIECE * 1000


@pytest.mark.ledger("P-16")
def test_other_connections_are_served_while_one_is_stalled() -> None:
    server = MemoryServer(lambda request: Response.stream(endless()) if request.path == "/endless" else b"ok")
    stalled, other = server.connect(), server.connect()
    stalled.stall()
    stalled.send(get("/endless"))
    other.send(GET)
    assert other.responses[0].body == b"ok"


@pytest.mark.ledger("P-16")
def test_a_push_producer_is_paused_and_resumed() -> None:
    producer = Producer()
    _server, client = connect(producer)
    client.stall()
    client.send(GET)
    producer.consumer.write(b"small")
    assert producer.calls == ["start"]
    producer.consumer.write(BIG)
    producer.consumer.write(b"more")
    assert producer.calls == ["start", "pause"]
    client.resume(1000)
    assert producer.calls == ["start", "pause"]
    client.resume()
    assert producer.calls == ["start", "pause", "resume"]
    client.stall()
    producer.consumer.write(BIG)
    assert producer.calls == ["start", "pause", "resume", "pause"]
    client.resume()
    producer.finished.callback(None)
    assert client.responses[0].body == b"small" + BIG + b"more" + BIG
    assert client.responses[0].complete
    assert not client.ended


def test_a_producer_may_name_another_to_be_paused() -> None:
    body, source = Producer(), Producer()
    _server, client = connect(body)
    client.stall()
    client.send(GET)
    body.consumer.registerProducer(source, True)
    body.consumer.write(BIG)
    assert (body.calls, source.calls) == (["start"], ["pause"])
    body.consumer.unregisterProducer()
    client.resume()
    assert (body.calls, source.calls) == (["start"], ["pause"])


@pytest.mark.parametrize("length", [11, UNKNOWN_LENGTH])
@pytest.mark.ledger("D4-10", "D4-11", "L-13")
def test_the_length_of_a_producer_is_stated_if_it_is_known(length: Any) -> None:
    producer = Producer(length)
    _, client = connect(producer)
    client.send(GET)
    producer.consumer.write(b"hello ")
    producer.consumer.write(b"world")
    producer.finished.callback(None)
    (response,) = client.responses
    assert response.headers.get("content-length") == ("11" if length == 11 else None)
    assert response.body == b"hello world"


def test_twisteds_own_producer_works(tmp_path: Path) -> None:
    clock = Clock()
    cooperator = Cooperator(terminationPredicateFactory=lambda: lambda: True, scheduler=lambda f: clock.callLater(0, f))
    file = io.BytesIO(BIG)
    _server, client = connect(lambda request: FileBodyProducer(file, cooperator))
    client.stall()
    client.send(GET)
    clock.pump([0] * 100)
    assert 0 < file.tell() < len(BIG)
    client.resume()
    clock.pump([0] * 100)
    (response,) = client.responses
    assert response.headers.get("content-length") == str(len(BIG))
    assert response.body == BIG


def test_twisteds_own_producer_is_let_go_where_no_body_is_sent() -> None:
    file = io.BytesIO(b"hello")
    _server, client = connect(lambda request: FileBodyProducer(file))
    client.send(get("/", method="HEAD"))
    (response,) = client.responses
    assert response.headers.get("content-length") == "5"
    assert file.closed
    assert not client.ended


def test_a_producer_that_fails_is_an_abort(logged: Logged) -> None:
    producer = Producer()
    _, client = connect(producer)
    client.send(GET)
    producer.consumer.write(b"part")
    producer.finished.errback(Trouble())
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert len(logged.failures(Trouble)) == 1


def test_a_producer_that_cannot_start_is_an_abort(logged: Logged) -> None:
    producer = Producer()
    producer.startProducing = lambda consumer: 1 / 0  # type: ignore[assignment, return-value, method-assign]
    _, client = connect(producer)
    client.send(GET)
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert len(logged.failures(ZeroDivisionError)) == 1


@pytest.mark.ledger("P-08")
def test_an_echo_is_as_fast_as_its_reader() -> None:
    server = MemoryServer(stream_echo, limits=Limits(readAhead=10_000))
    client = server.connect()
    client.stall()
    client.send(get("/", f"Content-Length: {len(BIG)}", method="POST"))
    for start in range(0, len(BIG), 50_000):
        client.send(BIG[start : start + 50_000])
    assert client.paused
    held = core(client.protocol).backlog + client.transport.unsentBytes()
    assert held < 250_000
    while client.paused or client.transport.inbound:
        client.resume(30_000)
    client.resume()
    assert client.responses[0].body == BIG
    assert client.responses[0].complete


# -- behind others -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.ledger("N-02", "P-16")
def test_a_body_behind_an_unfinished_response_is_held_back_up_to_a_bound_and_goes_on_in_its_turn(kind: str) -> None:
    held = Held()
    body = Body(200)
    server = MemoryServer(
        lambda request: held(request) if request.number == 1 else Response.stream(getattr(body, kind)()),
        limits=Limits(maxHeldBytes=100_000),
    )
    client = server.connect()
    client.send(GET * 2)
    assert client.received == b""
    assert body.made < 10
    held.answer(1)
    server.settle()
    assert body.made == 200
    assert [len(response.body) for response in client.responses] == [3, 200 * len(PIECE)]
    assert all(response.complete for response in client.responses)


@pytest.mark.ledger("N-02", "P-16")
def test_several_bodies_behind_an_unfinished_response_share_the_bound() -> None:
    held = Held()
    bodies = {number: Body(50) for number in range(2, 7)}
    server = MemoryServer(
        lambda request: held(request) if request.number == 1 else Response.stream(bodies[request.number].sync()),
        limits=Limits(maxHeldBytes=100_000),
    )
    client = server.connect()
    client.send(GET * 6)
    assert sum(body.made for body in bodies.values()) < 20
    held.answer(1)
    server.settle()
    assert [len(response.body) for response in client.responses] == [3] + [50 * len(PIECE)] * 5


@pytest.mark.ledger("N-02", "P-16")
def test_a_producer_behind_an_unfinished_response_is_resumed_in_its_turn() -> None:
    held = Held()
    producer = Producer()
    server = MemoryServer(
        lambda request: held(request) if request.number == 1 else Response.stream(producer),
        limits=Limits(maxHeldBytes=100_000),
    )
    client = server.connect()
    client.send(GET * 2)
    producer.consumer.write(b"x" * 200_000)
    assert producer.calls == ["start", "pause"]
    held.answer(1)
    assert producer.calls == ["start", "pause", "resume"]
    producer.finished.callback(None)
    assert [len(response.body) for response in client.responses] == [3, 200_000]


@pytest.mark.ledger("N-02", "P-16")
def test_that_holds_for_a_reader_that_stalls_too() -> None:
    held = Held()
    body = Body(200)
    server = MemoryServer(
        lambda request: held(request) if request.number == 1 else Response.stream(body.sync()),
        limits=Limits(maxHeldBytes=100_000),
    )
    client = server.connect()
    client.stall()
    client.send(GET * 2)
    held.answer(1, BIG)
    client.resume()
    assert [len(response.body) for response in client.responses] == [len(BIG), 200 * len(PIECE)]


# -- let go ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("fail", [False, True])
def test_a_body_is_closed_at_its_end(kind: str, fail: bool, logged: Logged) -> None:
    body = Body(3, fail=fail)
    _, client = connect(lambda request: getattr(body, kind)())
    client.send(GET)
    assert body.closed == 1
    assert client.responses[0].complete is not fail
    assert len(logged.failures(Trouble)) == fail


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("way", ["disconnect", "reset"])
@pytest.mark.ledger("P-13", "P-14")
def test_a_body_is_closed_when_the_client_goes(kind: str, way: str) -> None:
    body = Body()
    _, client = connect(lambda request: getattr(body, kind)())
    client.stall()
    client.send(GET)
    assert body.closed == 0
    getattr(client, way)()
    assert body.closed == 1
    assert client.closeReason == CloseReason.PEER_CLOSED_MID_RESPONSE


def test_a_body_that_waits_is_closed_when_the_client_goes() -> None:
    body = Body()
    server, client = connect(lambda request: body.waiting(request.connection.clock))
    client.send(GET)
    server.advance(3.5)
    assert body.made == 3
    client.reset()
    assert body.closed == 0
    server.advance(1)
    assert body.closed == 1
    assert body.made == 3


def test_a_body_is_closed_when_the_connection_is_aborted() -> None:
    body = Body()
    server, client = connect(lambda request: body.sync())
    client.stall()
    client.send(GET)
    client.protocol.abort()
    server.settle()
    assert body.closed == 1


def test_a_body_between_two_turns_is_closed_too() -> None:
    body = Body(1000)
    _server, client = connect(lambda request: body.sync())
    client.transport.arrive(GET)
    assert 0 < body.made < 1000
    client.reset()
    assert body.closed == 1


@pytest.mark.parametrize("request_", [get("/", method="HEAD"), GET], ids=["HEAD", "GET"])
@pytest.mark.parametrize("status", [200, 204, 304])
def test_a_body_that_is_not_sent_is_not_made_but_closed(request_: bytes, status: int, logged: Logged) -> None:
    closed: list[str] = []

    class Source:
        def __iter__(self) -> Iterator[bytes]:
            closed.append("begun")
            return iter([b"x"])

        def close(self) -> None:
            closed.append("closed")

    client = MemoryServer(lambda request: Response.stream(Source(), status)).connect()
    client.send(request_)
    sent = status == 200 and request_ is GET
    assert closed == (["begun", "closed"] if sent else ["closed"])
    assert not client.ended
    logged.messages()


@pytest.mark.ledger("P-13", "P-14")
def test_a_producer_is_stopped_when_the_client_goes() -> None:
    producer = Producer()
    _, client = connect(producer)
    client.send(GET)
    client.reset()
    assert producer.calls == ["start", "stop"]
    producer.consumer.write(b"late")
    assert client.received.endswith(b"\r\n\r\n")


def test_a_paused_producer_is_stopped_when_the_client_goes() -> None:
    producer = Producer()
    _, client = connect(producer)
    client.stall()
    client.send(GET)
    producer.consumer.write(BIG)
    client.reset()
    assert producer.calls == ["start", "pause", "stop"]


def test_a_producer_that_cannot_be_stopped_is_logged_and_changes_nothing(logged: Logged) -> None:
    observer = Observer()
    producer = Producer()
    producer.stopProducing = lambda: 1 / 0  # type: ignore[assignment, method-assign]
    _server, client = connect(producer, observers=[observer])
    client.send(GET)
    client.reset()
    assert len(logged.failures(ZeroDivisionError)) == 1
    assert [told[0] for told in observer.told] == ["opened", "finished", "closed"]


def test_a_body_that_fails_while_it_is_closed_is_logged(logged: Logged) -> None:
    def body() -> Iterator[bytes]:
        try:
            yield from endless()
        finally:
            raise Trouble

    observer = Observer()
    _server, client = connect(lambda request: body(), observers=[observer])
    client.stall()
    client.send(GET)
    client.reset()
    assert len(logged.failures(Trouble)) == 1
    assert len(observer.reasons) == 1


@pytest.mark.ledger("D4-19")
def test_bytes_behind_the_end_are_refused_to_the_producer() -> None:
    producer = Producer()
    _, client = connect(producer)
    client.send(GET)
    producer.consumer.write(b"whole")
    producer.finished.callback(None)
    producer.consumer.write(b"late")
    client.send(GET[:5])
    assert client.responses[0].body == b"whole"
    assert b"late" not in client.received


@pytest.mark.ledger("D4-16")
def test_a_producer_that_gives_too_much_is_cut(logged: Logged) -> None:
    producer = Producer(5)
    _, client = connect(producer)
    client.send(GET)
    producer.consumer.write(b"hello world")
    producer.finished.callback(None)
    client.send(GET)
    assert client.responses[0].body == b"hello"
    assert client.ended
    assert len(client.responses) == 1
    assert len(logged.messages()) == 1


def test_the_clock_of_a_factory_of_ones_own_is_used() -> None:
    body = Body(500)
    server = MemoryServer(
        factory=lambda clock: KeepAliveFactory(lambda request: Response.stream(body.sync()), reactor=clock)
    )
    client = server.connect()
    client.send(GET)
    assert client.responses[0].complete
