"""Listening with one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.task import deferLater

from ..config import Limits, Policy, TcpKeepAlive, Timeouts
from ..interfaces import IConnectionObserver
from ..net.ports import PortEnd, closePorts
from .factory import KeepAliveFactory
from .hooks import Handler, UpgradeHandler
from .protocol import KeepAliveProtocol

#: Seconds for which clients are told that their connections end, before idle ones are closed: a request that is under
#: way meanwhile is served.
GRACE = 1.0
#: Seconds between two looks whether connections are left.
_LOOK = 0.1


class Serving:
    """
    A server that listens.

    :ivar ports: what it listens on.
    :ivar factory: what its connections share.
    """

    def __init__(self, ports: list[IListeningPort], factory: KeepAliveFactory) -> None:
        self.ports = ports
        self.factory = factory
        self._ends = [PortEnd(port) for port in ports]

    def stop(self, seconds: float | None = None) -> Deferred[None]:
        """
        Go out of service without losing a request, as the command does.

        Every response from now on closes its connection; new connections are refused, and those that have come are
        accepted; a second later idle ones are closed, and the others once their requests are answered.

        :param seconds: as for `KeepAliveFactory.drain`.
        :return: fires when the last connection is gone.
        """
        return Deferred.fromCoroutine(self._stop(seconds))

    async def _stop(self, seconds: float | None) -> None:
        self.factory.retire()
        ends, self._ends = self._ends, []  # a port can be stopped once
        await closePorts(ends, self._wait)
        end = self.factory.now() + GRACE
        while self.factory.connections and self.factory.now() < end:
            await self._wait(_LOOK)
        await self.factory.drain(seconds)

    def _wait(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = deferLater(self.factory.clock, seconds, lambda: None)
        return waiting


def serve(
    handler: Handler,
    *endpoints: str | IStreamServerEndpoint,
    protocol: type[KeepAliveProtocol] = KeepAliveProtocol,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    policy: Policy | None = None,
    tcpKeepAlive: TcpKeepAlive | None = None,
    observers: Iterable[IConnectionObserver] = (),
    upgrades: Mapping[str, UpgradeHandler] | None = None,
    reactor: IReactorTime | None = None,
    wallClock: Callable[[], float] = time.time,
) -> Deferred[Serving]:
    """
    Listen. Parameters that are not named here are those of `KeepAliveFactory`.

    :param handler: answers each request.
    :param endpoints: Twisted endpoints, or their descriptions; none: ``tcp:8080:interface=127.0.0.1``.
    :return: fires once all endpoints listen; fails when one cannot, and then none does.
    :raises ValueError: for a description that is none.
    """
    if reactor is None:
        from twisted.internet import reactor as globalReactor

        reactor = cast(IReactorTime, globalReactor)
    factory = KeepAliveFactory(
        handler,
        protocol=protocol,
        timeouts=timeouts,
        limits=limits,
        policy=policy,
        tcpKeepAlive=tcpKeepAlive,
        observers=observers,
        upgrades=upgrades,
        reactor=reactor,
        wallClock=wallClock,
    )
    listening = [
        serverFromString(reactor, endpoint) if isinstance(endpoint, str) else endpoint
        for endpoint in endpoints or ("tcp:8080:interface=127.0.0.1",)
    ]
    return Deferred.fromCoroutine(_listen(listening, factory))


async def _listen(endpoints: list[IStreamServerEndpoint], factory: KeepAliveFactory) -> Serving:
    ports: list[IListeningPort] = []
    try:
        for endpoint in endpoints:
            ports.append(await endpoint.listen(factory))
    except BaseException:
        for port in ports:
            await maybeDeferred(port.stopListening)
        raise
    return Serving(ports, factory)
