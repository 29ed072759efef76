"""
What a configuration becomes while it is in force: its applications, a factory, and what each listener speaks.

A reload makes a new generation and lets the old one finish. What observes them outlives both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IProtocolFactory

from ...config import Tls
from ...interfaces import IConnectionObserver, IDrainable
from ...server.application import IApplication
from ...server.factory import KeepAliveFactory
from ...server.hooks import Handler
from ...server.secured import HTTP1_PROTOCOLS, TLS_REQUIRED
from ..applications.lifespan import STOP_WITHIN, Lifespans, drained, needStart
from ..applications.loading import ApplicationError, applicationOf
from ..applications.sites import LoadedSite, Site, handlerOf, loadSites
from ..configuration.values import Configuration, Listener
from ..errors import ConfigurationError, oneLine
from ..listening.ports import FactorySwitch
from .descriptors import affordable
from .observers import ObserverSet

if TYPE_CHECKING:
    from ...net.tls import TlsContexts
    from ...observe.accesslog import AccessLog


#: Makes the factory of a generation, of its handler and of what observes its connections.
FactoryMaker = Callable[[Handler, list[IConnectionObserver]], KeepAliveFactory]


class _Factory(KeepAliveFactory):
    """Numbers its connections on from those of the generation before."""

    observerSet: ObserverSet

    def nextNumber(self) -> int:
        self.observerSet.accepted = number = next(self.observerSet.numbers)
        return number


class Generation:
    """
    A configuration in force.

    :param lifespans: the applications of this process that are running.
    :param handler: answers the requests, a handler or an `IApplication`; None: the applications that the configuration
        names.
    :param makeFactory: makes the factory; None: that is done here, after the configuration.
    :param previous: the generation to take over from; its access log is kept where the configurations agree on it.
    :raises ConfigurationError: when the configuration cannot be put into effect.
    """

    def __init__(
        self,
        configuration: Configuration,
        observerSet: ObserverSet,
        lifespans: Lifespans,
        reactor: Any,
        *,
        handler: Handler | IApplication | None = None,
        makeFactory: FactoryMaker | None = None,
        previous: Generation | None = None,
    ) -> None:
        self.configuration = configuration
        self._observerSet = observerSet
        self._lifespans = lifespans
        self._reactor = reactor
        self._applicationsLock = DeferredLock()
        self._applicationsRun = False
        observerSet.provide(configuration)
        self.accessLog = self._accessLog(previous)
        self.ownsLog = previous is None or self.accessLog is not previous.accessLog
        self.contexts = self._contexts()
        self.applications = self._loaded(handler)
        self.factory = (makeFactory or self._makeFactory)(self._handler(), self._observers())
        self._entrance = FactorySwitch()
        self._entrance.current = self.factory

    def open(self) -> None:
        """
        Open the access log.

        :raises ConfigurationError: when it cannot be written.
        """
        if self.accessLog is not None:
            try:
                self.accessLog.start()
            except OSError as error:
                raise ConfigurationError(f"the access log cannot be written: {oneLine(error)}") from error

    def close(self, successor: Generation | None = None) -> None:
        """Close the access log, unless the successor goes on with it."""
        if self.accessLog is not None and (successor is None or successor.accessLog is not self.accessLog):
            self.accessLog.stop()

    def stack(self, listener: Listener) -> IProtocolFactory:
        """What speaks to the connections of a listener: on TCP the PROXY header, in it TLS, in it HTTP."""
        if listener.tls is None and not listener.proxies:
            return self.factory
        factory: Any = self._entrance
        seconds = self.configuration.timeouts.handshake
        failed = self._observerSet.handshakeFailed
        registry = self.factory.registry
        if listener.tls is not None:
            factory = self.contexts[listener.tls].wrap(
                factory,
                seconds=seconds,
                reactor=self._reactor,
                failed=failed,
                plainAnswer=TLS_REQUIRED,
                registry=registry,
            )
        if listener.proxies:
            from ...net.proxied import ProxiedFactory

            factory = ProxiedFactory(
                factory, listener.proxies, seconds=seconds, reactor=self._reactor, failed=failed, registry=registry
            )
        return factory  # type: ignore[no-any-return]

    def reloadCertificates(self) -> None:
        """
        Read the files of TLS anew.

        :raises ConfigurationError: when they are wrong; then the old ones stay.
        """
        for contexts in self.contexts.values():
            with _tlsErrors():
                contexts.reload()

    def certificatesChanged(self) -> bool:
        """Whether the files of TLS are others than those that were read."""
        return any(contexts.changed() for contexts in self.contexts.values())

    @property
    def isPlain(self) -> bool:
        """Whether there are no connections but those of the factory: none waits for a header or a handshake."""
        return all(listener.tls is None and not listener.proxies for listener in self.configuration.listeners)

    @property
    def needsStart(self) -> bool:
        """Whether it has applications that have to be started."""
        return needStart(self.applications)

    async def start(self) -> None:
        """
        Start its applications.

        :raises ConfigurationError: when one fails; then those that were started for it are stopped again.
        """
        try:
            await self._lifespans.start(self.applications)
        except ApplicationError as error:
            raise ConfigurationError(oneLine(error)) from error
        self._applicationsRun = True

    async def stop(self) -> None:
        """Stop its applications, but for those that another configuration uses; after its last request."""
        await self._applicationsLock.run(lambda: Deferred.fromCoroutine(self._stopOnce()))

    async def _stopOnce(self) -> None:
        if self._applicationsRun:
            self._applicationsRun = False
            await self._lifespans.stop(self.applications, STOP_WITHIN if self.configuration.timeouts.drain else 0)

    def _drainables(self) -> list[IDrainable]:
        factory: IDrainable = self.factory
        return [factory, *self._lifespans.drainable(self.applications)]

    def retire(self, successor: Generation | None = None) -> None:
        """
        Let every response from now on close its connection, and tell its applications.

        :param successor: has the connections whose headers and handshakes are not complete yet.
        """
        for drainable in self._drainables():
            drainable.retire()
        if successor is not None:
            self._entrance.current = successor.factory
            self.factory.registry.passStages(successor.factory.registry)

    def drain(self) -> Deferred[None]:
        """Serve what has been taken up; fires when the last connection is gone and its applications have drained."""
        return Deferred.fromCoroutine(drained(self._drainables(), self.configuration.timeouts.drain))

    def cut(self) -> int:
        """End all connections at once; how many there were."""
        return self.factory.registry.cut()

    def _loaded(self, handler: Handler | IApplication | None) -> tuple[LoadedSite, ...]:
        if handler is not None:
            return (LoadedSite(Site(), applicationOf(handler)),)
        try:
            return loadSites(self.configuration.sites)
        except ApplicationError as error:
            raise ConfigurationError(oneLine(error)) from error

    def _handler(self) -> Handler:
        try:
            return handlerOf(self.applications)
        except ValueError as error:
            raise ConfigurationError(oneLine(error)) from error

    def _observers(self) -> list[IConnectionObserver]:
        observerSet = self._observerSet
        observers = (observerSet.metrics, observerSet.log, observerSet.answered, self.accessLog)
        return [observer for observer in observers if observer is not None]

    def _makeFactory(self, handler: Handler, observers: list[IConnectionObserver]) -> KeepAliveFactory:
        try:
            factory = _Factory(
                handler,
                timeouts=self.configuration.timeouts,
                limits=affordable(self.configuration.limits),
                policy=self.configuration.policy,
                tcpKeepAlive=self.configuration.tcpKeepAlive,
                trustedProxies=self.configuration.trustedProxies,
                observers=observers,
                reactor=self._reactor,
            )
        except ValueError as error:  # the platform has no such TCP keep-alive
            raise ConfigurationError(oneLine(error)) from error
        factory.observerSet = self._observerSet
        return factory

    def _accessLog(self, previous: Generation | None) -> AccessLog | None:
        path, form = self.configuration.accessLog, self.configuration.logFormat
        if path is None:
            return None
        file = self._observerSet.accessLogFile
        if previous is not None and previous.accessLog is not None and previous.configuration.accessLog == path:
            if previous.configuration.logFormat == form:
                return previous.accessLog
            file = previous.accessLog.file  # what it leads to may take the lines of one writer only
        from ...observe.accesslog import AccessLog

        log = AccessLog(path, format=form, reactor=self._reactor, file=file)
        log.file.dropped = self._observerSet.linesDropped
        return log

    def _contexts(self) -> dict[Tls, TlsContexts]:
        wanted = dict.fromkeys(listener.tls for listener in self.configuration.listeners if listener.tls is not None)
        if not wanted:
            return {}
        try:
            from ...net.tls import TlsContexts
        except ImportError as error:
            raise ConfigurationError("TLS needs the extra ka_twisted[tls]") from error
        with _tlsErrors():
            return {tls: TlsContexts(tls, HTTP1_PROTOCOLS) for tls in wanted}


@contextmanager
def _tlsErrors() -> Iterator[None]:
    from ...net.tls import TlsError

    try:
        yield
    except TlsError as error:
        raise ConfigurationError(oneLine(error)) from error
