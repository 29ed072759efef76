"""Listening with the protocols of this package: what makes a connection's protocol, and their common end."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from zope.interface import implementer

from ..config import Limits, Policy, TcpKeepAlive, Timeouts
from ..core.forwarded import Network
from ..interfaces import IConnectionObserver, IDrainable
from .hooks import Handler, UpgradeHandler
from .http1_driver import Http1Driver
from .protocol import KeepAliveProtocol
from .settings import ServerSettings


@implementer(IDrainable)
class KeepAliveFactory(ServerSettings, Factory):
    """
    Makes a `KeepAliveProtocol` for every connection. Listen with it on any Twisted endpoint.

    :param handler: answers a request; called on the reactor's thread as soon as the request's head is complete.
    :param protocol: the class of the connections.
    :param tcpKeepAlive: the kernel's probes on every connection; None: off.
    :param observers: `IConnectionObserver` objects.
    :param upgrades: protocols that a connection can be switched to, by the name that clients offer.
    :param trustedProxies: the networks of proxies that are believed about whom a request is for: see `Request.client`.
    :param reactor: keeps the time; None: the global reactor.
    :param wallClock: gives the seconds since the epoch, for the Date field.
    :raises TypeError: for a handler that cannot be called; for a protocol that is no `KeepAliveProtocol`, or whose
        hooks are coroutine functions where no result is awaited.
    :raises ValueError: for TCP keep-alive where the platform has none.
    """

    noisy = False

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
        trustedProxies: Iterable[Network] = (),
        reactor: IReactorTime | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        if not (isinstance(protocol, type) and issubclass(protocol, KeepAliveProtocol)):
            raise TypeError(f"not a KeepAliveProtocol: {protocol!r}")
        _checkHooks(protocol)
        super().__init__(
            handler,
            direct=protocol.requestReceived is KeepAliveProtocol.requestReceived,
            reviews=protocol.persistenceDecided is not KeepAliveProtocol.persistenceDecided,
            timeouts=timeouts,
            limits=limits,
            policy=policy,
            tcpKeepAlive=tcpKeepAlive,
            observers=observers,
            upgrades=upgrades,
            trustedProxies=trustedProxies,
            reactor=reactor,
            wallClock=wallClock,
        )
        self.protocol = protocol  # type: ignore[assignment]
        self._makeProtocol = protocol
        self._accepted = 0

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
        """Whether `drain` was called."""
        return self.registry.draining

    def buildProtocol(self, addr: IAddress | None) -> KeepAliveProtocol:  # type: ignore[override]
        """See `IProtocolFactory.buildProtocol`."""
        protocol = self._makeProtocol()
        protocol.factory = self
        protocol._driver = Http1Driver(self, protocol, self.nextNumber())
        return protocol

    def nextNumber(self) -> int:
        """The number of the next connection, from 1. A factory that follows another may go on from that."""
        self._accepted += 1
        return self._accepted

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


def _checkHooks(protocol: type[KeepAliveProtocol]) -> None:
    """
    See that no hook is a coroutine function whose coroutines would never run.

    :raises TypeError: for the first that is.
    """
    for name, instead in _SYNCHRONOUS.items():
        hook = getattr(protocol, name)
        if inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook):
            raise TypeError(f"{protocol.__name__}.{name} is a coroutine function, and is not awaited: {instead}")


#: Hooks and methods of Twisted's whose results are not awaited, and what to do instead.
_SYNCHRONOUS = {
    "requestReceived": "answer with request.respond(...), which takes a coroutine",
    "persistenceDecided": "a decision is needed at once",
    "connectionClosed": "start what takes time with Deferred.fromCoroutine(...)",
    "connectionMade": "start what takes time with Deferred.fromCoroutine(...)",
    "connectionLost": "start what takes time with Deferred.fromCoroutine(...)",
    "dataReceived": "bytes are taken at once",
}
