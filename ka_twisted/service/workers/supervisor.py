"""
The service of a process that supervises workers: it has the listening sockets and accepts nothing itself.

The workers share one queue of connections. A worker that dies is replaced; on a reload each gets a successor, one after
the other, and leaves once that is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IStreamServerEndpoint

from ...net.ports import QUEUED
from ...server.serving import GRACE
from ..configuration.values import Configuration
from ..errors import RECOVERABLE, ConfigurationError, oneLine
from ..listening.balance import LoadTable
from ..listening.binding import storeName
from ..listening.ports import OpenPort, OpenPorts, Ports
from ..running.lifecycle import DRAINING, LifeCycle
from ..systemd.notify import Notifier
from .accesslogs import AccessLogs
from .aggregate import Aggregate, WorkersView
from .process import READY_WITHIN, WorkerFailed, WorkerProcess
from .worker import CHECKS

if TYPE_CHECKING:
    from ...admin.interfaces import IServerView

#: Seconds until a worker that died is replaced: at first, and at last, when one after the other dies.
RESTART_DELAY, MAX_RESTART_DELAY = 0.1, 30.0
#: Seconds of service after which a worker's death is not held against its successor.
STABLE_AFTER = 10.0
#: Seconds between two checks where no such time is set.
_IDLE_CHECK = 10.0
#: Seconds that workers get beyond their deadlines before they are killed.
MARGIN = 5.0


class Slot:
    """
    A place for a worker.

    :ivar worker: who has it; None while a successor waits to be started.
    :ivar delay: how long that takes.
    """

    def __init__(self, configuration: Configuration, openPorts: OpenPorts) -> None:
        self.configuration = configuration
        self.openPorts = openPorts
        self.worker: WorkerProcess | None = None
        self.delay = RESTART_DELAY
        self.restart: IDelayedCall | None = None

    def cancel(self) -> None:
        """Start no worker here any more."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None


class Supervisor(LifeCycle):
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
        super().__init__(configuration, openPorts, reactor=reactor, read=read, notifier=notifier)
        self.aggregate = Aggregate()
        self.aggregate.provide(configuration)
        self._accessLogs = AccessLogs(reactor, self.aggregate.linesDropped)
        self.slots: list[Slot] = []
        #: All that have not ended.
        self.processes: list[WorkerProcess] = []
        self._process = process
        self._loadTable: LoadTable | None = None
        self._hasBegun = self._hasFailed = False
        #: Workers that were told to leave, and had ports that are given up.
        self._closing: list[WorkerProcess] = []
        self._watch: IDelayedCall | None = None

    def status(self) -> str:
        """See `LifeCycle`."""
        ready = sum(slot.worker is not None and slot.worker.isReady for slot in self.slots)
        connections = sum(process.openConnections for process in self.processes)
        accepted = self.aggregate.accepted + sum(process.accepted for process in self.processes)
        return (
            f"{self.state}: {ready} of {self.configuration.workers} workers ready, "
            f"{connections} connections open, {accepted} accepted so far"
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
        self._loadTable = LoadTable()
        self._hasBegun = False
        self.slots = [Slot(self.configuration, self.openPorts.open) for _ in range(self.configuration.workers)]
        for slot in self.slots:
            self._fill(slot)
        self._checkWorkers()

    # Workers come and go.

    def _spawn(self, slot: Slot) -> WorkerProcess:
        sockets = [(storeName(text), _fileno(openPort)) for (text, _), openPort in slot.openPorts.items()]
        process = self._process(
            self._reactor, slot.configuration, sockets, self._loadTable, ended=self._ended, leaving=self._leaving
        )
        self.processes.append(process)
        try:
            process.accessLog = self._accessLogs.provide(slot.configuration)
            process.spawn()
        except (OSError, ConfigurationError) as error:
            self.processes.remove(process)
            raise WorkerFailed(oneLine(error)) from error
        return process

    def _fill(self, slot: Slot) -> None:
        """Start a worker for a slot; try again until one is ready."""
        slot.restart = None
        self._inBackground(self._tryToFill(slot))

    async def _tryToFill(self, slot: Slot) -> None:
        slot.worker = worker = None
        try:
            slot.worker = worker = self._spawn(slot)
            await self._readiness(worker)
        except WorkerFailed as error:
            if slot in self.slots and slot.worker is worker and self.state != DRAINING:
                self._notReady(slot, error)
            return
        self._updateReadiness()

    def _notReady(self, slot: Slot, error: WorkerFailed) -> None:
        if error.fatal and not self._hasBegun:
            if not self._hasFailed:
                self._hasFailed = True
                self.onFailed(str(error))
            return
        self._log.error("a worker did not become ready: {problem}", problem=str(error))
        self._refill(slot)

    async def _readiness(self, worker: WorkerProcess) -> None:
        """
        Wait until a worker is ready.

        :raises WorkerFailed: when it will not be.
        """
        tooLate = self._reactor.callLater(READY_WITHIN, worker.kill)
        try:
            await worker.when("ready")
        finally:
            if tooLate.active():
                tooLate.cancel()
        self._log.info("worker {pid} is ready", pid=worker.pid)

    def _updateReadiness(self) -> None:
        """Update whether there are workers to serve."""
        if self.state == DRAINING:
            return
        filled = [slot.worker is not None and slot.worker.isReady for slot in self.slots]
        if all(filled) and not self._hasBegun:
            self._hasBegun = True
            self._becomeReady()
        else:
            self.ready = self._hasBegun and any(filled)

    def _refill(self, slot: Slot) -> None:
        slot.worker = None
        slot.cancel()
        slot.restart = self._reactor.callLater(slot.delay, self._fill, slot)
        slot.delay = min(slot.delay * 2, MAX_RESTART_DELAY)

    def _ended(self, worker: WorkerProcess, how: str) -> None:
        self.processes.remove(worker)
        self.aggregate.remember(worker)
        self._keepAccessLogs()
        slot = self._slotOf(worker)
        if slot is None or self.state == DRAINING or not worker.isReady:
            return  # it was to go; or the wait for its readiness fails
        if self._reactor.seconds() - worker.readySince >= STABLE_AFTER:
            slot.delay = RESTART_DELAY
        self._log.error(
            "worker {pid} exited {how}; restarting it in {delay} s", pid=worker.pid, how=how, delay=slot.delay
        )
        self.aggregate.died()
        self._refill(slot)
        self._updateReadiness()

    def _keepAccessLogs(self) -> None:
        """Close the access logs that no worker, and no slot, writes to any more."""
        configurations = [process.configuration for process in self.processes]
        configurations += [slot.configuration for slot in self.slots]
        self._accessLogs.keep({configuration.accessLog for configuration in (self.configuration, *configurations)})

    def _leaving(self, worker: WorkerProcess) -> None:
        """A worker received a signal to stop that was not ours."""
        slot = self._slotOf(worker)
        if slot is not None and self.state != DRAINING:
            self._log.info("worker {pid} received a stop signal; starting its replacement", pid=worker.pid)
            self._fill(slot)

    def _checkWorkers(self) -> None:
        """
        Check that no event loop is blocked, now and from now on; kill a worker whose is, which has it replaced.

        Checks are counted, not seconds: those pass without a turn also where the machine was suspended.
        """
        seconds = self.configuration.workerTimeout
        self._watch = self._reactor.callLater(seconds / CHECKS or _IDLE_CHECK, self._checkWorkers)
        for worker in self.processes:
            if worker.isReady and seconds:
                worker.missedChecks += 1
                if worker.missedChecks == CHECKS + 1:
                    self._log.error(
                        "worker {pid}: event loop blocked for {seconds} s; killing the worker",
                        pid=worker.pid,
                        seconds=seconds,
                    )
                    worker.abort()
                elif worker.missedChecks > CHECKS + 1:
                    worker.kill()

    def _slotOf(self, worker: WorkerProcess) -> Slot | None:
        return next((slot for slot in self.slots if slot.worker is worker), None)

    def _inBackground(self, work: Coroutine[Any, Any, None]) -> None:
        doing = Deferred.fromCoroutine(work)
        doing.addErrback(lambda failure: self._log.failure("supervision failed", failure))

    # Reloads.

    async def _change(self, configuration: Configuration) -> None:
        if not configuration.workers:
            raise ConfigurationError("changing between worker processes and none takes a restart")
        wanted: OpenPorts = {}
        operator: OpenPorts = {}
        try:
            self.aggregate.provide(configuration)
            self._accessLogs.provide(configuration)
            await self._addressesFree()
            wanted = self.openPorts.prepare(_texts(configuration))
            operator = self._operator.prepare(configuration.admin)
            await self._roll(configuration, wanted)
        except RECOVERABLE:
            self.openPorts.forget(wanted)
            self._operator.forget(operator)
            raise
        former, self.configuration = self.configuration, configuration
        self._settle(wanted)
        self._operator.settle(operator, configuration.admin)
        if configuration != former:
            self._describe()

    def _settle(self, wanted: OpenPorts) -> None:
        self.openPorts.finish(self.openPorts.settle(wanted))
        self._keepSockets([*self.openPorts])

    async def _roll(self, configuration: Configuration, openPorts: OpenPorts) -> None:
        """
        Replace the workers one by one, each by one that is ready.

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
                replaced = await self._replace(self.slots[number], configuration, openPorts)
                if number == configuration.workers - 1:
                    await self._refuseOn(gone)  # the last that accepts there has not left yet
                if replaced is not None:
                    replaced.leave()
                    if gone:
                        self._closing.append(replaced)
        except WorkerFailed as error:
            await self._refuseOn([openPort for key, openPort in openPorts.items() if key not in self.openPorts.open])
            await self._rollBack(rolled, *former)
            raise ConfigurationError(f"a worker with the new configuration did not become ready: {error}") from error
        self._shrink(configuration.workers)

    async def _addressesFree(self) -> None:
        """Wait until ports are closed that are given up: in workers that still have connections, too."""
        closing, self._closing = self._closing, []
        closed = DeferredList([worker.when("closed") for worker in closing])
        closed.addTimeout(MARGIN, self._reactor).addErrback(lambda _: None)
        await closed
        await self.openPorts.closing

    async def _refuseOn(self, gone: list[OpenPort]) -> None:
        """Let no more connections begin on ports that are to be closed, and wait until those that have are there."""
        self._keepSockets(gone, keep=False)
        if sum(openPort.end is not None and openPort.end.refuseNew() for openPort in gone):
            await self._pauses.wait(QUEUED)

    async def _replace(self, slot: Slot, configuration: Configuration, openPorts: OpenPorts) -> WorkerProcess | None:
        """
        Let another worker have a slot.

        :return: who had it, and is to be told to leave.
        :raises WorkerFailed: when it does not become ready; nothing has changed then.
        """
        new = Slot(configuration, openPorts)
        new.worker = await self._successor(new)
        slot.cancel()
        former, slot.worker = slot.worker, new.worker
        slot.configuration, slot.openPorts, slot.delay = configuration, openPorts, RESTART_DELAY
        self._updateReadiness()
        return former

    async def _successor(self, slot: Slot) -> WorkerProcess:
        worker = self._spawn(slot)
        await self._readiness(worker)
        if self.state == DRAINING:
            raise WorkerFailed("the server is shutting down")
        return worker

    async def _rollBack(self, rolled: list[Slot], configuration: Configuration, openPorts: OpenPorts) -> None:
        self._shrink(configuration.workers)
        for slot in rolled:
            if self.state == DRAINING:
                return  # there is nothing more to listen on
            if slot in self.slots and slot.configuration is not configuration:
                try:
                    former = await self._replace(slot, configuration, openPorts)
                    if former is not None:
                        former.leave()
                        self._closing.append(former)
                except WorkerFailed as error:
                    self._log.error("a worker keeps the new configuration: {problem}", problem=str(error))
                    slot.configuration, slot.openPorts = configuration, openPorts  # for its successor

    def _shrink(self, number: int) -> None:
        """Give up the slots beyond a number."""
        gone, self.slots = self.slots[number:], self.slots[:number]
        for slot in gone:
            slot.cancel()
            if slot.worker is not None:
                slot.worker.leave()
        self._updateReadiness()  # those that are left may all be ready

    def _count(self, well: bool) -> None:
        self.aggregate.reloaded(well)

    def view(self) -> IServerView:
        """See `LifeCycle`."""
        return WorkersView(self)

    # The end.

    async def _leaveService(self, replaced: bool) -> None:
        for slot in self.slots:
            slot.cancel()
        timeouts = self.configuration.timeouts
        # The workers go on to accept for that long, and close their ports then: what waits to be accepted is theirs.
        delay = timeouts.drainDelay
        drained = self._drainWorkers() if delay else None
        await self._pauses.wait(max(0.0, delay - QUEUED))
        await self._refuseNew()
        await self.openPorts.close()  # before the workers: who closes a socket last has to accept what is in its queue
        drained = drained or self._drainWorkers()
        if self._pauses.over:
            self._cut()
        if timeouts.drain:
            drained.addTimeout(timeouts.drain + GRACE + MARGIN, self._reactor)
            drained.addErrback(lambda _: None)
        await drained

    def _drainWorkers(self) -> Any:
        self._log.info("draining {count} workers", count=len(self.processes))
        return DeferredList([process.drain() for process in self.processes], consumeErrors=True)

    def _cut(self) -> None:
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


def _texts(configuration: Configuration) -> list[str]:
    return [listener.endpoint for listener in configuration.listeners]


def _fileno(openPort: Any) -> int:
    descriptor: int = openPort.port.fileno()
    return descriptor
