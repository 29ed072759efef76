"""Whatever an application raises where it is told or asked something, nothing else suffers from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ka_twisted import CloseReason, KeepAliveProtocol, Request, Response, Switch
from ka_twisted.interfaces import IConnectionObserver, IDrainable
from ka_twisted.server.writer import ResponseWriter
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET, get
from tests.logs import Logged
from tests.server.driving import BIG, statuses

OFFER = get("/", "Connection: upgrade", "Upgrade: other")
ERRORS = [KeyError, SystemExit, KeyboardInterrupt, asyncio.CancelledError]

raised = pytest.mark.parametrize("error", ERRORS)


def raises(error: type[BaseException]) -> Callable[..., Any]:
    def mishap(*_: object) -> Any:
        raise error("mishap")

    return mishap


def drained(server: MemoryServer) -> bool:
    """Whether a drain ends at once, with no connection left."""
    over: list[None] = []
    server.factory.drain(0).addCallback(over.append)
    return bool(over) and not server.factory.connections


@raised
@pytest.mark.parametrize("hook", ["connectionOpened", "exchangeFinished", "connectionClosed"])
def test_an_observer(hook: str, error: type[BaseException], logged: Logged) -> None:
    told: list[str] = []

    def observer(mishap: str) -> Any:
        @implementer(IConnectionObserver)
        class Observer:
            def __getattr__(self, name: str) -> Any:
                return raises(error) if name == mishap else lambda *_: told.append(name)

        return Observer()

    server = MemoryServer(observers=[observer(hook), observer("")])
    client = server.connect()
    client.send(GET + GET)
    assert statuses(client) == [200, 200]
    client.reset()
    assert drained(server)
    assert told.count(hook) == {"exchangeFinished": 4}.get(hook, 2) // 2
    assert logged.failures(error)


@raised
def test_the_hook_about_persistence(error: type[BaseException], logged: Logged) -> None:
    hooks = type("Hooks", (KeepAliveProtocol,), {"persistenceDecided": raises(error)})
    client = MemoryServer(protocol=hooks).connect()
    client.send(GET + GET)
    assert statuses(client) == [200, 200]
    assert len(logged.failures(error)) == 2


@raised
def test_the_hook_about_the_end(error: type[BaseException], logged: Logged) -> None:
    server = MemoryServer(protocol=type("Hooks", (KeepAliveProtocol,), {"connectionClosed": raises(error)}))
    server.connect().reset()
    assert drained(server)
    assert logged.failures(error)


@raised
def test_the_canceller_of_an_answer(error: type[BaseException], logged: Logged) -> None:
    server = MemoryServer(lambda request: Deferred(raises(error)))
    client = server.connect()
    client.send(GET + GET)
    client.reset()
    assert drained(server)
    assert len(logged.failures(error)) == 2


@raised
def test_a_body_that_is_stopped(error: type[BaseException], logged: Logged) -> None:
    @implementer(IBodyProducer)
    class Body:
        length = 10
        pauseProducing = resumeProducing = lambda self: None
        stopProducing = raises(error)

        def startProducing(self, consumer: object) -> Deferred[None]:
            return Deferred()

    server = MemoryServer(lambda request: Response.stream(Body()))
    client = server.connect()
    client.send(GET)
    client.reset()
    assert drained(server)
    assert logged.failures(error)


@raised
def test_a_body_that_is_closed(error: type[BaseException], logged: Logged) -> None:
    class Body:
        close = raises(error)

        def __iter__(self) -> Any:
            return iter([b"body"])

    client = MemoryServer(lambda request: Response.stream(Body())).connect()
    client.send(GET + GET)
    assert [(response.body, response.complete) for response in client.responses] == [(b"body", True)] * 2
    assert len(logged.failures(error)) == 2


class Pushing:
    """
    A handler that pushes its response, and waits for something beside.

    :ivar ends: what has become of the response.
    """

    def __init__(self, producer: Any, *, streaming: bool, size: int = 0) -> None:
        self.ends: list[Any] = []
        self.cancelled: list[Any] = []
        self.writer: ResponseWriter | None = None
        self._producer = producer
        self._streaming = streaming
        self._size = size

    def __call__(self, request: Request) -> Deferred[Any]:
        request.finished.addBoth(self.ends.append)
        self.writer = request.start()
        self.writer.registerProducer(self._producer, self._streaming)
        for _ in range(self._size):
            self.writer.write(BIG)
        return Deferred(self.cancelled.append)


def producer(**methods: Callable[..., Any]) -> Any:
    names = ("pauseProducing", "resumeProducing", "stopProducing")
    return type("Producer", (), {name: methods.get(name, lambda self: None) for name in names})()


@raised
def test_a_producer_that_is_stopped(error: type[BaseException], logged: Logged) -> None:
    """The handler is told all the same that its client has gone."""
    handler = Pushing(producer(stopProducing=raises(error)), streaming=True)
    server = MemoryServer(handler)
    client = server.connect()
    client.send(GET)
    client.reset()
    assert drained(server)
    assert len(handler.cancelled) == len(handler.ends) == 1
    assert logged.failures(error)


@raised
@pytest.mark.parametrize("streaming", [True, False])
def test_a_producer_that_is_asked_for_more(streaming: bool, error: type[BaseException], logged: Logged) -> None:
    """The response ends, unfinished."""
    handler = Pushing(producer(resumeProducing=raises(error)), streaming=streaming, size=4)
    client = MemoryServer(handler).connect()
    client.stall()
    client.send(GET)
    assert not handler.ends
    client.resume()
    assert client.ended
    assert not client.responses[0].complete
    assert len(handler.ends) == 1
    assert logged.failures(error)


def test_a_producer_that_ends_the_response_and_raises(logged: Logged) -> None:
    def resumed(_: object) -> None:
        assert handler.writer is not None
        handler.writer.finish()
        raise KeyError("mishap")

    handler = Pushing(producer(resumeProducing=resumed), streaming=False)
    client = MemoryServer(handler).connect()
    client.send(GET)
    assert client.responses[0].complete
    assert handler.ends == [None]
    assert logged.failures(KeyError)


@raised
@pytest.mark.parametrize("call", ["retire", "drain"])
def test_a_protocol_that_is_told_of_a_shutdown(call: str, error: type[BaseException], logged: Logged) -> None:
    """It loses its connection; the shutdown goes on for the others."""

    @implementer(IDrainable)
    class Successor(Protocol):
        def __getattr__(self, name: str) -> Any:
            return raises(error) if name == call else lambda *_: Deferred()

    server = MemoryServer(lambda request: Switch(Successor(), name="other"))
    client, other = server.connect(), server.connect()
    client.send(OFFER)
    getattr(server.factory, call)()
    server.settle()
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert other.ended is (call == "drain")
    other.reset()
    assert drained(server)
    assert logged.failures(error)


@raised
def test_a_protocol_that_is_told_of_the_end_of_a_side(error: type[BaseException], logged: Logged) -> None:
    @implementer(IHalfCloseableProtocol)
    class Successor(Protocol):
        readConnectionLost = writeConnectionLost = raises(error)

    server = MemoryServer(lambda request: Switch(Successor(), name="other"))
    client = server.connect()
    client.send(OFFER)
    client.halfClose()
    assert client.closed
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert logged.failures(error)
