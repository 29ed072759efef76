"""What all connections of one server share: settings, limits on their number, the date, observers, and the drain."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ka_twisted import (
    CloseReason,
    KeepAliveFactory,
    KeepAliveProtocol,
    Limits,
    Policy,
    Request,
    Response,
    TcpKeepAlive,
    Timeouts,
)
from ka_twisted.interfaces import IConnection
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, get, post
from tests.logs import Logged
from tests.server.driving import BIG, Held, Observer, hold_nothing, ignore, said, silent, statuses

# -- settings ----------------------------------------------------------------------------------------------------------


def test_the_defaults() -> None:
    factory = KeepAliveFactory(ignore, reactor=Clock())
    assert (factory.timeouts, factory.limits, factory.policy) == (Timeouts(), Limits(), Policy())
    assert factory.tcpKeepAlive is None
    assert factory.connectionCount == 0
    assert not factory.draining
    assert isinstance(factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)), KeepAliveProtocol)


@pytest.mark.parametrize("handler", [None, 7, "module:name", b""])
def test_a_handler_can_be_called(handler: Any) -> None:
    with pytest.raises(TypeError):
        KeepAliveFactory(handler, reactor=Clock())


@pytest.mark.parametrize("protocol", [object, KeepAliveProtocol(), "KeepAliveProtocol", Request])
def test_a_protocol_is_a_class_of_ours(protocol: Any) -> None:
    with pytest.raises(TypeError):
        KeepAliveFactory(ignore, protocol=protocol, reactor=Clock())


def test_connections_are_of_the_given_class_and_numbered() -> None:
    class Mine(KeepAliveProtocol):
        pass

    server = MemoryServer(ignore, protocol=Mine)
    clients = [server.connect() for _ in range(3)]
    assert all(type(client.protocol) is Mine for client in clients)
    assert [client.protocol.id for client in clients] == [1, 2, 3]
    assert server.factory.connections == {client.protocol for client in clients}


def test_the_global_reactor_is_imported_late() -> None:
    code = (
        "import sys, ka_twisted, ka_twisted.testing; assert 'twisted.internet.reactor' not in sys.modules;"
        "ka_twisted.testing.MemoryServer(); assert 'twisted.internet.reactor' not in sys.modules;"
        "ka_twisted.KeepAliveFactory(print); assert 'twisted.internet.reactor' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_twisted_logs_no_line_for_each_of_its_starts() -> None:
    assert not KeepAliveFactory(ignore, reactor=Clock()).noisy


@pytest.mark.ledger("P-01", "P-07")
def test_persistence_can_be_switched_off() -> None:
    client = MemoryServer(ignore, policy=Policy(persistent=False)).connect()
    client.send(GET * 3)
    assert statuses(client) == [200]
    assert said(client) == "close"
    assert client.closeReason == CloseReason.NOT_PERSISTENT


@pytest.mark.ledger("P-07", "X-09")
def test_an_interim_response_says_nothing_of_it() -> None:
    def handler(request: Request) -> bytes:
        request.interim(103)
        return b"ok"

    client = MemoryServer(handler, policy=Policy(persistent=False)).connect()
    client.send(GET)
    assert [response.headers.get("connection") for response in client.allResponses] == [None, "close"]


@pytest.mark.ledger("K-01", "D1-13")
def test_keeping_http10_connections_can_be_switched_off() -> None:
    client = MemoryServer(ignore, policy=Policy(keepAlive10=False)).connect()
    client.send(get("/", "Connection: keep-alive", minor=0))
    assert said(client) == "close"
    assert client.closeReason == CloseReason.HTTP10_DEFAULT


@pytest.mark.ledger("D1-27", "D4-13", "L-07")
def test_chunks_can_be_switched_off() -> None:
    client = MemoryServer(
        lambda request: Response.stream(iter([b"a", b"b"])), policy=Policy(chunkedResponses=False)
    ).connect()
    client.send(GET)
    (response,) = client.responses
    assert response.body == b"ab"
    assert "transfer-encoding" not in response.headers
    assert said(client) == "close"
    assert client.closeReason == CloseReason.RESPONSE_UNFRAMED


@pytest.mark.ledger("T-02", "T-03")
def test_tcp_options() -> None:
    transport = MemoryServer(ignore).connect().transport
    assert transport.getTcpNoDelay()
    assert not transport.getTcpKeepAlive()
    client = MemoryServer(ignore, tcpKeepAlive=TcpKeepAlive()).connect()
    assert client.transport.getTcpKeepAlive()
    client.protocol.setTcpKeepAlive(None)
    assert not client.transport.getTcpKeepAlive()
    client.protocol.setTcpKeepAlive(TcpKeepAlive(60, 5, 2))
    assert client.transport.getTcpKeepAlive()


@pytest.mark.ledger("T-04", "T-07")
def test_probes_replace_no_timer() -> None:
    server = MemoryServer(ignore, tcpKeepAlive=TcpKeepAlive(), timeouts=Timeouts(idle=10))
    client = server.connect()
    client.send(GET)
    sent = client.received
    server.advance(10)
    assert client.closeReason == CloseReason.IDLE_TIMEOUT
    assert client.received == sent


# -- how many ----------------------------------------------------------------------------------------------------------


def refused(client: MemoryClient) -> bool:
    """See that a client's first request was turned away, in due form; or that it was not."""
    client.send(GET * 2)
    if statuses(client) == [200, 200]:
        return False
    (response,) = client.responses
    assert response.status == 503
    assert response.headers.get("retry-after") is not None
    assert said(client) == "close"
    assert client.closeReason == CloseReason.TOO_MANY_CONNECTIONS
    return True


@pytest.mark.ledger("P-15", "P-04")
def test_connections_beyond_the_limit_have_one_request_answered() -> None:
    server = MemoryServer(ignore, limits=Limits(maxConnections=2))
    first, second, third = (server.connect() for _ in range(3))
    assert [refused(client) for client in (first, second, third)] == [False, False, True]
    third.disconnect()
    assert refused(server.connect())
    first.disconnect()
    server.advance(10)
    assert not refused(server.connect())


@pytest.mark.ledger("P-15")
def test_connections_from_one_address_beyond_its_limit() -> None:
    server = MemoryServer(ignore, limits=Limits(maxConnectionsPerPeer=1))
    here, there = server.connect("192.0.2.1"), server.connect("192.0.2.2")
    again = server.connect("192.0.2.1")
    assert [refused(client) for client in (here, there, again)] == [False, False, True]
    here.disconnect()
    again.disconnect()
    assert not refused(server.connect("192.0.2.1"))
    server.factory.drain(1)
    there.disconnect()
    server.advance(10)
    assert server.factory.connectionCount == 0
    assert not server.factory.registry.perPeer


@pytest.mark.ledger("P-15", "P-16")
def test_no_connection_in_use_is_shed() -> None:
    server = MemoryServer(silent, limits=Limits(maxConnections=1))
    first = server.connect()
    first.send(GET)
    for _ in range(5):
        server.connect().send(GET)
    server.advance(1000)
    assert first.closeReason is None


def test_a_limit_of_zero_is_none() -> None:
    server = MemoryServer(ignore, limits=Limits(maxConnections=0, maxConnectionsPerPeer=0))
    assert not any(refused(server.connect()) for _ in range(50))


@pytest.mark.ledger("P-18", "D1-05", "P-04")
def test_the_number_of_requests_on_a_connection() -> None:
    client = MemoryServer(ignore, limits=Limits(maxRequests=3)).connect()
    client.send(GET * 5)
    assert [response.headers.get("connection") for response in client.responses] == [None, None, "close"]
    assert client.closeReason == CloseReason.MAX_REQUESTS


@pytest.mark.ledger("P-18", "D1-05", "P-04")
def test_the_age_of_a_connection() -> None:
    server = MemoryServer(ignore, limits=Limits(maxAge=100))
    client = server.connect()
    for seconds in (0, 50, 49.9):
        server.advance(seconds)
        client.send(GET)
    assert said(client) is None
    server.advance(0.1)
    client.send(GET * 2)
    assert said(client) == "close"
    assert len(client.responses) == 4
    assert client.closeReason == CloseReason.MAX_AGE


@pytest.mark.ledger("P-18", "D1-05")
def test_a_connection_that_ages_while_a_handler_works() -> None:
    held = Held()
    server = MemoryServer(held, limits=Limits(maxAge=10))
    client = server.connect()
    client.send(GET)
    server.advance(20)
    held.answer(1)
    assert said(client) == "close"
    assert client.closeReason == CloseReason.MAX_AGE


# -- the date ----------------------------------------------------------------------------------------------------------


def test_the_date_changes_with_the_second_of_the_wall_clock() -> None:
    def make(clock: Clock) -> KeepAliveFactory:
        return KeepAliveFactory(ignore, reactor=clock, wallClock=lambda: 1793491200.75 + clock.seconds())

    server = MemoryServer(factory=make)
    client = server.connect()
    dates = []
    for seconds in (0, 0.2, 0.1, 0.9, 0.1):
        server.advance(seconds)
        client.send(GET)
        dates.append((client.responses[-1].headers.get("date") or "")[-6:-4])
    assert dates == ["00", "00", "01", "01", "02"]


def test_the_date_is_that_of_the_response() -> None:
    held = Held()
    server = MemoryServer(held)
    client = server.connect()
    client.send(GET)
    server.advance(30)
    held.answer(1)
    assert client.responses[0].headers.get("date") == "Sun, 01 Nov 2026 00:00:30 GMT"


# -- observers ---------------------------------------------------------------------------------------------------------


def test_observers_are_told_in_order() -> None:
    first, second = Observer(), Observer()
    server = MemoryServer(ignore, observers=[first, second])
    client = server.connect()
    client.send(GET * 2)
    client.disconnect()
    assert first.told == second.told
    assert first.told == [
        ("opened", 1), ("finished", 1, 1), ("finished", 1, 2), ("closed", 1, "PEER_CLOSED_IDLE"),
    ]  # fmt: skip
    exchange = first.exchanges[0]
    assert (exchange.method, exchange.target, exchange.status, exchange.bytes_sent) == (b"GET", b"/", 200, 8)
    assert exchange.persistence is not None
    assert exchange.persistence.row == "D1-18"
    assert exchange.framing.row == "D2-21"


def test_an_observer_that_raises_is_logged_and_changes_nothing(logged: Logged) -> None:
    class Raising(Observer):
        def connectionOpened(self, connection: IConnection) -> None:
            raise ZeroDivisionError

        exchangeFinished = connectionOpened  # type: ignore[assignment]
        connectionClosed = connectionOpened  # type: ignore[assignment]

    observer = Observer()
    client = MemoryServer(ignore, observers=[Raising(), observer]).connect()
    client.send(GET)
    client.disconnect()
    assert statuses(client) == [200]
    assert [told[0] for told in observer.told] == ["opened", "finished", "closed"]
    assert len(logged.failures(ZeroDivisionError, TypeError)) == 3


# -- the drain ---------------------------------------------------------------------------------------------------------


def drain(server: MemoryServer, seconds: float | None = None) -> list[None]:
    """Begin a drain; gives a list that is empty until it is over."""
    drained: list[None] = []
    server.factory.drain(seconds).addCallback(drained.append)
    return drained


@pytest.mark.ledger("P-18")
def test_without_connections_a_drain_is_over_at_once() -> None:
    server = MemoryServer(ignore)
    assert drain(server) == [None]
    assert server.factory.draining
    hold_nothing(server)


@pytest.mark.ledger("P-18", "D1-04")
def test_a_shutdown_can_be_announced_first_and_then_closes_connections_with_their_responses() -> None:
    server = MemoryServer(ignore)
    idle, busy = server.connect(), server.connect()
    for client in (idle, busy):
        client.send(GET)
    server.factory.retire()
    later = server.connect()
    for client in (busy, later):
        client.send(GET * 2)
        assert client.closeReason == CloseReason.DRAINING
        assert said(client) == "close"
    assert [response.status for response in later.responses] == [200, 200]
    assert not idle.ended
    drain(server)
    server.settle()
    assert idle.ended


@pytest.mark.parametrize("data", [b"", GET, b"\r\n"])
@pytest.mark.ledger("P-18", "D1-04")
def test_idle_connections_are_closed_at_once_and_silently(data: bytes) -> None:
    server = MemoryServer(ignore)
    client = server.connect()
    client.send(data)
    sent = client.received
    drained = drain(server)
    server.settle()
    assert client.ended
    assert client.received == sent
    assert client.closeReason == CloseReason.DRAINING
    assert drained == []
    client.halfClose()
    assert drained == [None]
    hold_nothing(server)


@pytest.mark.ledger("P-18", "D1-04", "P-04")
def test_a_response_that_is_awaited_is_given_and_closes() -> None:
    held = Held()
    server = MemoryServer(held)
    client = server.connect()
    client.send(GET)
    drained = drain(server)
    server.advance(20)
    assert not client.ended
    held.answer(1)
    assert said(client) == "close"
    assert client.closeReason == CloseReason.DRAINING
    client.disconnect()
    assert drained == [None]


@pytest.mark.ledger("P-18", "D1-04")
def test_all_that_was_taken_up_is_answered_and_the_last_says_close() -> None:
    held = Held()
    server = MemoryServer(held)
    client = server.connect()
    client.send(GET * 3)
    drain(server)
    client.send(GET)
    for number in (2, 3, 1):
        held.answer(number)
    assert [response.headers.get("connection") for response in client.responses] == [None, None, "close"]
    assert list(held.requests) == [1, 2, 3]


@pytest.mark.ledger("P-18", "D1-29")
def test_a_response_whose_head_has_left_is_finished_and_closes_unannounced() -> None:
    more: Deferred[bytes] = Deferred()

    async def body() -> Any:
        yield b"begun,"
        yield await more

    server = MemoryServer(lambda request: Response.stream(body()))
    client = server.connect()
    client.send(GET)
    drain(server)
    client.send(GET)
    more.callback(b"done")
    (response,) = client.responses
    assert response.body == b"begun,done"
    assert response.complete
    assert said(client) is None
    assert client.closeReason == CloseReason.DRAINING


@pytest.mark.ledger("P-18")
def test_a_request_that_is_being_read_is_served() -> None:
    server = MemoryServer(ignore)
    halfHead, halfBody = server.connect(), server.connect()
    halfHead.send(GET[:10])
    halfBody.send(post(b"hello")[:-2])
    drain(server)
    assert not halfHead.ended
    halfHead.send(GET[10:])
    halfBody.send(b"lo")
    for client in (halfHead, halfBody):
        assert statuses(client) == [200]
        assert client.closeReason == CloseReason.DRAINING


@pytest.mark.ledger("P-18", "D3-24", "D1-04")
def test_a_body_is_still_invited() -> None:
    async def handler(request: Request) -> bytes:
        await gate
        return await request.read()

    gate: Deferred[None] = Deferred()
    server = MemoryServer(handler)
    client = server.connect()
    client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
    drain(server)
    gate.callback(None)
    assert statuses(client) == [100]
    client.send(b"hello")
    assert client.responses[0].body == b"hello"
    assert said(client) == "close"
    assert client.closeReason == CloseReason.DRAINING


@pytest.mark.ledger("P-18", "P-15")
def test_a_response_that_is_being_taken_is_finished() -> None:
    server = MemoryServer(lambda request: Response(200, BIG))
    client = server.connect()
    client.stall()
    client.send(GET)
    drained = drain(server, 100)
    server.advance(20)
    client.resume(len(BIG) // 2)
    server.advance(20)
    client.resume()
    assert client.responses[0].complete
    client.halfClose()
    assert drained == [None]
    assert client.closeReason == CloseReason.DRAINING


@pytest.mark.ledger("P-18")
def test_what_is_left_at_the_deadline_is_cut_off() -> None:
    observer = Observer()
    server = MemoryServer(silent, observers=[observer])
    clients = [server.connect() for _ in range(5)]
    for client in clients:
        client.send(GET)
    drained = drain(server, 10)
    server.advance(9.9)
    assert drained == []
    server.advance(0.1)
    assert drained == [None]
    assert [client.wasReset for client in clients] == [True] * 5
    assert observer.reasons == [CloseReason.DRAINING] * 5
    assert {reason.state for reason in observer.reasons} == {"responding"}
    hold_nothing(server)


def test_a_connection_that_is_closing_keeps_its_reason() -> None:
    server = MemoryServer(ignore, timeouts=Timeouts(linger=100))
    client = server.connect()
    client.send(get("/", "Connection: close"))
    drained = drain(server, 10)
    server.advance(10)
    assert drained == [None]
    assert client.closeReason == CloseReason.CLOSE_REQUESTED


@pytest.mark.ledger("P-18")
def test_connections_that_come_late_are_closed() -> None:
    server = MemoryServer(silent)
    server.connect().send(GET)
    drained = drain(server)
    late = server.connect()
    assert late.ended
    assert late.closeReason == CloseReason.DRAINING
    assert drained == []


def test_a_drain_may_be_asked_for_again_and_hurried() -> None:
    server = MemoryServer(silent)
    client = server.connect()
    client.send(GET)
    first = drain(server, 100)
    server.advance(10)
    second = drain(server, 5)
    server.advance(5)
    assert client.closed
    assert first == second == [None]
    hold_nothing(server)


def test_who_waits_for_a_drain_may_leave() -> None:
    server = MemoryServer(silent)
    client = server.connect()
    client.send(GET)
    waiting = server.factory.drain(10)
    failed: list[Any] = []
    waiting.addErrback(failed.append)
    waiting.cancel()
    assert len(failed) == 1
    client.disconnect()
    server.advance(20)
    hold_nothing(server)


def test_a_single_connection_can_be_drained() -> None:
    held = Held()
    server = MemoryServer(held)
    client, other = server.connect(), server.connect()
    client.send(GET)
    client.protocol.drain()
    client.protocol.drain()
    held.answer(1)
    assert said(client) == "close"
    other.send(GET)
    held.answer(1)
    assert said(other) is None


@pytest.mark.parametrize("name", ["requestReceived", "persistenceDecided", "connectionClosed", "connectionMade"])
def test_a_hook_that_would_never_run_is_refused(name: str) -> None:
    async def hook(self: Any, *arguments: Any) -> None:
        """A coroutine function."""

    broken = type("Broken", (KeepAliveProtocol,), {name: hook})
    with pytest.raises(TypeError, match=rf"^Broken\.{name} is a coroutine function, and is not awaited: "):
        KeepAliveFactory(lambda request: b"", protocol=broken, reactor=Clock())


def test_the_decision_about_a_body_may_be_awaited() -> None:
    class Asking(KeepAliveProtocol):
        async def continueExpected(self, request: Request) -> bool:
            return True

    KeepAliveFactory(lambda request: b"", protocol=Asking, reactor=Clock())


def test_who_forgets_to_call_super_is_told() -> None:
    class Forgetful(KeepAliveProtocol):
        def connectionMade(self) -> None:
            """It calls nothing."""

    protocol = KeepAliveFactory(lambda request: b"", protocol=Forgetful, reactor=Clock()).buildProtocol(None)
    transport = StringTransport()
    with pytest.raises(RuntimeError, match=r"^Forgetful\.connectionMade has to call super\(\)\.connectionMade\(\)$"):
        protocol.makeConnection(transport)
    assert transport.disconnecting
