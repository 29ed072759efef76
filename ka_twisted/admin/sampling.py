"""
Looking at the server: once a second while somebody watches, however many, and hardly ever while nobody does.

What is seen becomes one event, which all who watch are sent. Who is slow to take it misses some, and none waits.
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
from ..observe.families import (
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    CONNECTIONS_OPENED,
    REQUESTS,
    REQUESTS_TAKEN,
    TIME_TO_FIRST_BYTE,
)
from .history import COLUMN, EARLY, History
from .interfaces import IServerView
from .verdict import BAD, KINDS, Remark, verdict

#: Seconds between two looks, while somebody watches and while nobody does.
OFTEN, SELDOM = 1.0, float(COLUMN)
#: How many of the slowest and of the oldest connections are shown, and of the last that were closed.
FOREMOST, LAST = 10, 12
#: After that many milliseconds a browser connects again.
_RETRY = 1000

#: What there is to say of each reason.
REASONS = {
    reason.name: {"kind": KINDS[reason.name], "text": reason.text, "clause": reason.clause}
    for reason in CloseReason.all()
}

_T = TypeVar("_T")


class Sampler:
    """
    Looks at a server, again and again, as long as somebody has it.

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
        """Have a page told what was, what is, and once a second what has become of it."""
        self._watchers.add(page)
        if self._reactor.seconds() - self._seen < OFTEN:
            page.tell(self._event)
        elif not self._looking:
            self._call.reset(0)

    def leave(self, page: Watcher) -> None:
        """Tell it no more."""
        self._watchers.discard(page)

    def history(self) -> bytes:
        """The event that says what was, and what the reasons mean."""
        return _event({"columns": self._history.columns(), "reasons": REASONS}, b"history")

    def look(self) -> None:
        """Take a sample, and have another one taken in due time."""
        self._looking = True
        looking = Deferred.fromCoroutine(self._sample())
        looking.addErrback(lambda failure: self._log.failure("the operator's page cannot be told", failure))
        looking.addCallback(lambda _: self._again())

    def _again(self) -> None:
        """Look again with the wall clock's next second, or when the next column begins: all are equally wide then."""
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
        told = await self._part(faults, "connections", lambda: self._view.connections(2 * FOREMOST, 1))
        about = await self._part(faults, "description", self._about)
        said = await self._part(faults, "figures", lambda: execute(self._said, about, told))
        remarks = [Remark(BAD, fault) for fault in faults]
        said = said or {"about": about, "remarks": []}
        said["remarks"] = [remark._asdict() for remark in (*remarks, *said["remarks"])]
        self._event = _event(said)
        self._seen = self._reactor.seconds()
        for page in list(self._watchers):
            page.tell(self._event)

    async def _about(self) -> dict[str, Any]:
        return self._view.about() | {"state": self._view.state, "ready": self._view.ready}

    async def _part(self, faults: list[str], name: str, look: Callable[[], Awaitable[_T]]) -> _T | None:
        """What can be seen of a part; None where that fails, which is logged when it begins."""
        try:
            seen = await look()
        except Exception:
            faults.append(f"The {name} of the server cannot be read. The log says why.")
            if name not in self._failing:
                self._failing.add(name)
                self._log.failure("the operator's page cannot read the {name} of the server", name=name)
            return None
        self._failing.discard(name)
        return seen

    def _said(self, about: dict[str, Any] | None, told: dict[str, Any] | None) -> dict[str, Any]:
        """What there is to say, of what could be read."""
        history = self._history
        now = history.latest
        seconds, recent = history.recent()
        remarks: list[Remark] = []
        if about is not None:
            remarks = verdict(about, about["state"], about["ready"], now, recent, history.reloadFailed())
        opened = [_row(story) for story in told["open"]] if told is not None else []
        closed = [_row(story) for story in told["closed"][:LAST]] if told is not None else []
        return {
            "now": round(self._wallClock(), 3),
            "about": about,
            "remarks": remarks,
            "connections": now.by(CONNECTIONS, "state"),
            "rate": round(history.rate(REQUESTS), 2),
            "recent": _figures(recent) | {"seconds": round(seconds)},
            "total": _figures(now),
            "columns": history.columns(2),
            "slowest": nlargest(FOREMOST, opened, key=lambda row: row["seconds"]),
            "oldest": nlargest(FOREMOST, opened, key=lambda row: row["age"]),
            "closed": closed,
        }


@implementer(IBodyProducer)
class Watcher:
    """The body of a response that goes on for as long as somebody watches: server-sent events."""

    length = UNKNOWN_LENGTH

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._consumer: IConsumer | None = None
        self._knows = self._paused = False

    def tell(self, event: bytes) -> None:
        """Send an event, unless the last one is still on its way; before the first, what was."""
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
    """Look, if there is still somebody to look for."""
    there = sampler()
    if there is not None:
        there.look()


def _event(value: Any, name: bytes = b"") -> bytes:
    """One event of the HTML standard's event streams."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return (b"event: %b\n" % name if name else b"") + b"data: %b\n\n" % data


def _figures(counts: Counts) -> dict[str, float | None]:
    """The figures that have a place of their own."""
    return {
        "requests": counts.total(REQUESTS),
        "opened": counts.total(CONNECTIONS_OPENED),
        "closed": counts.total(CONNECTIONS_CLOSED),
        "reuse": round(counts.reuseRatio, 4) if counts.of(REQUESTS_TAKEN) else None,
        "half": _finite(counts.quantile(TIME_TO_FIRST_BYTE, 0.5)),
        "most": _finite(counts.quantile(TIME_TO_FIRST_BYTE, 0.99)),
    }


def _finite(bound: float | None) -> float | None:
    """JSON knows no infinity: -1 stands for it."""
    return -1 if bound == float("inf") else bound


def _row(story: dict[str, Any]) -> dict[str, Any]:
    """Of a connection's story, what one line tells."""
    busy, done = story.get("inService"), story["latest"]
    last = busy[0] if busy else done[-1] if done else None
    ended = story.get("ended", {})
    return {
        **{name: story[name] for name in ("connection", "pid", "peer", "age", "requests")},
        "state": story.get("state"),
        "ended": ended.get("reason"),
        "by": ended.get("by"),
        "seconds": last["duration"] if last else 0.0,
        "last": {name: last[name] for name in ("method", "target", "status")} if last else None,
    }
