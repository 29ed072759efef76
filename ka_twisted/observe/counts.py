"""
What servers have counted, as values: they are added up over processes, subtracted over time, and sent from one process
to another.

What is shown as a share of something is computed from them, never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from .families import BY_NAME, CONNECTIONS_USED, REQUESTS_TAKEN, Family, Kind, Labels

#: Beside the buckets of a histogram, which are labelled with their upper ends, the last with ``+Inf``: the sum of all
#: values.
SUM = "sum"


class Counts:
    """
    Numbers by family and labels.

    :param families: the numbers of a histogram are those of each bucket by itself, and `SUM`.
    """

    __slots__ = ("families",)

    def __init__(self, families: Mapping[Family, Mapping[Labels, float]] | None = None) -> None:
        self.families: Mapping[Family, Mapping[Labels, float]] = families or {}

    def of(self, family: Family, **labels: str) -> float:
        """One number; 0 where nothing was counted."""
        return self.families.get(family, {}).get(family.key(**labels), 0)

    def by(self, family: Family, label: str) -> dict[str, float]:
        """The numbers of a family that are not 0, added up for each value of one label."""
        place = family.labels.index(label)
        totals: dict[str, float] = {}
        for labels, number in self.nonzero(family).items():
            totals[labels[place]] = totals.get(labels[place], 0) + number
        return totals

    def nonzero(self, family: Family) -> dict[Labels, float]:
        """The numbers of a family that are not 0."""
        return {labels: number for labels, number in self.families.get(family, {}).items() if number}

    def rows(self, family: Family) -> list[dict[str, str | float]]:
        """Likewise, as values that `json.dumps` takes: the labels by name, and ``count``."""
        return [
            {**dict(zip(family.labels, labels, strict=True)), "count": number}
            for labels, number in self.nonzero(family).items()
        ]

    def total(self, family: Family) -> float:
        """All numbers of a family together; of a histogram, how many values it has."""
        return sum(number for labels, number in self.families.get(family, {}).items() if labels != (SUM,))

    def sum(self, family: Family) -> float:
        """The sum of all values of a histogram."""
        return self.families.get(family, {}).get((SUM,), 0)

    @property
    def reuseRatio(self) -> float:
        """The share of all requests that came on a connection which had served one before."""
        taken = self.of(REQUESTS_TAKEN)
        return 1 - self.of(CONNECTIONS_USED) / taken if taken else 0.0

    def __add__(self, other: Counts) -> Counts:
        return self._combined(other, 1)

    def __sub__(self, earlier: Counts) -> Counts:
        """What was counted since; of gauges, such as open connections, the change."""
        return self._combined(earlier, -1)

    def _combined(self, other: Counts, sign: int) -> Counts:
        families = {family: dict(numbers) for family, numbers in self.families.items()}
        for family, numbers in other.families.items():
            mine = families.setdefault(family, {})
            for labels, number in numbers.items():
                mine[labels] = mine.get(labels, 0) + sign * number
        return Counts(families)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self.families == other.families

    __hash__ = None  # type: ignore[assignment]

    def ended(self) -> Counts:
        """What stays of the counts of a process that has ended: its gauges are 0."""
        return Counts(
            {
                family: dict.fromkeys(numbers, 0) if family.kind is Kind.GAUGE else numbers
                for family, numbers in self.families.items()
            }
        )

    def quantile(self, family: Family, share: float) -> float | None:
        """
        The upper end of the bucket of a histogram that a share of its values does not exceed.

        :param share: 0 to 1.
        :return: infinite where that is the last bucket; None without a value.
        """
        buckets = sorted((float(bound), number) for (bound,), number in self.nonzero(family).items() if bound != SUM)
        wanted = share * sum(number for _, number in buckets)
        reached = 0.0
        for bound, number in buckets:
            reached += number
            if reached >= wanted:
                return bound
        return None

    def toJson(self) -> dict[str, list[list[str | float]]]:
        """As a value that `json.dumps` takes."""
        return {
            family.name: [[*labels, number] for labels, number in numbers.items()]
            for family, numbers in self.families.items()
        }

    @classmethod
    def fromJson(cls, value: Mapping[str, Iterable[list[Any]]]) -> Counts:
        """
        What `toJson` returned, at the other end.

        :raises KeyError: for a family that is not declared.
        """
        return cls({BY_NAME[name]: {tuple(labels): number for *labels, number in rows} for name, rows in value.items()})


class Histogram:
    """
    The values of a histogram while they are counted.

    :param family: names the buckets; a value beyond all of them has one of its own.
    """

    __slots__ = ("bounds", "counts", "labels", "sum")

    def __init__(self, family: Family) -> None:
        self.bounds = family.buckets
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0
        self.labels: list[Labels] = [(str(float(bound)) if bound < inf else "+Inf",) for bound in (*self.bounds, inf)]

    def numbers(self) -> dict[Labels, float]:
        """As in `Counts`."""
        numbers: dict[Labels, float] = dict(zip(self.labels, self.counts, strict=True))
        numbers[SUM,] = self.sum
        return numbers
