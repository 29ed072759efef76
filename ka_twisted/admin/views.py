"""A server of one process, as its operator sees it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from ..config import Limits, Timeouts
from ..observe.connections import ConnectionLog
from ..observe.counts import Counts
from ..observe.metrics import Metrics
from ..observe.records import ConnectionJson
from .interfaces import AboutJson, ConnectionsJson, IServerView, WorkerJson


class Listener(Protocol):
    """What is shown of a listener."""

    @property
    def endpoint(self) -> str: ...


class Configuration(Protocol):
    """What is shown of a configuration."""

    @property
    def listeners(self) -> Sequence[Listener]: ...

    @property
    def timeouts(self) -> Timeouts: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def workers(self) -> int: ...


class Service(Protocol):
    """What is shown of a service; ``started`` is in seconds since the epoch."""

    @property
    def ready(self) -> bool: ...

    @property
    def state(self) -> str: ...

    @property
    def started(self) -> float: ...

    @property
    def configuration(self) -> Configuration: ...

    def drain(self) -> Deferred[None] | None:
        """Go out of service, and stay."""


def about(service: Service, workers: Iterable[WorkerJson] = ()) -> AboutJson:
    """
    See `IServerView.about`.

    :param workers: what is shown of each.
    """
    configuration = service.configuration
    return {
        "version": _version(),
        "pid": os.getpid(),
        "started": datetime.fromtimestamp(service.started, timezone.utc).isoformat(timespec="seconds"),
        "listeners": [listener.endpoint for listener in configuration.listeners],
        "timers": asdict(configuration.timeouts),
        "limits": asdict(configuration.limits),
        "wanted": configuration.workers,
        "workers": list(workers),
    }


def _version() -> str:
    try:
        return version("ka_twisted")
    except PackageNotFoundError:
        return "unknown"  # it was not installed


@implementer(IServerView)
class LocalView:
    """
    A process that serves by itself, or a worker.

    :param metrics: observes its factories.
    :param log: likewise.
    """

    _log = Logger()

    def __init__(self, metrics: Metrics, log: ConnectionLog, service: Service) -> None:
        self._metrics = metrics
        self._connections = log
        self._service = service
        self._pid = os.getpid()

    @property
    def ready(self) -> bool:
        """See `IServerView`."""
        return self._service.ready

    @property
    def state(self) -> str:
        """See `IServerView`."""
        return self._service.state

    def about(self) -> AboutJson:
        """See `IServerView`."""
        return about(self._service)

    def counts(self) -> Deferred[Counts]:
        """See `IServerView`."""
        return execute(self._metrics.counts)

    def connections(self, limit: int, requests: int = 50) -> Deferred[ConnectionsJson]:
        """See `IServerView`."""
        return execute(self._allConnections, limit, requests)

    def _allConnections(self, limit: int, requests: int) -> ConnectionsJson:
        log = self._connections
        return {
            "open": [self._told(record) for record in log.open(limit, requests)],
            "closed": [self._told(record) for record in log.closed(limit, requests)],
        }

    def connection(self, number: int, pid: int) -> Deferred[ConnectionJson | None]:
        """See `IServerView`."""
        return execute(self._record, number, pid)

    def _record(self, number: int, pid: int) -> ConnectionJson | None:
        record = self._connections.connection(number) if pid == self._pid else None
        return None if record is None else self._told(record)

    def _told(self, record: ConnectionJson) -> ConnectionJson:
        return {"pid": self._pid, **record}

    def drain(self) -> None:
        """See `IServerView`."""
        draining = maybeDeferred(self._service.drain)
        draining.addErrback(lambda failure: self._log.failure("draining failed", failure))
