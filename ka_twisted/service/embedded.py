"""
A server as a service of a Twisted application: all of the command, without its process.

The package exports it. What serves is imported when a service is made, so that ``import ka_twisted`` stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger

from ..config import Limits, Policy, TcpKeepAlive, Timeouts, Tls
from ..interfaces import IConnectionObserver
from ..server.application import IApplication
from ..server.factory import KeepAliveFactory
from ..server.hooks import Handler, UpgradeHandler
from ..server.protocol import KeepAliveProtocol

if TYPE_CHECKING:
    from .configuration.values import Configuration
    from .running.serving import Server

#: Where it listens when nothing is said.
_ENDPOINT = "tcp:8080:interface=127.0.0.1"


class KeepAliveService(Service):
    """
    Serves in a Twisted application, and ends as ``twistd keepalive`` does, without losing a request.

    It listens on all of its endpoints or on none: `ListenError` comes from the start. Signals are left to the
    application. Once stopped it can be started again, unless it was given a factory, which drains once.

    :param handler: answers the requests: a handler, an `IApplication`, or a `KeepAliveFactory`, which has all that is
        said with ``protocol`` to ``wallClock`` already.
    :param endpoints: Twisted endpoints, or their descriptions; none: ``tcp:8080:interface=127.0.0.1``.
    :param tls: how all of them speak TLS; None: they do not. Renewed files are found and read.
    :param proxies: networks (``10.0.0.0/8``) whose connections begin with a PROXY header that is believed.
    :param admin: the endpoint of the operator's page, a description; None: there is none.
    :param adminToken: what the page asks for; empty: nothing, for an endpoint that only this machine can reach.
    :param accessLog: a path, or ``-`` for standard output; None: no access log.
    :param logFormat: as for ``--log-format``.
    :param reactor: None: the global one.
    :raises TypeError: for a handler that is none, or what a factory has already.
    :raises ValueError: for a network that is none, or an operator's page that others could reach without a token.
    """

    name = "keepalive"
    _log = Logger()

    def __init__(
        self,
        handler: Handler | IApplication | KeepAliveFactory,
        *endpoints: str | IStreamServerEndpoint,
        tls: Tls | None = None,
        proxies: Iterable[str] = (),
        admin: str | None = None,
        adminToken: str = "",
        accessLog: str | None = None,
        logFormat: str = "combined",
        protocol: type[KeepAliveProtocol] | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        policy: Policy | None = None,
        tcpKeepAlive: TcpKeepAlive | None = None,
        observers: Iterable[IConnectionObserver] = (),
        upgrades: Mapping[str, UpgradeHandler] | None = None,
        reactor: Any = None,
        wallClock: Callable[[], float] | None = None,
    ) -> None:
        settings: dict[str, Any] = {
            "protocol": protocol,
            "timeouts": timeouts,
            "limits": limits,
            "policy": policy,
            "tcpKeepAlive": tcpKeepAlive,
            "observers": tuple(observers),
            "upgrades": upgrades,
            "wallClock": wallClock,
        }
        given = {name: value for name, value in settings.items() if value is not None and value != ()}
        self._factory = handler if isinstance(handler, KeepAliveFactory) else None
        if self._factory is not None:
            if given:
                raise TypeError(f"the factory was made without {', '.join(given)}: give it to the factory")
        elif not callable(handler) and IApplication(handler, None) is None:
            raise TypeError(f"a handler is called with each request; {handler!r} cannot be")
        self._handler: Any = handler if self._factory is None else self._factory.handler
        self._settings = given
        self._reactor = reactor
        texts = [
            endpoint if isinstance(endpoint, str) else f"endpoint {number} ({type(endpoint).__name__})"
            for number, endpoint in enumerate(endpoints or (_ENDPOINT,), 1)
        ]
        self._endpoints = dict(zip(texts, endpoints or (_ENDPOINT,), strict=True))
        self._configuration = _configuration(
            texts,
            self._factory,
            given,
            tls=tls,
            proxies=proxies,
            admin=admin,
            adminToken=adminToken,
            accessLog=accessLog,
            logFormat=logFormat,
        )
        self._server: Server | None = None

    @property
    def ports(self) -> list[IListeningPort]:
        """What it listens on now, the operator's endpoint apart."""
        return [] if self._server is None else self._server.ports

    @property
    def factory(self) -> KeepAliveFactory | None:
        """What its connections share; None: it was given no factory, and is not started."""
        return self._factory if self._server is None else self._server.factory

    def privilegedStartService(self) -> None:
        """
        Listen; connections are accepted once the service is started.

        :raises ListenError: when that is not possible; `ConfigurationError` for a file of TLS, and the like.
        """
        super().privilegedStartService()
        self._made().claim()

    def startService(self) -> None:
        """Serve, after `privilegedStartService` or without."""
        server = self._made()
        server.startService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Go out of service without losing a request.

        For ``Timeouts.drainDelay`` seconds it goes on, each response closing its connection; then the queues of the
        ports are emptied and the ports closed; then idle connections are closed, and requests in service answered.

        :return: fires when the last connection is gone, after ``Timeouts.drain`` seconds of draining at most.
        """
        super().stopService()
        server = self._server
        if server is None:
            return succeed(None)

        def stopped(result: Any) -> Any:
            if self._server is server:
                self._server = None
            return result

        return server.stopService().addBoth(stopped)

    def stopNow(self) -> None:
        """Cut what a stop waits for, as a second signal does to the command."""
        if self._server is not None:
            self._server.stopNow()

    def reopenLog(self) -> None:
        """Go on in a new access log of the same name; call it when the log was rotated."""
        if self._server is not None:
            self._server.reopenLog()

    def _made(self) -> Server:
        if self._server is None:
            self._server = self._newServer()
        return self._server

    def _newServer(self) -> Server:
        from twisted.internet.endpoints import serverFromString

        from .running.serving import Server

        if self._factory is not None and self._factory.retiring:
            raise RuntimeError("a factory that was drained serves no more: make a service with a new one")
        reactor = self._reactor
        if reactor is None:
            from twisted.internet import reactor as globalReactor

            reactor = globalReactor

        def endpointOf(text: str) -> IStreamServerEndpoint:
            endpoint = self._endpoints[text]
            return serverFromString(reactor, endpoint) if isinstance(endpoint, str) else endpoint

        def makeFactory(handler: Handler, observers: list[IConnectionObserver]) -> KeepAliveFactory:
            if self._factory is not None:
                self._factory.observers += tuple(observers)
                return self._factory
            settings = {**self._settings, "observers": [*self._settings.get("observers", ()), *observers]}
            return KeepAliveFactory(handler, reactor=reactor, **settings)

        server = Server(
            self._configuration,
            reactor=reactor,
            handler=self._handler,
            makeFactory=makeFactory,
            signals=False,
            endpointOf=endpointOf,
        )
        server.onFailed = self._failed
        return server

    def _failed(self, problem: str) -> None:
        """What it needed time for has failed, an endpoint or an application: then it serves nothing."""
        self._log.critical("{problem}; this service is stopped", problem=problem)
        self.stopService().addErrback(lambda failure: self._log.failure("the service was not stopped", failure))


def _configuration(
    texts: Iterable[str],
    factory: KeepAliveFactory | None,
    settings: Mapping[str, Any],
    *,
    tls: Tls | None,
    proxies: Iterable[str],
    admin: str | None,
    adminToken: str,
    accessLog: str | None,
    logFormat: str,
) -> Configuration:
    from ipaddress import ip_network

    from .configuration.values import Admin, Configuration, Listener

    networks = tuple(ip_network(network) for network in proxies)
    if admin is not None and not adminToken:
        from ..admin import isLocal

        if not isLocal(admin):
            raise ValueError(f"admin: {admin} can be reached from elsewhere: it needs a token")
    values: dict[str, Any] = dict(settings)
    if factory is not None:
        for name in ("timeouts", "limits", "policy", "tcpKeepAlive"):
            values[name] = getattr(factory, name)
    return Configuration(
        listeners=tuple(Listener(endpoint=text, tls=tls, proxies=networks) for text in texts),
        timeouts=values.get("timeouts") or Timeouts(),
        limits=values.get("limits") or Limits(),
        policy=values.get("policy") or Policy(),
        tcpKeepAlive=values.get("tcpKeepAlive"),
        accessLog=accessLog,
        logFormat=logFormat,
        admin=None if admin is None else Admin(endpoint=admin, token=adminToken),
    )
