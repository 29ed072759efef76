"""What all connections of one server share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Protocol, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..config import Limits, Policy, TcpKeepAlive, Timeouts
from ..core.deadlines import Deadline
from ..core.forwarded import Network, TrustedProxies
from ..core.reasons import CloseReason
from ..http1.caches import ServerCaches
from ..interfaces import IConnection, IConnectionObserver, IConnectionRegistry
from ..net.alarms import AlarmClock
from ..net.registry import ConnectionRegistry, Member
from ..net.tcp import checkTcpKeepAlive
from .hooks import Handler, UpgradeHandler

_log = Logger()
#: Addresses of our own that are remembered.
_HOSTS = 256


class ServerMember(Member, Protocol):
    """What drives one of the connections."""

    @property
    def connection(self) -> IConnection:
        """The connection, as others see it."""


class OpenConnections(Set[IConnection]):
    """The open connections of a registry, as others see them: a live view."""

    def __init__(self, registry: ConnectionRegistry[ServerMember]) -> None:
        self._registry = registry

    def __len__(self) -> int:
        return len(self._registry.connections)

    def __iter__(self) -> Iterator[IConnection]:
        return (member.connection for member in self._registry.connections)

    def __contains__(self, connection: object) -> bool:
        return any(each is connection for each in self)


@implementer(IConnectionRegistry)
class ServerSettings:
    """
    See `factory.KeepAliveFactory`, which is made of it, for the parameters.

    :ivar direct: whether requests go to the handler at once, because no subclass of the protocol receives them.
    :ivar reviews: whether decisions about persistence are to be shown to the application.
    :ivar trustedProxies: finds the clients behind proxies; None: none is trusted.
    :ivar registry: the connections that are open.
    :ivar now: the clock, in seconds.
    :ivar deadlineSeconds: seconds for each deadline that the peer can be late with; 0: it never passes.
    :ivar idle: seconds between requests; infinite where they may be any.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        direct: bool = True,
        reviews: bool = False,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        policy: Policy | None = None,
        tcpKeepAlive: TcpKeepAlive | None = None,
        observers: Iterable[IConnectionObserver] = (),
        upgrades: Mapping[str, UpgradeHandler] | None = None,
        trustedProxies: Iterable[Network] = (),
        reactor: IReactorTime | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"a handler is called with each request; {handler!r} cannot be")
        checkTcpKeepAlive(tcpKeepAlive)
        if reactor is None:
            from twisted.internet import reactor as globalReactor

            reactor = cast(IReactorTime, globalReactor)
        self.handler = handler
        self.direct = direct
        self.reviews = reviews
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or Limits()
        self.policy = policy or Policy()
        self.tcpKeepAlive = tcpKeepAlive
        self.observers = tuple(observers)
        self.upgrades: Mapping[str, UpgradeHandler] = {
            name.lower(): upgrade for name, upgrade in (upgrades or {}).items()
        }
        networks = tuple(trustedProxies)
        self.trustedProxies = TrustedProxies(networks) if networks else None
        self.clock = reactor
        self.now: Callable[[], float] = reactor.seconds
        self.alarms = AlarmClock(reactor)
        self.caches = ServerCaches(
            self.limits, self.policy, self.timeouts, seconds=reactor.seconds, wall_clock=wallClock
        )
        self.deadlineSeconds: Mapping[Deadline | None, float] = {
            None: 0.0,
            Deadline.FIRST_REQUEST: self.timeouts.first,
            Deadline.IDLE: self.timeouts.idle,
            Deadline.HEADER: self.timeouts.header,
            Deadline.UNREAD: self.timeouts.unread,
        }
        self.idle = self.timeouts.idle or float("inf")
        self.registry: ConnectionRegistry[ServerMember] = ConnectionRegistry(self.limits, self.timeouts, reactor)
        self._hosts: dict[IAddress, IAddress] = {}
        #: The open connections, in the order in which they were accepted: a live view.
        self.connections: Set[IConnection] = OpenConnections(self.registry)

    def shared(self, host: IAddress) -> IAddress:
        """One object for all connections that have reached the same address of ours."""
        if not isinstance(host, (IPv4Address, IPv6Address)):
            return host
        if len(self._hosts) >= _HOSTS:
            self._hosts.clear()
        return self._hosts.setdefault(host, host)

    def seconds(self) -> float:
        """See `IConnectionRegistry.seconds`."""
        return self.now()

    def tellOpened(self, connection: IConnection) -> None:
        """Tell the observers of a connection."""
        for observer in self.observers:
            try:
                observer.connectionOpened(connection)
            except BaseException:
                self.logObserver(observer, connection)

    def tellClosed(self, connection: IConnection, reason: CloseReason) -> None:
        """Tell the observers that a connection is gone."""
        for observer in self.observers:
            try:
                observer.connectionClosed(connection, reason)
            except BaseException:
                self.logObserver(observer, connection)

    def logObserver(self, observer: IConnectionObserver, connection: IConnection, request: int = 0) -> None:
        """Log that an observer has raised."""
        _log.failure(
            "the observer {observer!r} failed on connection {id}, request {request}",
            observer=observer,
            id=connection.id,
            request=request,
        )
