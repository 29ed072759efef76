"""What we say we provide, we provide."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.testing import StringTransport
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from ka_twisted import KeepAliveFactory, KeepAliveProtocol, Response
from ka_twisted.interfaces import IConnectionObserver
from ka_twisted.net.output import OutputStream, SocketOutput
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET
from tests.server.driving import Observer


def test_a_protocol_is_a_half_closeable_protocol() -> None:
    protocol = MemoryServer().connect().protocol
    assert verifyObject(IProtocol, protocol)
    assert verifyObject(IHalfCloseableProtocol, protocol)
    assert verifyClass(IHalfCloseableProtocol, KeepAliveProtocol)


def test_a_factory_is_a_protocol_factory() -> None:
    assert verifyObject(IProtocolFactory, MemoryServer().factory)
    assert verifyClass(IProtocolFactory, KeepAliveFactory)


@pytest.mark.parametrize("interface", [ITCPTransport, IHalfCloseableDescriptor])
def test_a_transport_in_memory_is_one_of_tcp(interface: Any) -> None:
    assert verifyObject(interface, MemoryServer().connect().transport)


class Sender:
    def flushed(self) -> None:
        pass


@pytest.mark.parametrize("outlet", [OutputStream, SocketOutput])
def test_an_outlet_is_a_push_producer(outlet: type[OutputStream]) -> None:
    assert verifyObject(IPushProducer, outlet(StringTransport(), Sender()))


def test_the_observers_of_a_memory_server_are_observers() -> None:
    factory = MemoryServer(observers=[Observer()]).factory
    assert len(factory.observers) == 2
    for observer in factory.observers:
        assert verifyObject(IConnectionObserver, observer)


def test_a_body_producer_is_given_a_consumer() -> None:
    consumers: list[Any] = []

    @implementer(IBodyProducer)
    class Producer:
        length = 0

        def startProducing(self, consumer: IConsumer) -> Deferred[None]:
            consumers.append(consumer)
            return Deferred()

        def pauseProducing(self) -> None:
            pass

        def resumeProducing(self) -> None:
            pass

        def stopProducing(self) -> None:
            pass

    client = MemoryServer(lambda request: Response.stream(Producer())).connect()
    client.send(GET)
    assert verifyObject(IConsumer, consumers[0])
