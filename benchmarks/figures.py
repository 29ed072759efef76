"""What was measured, by case, server and round; medians, spreads, and ratios within rounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Case:
    """
    What is measured of every server.

    :ivar name: unique within an experiment.
    :ivar unit: of its values.
    :ivar more: whether more is better.
    :ivar label: heads its column where it stands beside others.
    :ivar at: its place on the axis of a line.
    """

    name: str
    unit: str
    more: bool = True
    label: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Sample:
    """
    One value of one run.

    :ivar failures: responses that were not as they should be, errors of sockets.
    :ivar busy: which share of one processor's time the server used, where that says whether it was the limit.
    :ivar sustained: which share of the requests of a schedule was answered before it ended.
    :ivar stalled: the longest time, in milliseconds, that the load itself did nothing.
    """

    value: float
    failures: int = 0
    busy: float | None = None
    sustained: float | None = None
    stalled: float | None = None


@dataclass(frozen=True)
class Ran:
    """The runs of one server in one case: a sample, or why there is none, by the number of the round."""

    samples: dict[int, Sample] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def values(self) -> list[float]:
        """One for each run that gave a figure."""
        return [sample.value for sample in self.samples.values()]

    @property
    def median(self) -> float | None:
        """None where no run gave a figure."""
        return middle(self.values)


@dataclass
class Figures:
    """What several rounds of one experiment measured."""

    _ran: dict[tuple[str, str], Ran] = field(default_factory=dict)

    def add(self, case: Case, server: str, number: int, sample: Sample) -> None:
        """One run, in the round with this number."""
        self._ran.setdefault((case.name, server), Ran()).samples[number] = sample

    def fail(self, case: Case, server: str, number: int, why: str) -> None:
        """One run that gave no figure, in the round with this number."""
        self._ran.setdefault((case.name, server), Ran()).failed[number] = why

    def ran(self, case: Case, server: str) -> Ran:
        """All runs of one server in one case; none where it was not measured."""
        return self._ran.get((case.name, server), Ran())

    def servers(self, cases: Iterable[Case]) -> list[str]:
        """Who ran, or failed, in one of these cases: the best of the first case first, those without a figure last."""
        cases = list(cases)
        names = {case.name for case in cases}
        found = dict.fromkeys(server for name, server in self._ran if name in names)

        def rank(server: str) -> tuple[float, ...]:
            medians = ((case, self.ran(case, server).median) for case in cases)
            return tuple(float("inf") if value is None else -value if case.more else value for case, value in medians)

        return sorted(found, key=rank)

    def ratio(self, first: tuple[Case, str], second: tuple[Case, str]) -> float | None:
        """
        How many times the second the first is: the median of the rounds' ratios, each within one round.

        Machines drift; what ran in one round ran close together. None: in no round both gave a figure.
        """
        ours, theirs = self.ran(*first).samples, self.ran(*second).samples
        return middle(
            ours[number].value / theirs[number].value for number in ours if number in theirs and theirs[number].value
        )

    @property
    def failed(self) -> bool:
        """Whether any run gave no figure."""
        return any(ran.failed for ran in self._ran.values())

    @property
    def measured(self) -> set[str]:
        """The servers of which there is any figure."""
        return {server for (_, server), ran in self._ran.items() if ran.samples}


def middle(values: Iterable[float]) -> float | None:
    """The median; None of nothing."""
    found = list(values)
    return median(found) if found else None


def percentile(ordered: list[float], percent: float) -> float:
    """
    The smallest value that so many per cent of the values do not exceed.

    :param ordered: ascending, not empty.
    :param percent: above 0, at most 100.
    """
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(int(rank), 1) - 1]


def rounded(value: float | None) -> str:
    """A figure for people: a large one without decimals, and a sign that there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
