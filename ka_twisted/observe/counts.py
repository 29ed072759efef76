"""
What servers have counted, as values: they are added up over processes, subtracted over time, and sent from one process
to another.

What is shown as a share of something is computed from them, never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

#: The values of a family's labels, in the order in which `exposition.FAMILIES` names them. A histogram's label is the
#: upper end of a range, included, with ``+Inf`` for the last; its sum has the label `SUM`.
Labels = tuple[str, ...]
SUM = "sum"


class Counts:
    """
    Numbers by family and labels.

    :param families: the names of the families are those of the metrics, without ``ka_twisted_`` and ``_total``.
    """

    __slots__ = ("families",)

    def __init__(self, families: Mapping[str, Mapping[Labels, float]] | None = None) -> None:
        self.families: Mapping[str, Mapping[Labels, float]] = families or {}

    def of(self, family: str, *labels: str) -> float:
        """One number; 0 where nothing was counted."""
        return self.families.get(family, {}).get(labels, 0)

    def some(self, family: str) -> dict[Labels, float]:
        """The numbers of a family that are not 0."""
        return {labels: number for labels, number in self.families.get(family, {}).items() if number}

    def total(self, family: str) -> float:
        """All numbers of a family together."""
        return sum(self.families.get(family, {}).values())

    @property
    def reuse(self) -> float:
        """The share of all requests that came on a connection which had served one before."""
        taken = self.of("requests_taken")
        return 1 - self.of("connections_used") / taken if taken else 0.0

    def __add__(self, other: Counts) -> Counts:
        return self._combined(other, 1)

    def __sub__(self, earlier: Counts) -> Counts:
        """What has come to it since; of what is not counted but is, such as open connections, how it has changed."""
        return self._combined(earlier, -1)

    def _combined(self, other: Counts, sign: int) -> Counts:
        families = {name: dict(numbers) for name, numbers in self.families.items()}
        for name, numbers in other.families.items():
            family = families.setdefault(name, {})
            for labels, number in numbers.items():
                family[labels] = family.get(labels, 0) + sign * number
        return Counts(families)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self.families == other.families

    __hash__ = None  # type: ignore[assignment]

    def ended(self) -> Counts:
        """What stays of the counts of a process that is gone: its connections are not open any more."""
        open_ = {"connections": dict.fromkeys(self.families.get("connections", ()), 0)}
        return Counts({**self.families, **open_})

    def quantile(self, family: str, share: float) -> float | None:
        """
        The upper end of the range of a histogram that a share of its values does not exceed.

        :param share: 0 to 1.
        :return: infinite where that is the last range; None without a value.
        """
        ranges = sorted((float(bound), number) for (bound,), number in self.some(family).items() if bound != SUM)
        wanted = share * sum(number for _, number in ranges)
        reached = 0.0
        for bound, number in ranges:
            reached += number
            if reached >= wanted:
                return bound
        return None

    def toJson(self) -> dict[str, list[list[Any]]]:
        """As a value that `json.dumps` takes."""
        return {
            name: [[*labels, number] for labels, number in numbers.items()] for name, numbers in self.families.items()
        }

    @classmethod
    def fromJson(cls, value: Mapping[str, Iterable[list[Any]]]) -> Counts:
        """What `toJson` returned, at the other end."""
        return cls({name: {tuple(labels): number for *labels, number in rows} for name, rows in value.items()})

    def exposition(self, state: str | None = None, ready: bool | None = None) -> tuple[bytes, str]:
        """
        All of it as Prometheus reads it, for a handler to return.

        :param state: what the server does, where that is to be told: ``serving``, ``reloading`` or ``draining``.
        :param ready: likewise whether it wants new connections.
        :return: the bytes of the text format, and their Content-Type.
        """
        from .exposition import exposed

        return exposed(self, state, ready)


class Histogram:
    """
    How many of some values lie in which range, while they are counted.

    :param bounds: the upper ends of the ranges, each included; what is larger than all has a range of its own.
    """

    __slots__ = ("bounds", "counts", "labels", "sum")

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.labels: list[Labels] = [(str(float(bound)) if bound < inf else "+Inf",) for bound in (*bounds, inf)]

    def numbers(self) -> dict[Labels, float]:
        """As a family of `Counts`."""
        numbers: dict[Labels, float] = dict(zip(self.labels, self.counts, strict=True))
        numbers[SUM,] = self.sum
        return numbers
