"""What holds a descriptor is counted, bounded, and ended together: connections, and those in their stages."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from ka_twisted import CloseReason, KeepAliveFactory, Limits, Timeouts
from ka_twisted.interfaces import IConnectionRegistry
from ka_twisted.net.proxied import ProxiedFactory
from ka_twisted.net.registry import Admission, ConnectionRegistry
from ka_twisted.net.stages import ConnectionStage, ConnectionStageFactory
from ka_twisted.testing import MemoryServer, MemoryTransport
from tests.http1.driving import GET
from tests.server.driving import Observer, hold_nothing, ignore, silent, statuses

ADMITTED, REFUSED, DROPPED = Admission

HEADER = b"PROXY TCP4 192.0.2.%d 192.0.2.99 51000 443\r\n"
BALANCER = IPv4Address("TCP", "10.0.0.7", 5000)
HOST = IPv4Address("TCP", "10.0.0.1", 80)


class Connection:
    """A connection that keeps what it is told."""

    state = "idle"

    def __init__(self) -> None:
        self.told: list[object] = []

    def retire(self) -> None:
        self.told.append("retire")

    def drain(self) -> None:
        self.told.append("drain")

    def abort(self, reason: CloseReason) -> None:
        self.told.append(reason.name)


class Staged:
    """A stage that keeps what it is told."""

    registry: Any = None
    drained = 0

    def drain(self) -> None:
        self.drained += 1


def registry(clock: Clock | None = None, drain: float = 30, **limits: int) -> ConnectionRegistry[Connection]:
    made: ConnectionRegistry[Connection] = ConnectionRegistry(
        Limits(**{"maxRefused": 2, **limits}),
        Timeouts(drain=drain),
        clock or Clock(),
    )
    return made


def opened(of: ConnectionRegistry[Connection], count: int, host: object = "192.0.2.1") -> list[Admission]:
    return [of.open(Connection(), host) for _ in range(count)]


# -- how many ----------------------------------------------------------------------------------------------------------


def test_it_provides_what_observers_see() -> None:
    assert verifyObject(IConnectionRegistry, registry())


@pytest.mark.ledger("P-15")
def test_beyond_the_limit_a_bounded_number_may_wait() -> None:
    members = registry(maxConnections=3)
    assert opened(members, 7) == [ADMITTED] * 3 + [REFUSED] * 2 + [DROPPED] * 2
    assert len(members.connections) == members.held == 7


@pytest.mark.ledger("P-15")
def test_a_place_that_is_given_up_is_given_to_the_next() -> None:
    members = registry(maxConnections=2)
    opened(members, 5)
    first, _, third, *_, last = members.connections
    members.close(third)  # had none
    assert opened(members, 1) == [DROPPED]  # while the one that was dropped is not gone yet
    members.close(last)
    members.close(first)
    assert opened(members, 1) == [ADMITTED]


@pytest.mark.ledger("P-15")
def test_connections_that_are_turned_away_do_not_count_for_their_peer() -> None:
    members = registry(maxConnectionsPerPeer=1, maxRefused=10)
    assert opened(members, 5) == [ADMITTED] + [REFUSED] * 4
    assert opened(members, 1, "192.0.2.2") == [ADMITTED]
    first = next(iter(members.connections))
    members.close(first)
    assert members.perPeer == {"192.0.2.2": 1}
    assert opened(members, 1) == [ADMITTED]
    for connection in list(members.connections):
        members.close(connection)
    assert not members.perPeer


def test_peers_without_a_host_are_not_counted_together() -> None:
    assert opened(registry(maxConnectionsPerPeer=1), 3, None) == [ADMITTED] * 3


@pytest.mark.ledger("P-15")
def test_without_limits_all_are_admitted() -> None:
    assert set(opened(registry(maxConnections=0, maxRefused=0), 100)) == {ADMITTED}


@pytest.mark.ledger("P-15")
def test_none_waits_where_none_may() -> None:
    assert opened(registry(maxConnections=1, maxRefused=0), 2) == [ADMITTED, DROPPED]


@pytest.mark.ledger("P-15")
def test_connections_in_their_stages_count() -> None:
    members = registry(maxConnections=2)
    first, second, third = Staged(), Staged(), Staged()
    assert [members.enter(stage, "192.0.2.1") for stage in (first, second, third)] == [ADMITTED, ADMITTED, REFUSED]
    assert not members.connections
    members.leave(first)
    assert opened(members, 2) == [ADMITTED, REFUSED]  # the first has the place of its stage
    members.leave(first)
    members.leave(third)
    members.leave(second)
    assert members.held == 2


def test_stages_pass_to_the_server_that_takes_over() -> None:
    old, new = registry(maxConnectionsPerPeer=2), registry(maxConnectionsPerPeer=2)
    stage = Staged()
    stage.registry = old
    old.enter(stage, "192.0.2.1")
    old.passStages(new)
    assert stage.registry is new
    assert (old.held, old.perPeer) == (0, {})
    assert (new.held, new.perPeer) == (1, {"192.0.2.1": 1})
    done: list[object] = []
    old.drain().addCallback(done.append)
    assert done == [None]
    assert not stage.drained


# -- how they end ------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-18")
def test_all_are_told_of_a_shutdown_and_cut_at_its_deadline() -> None:
    clock = Clock()
    members = registry(clock)
    connection, stage = Connection(), Staged()
    members.open(connection, None)
    members.enter(stage, None)
    members.retire()
    assert members.retiring
    assert (connection.told, stage.drained) == (["retire"], 0)
    done: list[object] = []
    members.drain(5).addCallback(done.append)
    members.drain(7).addCallback(done.append)
    assert members.draining
    assert (connection.told, stage.drained) == (["retire", "drain", "drain"], 2)
    members.leave(stage)
    clock.advance(6.9)
    assert "DRAINING" not in connection.told
    clock.advance(0.1)
    assert connection.told[-1] == "DRAINING"
    assert not done
    members.close(connection)
    members.settle()
    assert done == [None, None]
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize(("seconds", "default", "cut"), [(None, 3, True), (0, 3, False), (None, 0, False)])
def test_the_deadline_of_a_drain_may_be_the_default_or_none(seconds: float | None, default: float, cut: bool) -> None:
    clock = Clock()
    members = registry(clock, drain=default)
    connection = Connection()
    members.open(connection, None)
    waiting = members.drain(seconds)
    clock.advance(3)
    clock.advance(1000)
    assert ("DRAINING" in connection.told) is cut
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    members.close(connection)
    members.settle()


def test_all_can_be_cut_at_once() -> None:
    members = registry()
    opened(members, 3)
    stage = Staged()
    members.enter(stage, None)
    assert members.cut() == 3
    assert [connection.told for connection in members.connections] == [["DRAINING"]] * 3
    assert stage.drained == 1


# -- stages ------------------------------------------------------------------------------------------------------------


class Behind:
    """
    A server behind balancers, in memory.

    :ivar failed: the words of the stages that failed.
    """

    def __init__(self, handler: Any = ignore, **limits: int) -> None:
        self.clock = Clock()
        self.failed: list[str] = []
        self.factory = KeepAliveFactory(
            handler,
            reactor=self.clock,
            limits=Limits(**{"maxRefused": 1, **limits}),
        )
        self.registry = self.factory.registry
        self.listening = ProxiedFactory(
            self.factory,
            [ip_network("10.0.0.0/24")],
            seconds=10,
            reactor=self.clock,
            failed=self.failed.append,
            registry=self.registry,
        )

    def accept(self) -> MemoryTransport:
        transport: Any = MemoryTransport(self.clock, BALANCER, HOST)
        transport.protocol = self.listening.buildProtocol(BALANCER)
        transport.protocol.makeConnection(transport)
        self.settle()
        return transport  # type: ignore[no-any-return]

    def settle(self) -> None:
        for _ in range(4):
            self.clock.advance(0)

    def send(self, transport: MemoryTransport, data: bytes) -> None:
        transport.arrive(data)
        self.settle()


@pytest.mark.ledger("P-15")
def test_connections_whose_header_is_not_complete_count() -> None:
    server = Behind(maxConnections=2)
    transports = [server.accept() for _ in range(4)]
    assert [transport.connected for transport in transports] == [True, True, True, False]
    assert server.failed == ["too many connections"]
    assert server.registry.held == 3
    server.send(transports[0], HEADER % 1 + GET)
    assert bytes(transports[0].delivered).startswith(b"HTTP/1.1 200")
    assert server.registry.held == 3
    server.send(transports[2], HEADER % 3 + GET)
    assert bytes(transports[2].delivered).startswith(b"HTTP/1.1 503")
    server.clock.advance(1)
    assert transports[1].connected  # it has its whole time
    server.clock.advance(9)
    server.settle()
    assert not transports[1].connected
    assert server.failed == ["too many connections", "timeout"]


@pytest.mark.ledger("P-15")
def test_one_beyond_the_limit_has_a_short_time_for_its_header() -> None:
    server = Behind(maxConnections=1)
    transports = [server.accept() for _ in range(2)]
    server.clock.advance(1)
    server.settle()
    assert [transport.connected for transport in transports] == [True, False]
    assert server.failed == ["too many connections"]
    assert server.registry.held == 1


@pytest.mark.ledger("P-15")
def test_a_header_makes_its_connection_count_for_its_address() -> None:
    server = Behind(maxConnectionsPerPeer=1)
    first, second = server.accept(), server.accept()  # from one balancer
    assert server.registry.perPeer == {}
    server.send(first, HEADER % 1)
    server.send(second, HEADER % 2)
    assert server.registry.perPeer == {"192.0.2.1": 1, "192.0.2.2": 1}
    first.abortConnection()
    server.settle()
    assert server.registry.perPeer == {"192.0.2.2": 1}


@pytest.mark.ledger("P-18")
def test_a_stage_ends_with_a_drain() -> None:
    server = Behind()
    transport = server.accept()
    done: list[object] = []
    server.factory.drain().addCallback(done.append)
    assert not done
    server.settle()
    assert not transport.connected
    assert done == [None]
    assert server.failed == ["draining"]


def test_a_stage_without_a_registry_counts_nowhere() -> None:
    clock = Clock()
    made = ConnectionStageFactory(_factory(), 5, clock)
    stage = ConnectionStage(made)
    transport: Any = MemoryTransport(clock, BALANCER, HOST)
    transport.protocol = stage
    stage.makeConnection(transport)
    clock.advance(5)
    clock.advance(0)
    assert not transport.connected
    assert stage.problem == "timeout"


def _factory() -> IProtocolFactory:
    return Factory.forProtocol(Protocol)


# -- servers -----------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-15")
def test_silent_connections_beyond_the_limit_are_not_held() -> None:
    observer = Observer()
    server = MemoryServer(silent, limits=Limits(maxConnections=2), observers=[observer])
    clients = [server.connect() for _ in range(500)]
    server.settle()
    assert server.factory.connectionCount == 2 + 64
    server.advance(1)
    server.settle()
    assert server.factory.connectionCount == 2
    assert [client.closeReason for client in clients[2:]] == [CloseReason.TOO_MANY_CONNECTIONS] * 498
    assert observer.reasons == [CloseReason.TOO_MANY_CONNECTIONS] * 498
    assert [client.closed for client in clients[:2]] == [False, False]


@pytest.mark.ledger("P-15")
def test_a_request_that_comes_in_its_short_time_is_answered_with_503() -> None:
    server = MemoryServer(ignore, limits=Limits(maxConnections=1), timeouts=Timeouts(refused=2))
    server.connect()
    client = server.connect()
    server.advance(1.9)
    client.send(GET)
    server.advance(1)  # the client may still read it
    assert statuses(client) == [503]
    assert not client.wasReset
    client.halfClose()
    assert client.closed
    assert client.closeReason == CloseReason.TOO_MANY_CONNECTIONS


@pytest.mark.ledger("P-15")
def test_half_a_request_is_not_enough() -> None:
    server = MemoryServer(ignore, limits=Limits(maxConnections=1))
    first, client = server.connect(), server.connect()
    client.send(GET[:10])
    server.advance(1)
    assert client.wasReset
    first.disconnect()
    server.advance(10)
    hold_nothing(server)
