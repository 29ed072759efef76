"""Listening with one call."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from ka_twisted import KeepAliveFactory, Limits, Serving, serve
from ka_twisted.testing import MemoryTransport
from tests.http1.driving import GET
from tests.server.driving import ignore, silent


@implementer(IListeningPort)
class Port:
    """
    A port in memory.

    :ivar stopped: how often it was told to stop.
    """

    def __init__(self, stopping: Any = None) -> None:
        self.stopped = 0
        self._stopping = stopping

    def startListening(self) -> None:
        pass

    def stopListening(self) -> Any:
        self.stopped += 1
        return self._stopping

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint that listens on a port of the test's, or fails."""

    def __init__(self, port: Port | Exception) -> None:
        self._port = port
        self.factories: list[Factory] = []

    def listen(self, factory: Any) -> Deferred[IListeningPort]:
        self.factories.append(factory)
        return fail(self._port) if isinstance(self._port, Exception) else succeed(self._port)


def result(deferred: Deferred[Any]) -> Any:
    results: list[Any] = []
    deferred.addBoth(results.append)
    return results[0] if results else None


def test_without_an_endpoint_it_is_the_loopback() -> None:
    reactor = MemoryReactorClock()
    serving = result(serve(ignore, reactor=reactor))
    assert isinstance(serving, Serving)
    ((port, factory, _, interface),) = reactor.tcpServers
    assert (port, interface) == (8080, "127.0.0.1")
    assert factory is serving.factory
    assert isinstance(factory, KeepAliveFactory)
    assert len(serving.ports) == 1


def test_endpoints_are_descriptions_or_objects() -> None:
    reactor = MemoryReactorClock()
    endpoint = Endpoint(Port())
    serving = result(serve(ignore, "tcp:0", "unix:/tmp/none", endpoint, reactor=reactor))
    assert len(serving.ports) == 3
    assert len(reactor.tcpServers) == len(reactor.unixServers) == 1
    assert endpoint.factories == [serving.factory]


def test_settings_are_the_factorys() -> None:
    serving = result(serve(ignore, reactor=MemoryReactorClock(), limits=Limits(maxRequests=7)))
    assert serving.factory.limits.maxRequests == 7
    assert serving.factory.handler is ignore
    with pytest.raises(TypeError):
        serve(ignore, reactor=MemoryReactorClock(), unknown=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("description", ["", "nonsense:1", "tcp:http:x"])
def test_a_description_that_is_none_raises(description: str) -> None:
    with pytest.raises(ValueError):
        serve(ignore, description, reactor=MemoryReactorClock())


def test_when_one_cannot_listen_none_does() -> None:
    ports = [Port(), Port(succeed(None))]
    endpoints = [*map(Endpoint, ports), Endpoint(CannotListenError("", 1, OSError("in use"))), Endpoint(Port())]
    failure = result(serve(ignore, *endpoints, reactor=MemoryReactorClock()))
    assert failure.check(CannotListenError)
    assert [port.stopped for port in ports] == [1, 1]
    assert endpoints[-1].factories == []


@pytest.mark.ledger("P-18")
def test_stopping_closes_the_ports_first_then_drains() -> None:
    closing: Deferred[None] = Deferred()
    port = Port(closing)
    reactor = MemoryReactorClock()
    serving = result(serve(silent, Endpoint(port), reactor=reactor))
    factory = serving.factory
    transport = MemoryTransport(reactor, IPv4Address("TCP", "127.0.0.1", 2), port.getHost())
    transport.protocol = factory.buildProtocol(None)
    transport.protocol.makeConnection(transport)
    transport.arrive(GET)
    stopped: list[Any] = []
    serving.stop(10).addCallback(stopped.append)
    assert port.stopped == 1
    assert not factory.draining
    assert factory.registry.retiring  # the response that is due says so
    closing.callback(None)
    reactor.pump([0.1] * 9)
    assert not factory.draining  # what is on its way meanwhile is served
    reactor.pump([0.1] * 2)
    assert factory.draining
    assert stopped == []
    reactor.advance(10)
    reactor.advance(0)
    assert stopped == [None]


def test_stopping_with_nobody_there_is_over_at_once() -> None:
    serving = result(serve(ignore, Endpoint(Port()), Endpoint(Port(succeed(None))), reactor=MemoryReactorClock()))
    stopped: list[Any] = []
    serving.stop().addCallback(stopped.append)
    assert stopped == [None]


def test_stopping_twice_stops_the_ports_once() -> None:
    closing: Deferred[None] = Deferred()
    port = Port(closing)
    serving = result(serve(ignore, Endpoint(port), reactor=MemoryReactorClock()))
    stopped: list[Any] = []
    serving.stop().addCallback(stopped.append)
    serving.stop().addCallback(stopped.append)
    assert port.stopped == 1
    closing.callback(None)
    assert stopped == [None, None]
