"""The doubles that are part of the package: a server in memory, its clients and its clock."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ka_twisted import CloseReason, KeepAliveFactory, KeepAliveProtocol, Limits, Request, Response, Timeouts
from ka_twisted.core.errors import RemoteProtocolError
from ka_twisted.interfaces import IConnection, IConnectionRegistry
from ka_twisted.server.stream import ServerStream
from ka_twisted.testing import MemoryConnection, MemoryServer, ask, parseResponses
from tests.http1.driving import GET, get, upload
from tests.server.driving import BIG, Held, Observer, endless, silent, uncounted


def test_the_example_of_the_docstring_holds() -> None:
    server = MemoryServer(lambda request: b"hello", timeouts=Timeouts(idle=15))
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.responses[0].body == b"hello"
    server.advance(15)
    assert client.closeReason == CloseReason.IDLE_TIMEOUT


def test_without_a_handler_everything_is_answered() -> None:
    client = MemoryServer().connect()
    client.send(GET)
    assert [response.body for response in client.responses] == [b"hello\n"]


def test_bytes_arrive_in_pieces() -> None:
    client = MemoryServer(lambda request: request.target).connect()
    client.send(get("/a") + get("/b"), pieces=1)
    assert [response.body for response in client.responses] == [b"/a", b"/b"]


def test_nothing_sent_is_nothing() -> None:
    client = MemoryServer().connect()
    client.send(b"")
    assert client.received == b""
    assert not client.closed


def test_responses_are_parsed_by_every_framing() -> None:
    def handler(request: Request) -> Response:
        if request.path == "/chunks":
            return Response.stream(uncounted(b"a", b"bc"), trailers={"Count": "3"})
        if request.path == "/none":
            return Response(204)
        if request.path == "/close":
            return Response(200, b"last", {"Connection": "close"})
        return Response(200, b"counted", {"X-Name": "value"})

    client = MemoryServer(handler).connect()
    client.send(get("/", method="HEAD") + get("/chunks", "TE: trailers", "Connection: TE") + get("/none"))
    client.send(get("/close"))
    head, chunks, none, last = client.responses
    assert (head.status, head.body, head.headers.get("content-length")) == (200, b"", "7")
    assert (chunks.body, chunks.trailers.get("count"), chunks.complete) == (b"abc", "3", True)
    assert (none.status, none.body, none.minor) == (204, b"", 1)
    assert last.body == b"last"
    assert client.ended


def test_a_body_that_the_close_ends() -> None:
    client = MemoryServer(lambda request: Response.stream(uncounted(b"one", b"two"))).connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    (response,) = client.responses
    assert response.body == b"onetwo"
    assert response.complete


def test_a_response_so_far_is_incomplete() -> None:
    client = MemoryServer(lambda request: Response(200, BIG)).connect()
    client.stall(1000)
    client.send(GET)
    (response,) = client.responses
    assert not response.complete
    assert 0 < len(response.body) < 1000
    client.resume()
    assert client.responses[0].complete
    assert client.responses[0].body == BIG


def test_interim_responses_are_told_apart() -> None:
    def handler(request: Request) -> bytes:
        request.interim(103, {"Link": "</style.css>"})
        return b"done"

    client = MemoryServer(handler).connect()
    client.send(GET)
    assert [response.status for response in client.responses] == [200]
    assert [response.status for response in client.allResponses] == [103, 200]


def test_take_gives_each_byte_once() -> None:
    client = MemoryServer(lambda request: b"x").connect()
    client.send(GET)
    first = client.take()
    assert first.endswith(b"\r\n\r\nx")
    assert client.take() == b""
    client.send(GET)
    assert client.take() == first


def test_a_response_after_take_is_read_by_its_own_method() -> None:
    client = MemoryServer(lambda request: b"body").connect()
    client.send(get("/", method="HEAD"))
    assert [response.body for response in client.responses] == [b""]
    client.take()
    assert client.responses == []
    client.send(GET + get("/", method="HEAD") + GET)
    assert [(response.body, response.complete) for response in client.responses] == [
        (b"body", True), (b"", True), (b"body", True),
    ]  # fmt: skip
    client.take()
    client.send(get("/", method="HEAD"))
    assert [(response.body, response.complete) for response in client.responses] == [(b"", True)]


def test_a_response_that_take_cuts_stays_whole() -> None:
    client = MemoryServer(lambda request: Response(200, BIG)).connect()
    client.stall(1000)
    client.send(get("/", method="HEAD") + GET + GET)
    first = client.take()
    assert len(first) == 1000
    assert [response.complete for response in client.responses] == [False]
    client.resume(len(BIG))
    assert [response.body == BIG for response in client.responses] == [True, False]
    assert [response.complete for response in client.responses] == [True, False]
    second = client.take()
    assert client.received == b""
    client.resume()
    assert [response.body == BIG for response in client.responses] == [True]
    assert [response.status for response in parseResponses(first + second + client.take(), [b"HEAD"])] == [200] * 3
    assert client.responses == []


class Early(KeepAliveProtocol):
    """Hints at a style sheet before it answers."""

    def requestReceived(self, request: Request) -> None:
        if request.method == "HEAD":
            request.interim(103, {"Link": "</style.css>"})
        super().requestReceived(request)


def test_an_interim_response_is_taken_apart_from_its_final_one() -> None:
    server = MemoryServer(lambda request: deferLater(request.connection.clock, 1, lambda: b"body"), protocol=Early)
    client = server.connect()
    client.send(get("/", method="HEAD") + GET)
    assert client.take().startswith(b"HTTP/1.1 103 ")
    assert client.allResponses == []
    server.advance(1)
    assert [(response.status, response.body) for response in client.allResponses] == [(200, b""), (200, b"body")]


def test_what_follows_a_switch_is_no_response() -> None:
    client = MemoryServer(upgrades={"shout": lambda request: Shouting()}).connect()
    client.send(get("/", "Upgrade: shout", "Connection: upgrade"))
    assert [response.status for response in client.allResponses] == [101]
    client.send(b"hello")
    assert [response.status for response in client.allResponses] == [101]
    assert client.take().endswith(b"\r\n\r\nHELLO")
    client.send(b"more\r\n\r\n")
    assert client.allResponses == []
    assert client.take() == b"MORE\r\n\r\n"


class Shouting(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data.upper())


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stalled_reader_takes_what_it_is_allowed(size: int) -> None:
    client = MemoryServer(lambda request: Response(200, BIG)).connect()
    client.stall()
    client.send(GET)
    assert client.received == b""
    client.resume(size)
    assert len(client.received) == size
    client.resume(size)
    assert len(client.received) == 2 * size
    assert client.transport.unsentBytes() > 0


def test_a_stalled_reader_holds_the_producer_back() -> None:
    made: list[int] = []

    def body() -> object:
        for number in range(100):
            made.append(number)
            yield b"x" * 16384

    client = MemoryServer(lambda request: Response.stream(body())).connect()  # type: ignore[arg-type]
    client.stall()
    client.send(GET)
    assert 4 <= len(made) <= 8
    client.resume()
    assert len(client.responses[0].body) == 100 * 16384


def test_a_half_close_leaves_the_way_back_open() -> None:
    server = MemoryServer(lambda request: deferLater(request.connection.clock, 5, lambda: b"late"))
    client = server.connect()
    client.send(GET)
    client.halfClose()
    assert not client.ended
    server.advance(5)
    assert client.responses[0].body == b"late"
    assert client.closed
    assert client.closeReason == CloseReason.PEER_HALF_CLOSED


@pytest.mark.parametrize(
    ("way", "reason"),
    [("disconnect", CloseReason.PEER_CLOSED_IDLE), ("reset", CloseReason.TRANSPORT_ERROR)],
)
def test_a_client_that_goes(way: str, reason: CloseReason) -> None:
    client = MemoryServer().connect()
    client.send(GET)
    getattr(client, way)()
    assert client.closed
    assert not client.wasReset
    assert client.closeReason == reason


def test_a_client_that_goes_twice_is_gone_once() -> None:
    observer = Observer()
    client = MemoryServer(observers=[observer]).connect()
    client.reset()
    client.reset()
    client.disconnect()
    client.halfClose()
    client.send(GET)
    assert len(observer.reasons) == 1


def test_a_reset_by_the_server_is_seen() -> None:
    server = MemoryServer(silent)
    client = server.connect()
    client.send(GET)
    client.protocol.abort()
    assert client.wasReset
    server.settle()
    assert client.closed
    assert client.closeReason == CloseReason.APPLICATION_ABORT


def test_nothing_is_received_behind_a_reset() -> None:
    taken: list[Request] = []

    def handler(request: Request) -> bytes:
        taken.append(request)
        request.connection.protocol.abort()
        return b"lost"

    client = MemoryServer(handler).connect()
    client.send(GET)
    assert client.received == b""
    assert len(taken) == 1


def test_a_held_back_client_is_read_later() -> None:
    server = MemoryServer(silent, limits=Limits(readAhead=100))
    client = server.connect()
    client.send(upload(b""))
    assert not client.paused
    client.send(b"x" * 100)
    assert client.paused
    client.send(b"more")
    assert client.transport.inbound == [b"more"]


def test_time_moves_when_it_is_told_and_calls_come_when_they_are_due() -> None:
    server = MemoryServer()
    seen: list[float] = []
    clock = server.clock

    def again() -> None:
        seen.append(clock.seconds())
        if len(seen) < 4:
            clock.callLater(1.5, again)

    clock.callLater(1, again)
    server.advance(0.5)
    assert seen == []
    server.advance(4.5)
    assert seen == [1, 2.5, 4]
    assert clock.seconds() == 5
    server.advance(0.5)
    assert seen == [1, 2.5, 4, 5.5]


def test_settling_does_what_is_due_and_moves_nothing() -> None:
    server = MemoryServer()
    order: list[str] = []
    server.clock.callLater(0, order.append, "now")
    server.clock.callLater(0, lambda: server.clock.callLater(0, order.append, "behind"))
    server.clock.callLater(1, order.append, "later")
    server.settle()
    assert order == ["now", "behind"]
    assert server.clock.seconds() == 0


def test_connections_have_addresses_and_numbers() -> None:
    server = MemoryServer(lambda request: f"{request.connection.id} {request.connection.peer.host}")  # type: ignore[attr-defined]
    first, second = server.connect(), server.connect("192.0.2.7")
    for client in (second, first):
        client.send(GET)
    assert first.responses[0].body == b"1 127.0.0.1"
    assert second.responses[0].body == b"2 192.0.2.7"
    assert first.protocol.peer != second.protocol.peer
    assert server.factory.connectionCount == 2


def test_settings_go_to_the_factory() -> None:
    observer = Observer()
    timeouts, limits = Timeouts(idle=1), Limits(maxRequests=3)
    server = MemoryServer(timeouts=timeouts, limits=limits, observers=[observer])
    assert server.factory.timeouts is timeouts
    assert server.factory.limits is limits
    server.connect()
    assert observer.told == [("opened", 1)]


def test_a_factory_of_ones_own() -> None:
    made: list[KeepAliveFactory] = []

    def make(clock: Clock) -> KeepAliveFactory:
        made.append(KeepAliveFactory(lambda request: b"own", reactor=clock, timeouts=Timeouts(idle=3)))
        return made[0]

    server = MemoryServer(factory=make)
    client = server.connect()
    client.send(GET)
    assert server.factory is made[0]
    assert client.responses[0].body == b"own"
    server.advance(3)
    assert client.closeReason == CloseReason.IDLE_TIMEOUT


def test_the_date_follows_the_clock() -> None:
    server = MemoryServer()
    client = server.connect()
    client.send(GET)
    server.advance(61)
    client.send(GET)
    dates = [response.headers.get("date") for response in client.responses]
    assert dates == ["Sun, 01 Nov 2026 00:00:00 GMT", "Sun, 01 Nov 2026 00:01:01 GMT"]


def test_the_transport_is_a_tcp_transport() -> None:
    transport = MemoryServer().connect().transport
    assert verifyObject(ITCPTransport, transport)
    assert transport.getTcpNoDelay()
    assert not transport.getTcpKeepAlive()


@implementer(IPushProducer)
class Producer:
    """A producer that only writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_a_second_producer_is_refused_as_twisted_does() -> None:
    transport = MemoryServer().connect().transport
    transport.registerProducer(Producer(), True)
    with pytest.raises(RuntimeError):
        transport.registerProducer(Producer(), True)


def test_an_endless_body_ends_with_its_reader() -> None:
    client = MemoryServer(lambda request: Response.stream(endless())).connect()
    client.stall(200_000)
    client.send(GET)
    client.reset()
    assert client.closeReason == CloseReason.PEER_CLOSED_MID_RESPONSE


def test_a_waiting_handler_is_cancelled_when_its_client_goes() -> None:
    cancelled: list[object] = []
    client = MemoryServer(lambda request: Deferred(cancelled.append)).connect()
    client.send(GET)
    client.reset()
    assert len(cancelled) == 1


def test_a_client_that_closes_in_order_is_seen_by_what_is_sent_to_it() -> None:
    """As on a socket: its side ends, what is sent is answered by a reset, and only that tells the server."""
    held = Held()
    client = MemoryServer(held).connect()
    client.send(GET * 2)
    client.disconnect()
    assert held.cancelled == []
    assert not client.closed
    held.answer(1)
    client.settle()
    assert held.cancelled == []
    held.answer(2)
    client.settle()
    assert client.closed
    assert client.received == b""
    assert client.closeReason == CloseReason.PEER_HALF_CLOSED


def test_a_client_that_closes_on_what_it_has_not_read_resets() -> None:
    client = MemoryServer(lambda request: Response(200, BIG)).connect()
    client.stall(100)
    client.send(GET)
    client.disconnect()
    assert client.closed
    assert client.closeReason == CloseReason.PEER_CLOSED_MID_RESPONSE


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("192.0.2.7", IPv4Address("TCP", "192.0.2.7", 40001)),
        ("2001:db8:0:0::7", IPv6Address("TCP", "2001:db8::7", 40001)),
        ("fe80::7%2", IPv6Address("TCP", "fe80::7%2", 40001)),
    ],
)
def test_addresses_are_of_their_own_kind(peer: str, expected: IPv4Address | IPv6Address) -> None:
    client = MemoryServer().connect(peer)
    assert client.protocol.peer == expected
    assert type(client.protocol.host) is type(expected)


def test_a_client_of_ipv4_on_a_socket_of_ipv6_has_an_address_of_ipv4() -> None:
    assert MemoryServer().connect("::ffff:192.0.2.7").protocol.peer == IPv4Address("TCP", "192.0.2.7", 40001)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError):
        MemoryServer().connect("localhost")


def test_a_handler_is_asked_without_a_server() -> None:
    def handler(request: Request) -> Response:
        return Response(201, request.target, {"X-Host": request.host, "X-Kind": request.headers.get("x-kind") or ""})

    asked = ask(handler, "PUT", "/a?b", headers=[("X-Kind", "test")], host="shop.example")
    response = asked.response
    assert response is not None
    assert (response.status, response.body, response.complete) == (201, b"/a?b", True)
    assert (response.headers.get("x-host"), response.headers.get("x-kind")) == ("shop.example", "test")


def test_a_handler_that_is_asked_has_a_connection_and_a_time() -> None:
    def handler(request: Request) -> Deferred[str]:
        connection = request.connection
        said = f"{connection.id} {connection.peer.host} {connection.requestCount} {connection.secure}"  # type: ignore[attr-defined]
        return deferLater(connection.clock, 5, lambda: f"{said} {connection.age:.0f}")

    asked = ask(handler)
    asked.advance(4)
    assert asked.response is None
    asked.advance(1)
    assert asked.response is not None
    assert asked.response.body == b"1 127.0.0.1 1 False 5"


def test_a_connection_in_memory_has_settings_and_carries_many_requests() -> None:
    observer = Observer()
    connection = MemoryConnection(
        lambda request: str(request.number), limits=Limits(maxBodyBytes=3), observers=[observer]
    )
    first, second, third = connection.ask(), connection.ask("POST", body=b"1234"), connection.ask("HEAD")
    assert first.response is not None
    assert second.response is not None
    assert third.response is not None
    assert (first.response.body, second.response.status, third.response.body) == (b"1", 413, b"")
    assert [exchange.status for exchange in observer.exchanges] == [200, 413, 200]
    assert connection.exchanges == ()
    held = connection.ask(body=None)
    assert held.response is not None


def test_a_connection_in_memory_may_be_aborted() -> None:
    cancelled: list[object] = []
    connection = MemoryConnection(lambda request: Deferred(cancelled.append))
    asked = connection.ask()
    connection.abort()
    assert len(cancelled) == 1
    assert asked.response is None
    assert connection.closeReason == CloseReason.APPLICATION_ABORT


def test_streams_and_connections_in_memory_are_what_they_stand_for() -> None:
    connection = MemoryConnection(lambda request: b"")
    assert verifyObject(IConnection, connection)
    assert verifyObject(IConnectionRegistry, connection)
    stream: ServerStream = connection.ask().stream
    assert stream.completed


def test_what_is_no_field_is_not_asked() -> None:
    with pytest.raises(ValueError):
        ask(lambda request: b"", headers=[("X Y", "1")])


def test_responses_out_of_bytes() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab" + b"HTTP/1.1 404 Not Found\r\n\r\nrest"
    first, second = parseResponses(data, ended=True)
    assert (first.status, first.body, first.complete) == (200, b"ab", True)
    assert (second.status, second.body, second.complete) == (404, b"rest", True)
    assert not parseResponses(data)[1].complete
    assert parseResponses(data[:-20])[0] == first
    assert parseResponses(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", [b"HEAD"])[0].complete


@pytest.mark.parametrize("data", [b"no response at all\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n"])
def test_bytes_that_are_no_response(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parseResponses(data)
