"""What Twisted's own tests leave out: how bytes are sent and held, and what is lost or not when a connection ends."""

from __future__ import annotations

import array
import os
import socket
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IFileDescriptorReceiver,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    IUNIXTransport,
)
from twisted.python import context
from twisted.python.log import ILogContext
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ka_twisted.net.output import OutputStream, outputFor, unsent
from ka_twisted.net.tcp import isTcp
from ka_twisted.reactors.uvloop import UvloopReactor
from tests.reactors.driving import Producer, Recording, only, pair, run

#: More than two sockets of any size take.
LARGE = 32 * 1024 * 1024


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recording):
    """Keeps which half was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.readEnded: Deferred[None] = Deferred()
        self.writeEnded: Deferred[None] = Deferred()

    def readConnectionLost(self) -> None:
        self.readEnded.callback(None)

    def writeConnectionLost(self) -> None:
        self.writeEnded.callback(None)


class Answering(Recording):
    """Calls `answer` for what it receives."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.answer()

    def answer(self) -> None:
        for number in range(100):
            self.transport.write(b"%d " % number)


NUMBERS = b"".join(b"%d " % number for number in range(100))


def test_it_is_what_it_says(reactor: UvloopReactor) -> None:
    async def test() -> None:
        for protocol in await pair(reactor):
            for interface in (
                ITCPTransport, ISystemHandle, IPushProducer, IConsumer, IHalfCloseableDescriptor, ILoggingContext,
            ):  # fmt: skip
                assert verifyObject(interface, protocol.transport)

    run(reactor, test)


# ---- sending


def test_what_is_written_while_receiving_leaves_together(reactor: UvloopReactor) -> None:
    async def test() -> None:
        _, client = await pair(reactor, Answering())
        client.transport.write(b"?")
        await client.until(len(NUMBERS))
        assert client.received == [NUMBERS]

    run(reactor, test)


def test_what_is_written_within_one_turn_leaves_together(reactor: UvloopReactor) -> None:
    async def test() -> None:
        server, client = await pair(reactor)
        reactor.callLater(0, Answering.answer, server)
        await client.until(len(NUMBERS))
        assert client.received == [NUMBERS]

    run(reactor, test)


def test_what_is_written_to_another_connection_leaves_too(reactor: UvloopReactor) -> None:
    async def test() -> None:
        first, second = Answering(), Recording()
        _, source = await pair(reactor, first)
        server, sink = await pair(reactor, second)
        first.answer = lambda: server.transport.write(b"relayed")  # type: ignore[method-assign]
        source.transport.write(b"?")
        assert await sink.until(7) == b"relayed"

    run(reactor, test)


def test_order_is_kept_whatever_the_sizes(reactor: UvloopReactor) -> None:
    sizes = [1, 16383, 1, 16384, 16385, 3, 400000, 0, 5, 5000000, 100, 70000, 2]
    parts = [bytes([65 + number]) * size for number, size in enumerate(sizes)]

    async def test() -> None:
        server, client = await pair(reactor)
        for part in parts:
            server.transport.write(part)
        server.transport.writeSequence(parts)
        assert await client.until(2 * sum(sizes)) == b"".join(parts) * 2

    run(reactor, test)


@pytest.mark.parametrize("data", ["text", bytearray(b"x"), memoryview(b"x"), 7])
def test_only_bytes_are_written(reactor: UvloopReactor, data: Any) -> None:
    async def test() -> None:
        server, _ = await pair(reactor)
        with pytest.raises(TypeError, match="Data must be bytes"):
            server.transport.write(data)

    run(reactor, test)


def test_a_full_socket_pauses_the_push_producer_until_all_is_sent(reactor: UvloopReactor) -> None:
    async def test() -> None:
        server, client = await pair(reactor)
        client.transport.pauseProducing()
        producer = Producer()
        server.transport.registerProducer(producer, True)
        written = 0
        while not producer.paused:
            server.transport.write(b"x" * 50000)
            written += 50000
            assert written < LARGE
        assert server.transport.unsentBytes() > 0
        assert server.transport in reactor.getWriters()
        client.transport.resumeProducing()
        await producer.resumed
        assert server.transport.unsentBytes() == 0
        assert producer.told == ["pause", "resume"]
        await client.until(written)
        server.transport.unregisterProducer()
        server.transport.write(b"end")
        assert (await client.until(written + 3)).endswith(b"xend")

    run(reactor, test)


def test_a_pull_producer_is_asked_again_for_as_long_as_it_writes(reactor: UvloopReactor) -> None:
    class Pulled:
        def __init__(self, transport: Any) -> None:
            self.transport, self.asked = transport, 0

        def resumeProducing(self) -> None:
            self.asked += 1
            self.transport.write(b"x" * 100000)
            if self.asked == 100:
                self.transport.unregisterProducer()
                self.transport.loseConnection()

    async def test() -> None:
        server, client = await pair(reactor)
        server.transport.registerProducer(Pulled(server.transport), False)
        assert isinstance(await client.lost, ConnectionDone)
        assert len(client.data) == 100 * 100000

    run(reactor, test)


# ---- ending


@pytest.mark.parametrize("size", [1, 100000, LARGE])
def test_nothing_is_lost_by_losing_the_connection_at_once(reactor: UvloopReactor, size: int) -> None:
    class Writing(Recording):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.write(b"x" * size)
            self.transport.loseConnection()

    async def test() -> None:
        server, client = Writing(), Recording()
        port = reactor.listenTCP(0, only(server), interface="127.0.0.1")
        reactor.connectTCP("127.0.0.1", port.getHost().port, only(client))
        assert isinstance(await client.lost, ConnectionDone)
        assert isinstance(await server.lost, ConnectionDone)
        assert sum(map(len, client.received)) == size
        await port.stopListening()

    run(reactor, test)


def test_what_is_written_after_the_connection_was_lost_is_dropped(reactor: UvloopReactor) -> None:
    async def test() -> None:
        server, client = await pair(reactor)
        transport = server.transport
        transport.abortConnection()
        transport.write(b"x" * 100)
        transport.write(b"x" * 100000)
        assert isinstance(await server.lost, ConnectionAborted)
        assert isinstance(await client.lost, ConnectionLost)
        transport.write(b"x")
        transport.loseConnection()
        transport.abortConnection()
        transport.pauseProducing()
        transport.resumeProducing()
        assert transport.fileno() == -1
        assert client.data == b""

    run(reactor, test)


def test_either_half_is_closed_by_itself(reactor: UvloopReactor) -> None:
    async def test() -> None:
        server, client = await pair(reactor, HalfCloseable(), HalfCloseable())
        client.transport.write(b"x" * LARGE)
        client.transport.loseWriteConnection()
        await client.writeEnded
        await server.readEnded
        assert sum(map(len, server.received)) == LARGE
        server.transport.write(b"answer")
        assert await client.until(6) == b"answer"
        server.transport.resumeProducing()  # nothing can come
        server.transport.loseWriteConnection()
        await server.writeEnded
        await client.readEnded
        for protocol in (server, client):
            protocol.transport.loseConnection()
            assert isinstance(await protocol.lost, ConnectionDone)

    run(reactor, test)


def test_nothing_is_received_while_paused(reactor: UvloopReactor) -> None:
    class Hesitating(Recording):
        def connectionMade(self) -> None:
            self.transport.pauseProducing()
            super().connectionMade()

    async def test() -> None:
        server, client = await pair(reactor, Hesitating())
        client.transport.write(b"early")
        client.transport.loseConnection()
        await client.lost
        assert server.received == []
        assert server.transport not in reactor.getReaders()
        server.transport.resumeProducing()
        assert await server.until(5) == b"early"
        assert isinstance(await server.lost, ConnectionDone)

    run(reactor, test)


def test_stopping_the_reactor_ends_what_is_open(reactor: UvloopReactor) -> None:
    async def test() -> tuple[Any, Any]:
        return await pair(reactor)

    for protocol in run(reactor, test):
        assert isinstance(protocol.lost.result, ConnectionLost)
    assert not reactor.transports


# ---- the rest


def test_what_is_logged_meanwhile_names_the_connection(reactor: UvloopReactor) -> None:
    def system() -> Any:
        return context.get(ILogContext)["system"]

    async def test() -> None:
        server, client = await pair(reactor, Answering())
        seen: Deferred[str] = Deferred()
        server.answer = lambda: seen.callback(system())
        client.transport.write(b"?")
        assert await seen == "Answering,0,127.0.0.1" == server.transport.logPrefix()

    outside = system()
    run(reactor, test)
    assert system() == outside


def test_the_servers_outlet_writes_and_counts_what_is_unsent(reactor: UvloopReactor) -> None:
    class Owner:
        def flushed(self) -> None:
            raise AssertionError("nothing was held")

    async def test() -> None:
        server, client = await pair(reactor)
        transport = server.transport
        assert isTcp(transport)
        way = outputFor(transport, Owner())
        assert type(way) is OutputStream
        way.write([b"head", b"body"])
        assert unsent(transport) == 8
        assert await client.until(8) == b"headbody"
        client.transport.pauseProducing()
        transport.write(b"x" * LARGE)
        assert LARGE >= unsent(transport) > transport.unsentBytes() > 0
        assert transport.getHandle().fileno() == transport.fileno()

    run(reactor, test)


def connected(family: int) -> tuple[socket.socket, socket.socket]:
    """The two ends of a connection that no reactor knows."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family) as listening:
        client = socket.create_connection(listening.getsockname()[:2])
        return listening.accept()[0], client


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_connections_are_adopted(reactor: UvloopReactor, family: int) -> None:
    async def test() -> None:
        server, client = Answering(), Recording()
        for sock, protocol in zip(connected(family), (server, client), strict=True):
            with sock:
                transport = reactor.adoptStreamConnection(sock.fileno(), family, only(protocol))
                assert protocol.transport is transport
                assert isTcp(transport) == (family != socket.AF_UNIX)
        if family != socket.AF_UNIX:
            assert server.transport.getPeer() == client.transport.getHost()
        client.transport.write(b"?")
        assert await client.until(len(NUMBERS)) == NUMBERS
        client.transport.loseConnection()
        assert isinstance(await server.lost, ConnectionDone)

    run(reactor, test)


def test_a_protocol_that_receives_descriptors_gets_them(reactor: UvloopReactor, tmp_path: Any) -> None:
    @implementer(IFileDescriptorReceiver)
    class Receiving(Recording):
        def __init__(self) -> None:
            super().__init__()
            self.descriptor: Deferred[int] = Deferred()

        def fileDescriptorReceived(self, descriptor: int) -> None:
            self.descriptor.callback(descriptor)

    async def test() -> None:
        server, client = Receiving(), Receiving()
        port = reactor.listenUNIX(str(tmp_path / "socket"), only(server))
        reactor.connectUNIX(str(tmp_path / "socket"), only(client))
        await server.made
        await client.made
        assert IUNIXTransport.providedBy(server.transport)
        reading, writing = os.pipe()
        client.transport.sendFileDescriptor(writing)
        client.transport.write(b"!")
        received = await server.descriptor
        os.write(received, b"through the pipe")
        for descriptor in (received, writing):
            os.close(descriptor)
        assert os.read(reading, 100) == b"through the pipe"
        os.close(reading)
        await port.stopListening()

    run(reactor, test)


def test_descriptors_for_who_does_not_receive_them_are_closed(reactor: UvloopReactor, tmp_path: Any) -> None:
    async def test() -> None:
        server = Recording()
        port = reactor.listenUNIX(str(tmp_path / "socket"), only(server))
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(tmp_path / "socket"))
            await server.made
            assert server.transport.getPeer() == UNIXAddress(None)
            peer.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing]))])
            os.close(writing)
            await server.until(1)
            assert os.read(reading, 1) == b""
        os.close(reading)
        await port.stopListening()

    run(reactor, test)
