"""Applications, connections and observers that the tests of the Twisted side share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ka_twisted import CloseReason, KeepAliveProtocol, Request, Response
from ka_twisted.core.exchange import Exchange
from ka_twisted.http1.server import ServerConnection
from ka_twisted.interfaces import IConnection, IConnectionObserver
from ka_twisted.net.alarms import Watch
from ka_twisted.server.http1_driver import Http1Driver
from ka_twisted.testing import MemoryClient, MemoryServer

#: More than a stalled reader's transport takes before it holds its producer back.
BIG = b"0123456789abcdef" * 65536


class Held:
    """
    A handler whose answers the test gives.

    :ivar requests: what came, by request number.
    :ivar cancelled: the numbers of the requests whose Deferred was cancelled.
    """

    def __init__(self) -> None:
        self.requests: dict[int, Request] = {}
        self.cancelled: list[int] = []
        self._answers: dict[int, Deferred[Any]] = {}

    def __call__(self, request: Request) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred(lambda _: self.cancelled.append(request.number))
        self.requests[request.number] = request
        self._answers[request.number] = answer
        return answer

    def answer(self, number: int, result: Any = b"ok\n") -> None:
        """Answer a request, or fail it with an exception."""
        answer = self._answers.pop(number)
        if isinstance(result, BaseException):
            answer.errback(result)
        else:
            answer.callback(result)


@implementer(IConnectionObserver)
class Observer:
    """
    Keeps what it is told.

    :ivar told: ``(what, connection id, more...)``.
    :ivar reasons: why connections ended, in the order in which they did.
    :ivar exchanges: those that are over, in that order.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.reasons: list[CloseReason] = []
        self.exchanges: list[Exchange] = []

    def connectionOpened(self, connection: IConnection) -> None:
        self.told.append(("opened", connection.id))

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.told.append(("finished", connection.id, exchange.number))

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        self.reasons.append(reason)
        self.told.append(("closed", connection.id, reason.name))


class Recorded(KeepAliveProtocol):
    """A connection that keeps what its hooks are told."""

    closed: list[CloseReason]

    def connectionMade(self) -> None:
        self.closed = []
        super().connectionMade()

    def connectionClosed(self, reason: CloseReason) -> None:
        self.closed.append(reason)


def recorded(client: MemoryClient) -> list[CloseReason]:
    """What the connection of a client, a `Recorded`, was told about its end."""
    assert isinstance(client.protocol, Recorded)
    return client.protocol.closed


def silent(request: Request) -> Deferred[Any]:
    """Never answers."""
    return Deferred()


def ignore(request: Request) -> bytes:
    """Answers without a look at the body."""
    return b"ignored\n"


async def read(request: Request) -> bytes:
    """Answers with the body, once it is complete."""
    return await request.read()


echo = read


def reading(taken: list[bytes]) -> Callable[[Request], Any]:
    """A handler that reads the body piece by piece and keeps the pieces."""

    async def handler(request: Request) -> bytes:
        async for data in request.body:
            taken.append(data)
        return b"%d\n" % sum(map(len, taken))

    return handler


def stream_echo(request: Request) -> Response:
    """Sends back each piece of the body as it comes."""

    async def pieces() -> AsyncIterator[bytes]:
        async for data in request.body:
            yield data

    return Response.stream(pieces())


def endless(size: int = 65536) -> Iterator[bytes]:
    """A body without an end."""
    while True:
        yield b"x" * size


def uncounted(*pieces: bytes) -> Iterator[bytes]:
    """A body whose length is not known."""
    yield from pieces


def numbered(request: Request) -> str:
    """Says which request of its connection it was."""
    return f"{request.number}\n"


def statuses(client: MemoryClient) -> list[int]:
    """The statuses of all responses so far, interim ones included."""
    return [response.status for response in client.allResponses]


def said(client: MemoryClient) -> str | None:
    """The Connection field of the latest response."""
    return client.responses[-1].headers.get("connection")


def hold_nothing(server: MemoryServer) -> None:
    """See that a server whose connections are all gone holds nothing of them."""
    factory = server.factory
    assert factory.connectionCount == 0
    assert not list(factory.connections)
    assert not server.clock.getDelayedCalls()


def core(connection: IConnection) -> ServerConnection:
    """The protocol layer's side of a connection of HTTP/1."""
    driver = cast(KeepAliveProtocol, connection)._driver
    assert isinstance(driver, Http1Driver)
    return driver.core


def watch(connection: IConnection) -> Watch:
    """The deadlines of a connection."""
    return cast(KeepAliveProtocol, connection)._driver
