"""Two thousand requests on one connection: however they are cut, the same answers in the same order."""

from __future__ import annotations

import fcntl
import random
import struct
import termios
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.task import deferLater

from ka_twisted import CloseReason, KeepAliveProtocol, Request, Response
from tests.http1.driving import chunked, get
from tests.integration.driving import reactor, served, until

COUNT = 2000
CHANCE = random.Random(2616)


def body(number: int) -> bytes:
    """The body of a request: now and then a large one, and often one that looks like a request."""
    return (b"GET /never HTTP/1.1\r\n\r\n" * 3)[: number % 50] if number % 97 else b"x" * 2000


def request(number: int) -> tuple[str, bytes]:
    """A request and its method."""
    fields = ("Connection: close",) if number == COUNT else ()
    target = f"/{number}"
    kind = number % 7
    if kind == 3:
        return "POST", get(target, f"Content-Length: {len(body(number))}", *fields, method="POST", body=body(number))
    if kind == 5:
        data, half = body(number), number % 11
        pieces = [piece for piece in (data[:half], data[half:]) if piece]
        return "PUT", get(target, "Transfer-Encoding: chunked", *fields, method="PUT", body=chunked(*pieces))
    method = "HEAD" if kind == 1 else "DELETE" if kind == 6 and number % 3 == 0 else "GET"
    return method, get(target, *fields, method=method)


def unread(number: int) -> bool:
    """Whether it is answered without a look at its body. One in chunks would close the connection (ledger D1-25)."""
    return number % 13 == 0 and number % 7 != 5


async def handler(request: Request) -> Response:
    """Answers with what it was asked: at once, late, from a stream, or before it has read the body."""
    number = int(request.path[1:])
    if unread(number):
        return Response.text(f"{number} unread\n")
    digest = sha256(await request.read()).hexdigest()
    if number % 5 == 0:  # late, and the later the earlier
        await deferLater(reactor, (9 - number // 5 % 10) / 5000)
    text = f"{number} {request.number} {request.method} {digest}\n".encode()
    return Response.stream(stream(text)) if number % 17 == 0 else Response(200, text)


async def stream(text: bytes) -> AsyncIterator[bytes]:
    yield text[:5]
    await deferLater(reactor, 0)
    yield text[5:]


def expected(number: int) -> bytes:
    method, _ = request(number)
    if method == "HEAD":
        return b""
    if unread(number):
        return b"%d unread\n" % number
    data = body(number) if method in ("POST", "PUT") else b""
    return f"{number} {number} {method} {sha256(data).hexdigest()}\n".encode()


class Cut(KeepAliveProtocol):
    """A connection whose reads are of the size that a test wants. It begins when the test says so."""

    size: Callable[[], int]
    reads = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        transport: Any = self.transport
        transport.pauseProducing()
        transport.bufferSize = self.size()

    def dataReceived(self, data: bytes) -> None:
        self.reads += 1
        transport: Any = self.transport
        transport.bufferSize = self.size()
        super().dataReceived(data)


class ByteByByte(Cut):
    def size(self) -> int:
        return 1


class OneSegment(Cut):
    def size(self) -> int:
        return 1 << 22


class AtRandom(Cut):
    def size(self) -> int:
        return int(1 + CHANCE.expovariate(1 / 100))


def waiting(connection: KeepAliveProtocol) -> int:
    """Bytes that the kernel has for the server."""
    transport: Any = connection.transport
    (count,) = struct.unpack("i", fcntl.ioctl(transport.socket.fileno(), termios.FIONREAD, b"\0" * 4))
    return int(count)


@pytest.mark.parametrize("cut", [ByteByByte, OneSegment, AtRandom])
@pytest.mark.ledger("N-01", "N-02", "P-02", "P-08")
@ensureDeferred
async def test_two_thousand_requests_have_the_same_answers_however_they_are_cut(cut: type[Cut]) -> None:
    requests = [request(number) for number in range(1, COUNT + 1)]
    data = b"".join(data for _, data in requests)
    async with served(handler, protocol=cut) as server:
        for port in server.ports:
            port.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 1 << 21)
        client = await server.connect()
        connection = await server.accepted(client)
        assert isinstance(connection, Cut)
        await client.send(data)
        await until(lambda: waiting(connection) == len(data))
        transport: Any = connection.transport
        transport.resumeProducing()
        replies = await client.replies(*[method for method, _ in requests])
        assert [reply.status for reply in replies] == [200] * COUNT
        assert [reply.body for reply in replies] == [expected(number) for number in range(1, COUNT + 1)]
        assert [reply.connection for reply in replies] == [[]] * (COUNT - 1) + [["Connection: close"]]
        client.close()
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]
    if cut is not AtRandom:
        assert connection.reads == (len(data) if cut is ByteByByte else 1)
    assert connection.requestCount == COUNT
    assert len(server.observer.exchanges) == COUNT
