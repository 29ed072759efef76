"""Which open connections are shown: the slowest, and then the oldest."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ka_twisted.observe.selection import slowestAndOldest

CANDIDATES = st.lists(st.tuples(st.none() | st.integers(0, 9), st.integers(0, 9))).map(
    lambda pairs: [(seconds, float(age), number) for number, (seconds, age) in zip(count(), pairs, strict=False)]
)


@given(CANDIDATES, st.integers(0, 12))
def test_half_are_the_slowest_the_others_the_oldest_and_the_youngest_comes_first(
    candidates: list[tuple[float | None, float, int]], limit: int
) -> None:
    chosen = slowestAndOldest(candidates, limit)
    assert len(chosen) == len(set(chosen)) == min(limit or len(candidates), len(candidates))
    ages = [candidates[number][1] for number in chosen]
    assert ages == sorted(ages)
    left = [candidate for candidate in candidates if candidate[2] not in chosen]
    slow = sorted((seconds for seconds, _, _ in candidates if seconds is not None), reverse=True)[: limit // 2]
    shown = sorted((seconds for number in chosen if (seconds := candidates[number][0]) is not None), reverse=True)
    assert shown[: len(slow)] == slow or not left
    if left and limit > 1:
        assert max(age for _, age, _ in left) <= max(ages)


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_of_equals_those_accepted_first_are_shown(seconds: float | None) -> None:
    assert slowestAndOldest([(seconds, 1.0, number) for number in range(5)], 4) == [3, 2, 1, 0]
