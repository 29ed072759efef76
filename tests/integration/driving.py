"""
Servers on the reactor of the tests, and clients whose sockets do what a test says and nothing by themselves.

Nothing here sleeps: a test waits for what a socket or the server shows, and fails when it does not come.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from ka_twisted import CloseReason, KeepAliveProtocol, serve
from ka_twisted.server.serving import Serving
from tests.http1.driving import Reply, replies
from tests.server.driving import Observer

reactor: Any = _reactor

#: Seconds after which what does not come is taken for lost.
PATIENCE = 30.0
#: Seconds between two looks at a condition.
LOOK = 0.002
LOOPBACK = "tcp:0:interface=127.0.0.1:backlog=1024"

Address = tuple[Any, ...] | str


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for a condition, while the reactor turns."""
    deadline = reactor.seconds() + PATIENCE
    while not condition():
        assert reactor.seconds() < deadline, f"never: {what or condition}"
        await deferLater(reactor, LOOK)


async def together(waits: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run coroutines side by side; the first failure fails."""
    running = [Deferred.fromCoroutine(wait) for wait in waits]
    results: list[Any] = await gatherResults(running, consumeErrors=True)
    return results


@implementer(IReadDescriptor, IWriteDescriptor)
class Client:
    """
    A client's socket.

    :param address: of the server: of a UNIX socket a path.
    :param taking: SO_RCVBUF, in bytes; None: as the kernel has it.
    :ivar received: all that has been read.
    """

    def __init__(self, address: Address, taking: int | None = None) -> None:
        self.socket = socket.socket(_family(address))
        self.socket.setblocking(False)
        if taking is not None:  # before the connection is made, or its window is offered already
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, taking)
        self._address = address
        self._waits: dict[str, Deferred[None]] = {}
        self.received = b""

    async def connect(self) -> Client:
        """
        Open the connection.

        :raises OSError: when it cannot be, with the subclass that fits the error.
        """
        try:
            self.socket.connect(self._address)
        except BlockingIOError:
            await self._wait("write")
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"cannot connect to {self._address}") from None
        if self.socket.family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    @property
    def name(self) -> Any:
        """Our own address."""
        return self.socket.getsockname()

    async def send(self, data: bytes) -> None:
        """
        Send bytes, however long the server takes.

        :raises ConnectionError: when the connection is lost meanwhile.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                await self._wait("write")

    def sendWhatFits(self, data: bytes) -> int:
        """Send what the kernel takes at once; how many bytes that were."""
        sent = 0
        try:
            while sent < len(data):
                sent += self.socket.send(memoryview(data)[sent:])
        except BlockingIOError:
            pass
        return sent

    async def some(self, most: int = 1 << 18) -> bytes:
        """
        The next bytes, no more than that; empty at the end.

        :raises ConnectionResetError: when the connection was reset.
        """
        while True:
            try:
                data = self.socket.recv(most)
            except BlockingIOError:
                await self._wait("read")
            else:
                self.received += data
                return data

    async def take(self, count: int) -> bytes:
        """So many bytes."""
        pieces: list[bytes] = []
        while count:
            data = await self.some(count)
            assert data, f"the end came {count} bytes early"
            pieces.append(data)
            count -= len(data)
        return b"".join(pieces)

    async def rest(self) -> bytes:
        """
        All up to the end.

        :raises ConnectionResetError: when the connection was reset.
        """
        pieces: list[bytes] = []
        while data := await self.some():
            pieces.append(data)
        return b"".join(pieces)

    async def replies(self, *methods: str) -> list[Reply]:
        """The responses to requests with these methods, and the end of the connection behind them."""
        await self.rest()
        return replies(self.received, list(methods), ended=True)

    async def reply(self, method: str = "GET") -> Reply:
        """One response with a stated length, whatever follows it."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.take(1)
        (reply,) = replies(head, ["HEAD"])
        if method != "HEAD":
            reply.body = await self.take(int(reply.get("Content-Length") or 0))
        return reply

    def halfClose(self) -> None:
        """End our side."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Be gone: by a reset when something was not read."""
        if self.socket.fileno() >= 0:
            reactor.removeReader(self)
            reactor.removeWriter(self)
            self.socket.close()

    def reset(self) -> None:
        """Be gone, by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    # What the reactor calls.

    async def _wait(self, which: str) -> None:
        ready: Deferred[None] = Deferred()
        self._waits[which] = ready
        (reactor.addReader if which == "read" else reactor.addWriter)(self)
        await ready.addTimeout(PATIENCE, reactor)

    def _ready(self, which: str) -> None:
        (reactor.removeReader if which == "read" else reactor.removeWriter)(self)
        if (waiting := self._waits.pop(which, None)) is not None:
            waiting.callback(None)

    def doRead(self) -> None:
        self._ready("read")

    def doWrite(self) -> None:
        self._ready("write")

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has seen an error on the socket: the next call on it will tell which."""
        for which in list(self._waits):
            self._ready(which)

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "test client"


def _family(address: Address) -> int:
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class Served:
    """
    A server that listens, and its clients.

    :ivar observer: what its observers were told.
    """

    def __init__(self, serving: Serving, observer: Observer) -> None:
        self.ports: list[Any] = [*serving.ports]
        self.stop = serving.stop
        self.factory = serving.factory
        self.observer = observer
        self._clients: list[Client] = []

    @property
    def address(self) -> Address:
        """Where it listens."""
        host = self.ports[0].getHost()
        return (host.host, host.port)

    async def connect(self, address: Address | None = None, *, taking: int | None = None) -> Client:
        """A new connection."""
        client = Client(address or self.address, taking)
        self._clients.append(client)
        return await client.connect()

    async def accepted(self, client: Client) -> KeepAliveProtocol:
        """The server's end of a connection, once it is there."""

        def find() -> KeepAliveProtocol | None:
            connections = cast("list[KeepAliveProtocol]", list(self.factory.connections))
            return next((each for each in connections if _port(each) == client.name[1]), None)

        await until(find, "accepted")
        found = find()
        assert found is not None
        return found

    async def ended(self, count: int = 1) -> list[CloseReason]:
        """Why connections ended, once so many have and none is left."""
        reasons = self.observer.reasons
        await until(lambda: len(reasons) >= count and not self.factory.connectionCount, f"{count} ended: {reasons}")
        return reasons

    async def leave(self) -> None:
        """Have nothing left open."""
        for client in self._clients:
            client.close()
        for connection in list(self.factory.connections):
            connection.abort()
        await self.stop(PATIENCE)


def _port(connection: KeepAliveProtocol) -> int:
    peer: Any = connection.peer
    return int(peer.port)


@asynccontextmanager
async def served(handler: Any, *endpoints: str, **settings: Any) -> AsyncIterator[Served]:
    """
    A server while it is needed. A test that passes has seen that every connection ended once, for one reason.

    :param endpoints: none: any port of 127.0.0.1.
    """
    observer = Observer()
    serving = await serve(handler, *(endpoints or (LOOPBACK,)), reactor=reactor, observers=[observer], **settings)
    server = Served(serving, observer)
    try:
        yield server
    finally:
        await server.leave()
    assert server.factory.connectionCount == 0
    opened = sorted(told[1] for told in observer.told if told[0] == "opened")
    assert sorted(told[1] for told in observer.told if told[0] == "closed") == opened
    finished = [told[1:] for told in observer.told if told[0] == "finished"]
    assert len(finished) == len(set(finished)), "an exchange was told twice"
