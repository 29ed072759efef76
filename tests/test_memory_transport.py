"""
The transport in memory and Twisted's on a socket of the kernel are told the same, and tell the same.

A script is what a server and its client do, in turn. It runs on both, and what protocol, producer and client see is
compared.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ka_twisted.testing import MemoryTransport

#: More than the kernel and a transport take before a producer is paused.
BIG = 2_000_000
PEER, HOST = IPv4Address("TCP", "127.0.0.1", 40000), IPv4Address("TCP", "127.0.0.1", 8080)

Step = tuple[str, Any]


class Plain(Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        if self.told and isinstance(self.told[-1], bytes):
            self.told[-1] += data
        else:
            self.told.append(data)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.told.append(f"lost: {type(reason.value).__name__}")


@implementer(IHalfCloseableProtocol)
class HalfClosing(Plain):
    def readConnectionLost(self) -> None:
        self.told.append("read lost")

    def writeConnectionLost(self) -> None:
        self.told.append("write lost")


@implementer(IPushProducer)
class Producer:
    """Writes down what it is told; as a pull producer it writes so often, and is done."""

    def __init__(self, side: Side, pieces: int = 0) -> None:
        self._side = side
        self._pieces = pieces

    def pauseProducing(self) -> None:
        self._side.told.append("pause")

    def resumeProducing(self) -> None:
        self._side.told.append("resume")
        if self._pieces:
            self._pieces -= 1
            self._side.transport.write(b"piece")
            if not self._pieces:
                self._side.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self._side.told.append("stop")


class Side:
    """
    A connection of which a script does both ends.

    :ivar told: what protocol and producer were told, and what the client saw.
    """

    transport: Any

    def __init__(self, protocol: Plain) -> None:
        self.protocol = protocol
        self.told = protocol.told
        self.received = 0
        self.ending = ""
        self.gone = self.stalled = False

    def run(self, steps: list[Step]) -> list[Any]:
        """Do it all; every step with what it was that it brought about."""
        seen = []
        for name, argument in steps:
            before = len(self.told)
            try:
                outcome = getattr(self, "do_" + name)(argument)
            except (RuntimeError, TypeError, AttributeError, ValueError) as error:
                outcome = type(error).__name__
            self.settle()
            news = self.told[before:]
            # How soon a big write is taken depends on the kernel's buffers.
            state = self.transport.connected, self.transport.disconnecting
            client = (self.received if not self.gone else 0), self.ending if not self.gone else ""
            seen.append((name, outcome, news, state, None if self.stalled else client))
        return seen

    def settle(self) -> None:
        raise NotImplementedError

    # The server.

    def do_write(self, size: int) -> None:
        self.transport.write(b"x" * size)

    def do_write_all(self, parts: int) -> None:
        self.transport.writeSequence([b"y"] * parts)

    def do_write_text(self, _: object) -> None:
        self.transport.write("text")

    def do_lose(self, _: object) -> None:
        self.transport.loseConnection()

    def do_lose_write(self, _: object) -> None:
        self.transport.loseWriteConnection()

    def do_abort(self, _: object) -> None:
        self.transport.abortConnection()

    def do_pause(self, _: object) -> None:
        self.transport.pauseProducing()

    def do_resume(self, _: object) -> None:
        self.transport.resumeProducing()

    def do_stop(self, _: object) -> None:
        self.transport.stopProducing()

    def do_push(self, _: object) -> None:
        self.transport.registerProducer(Producer(self), True)

    def do_pull(self, pieces: int) -> None:
        self.transport.registerProducer(Producer(self, pieces), False)

    def do_unregister(self, _: object) -> None:
        self.transport.unregisterProducer()

    def do_options(self, enabled: bool) -> tuple[bool, bool]:
        self.transport.setTcpNoDelay(enabled)
        self.transport.setTcpKeepAlive(enabled)
        return self.transport.getTcpNoDelay(), self.transport.getTcpKeepAlive()

    def do_names(self, _: object) -> tuple[str, str]:
        return type(self.transport.getPeer()).__name__, type(self.transport.getHost()).__name__


class RealSide(Side):
    """On sockets of the kernel, with a reactor of its own that is turned by hand."""

    def __init__(self, protocol: Plain, reactor: EPollReactor) -> None:
        super().__init__(protocol)
        self.reactor = reactor
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.socket()
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4608)
            self.client.connect(listening.getsockname())
            accepted, address = listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.client.setblocking(False)
        self._accepted = accepted
        port: Any = SimpleNamespace(_realPortNumber=1)
        self.transport = tcp.Server(accepted, protocol, address, port, 1, reactor)
        protocol.makeConnection(self.transport)

    def settle(self) -> None:
        quiet = 0
        while quiet < 3:
            before = len(self.told), self.received, self.ending
            for _ in range(4):
                self.reactor.iterate(0)
            if not (self.gone or self.stalled or self.ending):
                self._receive()
            after = len(self.told), self.received, self.ending
            quiet = quiet + 1 if before == after else 0

    def _receive(self) -> None:
        try:
            while data := self.client.recv(65536):
                self.received += len(data)
            self.ending = "end"
        except BlockingIOError:
            pass
        except OSError:
            self.ending = "reset"

    def do_send(self, data: bytes) -> None:
        try:
            self.client.send(data)
        except OSError:
            pass

    def do_end(self, _: object) -> None:
        try:
            self.client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def do_leave(self, _: object) -> None:
        self.gone = True
        self.client.close()

    def do_reset(self, _: object) -> None:
        self.gone = True
        if self.client.fileno() >= 0:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.client.close()

    def do_stall(self, _: object) -> None:
        self.stalled = True

    def do_read(self, _: object) -> None:
        self.stalled = False

    def close(self) -> None:
        self.client.close()
        self.transport.abortConnection()
        self.settle()


class MemorySide(Side):
    def __init__(self, protocol: Plain) -> None:
        super().__init__(protocol)
        self.clock = Clock()
        self.transport = MemoryTransport(self.clock, PEER, HOST)
        self.transport.protocol = protocol
        self.transport.startReading()
        protocol.makeConnection(self.transport)

    def settle(self) -> None:
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        self.received = len(self.transport.delivered)
        if not self.ending:  # a client that has seen the end looks no further
            self.ending = "reset" if self.transport.wasReset else "end" if self.transport.ended else ""

    def do_send(self, data: bytes) -> None:
        if not self.gone:
            self.transport.arrive(data)

    def do_end(self, _: object) -> None:
        self.transport.arrive(None)

    def do_leave(self, _: object) -> None:
        if not self.gone:
            self.gone = True
            self.transport.leave()

    def do_reset(self, _: object) -> None:
        if not self.gone:
            self.gone = True
            self.transport.leave(reset=True)

    def do_stall(self, _: object) -> None:
        self.stalled = True
        self.transport.window = 0

    def do_read(self, _: object) -> None:
        self.stalled = False
        self.transport.give(None)


@pytest.fixture(scope="module")
def epoll() -> Iterator[EPollReactor]:
    made = EPollReactor()
    yield made
    made.removeAll()
    made.iterate(0)


def compare(reactor: EPollReactor, kind: type[Plain], steps: list[Step]) -> list[Any]:
    """Run a script on both; what was seen."""
    real = RealSide(kind(), reactor)
    try:
        expected = real.run(steps)
    finally:
        real.close()
    seen = MemorySide(kind()).run(steps)
    assert seen == expected
    return seen


NOTHING = None
SCRIPTS: dict[str, list[Step]] = {
    "nothing": [],
    "addresses": [("names", NOTHING)],
    "options": [("options", True), ("options", False)],
    "data both ways": [("send", b"ping"), ("write", 4), ("write_all", 3), ("send", b"pong")],
    "text is refused": [("write_text", NOTHING)],
    "lost by the server": [("write", 10), ("lose", NOTHING), ("write", 10)],
    "lost behind much": [("stall", NOTHING), ("write", BIG), ("lose", NOTHING), ("read", NOTHING)],
    "lost twice": [("stall", NOTHING), ("write", BIG), ("lose", NOTHING), ("lose", NOTHING), ("read", NOTHING)],
    "written when closing": [
        ("stall", NOTHING), ("write", BIG), ("lose", NOTHING), ("write", 100), ("read", NOTHING),
    ],
    "a closing server does not read": [
        ("stall", NOTHING), ("write", BIG), ("lose", NOTHING), ("send", b"more"), ("resume", NOTHING),
        ("read", NOTHING),
    ],
    "names and options of what is gone": [("abort", NOTHING), ("names", NOTHING), ("options", True)],
    "aborted": [("write", 10), ("abort", NOTHING), ("abort", NOTHING), ("write", 10)],
    "aborted behind much": [("stall", NOTHING), ("write", BIG), ("abort", NOTHING)],
    "aborted while closing": [("stall", NOTHING), ("write", BIG), ("lose", NOTHING), ("abort", NOTHING)],
    "paused": [("pause", NOTHING), ("send", b"waits"), ("send", b"too"), ("resume", NOTHING)],
    "paused at its end": [("pause", NOTHING), ("send", b"waits"), ("end", NOTHING), ("resume", NOTHING)],
    "paused and reset": [("pause", NOTHING), ("reset", NOTHING), ("resume", NOTHING)],
    "paused, reset, written": [("pause", NOTHING), ("reset", NOTHING), ("write", 5)],
    "a producer of little": [("push", NOTHING), ("write", 10), ("unregister", NOTHING)],
    "a producer of much": [("push", NOTHING), ("stall", NOTHING), ("write", BIG), ("read", NOTHING)],
    "two producers": [("push", NOTHING), ("push", NOTHING)],
    "a pull producer": [("pull", 3)],
    "a pull producer, closed": [("pull", 3), ("lose", NOTHING)],
    "a producer keeps it open": [("push", NOTHING), ("write", 5), ("lose", NOTHING), ("unregister", NOTHING)],
    "a paused producer keeps it open": [
        ("push", NOTHING), ("stall", NOTHING), ("write", BIG), ("lose", NOTHING), ("read", NOTHING),
        ("unregister", NOTHING),
    ],
    "a producer of a closing connection": [
        ("stall", NOTHING), ("write", BIG), ("lose", NOTHING), ("push", NOTHING), ("read", NOTHING),
        ("unregister", NOTHING),
    ],
    "a producer of what is gone": [("abort", NOTHING), ("push", NOTHING)],
    "a producer is stopped": [("push", NOTHING), ("reset", NOTHING)],
    "a producer is stopped by the abort": [("push", NOTHING), ("abort", NOTHING)],
    "our side ends": [("lose_write", NOTHING), ("send", b"still"), ("write", 5), ("end", NOTHING), ("lose", NOTHING)],
    "our side ends behind much": [("stall", NOTHING), ("write", BIG), ("lose_write", NOTHING), ("read", NOTHING)],
    "our side ends and all": [("lose_write", NOTHING), ("lose", NOTHING)],
    "our side ends with a producer": [("push", NOTHING), ("lose_write", NOTHING), ("unregister", NOTHING)],
    "their side ends": [("end", NOTHING), ("write", 5), ("lose", NOTHING)],
    "their side ends behind data": [("send", b"data"), ("end", NOTHING), ("lose_write", NOTHING), ("lose", NOTHING)],
    "their side ends, and is read again": [("end", NOTHING), ("resume", NOTHING), ("resume", NOTHING)],
    "the client leaves": [("leave", NOTHING), ("lose", NOTHING)],
    "the client leaves before an answer": [("send", b"ask"), ("leave", NOTHING), ("write", 5), ("write", 5)],
    "the client leaves, answer and close": [("send", b"ask"), ("leave", NOTHING), ("write", 5), ("lose", NOTHING)],
    "the client leaves what it has not read": [("stall", NOTHING), ("write", 5), ("leave", NOTHING)],
    "the client leaves behind our end": [("lose_write", NOTHING), ("leave", NOTHING), ("lose", NOTHING)],
    "the client resets": [("send", b"ask"), ("reset", NOTHING), ("write", 5)],
    "the client resets what is sent": [("stall", NOTHING), ("write", BIG), ("reset", NOTHING)],
    "closed on what was not read": [("pause", NOTHING), ("send", b"unread"), ("lose", NOTHING)],
    "sent to what is closed": [("lose", NOTHING), ("send", b"late")],
}  # fmt: skip


@pytest.mark.parametrize("steps", SCRIPTS.values(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("kind", [Plain, HalfClosing])
def test_scripts_see_the_same(epoll: EPollReactor, kind: type[Plain], steps: list[Step]) -> None:
    compare(epoll, kind, steps)


STEPS = st.one_of(
    st.tuples(st.sampled_from(["write", "write_all"]), st.sampled_from([1, 3])),
    st.tuples(
        st.sampled_from([
            "lose", "lose_write", "abort", "pause", "resume", "stop", "push", "unregister", "end", "leave", "reset",
        ]),
        st.none(),
    ),
    st.tuples(st.just("pull"), st.integers(1, 3)),
    st.tuples(st.just("send"), st.sampled_from([b"a", b"bc"])),
)  # fmt: skip


@given(steps=st.lists(STEPS, max_size=10), kind=st.sampled_from([Plain, HalfClosing]))
@settings(deadline=None)
def test_any_script_sees_the_same(steps: list[Step], kind: type[Plain], epoll: EPollReactor) -> None:
    compare(epoll, kind, steps)
