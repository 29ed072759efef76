"""What the workers of a supervisor do and have done together, those that are gone included."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from ...admin.interfaces import AboutJson, ConnectionsJson, IServerView, WorkerJson
from ...observe.counts import Counts
from ...observe.families import ACCESS_LOG_DROPPED, WORKER_LOG_DROPPED
from ...observe.records import ConnectionJson
from ...observe.selection import slowestAndOldest
from ..configuration.values import Configuration
from ..running.observers import metrics
from .process import WorkerProcess

if TYPE_CHECKING:
    from ...observe.metrics import Metrics

#: Closed connections of workers that are gone whose records are kept.
_RECORDS = 200

_log = Logger()


class Aggregate:
    """
    What is left of workers that are gone: their counts, so that sums never go back, and their last records.

    :ivar accepted: connections.
    :ivar metrics: what the supervisor itself counts; None where there is no admin page.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.metrics: Metrics | None = None
        self.records: deque[ConnectionJson] = deque(maxlen=_RECORDS)
        self._gone = Counts()

    def provide(self, configuration: Configuration) -> None:
        """
        Count, where there is an operator to read it.

        :raises ConfigurationError: when a package for it is missing.
        """
        if configuration.admin is not None and self.metrics is None:
            self.metrics = metrics()

    def reloaded(self, well: bool) -> None:
        """A reload is over."""
        if self.metrics is not None:
            self.metrics.reloaded(well)

    def linesDropped(self, count: int) -> None:
        """Lines of the access log are lost."""
        if self.metrics is not None:
            self.metrics.count(ACCESS_LOG_DROPPED, count)

    def died(self) -> None:
        """A worker has ended without having been told to."""
        if self.metrics is not None:
            self.metrics.workerDied()

    def remember(self, worker: WorkerProcess) -> None:
        """A worker is gone."""
        self.accepted += worker.accepted
        self._gone = self._gone + _droppedBy(worker)
        self.records.extend(reversed(worker.records))
        if worker.counts is not None:
            self._gone = self._gone + Counts.fromJson(worker.counts).ended()

    def total(self, workers: Iterable[WorkerProcess]) -> Counts:
        """What was counted by the supervisor, by workers that are gone, and by these, as far as is known."""
        total = self._gone if self.metrics is None else self._gone + self.metrics.counts()
        for worker in workers:
            total = total + _droppedBy(worker)
            if worker.counts is not None:
                total = total + Counts.fromJson(worker.counts)
        return total


def _droppedBy(worker: WorkerProcess) -> Counts:
    """What of a worker's log is lost, which its supervisor counts."""
    return Counts({WORKER_LOG_DROPPED: {(): worker.droppedEvents}} if worker.droppedEvents else {})


@implementer(IServerView)
class WorkersView:
    """
    A supervisor and its workers as one server.

    :param supervisor: a `workers.Supervisor`.
    """

    def __init__(self, supervisor: Any) -> None:
        self._supervisor = supervisor

    @property
    def ready(self) -> bool:
        """See `IServerView`."""
        ready: bool = self._supervisor.ready
        return ready

    @property
    def state(self) -> str:
        """See `IServerView`."""
        state: str = self._supervisor.state
        return state

    def about(self) -> AboutJson:
        """See `IServerView`."""
        workers: list[WorkerJson] = [
            {"pid": worker.pid, "ready": worker.isReady and not worker.isLeaving, "open": worker.openConnections}
            for worker in self._workers
        ]
        from ...admin import about

        return about(self._supervisor, workers)

    def counts(self) -> Deferred[Counts]:
        """See `IServerView`."""
        return Deferred.fromCoroutine(self._counts())

    def connections(self, limit: int, requests: int = 50) -> Deferred[ConnectionsJson]:
        """See `IServerView`."""
        return Deferred.fromCoroutine(self._connections(limit, requests))

    def connection(self, number: int, pid: int) -> Deferred[ConnectionJson | None]:
        """See `IServerView`."""
        return Deferred.fromCoroutine(self._connection(number, pid))

    def drain(self) -> None:
        """See `IServerView`."""
        self._supervisor.drain().addErrback(lambda failure: _log.failure("draining failed", failure))

    @property
    def _workers(self) -> list[WorkerProcess]:
        workers: list[WorkerProcess] = self._supervisor.processes
        return workers

    async def _counts(self) -> Counts:
        await gatherResults([Deferred.fromCoroutine(worker.recount()) for worker in self._workers])
        # Who has ended meanwhile is among those that are gone.
        aggregate: Aggregate = self._supervisor.aggregate
        return aggregate.total(self._workers)

    async def _connections(self, limit: int, requests: int) -> ConnectionsJson:
        answers = await gatherResults([worker.ask("connections", limit, requests) for worker in self._workers])
        told = [answer for answer in answers if answer is not None]
        closed = [record for answer in told for record in answer["closed"]]
        for record in self._supervisor.aggregate.records:
            latest = record["latest"]
            closed.append({**record, "latest": latest[max(0, len(latest) - requests) :]})
        closed.sort(key=_ended, reverse=True)
        opened = [(_seconds(record), record["age"], record) for answer in told for record in answer["open"]]
        return {"open": slowestAndOldest(opened, limit), "closed": closed[: limit or None]}

    async def _connection(self, number: int, pid: int) -> ConnectionJson | None:
        for worker in self._workers:
            if worker.pid == pid:
                record: ConnectionJson | None = await worker.ask("connection", number, pid)
                return record
        for gone in self._supervisor.aggregate.records:
            if (gone["connection"], gone["pid"]) == (number, pid):
                found: ConnectionJson = gone
                return found
        return None


def _seconds(record: ConnectionJson) -> float | None:
    """The seconds of the request in service, or of the latest; None without one."""
    requests = record["inService"][:1] or record["latest"][-1:]
    return requests[0]["duration"] if requests else None


def _ended(record: ConnectionJson) -> float:
    """When a connection was closed, in seconds since the epoch."""
    opened = datetime.fromisoformat(record["opened"].replace("Z", "+00:00")).timestamp()
    age: float = record["age"]
    return opened + age
