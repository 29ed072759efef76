"""
Samples of the server: once a second while a page is open, however many are, and every few seconds while none is.

A sample becomes one event, which every open page is sent. A page that is slow to take it misses some; none waits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from heapq import nlargest
from typing import Any, TypeVar
from weakref import ref

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ..core.reasons import CloseReason
from ..observe.counts import Counts
from ..observe.exposition import complete
from ..observe.families import (
    CONNECTION_STATES,
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    CONNECTIONS_OPENED,
    FAMILIES,
    REQUESTS,
    REQUESTS_TAKEN,
    TIME_TO_FIRST_BYTE,
    Kind,
)
from ..observe.records import ConnectionJson
from .history import COLUMN, EARLY, History
from .interfaces import AboutJson, ConnectionsJson, IServerView
from .verdict import BAD, KINDS, Remark, verdict


class StatefulJson(AboutJson):
    """What a server is, and what it is doing."""

    state: str
    ready: bool


#: Seconds between two samples, while a page is open and while none is.
OFTEN, SELDOM = 1.0, float(COLUMN)
#: How many of the slowest and of the oldest connections are shown, and of the last that were closed.
FOREMOST, LAST = 10, 12
#: After so many milliseconds a browser connects again.
_RETRY = 1000

#: What the page shows of each reason.
REASONS = {
    reason.name: {"kind": KINDS[reason.name], "text": reason.text, "clause": reason.clause}
    for reason in CloseReason.all()
}
#: What the page needs to know once: the metrics there are, and the states of connections.
_FAMILIES = [{"name": family.exposedName, "help": family.help, "unit": family.unit} for family in FAMILIES]
_STATIC = {
    "reasons": REASONS,
    "families": _FAMILIES,
    "states": CONNECTION_STATES,
    "longest": TIME_TO_FIRST_BYTE.buckets[-1],
}

_T = TypeVar("_T")


class Sampler:
    """
    Samples a server for as long as it exists itself.

    :param reactor: the clock.
    :param wallClock: gives the seconds since the epoch.
    """

    _log = Logger()

    def __init__(self, view: IServerView, reactor: IReactorTime, wallClock: Callable[[], float] = time.time) -> None:
        self._watchers: set[Watcher] = set()
        self._view = view
        self._reactor = reactor
        self._wallClock = wallClock
        self._history = History(wallClock)
        self._event = b""
        self._seen = float("-inf")
        self._looking = False
        #: What has failed and was logged.
        self._failing: set[str] = set()
        self._call = reactor.callLater(0, _look, ref(self))

    def watch(self, page: Watcher) -> None:
        """Send a page the last sample at once, and from now on each one."""
        self._watchers.add(page)
        if self._reactor.seconds() - self._seen < OFTEN:
            page.send(self._event)
        elif not self._looking:
            self._call.reset(0)

    def leave(self, page: Watcher) -> None:
        """Send it no more."""
        self._watchers.discard(page)

    def history(self) -> bytes:
        """The first event of a page: the columns so far, and what does not change."""
        return _event({"columns": self._history.columns(), **_STATIC}, b"history")

    def look(self) -> None:
        """Take a sample, and schedule the next one."""
        self._looking = True
        looking = Deferred.fromCoroutine(self._sample())
        looking.addErrback(lambda failure: self._log.failure("the operator's page cannot be updated", failure))
        looking.addCallback(lambda _: self._again())

    def _again(self) -> None:
        """Schedule a sample for the wall clock's next second, or the next column: all are equally wide then."""
        self._looking = False
        pace = OFTEN if self._watchers else SELDOM
        pause = pace + EARLY - (self._wallClock() + EARLY) % pace
        self._call = self._reactor.callLater(round(pause, 3), _look, ref(self))

    async def _sample(self) -> None:
        faults: list[str] = []
        counts = await self._part(faults, "counts", self._view.counts)
        if counts is not None:
            self._history.add(counts)
        if not self._watchers:
            return
        connections = await self._part(faults, "connections", lambda: self._view.connections(2 * FOREMOST, 1))
        about = await self._part(faults, "description", self._about)
        event = await self._part(faults, "figures", lambda: execute(self._figures, about, connections))
        remarks = [Remark(BAD, fault) for fault in faults]
        event = event or {"about": about, "remarks": []}
        event["remarks"] = [remark._asdict() for remark in (*remarks, *event["remarks"])]
        self._event = _event(event)
        self._seen = self._reactor.seconds()
        for page in list(self._watchers):
            page.send(self._event)

    async def _about(self) -> StatefulJson:
        return {**self._view.about(), "state": self._view.state, "ready": self._view.ready}

    async def _part(self, faults: list[str], name: str, look: Callable[[], Awaitable[_T]]) -> _T | None:
        """What can be seen of a part; None where that fails, which is logged when it begins."""
        try:
            seen = await look()
        except Exception:
            faults.append(f"The {name} of the server cannot be read. See the log.")
            if name not in self._failing:
                self._failing.add(name)
                self._log.failure("the operator's page cannot read the {name} of the server", name=name)
            return None
        self._failing.discard(name)
        return seen

    def _figures(self, about: StatefulJson | None, connections: ConnectionsJson | None) -> dict[str, Any]:
        """The event's content, of what could be read."""
        history = self._history
        now = history.latest
        seconds, recent = history.recent()
        remarks: list[Remark] = []
        if about is not None:
            remarks = verdict(about, about["state"], about["ready"], now, recent, history.reloadFailed())
        opened = [_row(record) for record in connections["open"]] if connections is not None else []
        closed = [_row(record) for record in connections["closed"][:LAST]] if connections is not None else []
        return {
            "now": round(self._wallClock(), 3),
            "about": about,
            "remarks": remarks,
            "connections": now.by(CONNECTIONS, "state"),
            "rate": round(history.rate(REQUESTS), 2),
            "recent": _summary(recent) | {"seconds": round(seconds)},
            "total": _summary(now),
            "metrics": _metrics(now, about),
            "columns": history.columns(2),
            "slowest": nlargest(FOREMOST, opened, key=lambda row: row["seconds"]),
            "oldest": nlargest(FOREMOST, opened, key=lambda row: row["age"]),
            "closed": closed,
        }


@implementer(IBodyProducer)
class Watcher:
    """The body of a response that lasts as long as its page is open: server-sent events."""

    length = UNKNOWN_LENGTH

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._consumer: IConsumer | None = None
        self._knows = self._paused = False

    def send(self, event: bytes) -> None:
        """Send an event, unless the last one is still on its way; before the first, the history."""
        if self._consumer is not None and not self._paused:
            history = b"" if self._knows else b"retry: %d\n\n" % _RETRY + self._sampler.history()
            self._knows = True
            self._consumer.write(history + event)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See `IBodyProducer`: it never ends by itself."""
        self._consumer = consumer
        self._sampler.watch(self)
        return Deferred()

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""
        self._paused = False

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""
        self._consumer = None
        self._sampler.leave(self)


def _look(sampler: ref[Sampler]) -> None:
    """Take a sample, unless the sampler is gone."""
    existing = sampler()
    if existing is not None:
        existing.look()


def _event(value: Any, name: bytes = b"") -> bytes:
    """One event of the HTML standard's event streams."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return (b"event: %b\n" % name if name else b"") + b"data: %b\n\n" % data


def _summary(counts: Counts) -> dict[str, float | None]:
    """The figures that have a tile of their own."""
    return {
        "requests": counts.total(REQUESTS),
        "opened": counts.total(CONNECTIONS_OPENED),
        "closed": counts.total(CONNECTIONS_CLOSED),
        "reuse": round(counts.reuseRatio, 4) if counts.of(REQUESTS_TAKEN) else None,
        "half": _finite(counts.quantile(TIME_TO_FIRST_BYTE, 0.5)),
        "most": _finite(counts.quantile(TIME_TO_FIRST_BYTE, 0.99)),
    }


def _metrics(counts: Counts, about: StatefulJson | None) -> dict[str, list[dict[str, Any]]]:
    """The numbers of every family that are not 0, with their labels; of a histogram how many values, and their sum."""
    counts = complete(counts) if about is None else complete(counts, about["state"], about["ready"])
    return {
        family.exposedName: (
            [{"of": "values", "count": counts.total(family)}, {"of": "sum", "count": counts.sum(family)}]
            if family.kind is Kind.HISTOGRAM
            else counts.rows(family)
        )
        for family in FAMILIES
    }


def _finite(bound: float | None) -> float | None:
    """JSON knows no infinity: -1 stands for it."""
    return -1 if bound == float("inf") else bound


def _row(record: ConnectionJson) -> dict[str, Any]:
    """What a line of a list shows of a connection."""
    busy, done = record.get("inService"), record["latest"]
    last = busy[0] if busy else done[-1] if done else None
    ended = record.get("ended", {})
    return {
        **{name: record[name] for name in ("connection", "pid", "peer", "age", "requests")},
        "state": record.get("state"),
        "ended": ended.get("reason"),
        "by": ended.get("by"),
        "seconds": last["duration"] if last else 0.0,
        "last": {name: last[name] for name in ("method", "target", "status")} if last else None,
    }
