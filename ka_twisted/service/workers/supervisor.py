"""
The service of a process that supervises workers: it has the listening sockets and accepts nothing itself.

The workers share one queue of connections. A worker that dies is replaced; on a reload each gets a successor, one after
the other, and leaves once that is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredList
from twisted.internet.interfaces import IStreamServerEndpoint

from ...net.ports import QUEUED
from ...server.serving import GRACE
from ..configuration.values import Configuration
from ..errors import RECOVERABLE, ConfigurationError
from ..listening.ports import OpenPort, OpenPorts, Ports
from ..running.lifecycle import DRAINING
from ..systemd.notify import Notifier
from .aggregate import WorkersView
from .process import WorkerFailed, WorkerProcess
from .slots import Slot
from .workforce import MARGIN, Workforce

if TYPE_CHECKING:
    from ...admin.interfaces import IServerView


class Supervisor(Workforce):
    """
    Has a configuration served by processes.

    :param reactor: provides IReactorCore, IReactorTime, IReactorFromThreads, IReactorProcess and IReactorSocket.
    :param read: reads the configuration anew; None: it stays what it is.
    :param inherited: descriptors of sockets that listen already, by `listening.storeName` of their endpoints.
    :param endpointOf: makes an endpoint of its description.
    :param notifier: tells systemd.
    :param process: makes a worker; see `WorkerProcess`.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        reactor: Any,
        read: Callable[[], Configuration] | None = None,
        inherited: dict[str, list[int]] | None = None,
        endpointOf: Callable[[str], IStreamServerEndpoint] | None = None,
        notifier: Notifier | None = None,
        process: Callable[..., WorkerProcess] = WorkerProcess,
    ) -> None:
        openPorts = Ports(reactor, inherited=inherited, endpointOf=endpointOf, passive=True)
        super().__init__(configuration, openPorts, reactor=reactor, read=read, notifier=notifier, process=process)
        #: Workers that a reload has told to leave.
        self._dismissed: list[WorkerProcess] = []

    @property
    def connectionCount(self) -> int:
        """Connections open on all workers, as they have told last."""
        return sum(process.openConnections for process in self.processes)

    def status(self) -> str:
        """See `LifeCycle`."""
        ready = sum(slot.isReady for slot in self.slots)
        problem = next((f"; a worker cannot start: {slot.problem}" for slot in self.slots if slot.problem), "")
        accepted = self.aggregate.accepted + sum(process.accepted for process in self.processes)
        return (
            f"{self.state}: {ready} of {self.configuration.workers} workers ready, "
            f"{self.connectionCount} connections open, {accepted} accepted so far{problem}"
        )

    def reopenLog(self) -> None:
        """See `LifeCycle`: each worker writes by itself, but for what takes one writer only."""
        self._accessLogs.reopen()
        for process in self.processes:
            process.reopenLog()

    # The beginning.

    def _claim(self) -> None:
        self._accessLogs.provide(self.configuration)
        self.openPorts.settle(self.openPorts.prepare(_texts(self.configuration)))

    def _release(self) -> None:
        self.openPorts.closeNow()
        self._operator.closeNow()
        self._accessLogs.close()

    def _serve(self) -> None:
        self._startWorkers()

    # Reloads.

    async def _change(self, configuration: Configuration) -> None:
        if not configuration.workers:
            raise ConfigurationError("changing between worker processes and none takes a restart")
        wanted: OpenPorts = {}
        operator: OpenPorts = {}
        try:
            self.aggregate.provide(configuration)
            self._accessLogs.provide(configuration)
            first = await self._firstLoaded(configuration)
            try:
                wanted = self.openPorts.prepare(_texts(configuration))
                operator = self._operator.prepare(configuration.admin)
            except RECOVERABLE:
                first.stop()
                raise
            await self._replacing.acquire()
            try:
                await self._roll(configuration, wanted, first)
            finally:
                self._replacing.release()
        except RECOVERABLE:
            self.openPorts.forget(wanted)
            self._operator.forget(operator)
            await self._formerClosed()
            raise
        former, self.configuration = self.configuration, configuration
        self._settle(wanted)
        self._operator.settle(operator, configuration.admin)
        await self._formerClosed()
        if configuration != former:
            self._describe()

    def _settle(self, wanted: OpenPorts) -> None:
        self.openPorts.finish(self.openPorts.settle(wanted))
        self._keepSockets([*self.openPorts])

    async def _firstLoaded(self, configuration: Configuration) -> WorkerProcess:
        """
        The first worker of a new configuration, with its applications loaded: that is the check of them.

        :raises ConfigurationError: when it cannot load them.
        """
        try:
            return await self._loaded(configuration)
        except WorkerFailed as error:
            raise _notReady(error) from error

    async def _roll(self, configuration: Configuration, openPorts: OpenPorts, first: WorkerProcess) -> None:
        """
        Replace the workers one by one, each by one that is ready.

        :param first: the first that is to serve; it has loaded its applications.
        :raises ConfigurationError: when one does not become ready; those that were replaced are so once more.
        """
        former = self.configuration, self.openPorts.open
        rolled: list[Slot] = []
        gone = [openPort for key, openPort in self.openPorts.open.items() if key not in openPorts]
        try:
            for number in range(configuration.workers):
                if number == len(self.slots):
                    self.slots.append(Slot(configuration, openPorts))
                rolled.append(self.slots[number])
                replaced = await self._replace(self.slots[number], configuration, openPorts, None if number else first)
                if number == configuration.workers - 1:
                    await self._refuseOn(gone)  # the last that accepts there has not left yet
                self._dismiss(replaced)
        except WorkerFailed as error:
            await self._refuseOn([openPort for key, openPort in openPorts.items() if key not in self.openPorts.open])
            await self._rollBack(rolled, *former)
            raise _notReady(error) from error
        self._shrink(configuration.workers)

    def _dismiss(self, worker: WorkerProcess | None) -> None:
        """Have a worker leave, whose place another has, or that has no place any more."""
        if worker is not None:
            worker.leave()
            self._dismissed.append(worker)

    async def _formerClosed(self) -> None:
        """
        Wait until those who had to leave accept no more, and ports that are given up are closed everywhere.

        From then on every client that connects finds the configuration that is in force, and addresses are free again.
        """
        closing, self._dismissed = self._dismissed, []
        closed = DeferredList([worker.when("closed") for worker in closing])
        closed.addTimeout(MARGIN, self._reactor).addErrback(lambda _: None)
        await closed
        await self.openPorts.closing

    async def _refuseOn(self, gone: list[OpenPort]) -> None:
        """Let no more connections begin on ports that are to be closed, and wait until those that have are there."""
        self._keepSockets(gone, keep=False)
        await self._refuseNew(gone)

    async def _rollBack(self, rolled: list[Slot], configuration: Configuration, openPorts: OpenPorts) -> None:
        self._shrink(configuration.workers)
        for slot in rolled:
            if self.state == DRAINING:
                return  # there is nothing more to listen on
            if slot in self.slots and slot.configuration is not configuration:
                try:
                    self._dismiss(await self._replace(slot, configuration, openPorts))
                except WorkerFailed as error:
                    self._log.error("a worker keeps the new configuration: {problem}", problem=str(error))
                    slot.configuration, slot.openPorts = configuration, openPorts  # for its successor

    def _shrink(self, number: int) -> None:
        """Give up the slots beyond a number."""
        gone, self.slots = self.slots[number:], self.slots[:number]
        for slot in gone:
            slot.cancel()
            self._dismiss(slot.worker)
        self._updateReadiness()  # those that are left may all be ready

    def _count(self, well: bool) -> None:
        self.aggregate.reloaded(well)

    def view(self) -> IServerView:
        """See `LifeCycle`."""
        return WorkersView(self)

    # The end.

    async def _leaveService(self, replaced: bool) -> None:
        self._onTime()
        for slot in self.slots:
            slot.cancel()
        timeouts = self.configuration.timeouts
        # The workers go on to accept for that long, and close their ports then: what waits to be accepted is theirs.
        delay = timeouts.drainDelay
        drained = self._drainWorkers() if delay else None
        await self._pauses.wait(max(0.0, delay - QUEUED))
        await self._refuseNew()
        answered = self._finishAnswering()
        await self.openPorts.close()  # before the workers: who closes a socket last has to accept what is in its queue
        drained = drained or self._drainWorkers()
        if self._pauses.over:
            self._cut()
        if timeouts.drain:
            drained.addTimeout(timeouts.drain + GRACE + MARGIN, self._reactor)
            drained.addErrback(lambda _: None)
        await drained
        await answered

    def _drainWorkers(self) -> Any:
        for process in list(self.processes):
            if not process.isLoaded:
                process.giveUp("the server is shutting down")  # it may be a while before it looks up
        self._log.info("draining {count} workers", count=len(self.processes))
        return DeferredList([process.drain() for process in self.processes], consumeErrors=True)

    def _cut(self) -> None:
        self._unavailable.cut()
        for process in self.processes:
            process.stopNow()
        self._reactor.callLater(MARGIN, self._kill)

    async def _finish(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for process in self.processes:
            process.stop()
        ended = DeferredList([process.when("ended") for process in self.processes])
        late = self._reactor.callLater(MARGIN, self._kill)
        await ended
        if late.active():
            late.cancel()
        self._accessLogs.close()
        if self._loadTable is not None:
            self._loadTable.close()
            self._loadTable = None

    def _kill(self) -> None:
        for process in list(self.processes):
            self._log.error("worker {pid} did not exit in time; killing the worker", pid=process.pid)
            process.kill()


def _notReady(error: WorkerFailed) -> ConfigurationError:
    return ConfigurationError(f"a worker with the new configuration did not become ready: {error}")


def _texts(configuration: Configuration) -> list[str]:
    return [listener.endpoint for listener in configuration.listeners]
