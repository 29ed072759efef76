"""The way out of a connection: sockets as a real reactor has them, with buffers that are soon full, and others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ka_twisted import TcpKeepAlive
from ka_twisted.net.output import OutputStream, SocketOutput, outputFor, unsent
from ka_twisted.net.tcp import checkTcpKeepAlive, isTcp, setTcpKeepAlive
from ka_twisted.testing import MemoryServer
from tests.net.polling import Poller
from tests.server.driving import BIG


class Listening(Protocol):
    """The protocol on the transport: keeps why the connection was lost."""

    lost: Failure | None = None

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = reason


class Wire:
    """
    A socket pair: one end in a transport of Twisted's with an output stream on it, the other in the hands of the test.

    :ivar flushes: how often the stream told that it had sent everything.
    """

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        for end in (near, self.far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        reactor: Any = Poller()
        self.reactor = reactor
        self.protocol = Listening()
        self.transport: Any = tcp.Connection(near, self.protocol, self.reactor)
        self.transport.connected = True
        self.protocol.makeConnection(self.transport)
        self.transport.startReading()
        self.flushes = 0
        self.then: list[bytes] = []
        self.output = outputFor(self.transport, self)

    def flushed(self) -> None:
        """See `Sender.flushed`: sends what the test has ready for this moment."""
        self.flushes += 1
        if self.then:
            self.output.write([self.then.pop(0)])

    def take(self, count: int = 1 << 20) -> bytes:
        """What has reached the far end; empty at the end of the stream, too."""
        try:
            return self.far.recv(count)
        except BlockingIOError:
            return b""

    def drain(self) -> bytes:
        """Everything that comes, while the reactor turns."""
        pieces: list[bytes] = []
        quiet = 0
        while quiet < 3:
            self.reactor.poll()
            data = self.take()
            pieces.append(data)
            quiet = 0 if data else quiet + 1
        return b"".join(pieces)

    @property
    def ended(self) -> bool:
        """Whether the far end has seen the end of the stream."""
        try:
            return self.far.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.far.close()
    made.reactor.poll()
    if made.protocol.lost is None:
        made.transport.abortConnection()
        made.reactor.poll()


# -- straight to the socket --------------------------------------------------------------------------------------------


def test_bytes_leave_at_once_when_nothing_is_queued(wire: Wire) -> None:
    assert type(wire.output) is SocketOutput
    for parts in ([b"one"], [b"two", b"three"], [b""], [b"x" * 30_000, b"y" * 3000][:0]):
        wire.output.write(parts)
    assert wire.take() == b"onetwothree"
    assert not wire.output.pending
    assert not wire.reactor.writers
    assert wire.flushes == 0


@pytest.mark.parametrize("size", [1, 1000, 3000, 40_000])
def test_many_parts_are_sent_in_order(wire: Wire, size: int) -> None:
    parts = [bytes((65 + number % 26,)) * size for number in range(60)]
    wire.output.write(parts)
    assert wire.drain() == b"".join(parts)


def test_more_parts_than_the_kernel_takes_at_once(wire: Wire) -> None:
    parts = [b"%06d" % number * 10 for number in range(3000)]
    wire.output.write(parts)
    assert wire.drain() == b"".join(parts)


def test_what_the_socket_does_not_take_is_queued_and_told_when_it_is_sent(wire: Wire) -> None:
    wire.output.write([BIG])
    assert wire.output.pending
    assert wire.flushes == 0
    assert wire.drain() == BIG
    assert wire.flushes == 1
    assert not wire.output.pending
    assert not wire.reactor.writers


def test_order_is_kept_over_partial_sends(wire: Wire) -> None:
    """A mixture of sends that fit, that fit in part, and that would block."""
    sent = bytearray()
    received = bytearray()
    for number in range(400):
        data = b"%d " % number * (1 + number * 37 % 300)
        sent += data
        wire.output.write([data[:5], data[5:]] if number % 3 else [data])
        if number % 4 == 0:
            received += wire.take(1 + number * 53 % 5000)
        if number % 5 == 0:
            wire.reactor.poll()
    received += wire.drain()
    assert bytes(received) == bytes(sent)


def test_more_can_be_sent_from_within_the_flush(wire: Wire) -> None:
    wire.then = [BIG, BIG]
    wire.output.write([BIG])
    assert wire.drain() == BIG * 3
    assert wire.flushes == 3


def test_bytes_are_accounted_for(wire: Wire) -> None:
    wire.output.write([BIG])
    assert wire.output.unsent() > len(BIG) * 0.9
    first = wire.output.taken()
    assert first <= 0  # the kernel counts its own overhead on such sockets
    wire.drain()
    assert wire.output.unsent() == 0
    assert wire.output.taken() == len(BIG)


def test_progress_shows_below_the_threshold_at_which_the_socket_is_writable_again(wire: Wire) -> None:
    wire.output.write([BIG])
    wire.reactor.poll()
    before = wire.output.taken()
    seen = 0
    while seen < 3 * 4608 and wire.output.taken() == before:
        seen += len(wire.take(1536))
    assert wire.output.taken() > before


# -- the end of it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, len(BIG)])
def test_nothing_is_lost_by_a_close_behind_a_write(wire: Wire, size: int) -> None:
    wire.output.write([BIG[:size]])
    wire.output.close()
    assert wire.drain() == BIG[:size]
    assert wire.ended
    assert wire.protocol.lost is not None


@pytest.mark.parametrize("size", [5, len(BIG)])
@pytest.mark.ledger("P-11")
def test_nothing_is_lost_by_a_half_close_behind_a_write_and_the_peer_is_read_on(wire: Wire, size: int) -> None:
    wire.output.write([BIG[:size]])
    wire.output.close(half=True)
    assert wire.drain() == BIG[:size]
    assert wire.ended
    assert wire.protocol.lost is None
    assert wire.reactor.readers
    wire.output.close()
    wire.reactor.poll()
    assert wire.protocol.lost is not None


def test_an_abort_sends_nothing_more(wire: Wire) -> None:
    wire.output.write([BIG])
    wire.output.abort()
    wire.output.write([b"more"])
    wire.reactor.poll()
    assert wire.protocol.lost is not None
    assert len(wire.drain()) < 20_000
    assert wire.flushes == 0


def test_an_abort_between_writes_sends_nothing_more_either(wire: Wire) -> None:
    wire.output.write([b"sent"])
    wire.output.abort()
    wire.output.write([b"not sent"])
    assert wire.drain() == b"sent"
    assert wire.protocol.lost is not None


@pytest.mark.parametrize("pending", [False, True])
def test_a_peer_that_goes_while_bytes_are_sent(wire: Wire, pending: bool) -> None:
    if pending:
        wire.output.write([BIG])
    wire.far.close()
    for _ in range(3):
        wire.output.write([b"into the void"])
        wire.reactor.poll()
    assert wire.protocol.lost is not None
    wire.output.write([b"late"])
    wire.output.close()
    assert wire.output.unsent() >= 0


def test_releasing_leaves_the_transport_to_another(wire: Wire) -> None:
    wire.output.write([BIG])
    wire.output.release()
    assert not wire.output.pending
    wire.transport.write(b"another's")
    assert wire.drain() == BIG + b"another's"
    assert wire.flushes == 0


def test_a_producer_of_another_can_be_registered_behind_a_release(wire: Wire) -> None:
    wire.output.write([BIG])
    wire.output.release()
    wire.transport.registerProducer(OutputStream(StringTransport(), wire), False)
    wire.drain()


# -- any other transport -----------------------------------------------------------------------------------------------


class Sender:
    flushes = 0

    def flushed(self) -> None:
        self.flushes += 1


def test_another_transport_is_written_to_and_says_when_it_has_enough() -> None:
    sender = Sender()
    transport = StringTransport()
    way = outputFor(transport, sender)
    assert type(way) is OutputStream
    way.write([b"one"])
    way.write([b"two", b"three"])
    assert transport.value() == b"onetwothree"
    producer: Any = transport.producer
    assert transport.streaming
    producer.pauseProducing()
    assert way.pending
    assert sender.flushes == 0
    producer.resumeProducing()
    assert not way.pending
    assert sender.flushes == 1
    producer.stopProducing()


def test_another_transport_is_let_go_before_it_is_closed() -> None:
    transport = StringTransport()
    outputFor(transport, Sender()).close()
    assert transport.disconnecting
    assert transport.producer is None


def test_a_transport_without_a_reset_is_closed_instead() -> None:
    class Plain(StringTransport):
        abortConnection = None  # type: ignore[assignment]

    transport = Plain()
    outputFor(transport, Sender()).abort()
    assert transport.disconnecting


def test_half_closing_is_for_those_who_can() -> None:
    assert not outputFor(StringTransport(), Sender()).halfCloses
    server = MemoryServer()
    assert server.connect().protocol._driver.output.halfCloses


def test_what_cannot_be_told_is_nothing() -> None:
    assert unsent(StringTransport()) == 0
    assert unsent(object()) == 0


def test_transports_are_asked_below_their_wrappers(wire: Wire) -> None:
    class Wrapper:
        transport = wire.transport

    wire.output.write([BIG])
    wire.output.release()
    assert unsent(Wrapper()) == wire.output.unsent() > len(BIG) // 2


def test_a_closed_socket_holds_nothing(wire: Wire) -> None:
    lost = wire.transport.socket
    wire.transport.socket, _ = socket.socketpair()
    wire.transport.socket.close()
    assert unsent(wire.transport) == 0
    wire.transport.socket = lost


# -- TCP options -------------------------------------------------------------------------------------------------------


@pytest.fixture
def connected() -> Iterator[tcp.Connection]:
    """A transport on a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        port: Any = SimpleNamespace(_realPortNumber=server.getsockname()[1])
        reactor: Any = Poller()
        yield tcp.Server(accepted, Listening(), accepted.getpeername(), port, 1, reactor)
        accepted.close()
        client.close()


def option(transport: tcp.Connection, name: int, level: int = socket.IPPROTO_TCP) -> int:
    return transport.socket.getsockopt(level, name)


@pytest.mark.ledger("T-01", "T-02", "T-05")
def test_probes_can_be_switched_on_and_off_for_a_connection(connected: tcp.Connection) -> None:
    assert option(connected, socket.SO_KEEPALIVE, socket.SOL_SOCKET) == 0
    setTcpKeepAlive(connected, TcpKeepAlive())
    assert option(connected, socket.SO_KEEPALIVE, socket.SOL_SOCKET) == 1
    assert option(connected, socket.TCP_KEEPIDLE) == 7200
    assert option(connected, socket.TCP_KEEPINTVL) == 75
    assert option(connected, socket.TCP_KEEPCNT) == 9
    setTcpKeepAlive(connected, TcpKeepAlive(60, 10, 3))
    assert option(connected, socket.TCP_KEEPIDLE) == 60
    assert option(connected, socket.TCP_KEEPINTVL) == 10
    assert option(connected, socket.TCP_KEEPCNT) == 3
    setTcpKeepAlive(connected, None)
    assert option(connected, socket.SO_KEEPALIVE, socket.SOL_SOCKET) == 0


def test_probes_are_set_below_a_wrapper(connected: tcp.Connection) -> None:
    class Wrapper:
        transport = connected

        def setTcpKeepAlive(self, enabled: bool) -> None:
            connected.setTcpKeepAlive(enabled)

    setTcpKeepAlive(Wrapper(), TcpKeepAlive(60, 10, 3))
    assert option(connected, socket.TCP_KEEPIDLE) == 60


@pytest.mark.ledger("T-01")
def test_where_the_platform_has_no_probes_the_configuration_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    checkTcpKeepAlive(None)
    checkTcpKeepAlive(TcpKeepAlive())
    monkeypatch.delattr(socket, "TCP_KEEPIDLE")
    checkTcpKeepAlive(None)
    with pytest.raises(ValueError, match="TCP keep-alive"):
        checkTcpKeepAlive(TcpKeepAlive())
    with pytest.raises(ValueError, match="TCP keep-alive"):
        MemoryServer(tcpKeepAlive=TcpKeepAlive())


def test_tcp_is_told_from_what_only_looks_like_it(connected: tcp.Connection, wire: Wire) -> None:
    assert isTcp(connected)
    assert isTcp(MemoryServer().connect().transport)
    assert not isTcp(StringTransport(IPv4Address("TCP", "127.0.0.1", 1)))
    assert not isTcp(object())
