"""A server in memory, with a clock that only moves when it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address as _IPv6
from ipaddress import ip_address
from socket import AF_INET6, inet_ntop

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from zope.interface import implementer

from ..config import Limits, Policy, TcpKeepAlive, Timeouts
from ..core.exchange import Exchange
from ..core.reasons import CloseReason
from ..interfaces import IConnection, IConnectionObserver
from ..server.factory import KeepAliveFactory
from ..server.hooks import Handler, UpgradeHandler
from ..server.protocol import KeepAliveProtocol
from .client import MemoryClient
from .clocks import advance, settle
from .transport import MemoryTransport


@implementer(IConnectionObserver)
class _Record:
    """Keeps, by connection, why it ended and the methods of the requests that were answered on it."""

    def __init__(self) -> None:
        self.reasons: dict[int, CloseReason] = {}
        self.methods: dict[int, dict[int, bytes]] = {}

    def connectionOpened(self, connection: IConnection) -> None:
        """See `IConnectionObserver`."""

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        """See `IConnectionObserver`."""
        self.methods.setdefault(connection.id, {})[exchange.number] = exchange.method

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        self.reasons[connection.id] = reason


class MemoryServer:
    """
    A server in memory. Parameters that are not named here are those of `KeepAliveFactory`.

    :param handler: answers requests.
    :param factory: makes the factory from a clock, with parameters of its own; in place of all others.

    ::

        server = MemoryServer(lambda request: b"hello", timeouts=Timeouts(idle=15))
        client = server.connect()
        client.send(b"GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n")
        assert client.responses[0].body == b"hello"
        server.advance(15)
        assert client.closeReason == CloseReason.IDLE_TIMEOUT
    """

    #: What connections run on; a subclass may have another.
    transportClass: type[MemoryTransport] = MemoryTransport

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        factory: Callable[[Clock], KeepAliveFactory] | None = None,
        protocol: type[KeepAliveProtocol] = KeepAliveProtocol,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        policy: Policy | None = None,
        tcpKeepAlive: TcpKeepAlive | None = None,
        observers: Iterable[IConnectionObserver] = (),
        upgrades: Mapping[str, UpgradeHandler] | None = None,
        wallClock: Callable[[], float] | None = None,
    ) -> None:
        #: Moves when `advance` is called.
        self.clock = Clock()
        if factory is not None:
            self.factory = factory(self.clock)
        else:
            self.factory = KeepAliveFactory(
                handler or _hello,
                protocol=protocol,
                timeouts=timeouts,
                limits=limits,
                policy=policy,
                tcpKeepAlive=tcpKeepAlive,
                observers=observers,
                upgrades=upgrades,
                reactor=self.clock,
                wallClock=wallClock or self._wallClock,
            )
        record = _Record()
        self.closeReasons = record.reasons
        self.methods = record.methods
        self.factory.observers = (*self.factory.observers, record)
        self._ports = 40000

    def connect(self, peer: str = "127.0.0.1") -> MemoryClient:
        """
        Open a connection.

        :param peer: the client's address, IPv4 or IPv6; the server's is of the same kind.
        :raises ValueError: when it is none.
        """
        self._ports += 1
        client, host = _addresses(peer, self._ports)
        transport = self.transportClass(self.clock, client, host)
        protocol = self.factory.buildProtocol(client)
        transport.protocol = protocol
        connected = MemoryClient(protocol, transport, settle=self.settle, methods=lambda: self._methodsOf(protocol))
        protocol.makeConnection(transport)
        self.settle()
        return connected

    def _wallClock(self) -> float:
        return _EPOCH + self.clock.seconds()

    def _methodsOf(self, connection: IConnection) -> dict[int, bytes]:
        """The methods of the requests on a connection, by their numbers."""
        inService = {exchange.number: exchange.method for exchange in connection.exchanges}
        return {**self.methods.get(connection.id, {}), **inService}

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way is called when it is due."""
        advance(self.clock, seconds)

    def settle(self) -> None:
        """Let the reactor turn until nothing is left to be done now."""
        settle(self.clock)


def _addresses(peer: str, port: int) -> tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address]:
    """Those of a client and of the server, as the kernel would write them."""
    address = ip_address(peer)
    if isinstance(address, _IPv6):
        text = inet_ntop(AF_INET6, address.packed) + (f"%{address.scope_id}" if address.scope_id else "")
        return IPv6Address("TCP", text, port), IPv6Address("TCP", "::1", 8080)
    return IPv4Address("TCP", str(address), port), IPv4Address("TCP", "127.0.0.1", 8080)


#: Sun, 01 Nov 2026 00:00:00 GMT: the wall clock of a `MemoryServer` at its start.
_EPOCH = 1793491200.0


def _hello(request: object) -> bytes:
    return b"hello\n"
