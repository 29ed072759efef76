"""The figures that connections and exchanges carry for those who observe them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from ka_twisted import Request, Response, Switch, Timeouts
from ka_twisted.core.exchange import Exchange
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET
from tests.server.driving import BIG, Held, Observer, echo, silent

EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"


def exchanges(server: MemoryServer) -> list[Exchange]:
    """Those that are over, by number."""
    observer = server.factory.observers[0]
    assert isinstance(observer, Observer)
    return sorted(observer.exchanges, key=lambda exchange: exchange.number)


def test_bytes_are_those_of_http_in_both_directions() -> None:
    client = MemoryServer(echo).connect()
    assert (client.protocol.bytesReceived, client.protocol.bytesSent) == (0, 0)
    post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    client.send(GET + post, pieces=7)
    assert client.protocol.bytesReceived == len(GET + post)
    assert client.protocol.bytesSent == len(client.received)


def test_what_waits_to_be_sent_counts_as_sent() -> None:
    client = MemoryServer(lambda request: BIG).connect()
    client.stall()
    client.send(GET)
    assert client.received == b""
    assert client.protocol.bytesSent > len(BIG)


def test_bytes_that_come_late_are_not_counted_as_received() -> None:
    server = MemoryServer(timeouts=Timeouts(idle=15))
    client = server.connect()
    client.send(GET)
    server.advance(15)
    client.send(GET * 2)
    assert (client.protocol.bytesReceived, client.protocol.lateBytes) == (len(GET), 2 * len(GET))


def test_the_bytes_of_another_protocol_count_in_both_directions() -> None:
    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(data)
            self.transport.writeSequence([data, data])

    server = MemoryServer(upgrades={"echo": lambda request: Switch(Echo())})
    client = server.connect()
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    client.send(ask)
    answered = client.protocol.bytesSent
    assert answered == len(client.received)
    client.send(b"something else")
    assert client.protocol.bytesReceived == len(ask) + 14
    assert client.protocol.bytesSent == len(client.received) == answered + 3 * 14


def test_the_depth_is_that_of_its_time() -> None:
    held = Held()
    server = MemoryServer(held, observers=[Observer()])
    client = server.connect()
    client.send(GET * 3)
    held.answer(1)
    client.send(GET)
    for number in (4, 2, 3):
        held.answer(number)
    client.send(GET)
    held.answer(5)
    assert [exchange.depth for exchange in exchanges(server)] == [1, 2, 3, 3, 1]


def test_a_response_that_is_made_while_it_is_sent_tells_when_it_began() -> None:
    async def handler(request: Request) -> Response:
        clock = request.connection.clock
        await deferLater(clock, 2)

        async def pieces() -> AsyncIterator[bytes]:
            await deferLater(clock, 3)
            yield b"late"

        return Response.stream(pieces())

    server = MemoryServer(handler, observers=[Observer()])
    server.advance(1)
    server.connect().send(GET)
    server.advance(10)
    (exchange,) = exchanges(server)
    assert (exchange.started, exchange.responded) == (1, 3)


@pytest.mark.parametrize(("seconds", "overdue"), [(0.5, False), (1.5, True)])
def test_an_expectation_that_time_decided_is_known(seconds: float, overdue: bool) -> None:
    async def handler(request: Request) -> bytes:
        await deferLater(request.connection.clock, seconds)
        return await request.read()

    server = MemoryServer(handler, observers=[Observer()], timeouts=Timeouts(expectation=1))
    client = server.connect()
    client.send(EXPECTING)
    server.advance(2)
    assert client.allResponses[0].status == 100
    client.send(b"hello")
    assert [exchange.overdue for exchange in exchanges(server)] == [overdue]


def test_a_body_that_comes_uninvited_leaves_time_nothing_to_decide() -> None:
    server = MemoryServer(silent, observers=[Observer()], timeouts=Timeouts(expectation=1))
    client = server.connect()
    client.send(EXPECTING)
    client.send(b"hello")
    server.advance(2)
    client.reset()
    assert [exchange.overdue for exchange in exchanges(server)] == [False]
