"""Which of many open connections an operator is shown."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from typing import TypeVar

_T = TypeVar("_T")


def slowestAndOldest(candidates: Iterable[tuple[float | None, float, _T]], limit: int) -> list[_T]:
    """
    The slowest and the oldest of open connections, the youngest first.

    :param candidates: of each connection the seconds of its request in service, or else of its latest request (None:
        it has had none), and its age in seconds.
    :param limit: at most so many: half of them those whose request takes or took longest, the others the oldest; 0:
        all of them.
    """
    known = list(candidates)
    ages = [age for _, age, _ in known]
    byAge = sorted(range(len(known)), key=ages.__getitem__, reverse=True)
    if limit and len(known) > limit:
        busy = [(seconds, -place) for place, (seconds, _, _) in enumerate(known) if seconds is not None]
        chosen = {-place for _, place in nlargest(limit // 2, busy)}
        for place in byAge:
            if len(chosen) == limit:
                break
            chosen.add(place)
        byAge = sorted(chosen, key=lambda place: (-ages[place], place))
    return [known[place][2] for place in reversed(byAge)]
