"""A connection that was handed over stays one of the server's: counted, timed, drained, and with one close reason."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from ka_twisted import CloseReason, Limits, Request, Response, Switch, Timeouts
from ka_twisted.interfaces import IDrainable
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, get
from tests.logs import Logged
from tests.server.driving import Observer, statuses

OFFER = get("/", "Connection: upgrade", "Upgrade: other, shout")


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


@implementer(IDrainable)
class Leaving(Echo):
    """Leaves when it is asked to."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def retire(self) -> None:
        self.told.append("retire")

    def drain(self, seconds: float | None = None) -> Deferred[None]:
        self.told.append(("drain", seconds))
        assert self.transport is not None
        self.transport.write(b"bye")
        self.transport.loseConnection()
        return succeed(None)


def switched(protocol: Protocol, **settings: Any) -> tuple[MemoryServer, MemoryClient]:
    server = MemoryServer(lambda request: Switch(protocol, name="shout"), **settings)
    client = server.connect()
    client.send(OFFER)
    return server, client


def body(client: MemoryClient) -> bytes:
    return client.received.partition(b"\r\n\r\n")[2]


def test_any_handler_may_switch() -> None:
    _, client = switched(Echo())
    client.send(b"hello")
    assert client.received.startswith(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\n")
    assert body(client) == b"hello"


@pytest.mark.parametrize("how", ["Deferred", "coroutine"])
def test_a_handler_may_switch_later(how: str) -> None:
    async def handler(request: Request) -> Switch:
        return Switch(Echo())

    client = MemoryServer(handler if how == "coroutine" else lambda request: succeed(Switch(Echo()))).connect()
    client.send(OFFER + b"early")
    assert b"\r\nUpgrade: other\r\n" in client.received
    assert body(client) == b"early"


def test_a_switch_that_was_not_offered_is_an_error_of_the_application(logged: Logged) -> None:
    client = MemoryServer(lambda request: Switch(Echo())).connect()
    client.send(GET * 2)
    assert statuses(client) == [500, 500]
    assert len(logged.failures(ValueError)) == 2


class Failing(Protocol):
    def __init__(self, where: str) -> None:
        self.where = where
        self.ended: list[object] = []

    def connectionMade(self) -> None:
        if self.where == "connectionMade":
            raise ZeroDivisionError

    def dataReceived(self, data: bytes) -> None:
        raise ZeroDivisionError

    def connectionLost(self, reason: object = None) -> None:
        self.ended.append(reason)


@pytest.mark.parametrize("where", ["connectionMade", "dataReceived"])
def test_a_protocol_that_raises_loses_its_connection(where: str, logged: Logged) -> None:
    failing = Failing(where)
    server, client = switched(failing)
    if where == "dataReceived":
        assert not client.closed
        client.send(b"x")
    assert client.closed
    assert client.wasReset
    assert server.closeReasons[1] == CloseReason.APPLICATION_ABORT
    assert len(failing.ended) == 1
    assert server.factory.connectionCount == 0
    assert len(logged.failures(ZeroDivisionError)) == 1


def test_it_stays_counted() -> None:
    observer = Observer()
    server, client = switched(Echo(), limits=Limits(maxConnections=1), observers=[observer])
    assert server.factory.connectionCount == 1
    late = server.connect()
    late.send(GET)
    assert statuses(late) == [503]
    client.disconnect()
    late.disconnect()
    assert server.factory.connectionCount == 0
    assert CloseReason.SWITCHED in observer.reasons


def test_a_drain_asks_it_and_waits_for_it() -> None:
    leaving = Leaving()
    server, client = switched(leaving, timeouts=Timeouts(drain=7))
    server.factory.retire()
    drained = server.factory.drain()
    server.settle()
    assert leaving.told == ["retire", ("drain", 7)]
    assert body(client) == b"bye"
    assert client.closed
    assert not client.wasReset
    assert drained.called
    assert server.closeReasons[1] == CloseReason.SWITCHED


def test_one_that_cannot_be_asked_is_left_alone_until_the_deadline() -> None:
    server, client = switched(Echo(), timeouts=Timeouts(drain=7))
    drained = server.factory.drain()
    server.advance(6.9)
    client.send(b"still here")
    assert body(client) == b"still here"
    server.advance(0.2)
    assert client.wasReset
    assert drained.called
    assert server.closeReasons[1] == CloseReason.DRAINING


def test_silence_may_be_bounded() -> None:
    server, client = switched(Echo(), timeouts=Timeouts(switchedIdle=20))
    for _ in range(3):
        server.advance(19)
        client.send(b"x")
    assert body(client) == b"xxx"
    server.advance(19.9)
    assert not client.closed
    server.advance(0.2)
    assert client.closed
    assert server.closeReasons[1] == CloseReason.IDLE_TIMEOUT
    assert server.closeReasons[1].state == "switched"


def test_a_protocol_that_puts_another_in_its_place_does_not_take_the_connection_away() -> None:
    class Rebinding(Protocol):
        def connectionMade(self) -> None:
            other = Echo()
            assert self.transport is not None
            self.transport.protocol = other  # type: ignore[attr-defined]
            other.makeConnection(self.transport)

    server, client = switched(Rebinding())
    client.send(b"to the other")
    assert body(client) == b"to the other"
    assert client.protocol.bytesReceived == len(OFFER) + 12
    assert client.protocol.bytesSent == len(client.received)
    client.disconnect()
    assert server.factory.connectionCount == 0


def test_a_response_of_an_upgrade_handler_refuses_it() -> None:
    server = MemoryServer(lambda request: b"never", upgrades={"shout": lambda request: Response.text("no\n", 403)})
    client = server.connect()
    client.send(OFFER + GET)
    assert statuses(client) == [403, 200]
