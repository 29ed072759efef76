"""What the counts of a server were in the last minutes: for charts, and for what happened recently."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import TypedDict

from ..observe.counts import Counts
from ..observe.families import CONNECTIONS, CONNECTIONS_CLOSED, RELOADS, REQUESTS, Family

#: Seconds of a column of the charts, and how many of them are kept.
COLUMN, COLUMNS = 5, 120
#: Seconds by which a sample that was to be taken when a column begins may be early.
EARLY = 0.05
#: Samples that are kept for the rate that is shown, one a second.
_RATE_SAMPLES = 6
#: Seconds that "recent" means.
RECENT = 60


class ColumnJson(TypedDict):
    """A column of the charts: when it begins, in seconds since the epoch, its seconds ``s``, and what happened."""

    t: int
    s: float
    open: float
    requests: float
    errors: float
    closed: list[dict[str, str | float]]


class History:
    """
    Counts at several moments.

    Nothing else is kept: what happened in between is the difference of the counts.

    :param wallClock: gives the seconds since the epoch.
    """

    def __init__(self, wallClock: Callable[[], float]) -> None:
        self._wallClock = wallClock
        #: The first sample of each column.
        self._columns: deque[tuple[float, Counts]] = deque(maxlen=COLUMNS)
        self._lastSamples: deque[tuple[float, Counts]] = deque(maxlen=_RATE_SAMPLES)

    def add(self, counts: Counts) -> None:
        """Take a sample."""
        now = self._wallClock()
        if not self._columns or _begin(now) > _begin(self._columns[-1][0]):
            self._columns.append((now, counts))
        self._lastSamples.append((now, counts))

    @property
    def latest(self) -> Counts:
        """The last sample; no counts at all before the first."""
        return self._lastSamples[-1][1] if self._lastSamples else Counts()

    def recent(self) -> tuple[float, Counts]:
        """How many seconds are recent (`RECENT` or a little more, fewer at the start), and what was counted in them."""
        if not self._lastSamples:
            return 0.0, Counts()
        now, latest = self._lastSamples[-1]
        earlier = self._columns[0]
        for sample in self._columns:
            if now - sample[0] < RECENT:
                break
            earlier = sample
        return now - earlier[0], latest - earlier[1]

    def rate(self, family: Family) -> float:
        """The present rate of a counter, per second."""
        if len(self._lastSamples) < 2:
            return 0.0
        (then, before), (now, latest) = self._lastSamples[0], self._lastSamples[-1]
        return (latest.total(family) - before.total(family)) / max(1.0, now - then)

    def reloadFailed(self) -> bool:
        """Whether the last attempt to reload, of those that are remembered, has failed."""
        samples = [*self._columns, *list(self._lastSamples)[-1:]]
        for (_, before), (_, after) in reversed([*pairwise(samples)]):
            if after.of(RELOADS, outcome="failed") > before.of(RELOADS, outcome="failed"):
                return True
            if after.of(RELOADS, outcome="done") > before.of(RELOADS, outcome="done"):
                return False
        return False

    def columns(self, last: int = COLUMNS) -> list[ColumnJson]:
        """
        What happened in the last columns, the oldest first, as values that `json.dumps` takes.

        ``t`` is when a column begins, and ``s`` how many seconds are counted in it; ``open`` how many connections were
        open at its end; ``closed`` the connections closed, by reason and by the side that ended them.
        """
        samples = [*self._columns, *list(self._lastSamples)[-1:]]
        return [_column(*earlier, *later) for earlier, later in pairwise(samples[-last - 1 :])]


def _column(then: float, before: Counts, now: float, after: Counts) -> ColumnJson:
    since = after - before
    return {
        "t": _begin(then),
        "s": round(now - then, 1),
        "open": after.total(CONNECTIONS),
        "requests": since.total(REQUESTS),
        "errors": errors(since),
        "closed": since.rows(CONNECTIONS_CLOSED),
    }


def _begin(now: float) -> int:
    """When the column of a moment begins."""
    return int((now + EARLY) // COLUMN * COLUMN)


def errors(counts: Counts) -> float:
    """How many responses were errors of the server."""
    return counts.by(REQUESTS, "status").get("5xx", 0)
