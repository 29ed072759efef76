"""
What a process that serves and one that supervises have in common: they begin, reload, go out of service and end in the
same way, at the same signals, and tell systemd and the operator about it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ...net.ports import QUEUED
from ...server.serving import GRACE
from ..applications.lifespan import STOP_WITHIN
from ..configuration.values import Configuration
from ..errors import RECOVERABLE, ConfigurationError
from ..listening.binding import describeAddress, storeName
from ..listening.operator import OperatorListener
from ..listening.ports import OpenPort, Ports
from ..systemd.notify import Notifier, StatusReporter, closeUnused
from .announce import announce
from .pauses import Pauses
from .reload import Reloader
from .signals import OperatorSignals, StopSignals
from .terminal import DrainProgress

if TYPE_CHECKING:
    from ...admin.interfaces import IServerView

SERVING, RELOADING, DRAINING = "serving", "reloading", "draining"


class LifeCycle(Service):
    """
    The life of a server, without its serving.

    :param openPorts: what it listens on.
    :param read: reads the configuration anew; None: it stays what it is.
    :param notifier: tells systemd; None: it was not started by systemd.
    :param supervised: whether a supervisor speaks for it: to the log, to systemd, and to the operator.
    :param signals: whether the signals of the process are for it; not where it is a part of another program.
    :ivar onReady: called when it has become ready.
    :ivar onClosed: called when it listens no more, and has accepted all that had come.
    :ivar onFailed: called with one sentence when it cannot start; by default that is logged, and the reactor stopped.
    :ivar progress: shows a drain on the terminal; None: nothing does, as where it is not a command.
    :ivar ready: whether new connections are welcome.
    :ivar state: ``serving``, ``reloading`` or ``draining``.
    :ivar started: seconds since the epoch.
    """

    name = "keepalive"
    _log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        openPorts: Ports,
        *,
        reactor: Any,
        read: Callable[[], Configuration] | None = None,
        notifier: Notifier | None = None,
        supervised: bool = False,
        signals: bool = True,
    ) -> None:
        self.configuration = configuration
        self.openPorts = openPorts
        self.ready = False
        self.state = SERVING
        self.started = time.time()
        self._reactor = reactor
        self._notifier = notifier
        self._statusReporter = None if notifier is None else StatusReporter(notifier, reactor, status=self.status)
        self._supervised = supervised
        self.onReady: Callable[[], object] = lambda: None
        self.onClosed: Callable[[], object] = lambda: None
        self.onFailed: Callable[[str], object] = self.stopFailed
        self.progress: DrainProgress | None = None
        self._claimed = False
        self._draining: Deferred[None] | None = None
        self._pauses = Pauses(reactor)
        self._read = read or (lambda: self.configuration)
        self._reloader = Reloader(self._readAnew, self._change, self._reloaded)
        self._operator = OperatorListener(reactor, self.view)
        if not signals:
            self._stopSignals = StopSignals(reactor, self.stopNow, ())
            self._operatorSignals = OperatorSignals(reactor, {})
        elif supervised:
            # The terminal's signals and those of a whole service are the supervisor's, which says what they mean.
            self._stopSignals = StopSignals(reactor, self.stopNow, (signal.SIGTERM, signal.SIGQUIT))
            self._operatorSignals = OperatorSignals(reactor, {signal.SIGUSR1: self.reopenLog})
        else:
            self._stopSignals = StopSignals(reactor, self.stopNow)
            self._operatorSignals = OperatorSignals(
                reactor, {signal.SIGHUP: self.reload, signal.SIGUSR1: self.reopenLog}
            )

    @property
    def ports(self) -> list[IListeningPort]:
        """What it listens on now."""
        return [openPort.port for openPort in self.openPorts if openPort.port is not None]

    # What the kinds of servers differ in.

    def _claim(self) -> None:
        """
        Have everything that can fail.

        :raises ListenError: or another of `RECOVERABLE`.
        """
        raise NotImplementedError

    def _release(self) -> None:
        """Give back what was claimed, before the reactor runs."""
        raise NotImplementedError

    def _serve(self) -> None:
        """Begin, and call `_becomeReady` once that is done."""
        raise NotImplementedError

    async def _change(self, configuration: Configuration) -> None:
        """Put another configuration into effect, or raise one of `RECOVERABLE` and leave everything as it is."""
        raise NotImplementedError

    async def _leaveService(self, replaced: bool) -> None:
        """Go out of service: announce it, listen no more, let the connections end."""
        raise NotImplementedError

    def _cut(self) -> None:
        """End what the drain waits for."""
        raise NotImplementedError

    async def _finish(self) -> None:
        """Close what is left."""
        raise NotImplementedError

    def view(self) -> IServerView:
        """What the operator sees."""
        raise NotImplementedError

    def _count(self, well: bool) -> None:
        """A reload is over."""
        raise NotImplementedError

    def reopenLog(self) -> None:
        """Go on in a new access log of the same name."""
        raise NotImplementedError

    @property
    def connectionCount(self) -> int:
        """Connections open now."""
        raise NotImplementedError

    def status(self) -> str:
        """One line for ``systemctl status``."""
        raise NotImplementedError

    # The beginning.

    def claim(self) -> None:
        """
        Open the access log and listen on every endpoint.

        No connection is accepted before the reactor runs.

        :raises ListenError: or another of `RECOVERABLE`, for the first thing that fails; what was claimed is released.
        """
        if self._claimed:
            return
        try:
            self._claim()
            if not self._supervised:
                admin = self.configuration.admin
                self._operator.settle(self._operator.prepare(admin), admin)
        except RECOVERABLE:
            self._release()
            raise
        self._claimed = True

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self.claim()

    def startService(self) -> None:
        self.claim()  # `twist` knows no privileged start
        super().startService()
        self._operatorSignals.install()
        if not self._supervised:
            self._describe()
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        self._stopSignals.install()
        if self._statusReporter is not None:
            self._statusReporter.start()
        if self.running:
            self._serve()

    def _becomeReady(self) -> None:
        if self.state == DRAINING:
            return
        self.ready = True
        used = {port.fileno() for port in (*self.ports, *self._operator.listening) if hasattr(port, "fileno")}
        closeUnused(self.openPorts.unclaimed, used, self._notifier)
        if self._notifier is not None:
            self._keepSockets([*self.openPorts])
            self._notifier.ready()
        self.onReady()

    def stopFailed(self, problem: str) -> None:
        """Stop, because it cannot start: the log says why."""
        self._log.critical("{problem}; stopping", problem=problem)
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # it is stopping already

    def _describe(self) -> None:
        for port in self.ports:
            self._log.info("listening on {address}", address=describeAddress(port.getHost()))
        for port in self._operator.listening:
            self._log.info("the admin page is on {address}", address=describeAddress(port.getHost()))
        announce(self._log, self.configuration)

    def _keepSockets(self, openPorts: list[OpenPort], *, keep: bool = True) -> None:
        """Have systemd keep sockets for the next process, or no more. Those of its own it has anyway."""
        for openPort in openPorts:
            port: Any = openPort.port
            if self._notifier is None or port is None or not openPort.text.startswith(("tcp:", "tcp6:")):
                continue  # the path of a UNIX socket is removed when it is closed
            name = storeName(openPort.text)
            if keep:
                self._notifier.store(name, port.fileno())
            else:
                self._notifier.remove(name)
            if openPort.end is not None:
                openPort.end.shared = keep and self._notifier.keeps

    # Reloads.

    def reload(self) -> Deferred[None]:
        """Read the configuration anew and put it into effect; fires when that is over, however it went."""
        return self._reloader.request()

    def _readAnew(self) -> Configuration:
        if self.state == DRAINING or not self.running:
            raise ConfigurationError("the server is shutting down")
        self.state = RELOADING
        if self._notifier is not None:
            self._notifier.reloading()
        return self._read()

    def _reloaded(self, well: bool) -> None:
        self._count(well)
        if self.state == RELOADING:
            self.state = SERVING
        if self._notifier is not None and self.state == SERVING:
            self._notifier.ready()

    # The end.

    def drain(self, *, replaced: bool = False) -> Deferred[None]:
        """
        Go out of service without losing a request, and stay.

        :param replaced: whether others accept the connections from now on, so that no balancer has to hear of it first.
        :return: fires when the last connection is gone, after ``Timeouts.drain`` seconds at most.
        """
        if self._draining is None:
            self.ready = False
            self.state = DRAINING
            if self._statusReporter is not None:
                timeouts = self.configuration.timeouts
                expected = timeouts.drainDelay + GRACE + timeouts.drain + STOP_WITHIN
                self._statusReporter.draining(self._reactor.seconds() + expected)
            self._draining = Deferred.fromCoroutine(self._leaveService(replaced))
            self._showProgress(self._draining)
        return self._draining

    def _showProgress(self, draining: Deferred[None]) -> None:
        progress, timeouts = self.progress, self.configuration.timeouts
        if progress is None or draining.called:
            return
        progress.start(timeouts.drainDelay + QUEUED + GRACE + timeouts.drain if timeouts.drain else None)

        def over(result: Any) -> Any:
            progress.stop()
            return result

        draining.addBoth(over)

    async def _refuseNew(self, some: Iterable[OpenPort] | None = None) -> None:
        """
        Let no more connections begin, on these ports or on all, and wait until those that have are accepted.

        Not on sockets that others have as well, or that systemd keeps: there they wait for the next process.
        """
        if self.openPorts.refuseNew(some):
            await self._pauses.wait(QUEUED)

    def stopService(self) -> Deferred[None]:
        """
        Go out of service, then end.

        :return: fires when the last connection is gone, as `drain` does.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def stopNow(self) -> None:
        """Wait for nothing any more."""
        self._pauses.end()
        self._cut()

    async def _stop(self) -> None:
        if self._notifier is not None:
            self._notifier.stopping()
        await self.drain()
        await self._finish()
        await self._operator.close()
        if self._statusReporter is not None:
            self._statusReporter.stop()
        self._operatorSignals.uninstall()
        self._stopSignals.uninstall()
        self._draining = None
        self._claimed = False
