"""Listening with one call."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint

from .factory import KeepAliveFactory
from .hooks import Handler


class Serving:
    """
    A server that listens.

    :ivar ports: what it listens on.
    :ivar factory: what its connections share.
    """

    def __init__(self, ports: list[IListeningPort], factory: KeepAliveFactory) -> None:
        self.ports = ports
        self.factory = factory
        self._listening = list(ports)

    def stop(self, seconds: float | None = None) -> Deferred[None]:
        """
        Stop listening, then drain.

        :param seconds: as for `KeepAliveFactory.drain`.
        :return: fires when the last connection is gone.
        """
        return Deferred.fromCoroutine(self._stop(seconds))

    async def _stop(self, seconds: float | None) -> None:
        listening, self._listening = self._listening, []  # a port can be stopped once
        for port in listening:
            await maybeDeferred(port.stopListening)
        await self.factory.drain(seconds)


def serve(
    handler: Handler,
    *endpoints: str | IStreamServerEndpoint,
    reactor: IReactorTime | None = None,
    **settings: Any,
) -> Deferred[Serving]:
    """
    Listen.

    :param handler: answers each request; see `KeepAliveFactory`.
    :param endpoints: Twisted endpoints, or their descriptions; none: ``tcp:8080:interface=127.0.0.1``.
    :param settings: further arguments of `KeepAliveFactory`.
    :return: fires once all endpoints listen; fails when one cannot, and then none does.
    :raises ValueError: for a description that is none.
    """
    if reactor is None:
        from twisted.internet import reactor as globalReactor

        reactor = cast(IReactorTime, globalReactor)
    factory = KeepAliveFactory(handler, reactor=reactor, **settings)
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
