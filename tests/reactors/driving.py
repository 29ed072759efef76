"""Running a reactor for as long as a test takes, and protocols to run on it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from ka_twisted.reactors.uvloop import UvloopReactor

T = TypeVar("T")

#: Seconds after which a test is taken for hanging.
PATIENCE = 20.0


def run(reactor: UvloopReactor, test: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
    """Run the reactor until the coroutine has ended; its result."""
    results: list[T | Failure] = []

    def begin() -> None:
        ended = Deferred.fromCoroutine(test())
        ended.addTimeout(PATIENCE, reactor)
        ended.addBoth(results.append)
        ended.addBoth(lambda _: reactor.stop())

    reactor.callLater(0, begin)
    reactor.run(installSignalHandlers=False)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


class Recording(Protocol):
    """
    Keeps what happens to it.

    :ivar received: each piece that was received.
    :ivar lost: fires with why the connection was lost.
    """

    transport: Any

    def __init__(self) -> None:
        self.made: Deferred[Recording] = Deferred()
        self.lost: Deferred[BaseException] = Deferred()
        self.received: list[bytes] = []
        self._waiting: list[tuple[int, Deferred[bytes]]] = []

    @property
    def data(self) -> bytes:
        """All that was received."""
        return b"".join(self.received)

    def until(self, count: int) -> Deferred[bytes]:
        """Fires with all bytes received, when there are so many."""
        enough: Deferred[bytes] = Deferred()
        self._waiting.append((count, enough))
        self._look()
        return enough

    def _look(self) -> None:
        size = sum(map(len, self.received))
        ready = [enough for count, enough in self._waiting if size >= count]
        self._waiting = [waiting for waiting in self._waiting if size < waiting[0]]
        for enough in ready:
            enough.callback(self.data)

    def connectionMade(self) -> None:
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.value is not None
        self.lost.callback(reason.value)


class Producer:
    """A push producer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.resumed: Deferred[None] = Deferred()

    @property
    def paused(self) -> bool:
        return self.told[-1:] == ["pause"]

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        resumed, self.resumed = self.resumed, Deferred()
        resumed.callback(None)

    def stopProducing(self) -> None:
        self.told.append("stop")


def only(protocol: Protocol) -> Any:
    """A factory of that one protocol, for either side."""
    factory = ClientFactory()
    factory.noisy = False
    factory.buildProtocol = lambda address: protocol  # type: ignore[method-assign,assignment]
    return factory


def every(kind: type[Protocol]) -> Any:
    """A factory of any number of protocols of a kind."""
    factory: Any = Factory.forProtocol(kind)
    factory.noisy = False
    return factory


async def pair(
    reactor: UvloopReactor, server: Recording | None = None, client: Recording | None = None
) -> tuple[Any, Any]:
    """Two connected protocols."""
    server, client = server or Recording(), client or Recording()
    port = reactor.listenTCP(0, only(server), interface="127.0.0.1")
    reactor.connectTCP("127.0.0.1", port.getHost().port, only(client))
    await server.made
    await client.made
    await port.stopListening()
    return server, client
