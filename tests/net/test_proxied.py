"""PROXY headers: who is believed, what is read, and what comes of a header that is none or never ends."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_network
from itertools import pairwise
from typing import Any, cast

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from ka_twisted import KeepAliveFactory, KeepAliveProtocol, Limits, Request, Response
from ka_twisted.config import Tls
from ka_twisted.net.output import SocketOutput
from ka_twisted.net.proxied import ProxiedFactory
from ka_twisted.net.tls import TlsContexts
from ka_twisted.testing import MemoryTransport
from tests.net.certificates import Authority
from tests.net.test_tls import Client, client_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BALANCER, HOST = IPv4Address("TCP", "10.0.0.7", 50000), IPv4Address("TCP", "10.0.0.8", 80)
NETWORKS = (ip_network("10.0.0.0/24"), ip_network("fd00::/8"))
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(addresses)) + addresses


V1 = b"PROXY TCP4 192.0.2.1 198.51.100.9 40000 443\r\n"
V1_6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n"
INET = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.9") + struct.pack("!HH", 40000, 443)
V2 = v2(1, 0x11, INET)
V2_TLV = v2(1, 0x11, INET + b"\x04\x00\x03abc")
V2_6 = v2(
    1, 0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 40000, 443),
)  # fmt: skip
SOURCE, SOURCE_6 = IPv4Address("TCP", "192.0.2.1", 40000), IPv6Address("TCP", "2001:db8::1", 40000)


def hello(request: Request) -> Response:
    connection: Any = request.connection
    return Response(200, f"{getattr(connection.peer, 'host', 'unix')} {getattr(connection.host, 'port', '')}".encode())


class Server:
    """
    A listener behind balancers, in memory.

    :ivar failed: the words of the headers that failed.
    """

    def __init__(self, seconds: float = 10, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.failed: list[str] = []
        self.factory = KeepAliveFactory(hello, reactor=self.clock, limits=limits)
        self.listening = ProxiedFactory(
            self.factory, NETWORKS, seconds=seconds, reactor=self.clock, failed=self.failed.append
        )

    def accept(self, peer: IAddress = BALANCER) -> MemoryTransport:
        transport = MemoryTransport(self.clock, peer, HOST)  # type: ignore[arg-type]
        transport.protocol = self.listening.buildProtocol(peer)
        transport.protocol.makeConnection(transport)
        return transport

    def settle(self) -> None:
        for _ in range(4):
            self.clock.advance(0)

    def answer(self, transport: MemoryTransport, *segments: bytes) -> bytes:
        for segment in segments:
            transport.arrive(segment)
        self.settle()
        return bytes(transport.delivered)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        pytest.param(V1, b"192.0.2.1 443", id="1"),
        pytest.param(V1_6, b"2001:db8::1 443", id="1, IPv6"),
        pytest.param(b"PROXY UNKNOWN\r\n", b"10.0.0.7 80", id="1, unknown"),
        pytest.param(b"PROXY UNKNOWN what ever follows\r\n", b"10.0.0.7 80", id="1, unknown with more"),
        pytest.param(V2, b"192.0.2.1 443", id="2"),
        pytest.param(V2_TLV, b"192.0.2.1 443", id="2 with more"),
        pytest.param(V1_6.replace(b"2001:db8::1", b"2001:DB8:0::0001"), b"2001:db8::1 443", id="1, IPv6 in full"),
        pytest.param(V2_6, b"2001:db8::1 443", id="2, IPv6"),
        pytest.param(v2(1, 0x12, INET), b"192.0.2.1 443", id="2, datagrams"),
        pytest.param(v2(0, 0, b""), b"10.0.0.7 80", id="2, local"),
        pytest.param(v2(0, 0x11, INET), b"10.0.0.7 80", id="2, local with addresses"),
        pytest.param(v2(1, 0, b""), b"10.0.0.7 80", id="2, unspecified"),
        pytest.param(v2(1, 0x31, bytes(216)), b"unix ", id="2, UNIX"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_peer_is_the_one_of_the_header(header: bytes, said: bytes, size: int) -> None:
    server = Server()
    data = header + GET
    received = server.answer(server.accept(), *(data[at : at + size] for at in range(0, len(data), size)))
    assert received.endswith(b"\r\n\r\n" + said)
    assert server.failed == []


@given(st.lists(st.integers(0, len(V2_TLV + GET * 2)), max_size=6))
@settings(max_examples=50, deadline=None)
def test_what_follows_the_header_is_lost_in_no_split(cuts: list[int]) -> None:
    server = Server()
    data = V2_TLV + GET * 2
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges) if start < end]
    assert server.answer(server.accept(), *pieces).count(b"192.0.2.1 443") == 2


@pytest.mark.parametrize(
    "peer",
    [
        IPv4Address("TCP", "10.0.1.7", 5000),
        IPv6Address("TCP", "2001:db8::5", 5000),
        IPv6Address("TCP", "::ffff:10.0.1.7", 5000),
    ],
)
def test_a_stranger_is_not_believed(peer: IAddress) -> None:
    server = Server()
    transport = server.accept(peer)
    assert server.answer(transport, V1 + GET).startswith(b"HTTP/1.1 400 ")
    assert server.answer(server.accept(peer), GET).endswith(b" 80")
    assert server.failed == []


@pytest.mark.parametrize(
    "peer",
    [BALANCER, IPv6Address("TCP", "fd00::1", 5), IPv6Address("TCP", "::ffff:10.0.0.9", 5), UNIXAddress(b"/run/x")],
)
def test_those_who_are_trusted_are(peer: IAddress) -> None:
    server = Server()
    assert server.answer(server.accept(peer), V1 + GET).endswith(b"192.0.2.1 443")


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 nobody 198.51.100.9 40000 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 many 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 65536 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.9 40000 -1\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 40000 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.9 40000 443\r\n",
        b"PROXY TCP5 192.0.2.1 198.51.100.9 40000 443\r\n",
        b"PROXY TCP4 " + b"9" * 200,
        b"PROXY \xff\xfe\r\n",
        v2(2, 0x11, INET),
        v2(1, 0x13, INET),
        v2(1, 0x41, INET),
        v2(1, 0x11, INET[:6]),
        SIGNATURE + b"\x11\x11\x00\x00",
        b"\r\n\r\nGET /",
        b"\x16\x03\x01",
    ],
)
def test_what_is_no_header_ends_the_connection_and_is_counted(data: bytes) -> None:
    server = Server()
    transport = server.accept()
    assert server.answer(transport, data) == b""
    assert transport.ended
    assert server.failed == ["bad PROXY header"]
    assert server.factory.connectionCount == 0
    assert server.clock.getDelayedCalls() == []


@given(st.binary(max_size=60), st.sampled_from([b"", b"PROXY ", SIGNATURE, V2[:14]]))
@settings(deadline=None)
def test_no_bytes_raise_anything_or_leave_anything(data: bytes, start: bytes) -> None:
    server = Server()
    transport = server.accept()
    server.answer(transport, start + data or b"P")
    server.clock.advance(10)
    server.settle()
    assert transport.ended or server.factory.connectionCount == 1
    assert len(server.failed) == (server.factory.connectionCount == 0)


@pytest.mark.parametrize("header", [V1, V1_6, b"PROXY UNKNOWN\r\n", V2, V2_TLV], ids=["1", "1, 6", "none", "2", "TLV"])
def test_a_header_that_stalls_at_any_byte_is_cut_at_its_time(header: bytes) -> None:
    server = Server(seconds=10)
    transports = [server.accept() for _ in header]
    for begun, transport in enumerate(transports):
        if begun:
            transport.arrive(header[:begun])
    server.clock.advance(9.9)
    assert not any(transport.ended for transport in transports)
    server.clock.advance(0.1)
    server.settle()
    assert all(transport.ended for transport in transports)
    assert server.failed == ["timeout"] * len(header)
    assert server.clock.getDelayedCalls() == []


def test_without_a_time_a_header_may_take_for_ever() -> None:
    server = Server(seconds=0)
    transport = server.accept()
    server.clock.advance(100_000)
    assert not transport.ended


def test_a_balancer_that_looks_and_goes_is_counted_and_is_no_connection() -> None:
    server = Server()
    server.accept().arrive(None)
    assert server.failed == ["reset"]
    assert server.factory.connectionCount == 0
    assert server.clock.getDelayedCalls() == []


def test_no_timer_is_left_but_those_of_http() -> None:
    server = Server()
    server.answer(server.accept(), V1 + GET)
    (call,) = server.clock.getDelayedCalls()
    assert call.getTime() > 60


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@given(header=st.sampled_from([V1, V2, V2_TLV]), cuts=st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=50, deadline=None)
def test_tls_begins_at_the_byte_behind_the_header_in_every_split(
    authority: Authority, header: bytes, cuts: list[int]
) -> None:
    below = Server()
    contexts = TlsContexts(Tls(certificates=(authority.certify("shop.example"),)))
    below.listening.following = contexts.wrap(
        below.factory, seconds=10, reactor=below.clock, failed=below.failed.append
    )
    client = Client(below, client_context(authority))
    arrive = client.transport.arrive
    first = [header]

    def split(data: bytes | None) -> None:
        raw = (first.pop() if first else b"") + (data or b"")
        for start, end in pairwise([0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]):
            if start < end:
                arrive(raw[start:end])

    client.transport.arrive = split  # type: ignore[method-assign]
    assert below.factory.connectionCount == 0
    client.shake()
    assert client.get().endswith(b"192.0.2.1 443")
    assert below.failed == []


def test_connections_are_counted_by_the_address_of_the_header() -> None:
    server = Server(limits=Limits(maxConnectionsPerPeer=1))
    other = V1.replace(b"192.0.2.1", b"192.0.2.2")
    answers = [server.answer(server.accept(), header + GET) for header in (V1, V1, other)]
    assert [answer.split()[1] for answer in answers] == [b"200", b"503", b"200"]


def test_a_factory_that_takes_no_connection_ends_it() -> None:
    server = Server()
    server.factory.buildProtocol = lambda address: None  # type: ignore[method-assign, assignment, return-value]
    transport = server.accept()
    server.answer(transport, V1)
    assert transport.ended


def test_a_transport_that_keeps_its_protocol_is_served_through_it() -> None:
    server = Server()
    transport = server.accept()
    header = transport.protocol
    transport.protocol = Forwards(header)
    assert server.answer(transport, V1, GET).endswith(b"192.0.2.1 443")
    transport.arrive(None)
    server.settle()
    assert server.factory.connectionCount == 0


class Forwards:
    """Stands between a transport and its protocol."""

    def __init__(self, protocol: Any) -> None:
        self.dataReceived = protocol.dataReceived
        self.connectionLost = protocol.connectionLost


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("tls", [False, True])
async def test_on_sockets_the_header_comes_before_tls_and_what_is_plain_is_still_sent_at_once(
    tls: bool, tmp_path: Any
) -> None:
    outlets: list[type] = []

    def handler(request: Request) -> Response:
        outlets.append(type(cast(KeepAliveProtocol, request.connection.protocol)._driver.output))
        return hello(request)

    factory: Any = KeepAliveFactory(handler)
    authority = Authority(tmp_path)
    following = factory
    if tls:
        contexts = TlsContexts(Tls(certificates=(authority.certify("shop.example"),)))
        following = contexts.wrap(factory, seconds=5, reactor=reactor)
    listening: Any = ProxiedFactory(following, [ip_network("127.0.0.0/8")], seconds=5, reactor=reactor)
    port: Any = reactor.listenTCP(0, listening, interface="127.0.0.1")

    def visit() -> bytes:
        with socket.create_connection(("127.0.0.1", port.getHost().port), timeout=10) as plain:
            plain.sendall(V2)
            stream: Any = plain
            if tls:
                stream = client_context(authority).wrap_socket(plain, server_hostname="shop.example")
            for _ in range(2):
                stream.sendall(GET)
                received: bytes = stream.recv(1000)
            stream.close()
            return received

    try:
        received = await deferToThread(visit)
        await factory.drain(5)
    finally:
        await port.stopListening()
    assert received.endswith(b"192.0.2.1 443")
    if not tls:
        assert outlets == [SocketOutput, SocketOutput]
