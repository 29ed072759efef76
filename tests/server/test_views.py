"""What can be seen of a connection can be seen of one that is gone, too; and who has ended it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from zope.interface import implementer

from ka_twisted import CloseReason, KeepAliveProtocol, Request
from ka_twisted.interfaces import IConnection, IConnectionObserver
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET

VIEWS = [name for name in IConnection.names() if not callable(getattr(KeepAliveProtocol, name, None))]


@implementer(IConnectionObserver)
class Views:
    """Sees all that there is to be seen of a connection that is gone."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def connectionOpened(self, connection: IConnection) -> None:
        """See `IConnectionObserver`."""

    def exchangeFinished(self, connection: IConnection, exchange: object) -> None:
        """See `IConnectionObserver`."""

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        self.seen = {name: getattr(connection, name) for name in VIEWS}


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
def test_a_connection_that_is_gone(peer: str) -> None:
    requests: list[Request] = []

    def handler(request: Request) -> bytes:
        requests.append(request)
        return b"ok"

    observer = Views()
    client = MemoryServer(handler, observers=[observer]).connect(peer)
    client.send(GET)
    client.reset()
    kind = IPv6Address if ":" in peer else IPv4Address
    assert observer.seen["host"] == kind("TCP", peer, 8080)
    assert requests[0].connection.host == observer.seen["host"]
    assert requests[0].connection.peer == observer.seen["peer"]
    assert observer.seen["closeReason"] == CloseReason.TRANSPORT_ERROR


def test_connections_share_the_address_that_they_have_reached() -> None:
    server = MemoryServer()
    first, second, third = server.connect(), server.connect(), server.connect("::1")
    assert first.protocol.host is second.protocol.host
    assert third.protocol.host == IPv6Address("TCP", "::1", 8080)


@pytest.mark.parametrize(
    "end",
    [
        lambda protocol: protocol.transport.loseConnection(),
        lambda protocol: protocol.transport.abortConnection(),
        lambda protocol: protocol.abort(),
    ],
)
@pytest.mark.parametrize("answers", [True, False])
def test_a_protocol_that_ends_its_connection_by_itself(end: Callable[[Any], object], answers: bool) -> None:
    class Ending(KeepAliveProtocol):
        def requestReceived(self, request: Request) -> None:
            if answers:
                request.respond(b"ok")
            end(self)

    server = MemoryServer(protocol=Ending)
    client = server.connect()
    client.send(GET)
    assert client.closed
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert not server.factory.connections
