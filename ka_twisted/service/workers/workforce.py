"""
Workers come and go: who is started, who is replaced, when and why, and what holds meanwhile.

What a supervisor does at a signal, a reload or the end is in `supervisor`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall

from ..configuration.values import Configuration
from ..errors import ConfigurationError, oneLine
from ..listening.balance import LoadTable
from ..listening.binding import storeName
from ..listening.ports import OpenPort, OpenPorts, Ports
from ..running.lifecycle import DRAINING, LifeCycle
from .accesslogs import AccessLogs
from .aggregate import Aggregate
from .process import WorkerFailed, WorkerProcess
from .slots import MAX_RESTART_DELAY, RESTART_DELAY, Slot
from .unavailable import Unavailable
from .worker import CHECKS

#: Seconds of service after which a worker's death is not held against its successor.
STABLE_AFTER = 10.0
#: Seconds until the next worker starts from which on clients are told that there is none, and do not wait for it.
LONG_WAIT = 1.0
#: Seconds between two checks where no such time is set.
_IDLE_CHECK = 10.0
#: Seconds that workers get beyond their deadlines before they are killed.
MARGIN = 5.0
#: Seconds until a worker that a signal ends is replaced: the signal may be one for all of us, which ends us as well.
SIGNALLED = 0.25


class Workforce(LifeCycle):
    """
    The workers of a supervisor.

    The first one is started alone, and the others once it has loaded the applications: it is the check.

    :param process: makes a worker; see `WorkerProcess`.
    :param named: for `LifeCycle`.
    """

    def __init__(
        self,
        configuration: Configuration,
        openPorts: Ports,
        *,
        reactor: Any,
        process: Callable[..., WorkerProcess] = WorkerProcess,
        **named: Any,
    ) -> None:
        super().__init__(configuration, openPorts, reactor=reactor, **named)
        self.aggregate = Aggregate()
        self.aggregate.provide(configuration)
        self._accessLogs = AccessLogs(reactor, self.aggregate.linesDropped)
        self.slots: list[Slot] = []
        #: All that have not ended.
        self.processes: list[WorkerProcess] = []
        self._process = process
        self._loadTable: LoadTable | None = None
        #: Whether all were ready once; whether one was; whether it is known that none can be.
        self._hasBegun = self._hasServed = self._hasFailed = False
        self._unavailable = Unavailable(reactor)
        self._watch: IDelayedCall | None = None
        self._tooLate: IDelayedCall | None = None
        #: Who replaces workers that serve.
        self._replacing = DeferredLock()
        self._recycling = False
        self._recycleDelay, self._recycleFrom = RESTART_DELAY, 0.0

    def _startWorkers(self) -> None:
        self._loadTable = LoadTable()
        self._hasBegun = self._hasServed = self._hasFailed = False
        self.slots = [Slot(self.configuration, self.openPorts.open) for _ in range(self.configuration.workers)]
        seconds = self.configuration.workerStartTimeout
        if seconds:
            self._tooLate = self._reactor.callLater(seconds, self._giveUp, f"none was ready within {seconds:g} s")
        self._fill(self.slots[0])
        self._checkWorkers()

    def _spawn(self, configuration: Configuration) -> WorkerProcess:
        process = self._process(
            self._reactor,
            configuration,
            self._loadTable,
            ended=self._ended,
            leaving=self._leaving,
            reported=self._reported,
        )
        self.processes.append(process)
        try:
            process.accessLog = self._accessLogs.provide(configuration)
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
            slot.worker = worker = self._spawn(slot.configuration)
            await self._within(worker, "loaded")
            if slot.worker is not worker or slot not in self.slots or self.state == DRAINING:
                return  # it was told to end
            if worker.configuration is not slot.configuration:  # a reload was given up meanwhile
                worker.stop()
                self._fill(slot)
                return
            if not self._hasServed:
                self._fillIdle()
            await self._serveOn(worker, slot.openPorts)
        except WorkerFailed as error:
            if slot in self.slots and slot.worker is worker and self.state != DRAINING:
                self._notReady(slot, error)
            return
        slot.problem = ""
        self._updateReadiness()

    def _fillIdle(self) -> None:
        """Start the workers that waited for the first one."""
        for slot in self.slots:
            if slot.isIdle and not slot.problem:
                self._fill(slot)

    async def _serveOn(self, worker: WorkerProcess, openPorts: OpenPorts) -> None:
        """
        Have a worker serve, and wait until it does.

        :raises WorkerFailed: when it will not.
        """
        worker.serve([(storeName(text), _fileno(openPort)) for (text, _), openPort in openPorts.items()])
        await self._within(worker, "ready")
        self._log.info("worker {pid} is ready", pid=worker.pid)

    async def _within(self, worker: WorkerProcess, what: str) -> None:
        """
        Wait until a worker has ``loaded`` its applications, or is ``ready``.

        :raises WorkerFailed: when it will not, or not in its time.
        """
        seconds = worker.configuration.workerStartTimeout
        tooLate: IDelayedCall | None = None
        if seconds:
            left = max(0.0, worker.began + seconds - self._reactor.seconds())
            tooLate = self._reactor.callLater(left, worker.giveUp, f"it was not ready within {seconds:g} s")
        try:
            await worker.when(what)
        finally:
            if tooLate is not None and tooLate.active():
                tooLate.cancel()

    # Failures at the start.

    def _notReady(self, slot: Slot, error: WorkerFailed) -> None:
        slot.problem = str(error)
        if not self._hasServed:
            slot.worker = None
            if all(other.isIdle for other in self.slots):
                problem = next(other.problem for other in self.slots if other.problem)
                self._giveUp(problem)
            else:
                self._log.error("a worker did not become ready: {problem}", problem=slot.problem)
            return
        self._log.error(
            "a worker did not become ready: {problem}; trying again in {delay} s",
            problem=slot.problem,
            delay=slot.delay,
        )
        self._refill(slot)
        self._updateReadiness()

    def _giveUp(self, problem: str) -> None:
        """No worker of the first generation can start."""
        if self._hasFailed or self._hasServed or self.state == DRAINING:
            return
        self._hasFailed = True
        self._onTime()
        self.onFailed(f"no worker can start: {problem}")
        for process in list(self.processes):
            process.giveUp(problem)

    def _onTime(self) -> None:
        """Wait for the first worker no more."""
        if self._tooLate is not None and self._tooLate.active():
            self._tooLate.cancel()
        self._tooLate = None

    def _updateReadiness(self) -> None:
        """Update whether there are workers to serve, and who answers where there are none."""
        if self.state == DRAINING:
            return
        filled = [slot.isReady for slot in self.slots]
        if any(filled):
            self._firstReady()
        elif self._hasServed and all(self._isFarFromReady(slot) for slot in self.slots):
            self._answerInstead()
        if all(filled) and not self._hasBegun:
            self._hasBegun = True
            self._becomeReady()
        else:
            self.ready = self._hasBegun and any(filled)

    def _firstReady(self) -> None:
        if self._unavailable.answering:
            self._log.info("a worker is ready again")
            self._finishAnswering()
        if not self._hasServed:
            self._hasServed = True
            self._onTime()
            for slot in self.slots:
                if slot.isIdle:  # others can start: where one failed, another is tried
                    self._refill(slot)

    def _isFarFromReady(self, slot: Slot) -> bool:
        waits = slot.restart is not None and slot.restart.getTime() - self._reactor.seconds() >= LONG_WAIT
        return bool(slot.problem) or waits

    def _answerInstead(self) -> None:
        if not self._unavailable.answering:
            self._log.error("no worker is ready: clients get 503 until one is")
            self._unavailable.begin(self.configuration, self.openPorts.open)

    def _finishAnswering(self) -> Deferred[None]:
        finished = self._unavailable.end()
        finished.addErrback(lambda failure: self._log.failure("answering for workers failed", failure))
        return finished

    # Ends of workers.

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
        """A worker received a signal to stop that was not ours; it may be for all of us, and ours is about to come."""
        slot = self._slotOf(worker)
        if slot is not None and self.state != DRAINING:
            slot.worker = None
            slot.cancel()
            slot.restart = self._reactor.callLater(SIGNALLED, self._replaceSignalled, slot, worker.pid)

    def _replaceSignalled(self, slot: Slot, pid: int | None) -> None:
        self._log.info("worker {pid} received a stop signal; starting its replacement", pid=pid)
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

    # Replacing workers that serve.

    async def _loaded(self, configuration: Configuration) -> WorkerProcess:
        """
        Start a worker, and wait until it has loaded its applications.

        :raises WorkerFailed: when it has not.
        """
        worker = self._spawn(configuration)
        await self._within(worker, "loaded")
        return worker

    async def _replace(
        self, slot: Slot, configuration: Configuration, openPorts: OpenPorts, loaded: WorkerProcess | None = None
    ) -> WorkerProcess | None:
        """
        Let another worker have a slot.

        :param loaded: that is it, where there is one that has only to serve.
        :return: who had it, and is to be told to leave.
        :raises WorkerFailed: when it does not become ready; nothing has changed then.
        """
        worker = loaded or await self._loaded(configuration)
        if self.state != DRAINING:
            await self._serveOn(worker, openPorts)
        if self.state == DRAINING:
            raise WorkerFailed("the server is shutting down")
        slot.cancel()
        former, slot.worker = slot.worker, worker
        slot.configuration, slot.openPorts, slot.delay, slot.problem = configuration, openPorts, RESTART_DELAY, ""
        self._updateReadiness()
        return former

    def _reported(self, worker: WorkerProcess) -> None:
        """A worker has told what it has done: it may have done its part."""
        if self._recycling or not worker.isReady or self.state == DRAINING:
            return
        reason, slot = self._exhausted(worker), self._slotOf(worker)
        if reason and slot is not None and self._reactor.seconds() >= self._recycleFrom:
            self._recycling = True
            self._log.info("worker {pid} is replaced: {reason}", pid=worker.pid, reason=reason)
            self._inBackground(self._recycle(slot, worker))

    def _exhausted(self, worker: WorkerProcess) -> str:
        """Why a worker is to be replaced; empty: it is not."""
        configuration = worker.configuration
        age = self._reactor.seconds() - worker.readySince
        if 0 < configuration.workerMaxRequests <= worker.answered:
            return f"it has answered {worker.answered} requests"
        if 0 < configuration.workerMaxAge * worker.ageShare <= age:
            return f"it has served for {age:.0f} s"
        if 0 < configuration.workerMaxMemory < worker.memory:
            return f"it has {worker.memory} bytes of resident memory"
        return ""

    async def _recycle(self, slot: Slot, worker: WorkerProcess) -> None:
        """Replace a worker; the next is not replaced before this one is gone."""
        try:
            former = await self._replaced(slot, worker)
            self._recycleDelay = RESTART_DELAY
            if former is not None:
                former.leave()
                drain = former.configuration.timeouts.drain
                gone = former.when("ended").addTimeout(drain + MARGIN, self._reactor)
                await gone.addErrback(lambda _: None)
        except WorkerFailed as error:
            if self.state != DRAINING:
                self._log.error(
                    "worker {pid} is not replaced: a worker did not become ready: {problem}; trying again in {delay} s",
                    pid=worker.pid,
                    problem=str(error),
                    delay=self._recycleDelay,
                )
            self._recycleFrom = self._reactor.seconds() + self._recycleDelay
            self._recycleDelay = min(self._recycleDelay * 2, MAX_RESTART_DELAY)
        finally:
            self._recycling = False

    async def _replaced(self, slot: Slot, worker: WorkerProcess) -> WorkerProcess | None:
        await self._replacing.acquire()
        try:
            if slot not in self.slots or slot.worker is not worker or self.state == DRAINING:
                return None  # it is replaced already
            return await self._replace(slot, slot.configuration, slot.openPorts)
        finally:
            self._replacing.release()

    def _slotOf(self, worker: WorkerProcess) -> Slot | None:
        return next((slot for slot in self.slots if slot.worker is worker), None)

    def _inBackground(self, work: Coroutine[Any, Any, None]) -> None:
        doing = Deferred.fromCoroutine(work)
        doing.addErrback(lambda failure: self._log.failure("supervision failed", failure))


def _fileno(openPort: OpenPort) -> int:
    port: Any = openPort.port
    descriptor: int = port.fileno()
    return descriptor
