"""Medians, percentiles, and ratios that pair what ran in the same round."""

from __future__ import annotations

import pytest

from benchmarks.figures import Case, Figures, Sample, percentile, rounded
from benchmarks.peers import OURS

RATE = Case("keep-alive", "requests/s")
DELAY = Case("p99", "ms", more=False)


def filled(case: Case, **values: list[float]) -> Figures:
    figures = Figures()
    for server, found in values.items():
        for number, value in enumerate(found, 1):
            figures.add(case, server, number, Sample(value))
    return figures


def test_a_ratio_is_taken_within_each_round() -> None:
    figures = filled(RATE, ours=[100.0, 10.0, 40.0], nginx=[50.0, 2.0, 10.0])
    assert figures.ratio((RATE, "ours"), (RATE, "nginx")) == 4.0


def test_a_round_that_one_of_them_failed_is_not_in_the_ratio() -> None:
    figures = filled(RATE, ours=[100.0, 10.0, 1000.0])
    figures.fail(RATE, "nginx", 1, "no answer")
    figures.add(RATE, "nginx", 2, Sample(5.0))
    figures.fail(RATE, "nginx", 3, "no answer")
    assert figures.ratio((RATE, "ours"), (RATE, "nginx")) == 2.0
    assert figures.failed


def test_what_never_ran_has_no_ratio_and_no_median() -> None:
    figures = filled(RATE, nginx=[1.0])
    assert figures.ratio((RATE, OURS), (RATE, "nginx")) is None
    assert figures.ran(RATE, OURS).median is None
    assert figures.measured == {"nginx"}


def test_the_best_is_first_and_who_failed_is_last() -> None:
    figures = filled(RATE, slow=[1.0, 3.0, 2.0], fast=[9.0])
    figures.fail(RATE, "broken", 1, "does not listen")
    assert figures.servers([RATE]) == ["fast", "slow", "broken"]
    assert filled(DELAY, late=[9.0], early=[1.0]).servers([DELAY]) == ["early", "late"]


@pytest.mark.parametrize(("percent", "expected"), [(1, 1.0), (50, 5.0), (90, 9.0), (91, 10.0), (99.9, 10.0)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 11)], percent) == expected


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.04694, "0.0469"), (12.345, "12.3"), (54623.4, "54,623")])
def test_figures_are_rounded_for_people(value: float | None, text: str) -> None:
    assert rounded(value) == text
