"""Applications are started before their first request and stopped after their last, each once for all its users."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...interfaces import IDrainable
from ...server.application import HandlerApplication, IApplication
from ..errors import oneLine
from .loading import ApplicationError
from .sites import LoadedSite

_log = Logger()

#: Seconds that each application has to stop, where a drain has a deadline: less than a supervisor and systemd wait.
STOP_WITHIN = 10.0


@dataclass(eq=False)
class _Entry:
    """
    An application that is in use.

    :ivar users: how many configurations have it; it is running as long as there is one.
    :ivar lock: so that it is not started while it is still being stopped.
    """

    name: str
    application: IApplication
    users: int = 0
    running: bool = False
    lock: DeferredLock = field(default_factory=DeferredLock)


class Lifespans:
    """
    The applications of one process that are running.

    Several sites, and a configuration and its successor, may have the same object: it is started with the first of them
    and stopped with the last.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._entries: dict[int, _Entry] = {}
        self._stopping: set[Deferred[None]] = set()

    async def start(self, loaded: Iterable[LoadedSite]) -> None:
        """
        Start what is not running yet, one after the other.

        :raises ApplicationError: for the first that fails; those that were started for this call are stopped again.
        """
        begun: list[LoadedSite] = []
        try:
            for each in distinct(loaded):
                entry = self._entry(each)
                entry.users += 1
                begun.append(each)
                await entry.lock.run(self._begin, entry)
        except BaseException:
            await self.stop(begun, STOP_WITHIN)
            raise

    async def stop(self, loaded: Iterable[LoadedSite], seconds: float) -> None:
        """
        Stop what nothing else uses, the last that was started first. Failures are logged.

        :param seconds: for each, after which it is not waited for any more; 0: no limit.
        """
        for each in reversed(distinct(loaded)):
            entry = self._entries.get(id(each.application))
            if entry is None:
                continue
            entry.users -= 1
            if not entry.users:
                await entry.lock.run(self._end, entry, seconds)

    def stopWaiting(self) -> None:
        """Do not wait for applications that are being stopped."""
        for stopping in list(self._stopping):
            stopping.cancel()

    def drainable(self, loaded: Iterable[LoadedSite]) -> list[IDrainable]:
        """Those that want to hear of a shutdown, and that no other configuration uses."""
        found = [each.application for each in distinct(loaded) if self._isLast(each)]
        return [application for application in found if IDrainable.providedBy(application)]

    def _isLast(self, each: LoadedSite) -> bool:
        entry = self._entries.get(id(each.application))
        return entry is not None and entry.users == 1

    def _entry(self, each: LoadedSite) -> _Entry:
        return self._entries.setdefault(id(each.application), _Entry(each.site.app, each.application))

    def _begin(self, entry: _Entry) -> Deferred[None]:
        return Deferred.fromCoroutine(self._started(entry))

    async def _started(self, entry: _Entry) -> None:
        if entry.running:
            return
        try:
            await maybeDeferred(entry.application.start)
        except Exception as error:
            raise ApplicationError(f"{entry.name} failed to start: {type(error).__name__}: {oneLine(error)}") from error
        entry.running = True

    def _end(self, entry: _Entry, seconds: float) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stopped(entry, seconds))

    async def _stopped(self, entry: _Entry, seconds: float) -> None:
        if entry.users:  # it was taken up again meanwhile
            return
        if entry.running:
            entry.running = False
            await self._stopOne(entry, seconds)
        if not entry.users:
            self._entries.pop(id(entry.application), None)

    async def _stopOne(self, entry: _Entry, seconds: float) -> None:
        stop: Any = entry.application.stop
        stopping: Deferred[None] = maybeDeferred(stop)
        if seconds:
            stopping.addTimeout(seconds, self._reactor)
        self._stopping.add(stopping)
        try:
            await stopping
        except Exception:
            _log.failure("{application} failed to stop", application=entry.name)
        finally:
            self._stopping.discard(stopping)


def distinct(loaded: Iterable[LoadedSite]) -> list[LoadedSite]:
    """One site for each application."""
    return list({id(each.application): each for each in loaded}.values())


def needStart(loaded: Iterable[LoadedSite]) -> bool:
    """Whether there is anything to start: a handler alone has nothing."""
    return any(not isinstance(each.application, HandlerApplication) for each in loaded)


async def drained(drainables: Iterable[IDrainable], seconds: float) -> None:
    """
    Ask all to drain, and wait until they have. Failures are logged.

    :param seconds: as for `IDrainable.drain`.
    """
    waiting = [maybeDeferred(each.drain, seconds) for each in drainables]
    for succeeded, result in await DeferredList(waiting, consumeErrors=True):
        if not succeeded:
            _log.failure("an application failed to drain", result)
