"""The service of one process that serves: a configuration in force, its listeners, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure

from ...server.application import IApplication
from ...server.factory import KeepAliveFactory
from ...server.hooks import Handler
from ...server.serving import GRACE
from ..applications.lifespan import Lifespans
from ..configuration.values import Configuration
from ..errors import RECOVERABLE, ConfigurationError, oneLine
from ..listening.balance import Share
from ..listening.ports import OpenPorts, Ports
from ..systemd.notify import Notifier
from .generation import FactoryMaker, Generation
from .lifecycle import DRAINING, LifeCycle
from .observers import ObserverSet
from .reload import CertificateWatch

if TYPE_CHECKING:
    from ...admin.interfaces import IServerView
    from ...observe.linefile import LineFile


class Server(LifeCycle):
    """
    Serves a configuration on all of its listeners, or on none.

    :param reactor: provides IReactorCore, IReactorTime and IReactorFromThreads.
    :param handler: answers the requests until the first reload, a handler or an `IApplication`; None: the applications
        of the configuration.
    :param makeFactory: makes the factory until the first reload, of the handler and of what observes connections;
        None: the configuration says how.
    :param signals: whether the signals of the process are for it, as they are for a command.
    :param read: reads the configuration anew; None: it stays what it is.
    :param inherited: descriptors of sockets that listen already, by `listening.storeName` of their endpoints.
    :param endpointOf: makes an endpoint of its description.
    :param notifier: tells systemd.
    :param share: of the connections, in a worker; a supervisor speaks for it to the log, systemd, and the operator.
    :param accessLogFile: takes the lines of the access log, in a worker whose supervisor writes it.
    :raises ConfigurationError: when the configuration cannot be put into effect.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        reactor: Any,
        handler: Handler | IApplication | None = None,
        makeFactory: FactoryMaker | None = None,
        signals: bool = True,
        read: Callable[[], Configuration] | None = None,
        inherited: dict[str, list[int]] | None = None,
        endpointOf: Callable[[str], IStreamServerEndpoint] | None = None,
        notifier: Notifier | None = None,
        share: Share | None = None,
        accessLogFile: LineFile | None = None,
    ) -> None:
        openPorts = Ports(reactor, inherited=inherited, share=share, endpointOf=endpointOf, late=self._failedLate)
        supervised = share is not None
        super().__init__(
            configuration,
            openPorts,
            reactor=reactor,
            read=read,
            notifier=notifier,
            supervised=supervised,
            signals=signals,
        )
        self.observerSet = ObserverSet(accessLogFile)
        self._lifespans = Lifespans(reactor)
        self._starting: Deferred[None] | None = None
        self.generation = Generation(
            configuration, self.observerSet, self._lifespans, reactor, handler=handler, makeFactory=makeFactory
        )
        self.openPorts.accepting = not self.generation.needsStart
        self._former: list[Generation] = []
        self._certificates = CertificateWatch(
            reactor,
            lambda: self.generation.certificatesChanged(),
            lambda: self.generation.reloadCertificates(),
        )

    @property
    def factory(self) -> KeepAliveFactory:
        """What new connections share."""
        return self.generation.factory

    @property
    def connectionCount(self) -> int:
        """Connections open now, those of former configurations included."""
        return sum(generation.factory.connectionCount for generation in self._all())

    def status(self) -> str:
        """See `LifeCycle`."""
        accepted = self.observerSet.accepted
        return f"{self.state}: {self.connectionCount} connections open, {accepted} accepted so far"

    def reopenLog(self) -> None:
        """See `LifeCycle`."""
        log = self.generation.accessLog
        if log is not None:
            try:
                log.reopen()
            except OSError as error:
                self._log.error("the access log cannot be reopened: {problem}", problem=oneLine(error))

    # The beginning.

    def _claim(self) -> None:
        self.generation.open()
        self._settle(self.openPorts.prepare(_texts(self.configuration)))

    def _release(self) -> None:
        self.openPorts.closeNow()
        self._operator.closeNow()
        self.generation.close()

    def _serve(self) -> None:
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._startFailed)

    async def _start(self) -> None:
        """Start the applications, then accept connections."""
        await self.generation.start()
        self.openPorts.accept()
        self._certificates.start()
        self._becomeReady()

    def _startFailed(self, failure: Failure) -> None:
        if self.state == DRAINING:
            return  # it was told to stop meanwhile
        if failure.check(*RECOVERABLE) is None:
            self._log.failure("the server failed to start", failure)
        assert failure.value is not None
        self.onFailed(oneLine(failure.value))

    def _settle(self, wanted: OpenPorts) -> None:
        """Put what the listeners speak now behind their ports, and close those that are gone."""
        for listener, openPort in zip(self.generation.configuration.listeners, wanted.values(), strict=True):
            openPort.switch.current = self.generation.stack(listener)
        before = list(self.openPorts)
        gone = self.openPorts.settle(wanted)
        self._keepSockets(gone, keep=False)
        self.openPorts.finish(gone)
        if self.ready:
            self._keepSockets([openPort for openPort in self.openPorts if openPort not in before])

    def _failedLate(self, problem: str) -> None:
        """An endpoint that took its time has failed: all or none holds for it as well."""
        if self.running:
            self.onFailed(problem)

    # Reloads.

    async def _change(self, configuration: Configuration) -> None:
        old = self.generation
        if configuration == self.configuration:
            old.reloadCertificates()  # equal configurations mean the same server, except for what is in its files
            return
        if configuration.workers:
            raise ConfigurationError("changing between worker processes and none takes a restart")
        await self.openPorts.closing
        new = Generation(configuration, self.observerSet, self._lifespans, self._reactor, previous=old)
        await new.start()
        try:
            if self.state == DRAINING:
                raise ConfigurationError("the server is shutting down")
            self._prepareAndSettle(new)
        except RECOVERABLE:
            await self.openPorts.closing
            await new.drain()  # it may have connections, from ports that were closed again
            await new.stop()
            if new.ownsLog:
                new.close()
            raise
        self._describe()
        self._retire(old)

    def _prepareAndSettle(self, new: Generation) -> None:
        """Take a generation into service: nothing that can fail comes after something that cannot be undone."""
        configuration = new.configuration
        wanted: OpenPorts = {}
        try:
            new.open()
            stacks = [new.stack(listener) for listener in configuration.listeners]
            wanted = self.openPorts.prepare(_texts(configuration), stacks)
            operator = self._operator.prepare(configuration.admin)
        except RECOVERABLE:
            self.openPorts.forget(wanted)
            raise
        self.configuration, self.generation = configuration, new
        self._settle(wanted)
        self._operator.settle(operator, configuration.admin)

    def _retire(self, old: Generation) -> None:
        for generation in (*self._former, old):
            generation.retire(self.generation)
        self._former.append(old)
        finishing = Deferred.fromCoroutine(self._finishOff(old))
        finishing.addErrback(
            lambda failure: self._log.failure("the previous configuration failed to shut down", failure)
        )

    async def _finishOff(self, old: Generation) -> None:
        """Let the connections of a former configuration end, without losing what is on its way on them."""
        grace = max(GRACE, old.configuration.timeouts.drainDelay)
        await self._pauses.until(lambda: not old.factory.connections, grace)
        await old.drain()
        await old.stop()
        self._former.remove(old)
        if all(generation.accessLog is not old.accessLog for generation in self._all()):
            old.close()

    def _count(self, well: bool) -> None:
        if self.observerSet.metrics is not None:
            self.observerSet.metrics.reloaded(well)

    def view(self) -> IServerView:
        """See `LifeCycle`."""
        from ...admin import LocalView

        metrics, log = self.observerSet.metrics, self.observerSet.log
        assert metrics is not None
        assert log is not None
        return LocalView(metrics, log, self)

    # The end.

    async def _leaveService(self, replaced: bool) -> None:
        delay = self.configuration.timeouts.drainDelay
        grace = max(GRACE, delay) if replaced else GRACE
        if self._starting is not None:
            self._starting.cancel()
        self.generation.retire()
        if not replaced:
            if delay:
                self._log.info("shutting down: new connections are refused in {delay} s", delay=delay)
                await self._pauses.wait(delay)
            await self._refuseNew()
        await self.openPorts.close()
        self.onClosed()
        await self._pauses.until(lambda: self.generation.isPlain and not self.connectionCount, grace)
        self._log.info("draining {count} connections", count=self.connectionCount)
        draining = [generation.drain() for generation in self._all()]
        if self._pauses.over:
            self._cut()
        await DeferredList(draining)
        for generation in self._all():
            await generation.stop()

    def _cut(self) -> None:
        self._lifespans.stopWaiting()
        self._log.info("stopping now: closing {count} connections", count=self.connectionCount)
        for generation in self._all():
            generation.cut()

    async def _finish(self) -> None:
        self._certificates.stop()
        for generation in self._all():
            generation.close()

    def _all(self) -> list[Generation]:
        return [*self._former, self.generation]


def _texts(configuration: Configuration) -> list[str]:
    return [listener.endpoint for listener in configuration.listeners]
