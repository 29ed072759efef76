"""What all connections of one server share: its handler, its settings, its clock, and their number."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from ..config import Limits, Policy, TcpKeepAlive, Timeouts
from ..core.deadlines import Deadline
from ..core.errors import RemoteProtocolError
from ..core.reasons import CloseReason
from ..http1.caches import ServerCaches
from ..http1.pipeline import Exchange
from ..interfaces import IConnectionObserver, IConnectionRegistry
from ..net.registry import ADMITTED, Admission, ConnectionRegistry
from ..net.tcp import checkTcpKeepAlive
from .protocol import KeepAliveProtocol
from .request import Request
from .upgrade import UpgradeHandler

#: Answers a request: a `Response`, ``bytes`` or ``str``, or a Deferred or coroutine of one.
Handler = Callable[[Request], Any]


@implementer(IConnectionRegistry)
class KeepAliveFactory(Factory):
    """
    Makes a `KeepAliveProtocol` for every connection. Listen with it on any Twisted endpoint.

    :param handler: answers a request; called on the reactor's thread as soon as the request's head is complete.
    :param protocol: the class of the connections.
    :param tcpKeepAlive: the kernel's probes on every connection; None: off.
    :param observers: `IConnectionObserver` objects.
    :param upgrades: protocols that a connection can be switched to, by the name that clients offer.
    :param reactor: keeps the time; None: the global reactor.
    :param wallClock: gives the seconds since the epoch, for the Date field.
    :raises TypeError: for a handler that cannot be called, or a protocol that is no `KeepAliveProtocol`.
    :raises ValueError: for TCP keep-alive where the platform has none.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        handler: Handler,
        *,
        protocol: type[KeepAliveProtocol] = KeepAliveProtocol,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        policy: Policy | None = None,
        tcpKeepAlive: TcpKeepAlive | None = None,
        observers: Iterable[IConnectionObserver] = (),
        upgrades: Mapping[str, UpgradeHandler] | None = None,
        reactor: IReactorTime | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        from ..net.alarms import AlarmClock

        if not callable(handler):
            raise TypeError(f"a handler is called with each request; {handler!r} cannot be")
        if not (isinstance(protocol, type) and issubclass(protocol, KeepAliveProtocol)):
            raise TypeError(f"not a KeepAliveProtocol: {protocol!r}")
        checkTcpKeepAlive(tcpKeepAlive)
        if reactor is None:
            from twisted.internet import reactor as globalReactor

            reactor = cast(IReactorTime, globalReactor)
        self.handler = handler
        self.protocol = protocol  # type: ignore[assignment]
        self._makeProtocol = protocol
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or Limits()
        self.policy = policy or Policy()
        self.tcpKeepAlive = tcpKeepAlive
        self.observers = tuple(observers)
        self.upgrades = {name.lower(): handler for name, handler in (upgrades or {}).items()}
        #: Whether decisions about persistence are to be shown to the protocol.
        self.reviews = protocol.persistenceDecided is not KeepAliveProtocol.persistenceDecided
        self.clock = reactor
        self.now = self.seconds = reactor.seconds
        self.alarms = AlarmClock(reactor)
        self.terms = ServerCaches(self.limits, self.policy, self.timeouts)
        #: Seconds for each deadline that the peer can owe.
        self.deadlineSeconds: Mapping[Deadline | None, float] = {
            None: 0.0,
            Deadline.FIRST_REQUEST: self.timeouts.first,
            Deadline.IDLE: self.timeouts.idle,
            Deadline.HEADER: self.timeouts.header,
            Deadline.UNREAD: self.timeouts.unread,
        }
        self.idle = self.timeouts.idle or float("inf")
        self.maxAge = self.limits.maxAge
        #: The connections: how many there may be, and how they end.
        self.registry: ConnectionRegistry[KeepAliveProtocol] = ConnectionRegistry(self.limits, self.timeouts, reactor)
        self.connections = self.registry.connections
        #: When the Date of responses has to be made anew, by the reactor's clock.
        self.dateDue = 0.0
        self._wallClock = wallClock
        self._accepted = 0
        self.renewDate()

    @property
    def connectionCount(self) -> int:
        """Connections open now."""
        return len(self.connections)

    @property
    def retiring(self) -> bool:
        """Whether a shutdown was announced; see `retire`."""
        return self.registry.retiring

    @property
    def draining(self) -> bool:
        """Whether a shutdown has begun; see `drain`."""
        return self.registry.draining

    def buildProtocol(self, addr: IAddress | None) -> KeepAliveProtocol:  # type: ignore[override]
        """See `IProtocolFactory.buildProtocol`."""
        protocol = self._makeProtocol()
        protocol.factory = self
        self._accepted += 1
        protocol.id = self._accepted
        return protocol

    def renewDate(self) -> None:
        """Have responses carry the present Date (RFC 9110 6.6.1), which changes with the second."""
        now = self.now()
        if now >= self.dateDue:
            wall = self._wallClock()
            self.dateDue = now + 1 - wall % 1
            self.terms.preamble = b"Date: %b\r\n" % formatdate(wall, usegmt=True).encode()

    # -- what connections tell -----------------------------------------------------------------------------------------

    def opened(self, connection: KeepAliveProtocol) -> None:
        """A connection was accepted: count it, and have it turned away where it is one too many (ledger P-15)."""
        registry = self.registry
        host = getattr(connection.peer, "host", None) if registry.countsPeers else None
        admission = registry.open(connection, host)
        if admission is not ADMITTED:
            connection.core.overloaded = RemoteProtocolError(
                503,
                "more connections than this server allows",
                "RFC 9110 15.6.4",
                row="P-15",
                reason=CloseReason.TOO_MANY_CONNECTIONS,
                retry_after=1,
            )
        self.renewDate()
        self._observe("connectionOpened", connection)
        if admission is not ADMITTED:
            if admission is Admission.DROPPED:
                connection.abort(CloseReason.TOO_MANY_CONNECTIONS)
            else:
                connection.watch.arm(Deadline.REFUSED, self.timeouts.refused)
        if registry.draining:
            connection.core.drain()
        elif registry.retiring:
            connection.retire()

    def finished(self, connection: KeepAliveProtocol, exchange: Exchange) -> None:
        """Nothing more will be written for a request."""
        exchange.ended = self.now()
        for observer in self.observers:  # `_observe`, written out: every request comes this way
            try:
                observer.exchangeFinished(connection, exchange)
            except Exception:
                self._log.failure("an observer failed")

    def closed(self, connection: KeepAliveProtocol, reason: CloseReason) -> None:
        """A connection is gone."""
        self.registry.close(connection)
        self._observe("connectionClosed", connection, reason)
        self.registry.settle()

    def _observe(self, what: str, *arguments: object) -> None:
        for observer in self.observers:
            try:
                getattr(observer, what)(*arguments)
            except Exception:
                self._log.failure("an observer failed")

    # -- shutting down -------------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """
        Prepare to shut down without losing a request: every response from now on closes its connection.

        Idle connections stay open, and new ones are accepted: a client in the midst of sending is not cut off, and
        a balancer has time to turn away. `drain` ends them.
        """
        self.registry.retire()

    def drain(self, seconds: float | None = None) -> Deferred[None]:
        """
        Shut down gracefully: idle connections close at once, those in use after what they have taken up.

        Stop listening first. What is left at the deadline is cut off.

        :param seconds: the deadline; 0: none; None: ``Timeouts.drain``.
        :return: fires when the last connection is gone.
        """
        return self.registry.drain(seconds)
