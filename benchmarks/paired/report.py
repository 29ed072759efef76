"""The pairs as people and programs read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..figures import Case, Figures, middle, rounded
from ..report import Table
from .measure import NEW, OLD, case


@dataclass(frozen=True)
class Pairs:
    """
    What came of one load on one reactor.

    :ivar ratios: new to old, one for each round that gave both figures.
    :ivar failures: why a round gave none.
    """

    what: Case
    old: tuple[float, ...]
    new: tuple[float, ...]
    ratios: tuple[float, ...]
    failures: tuple[str, ...]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios; None where no round gave both figures."""
        return middle(self.ratios)


def pairs(figures: Figures, what: Case) -> Pairs:
    """The pairs of one case, by round."""
    old, new = figures.ran(what, OLD), figures.ran(what, NEW)
    ratios = [
        new.samples[number].value / sample.value
        for number, sample in old.samples.items()
        if number in new.samples and sample.value
    ]
    return Pairs(what, tuple(old.values), tuple(new.values), tuple(ratios), tuple(old.failed.values()))


def table(figures: Figures, reactor: str, loads: Iterable[str], names: Mapping[str, str]) -> Table:
    """A row for each load on one reactor."""
    rows = []
    for load in loads:
        found = pairs(figures, case(reactor, load))
        unit = "bytes per connection" if found.what.unit == "bytes" else f"{found.what.unit} per request"
        ratio = "-" if found.ratio is None else f"{found.ratio:.3f}"
        spread = f"{min(found.ratios):.3f} - {max(found.ratios):.3f}" if found.ratios else "-"
        failed = f", {len(found.failures)} failed: {found.failures[0]}" if found.failures else ""
        old, new = rounded(middle(found.old)), rounded(middle(found.new))
        rows.append((load, old, new, unit, ratio, spread, f"{len(found.ratios)}{failed}"))
    headings = ("load", names[OLD], names[NEW], "unit", "ratio", "spread", "rounds")
    return Table(f"reactor {reactor}", headings, tuple(rows))


def above(figures: Figures, cases: Iterable[Case], limit: float) -> list[str]:
    """The cases whose ratio is above a limit, or is not known."""
    found = (pairs(figures, each) for each in cases)
    return [each.what.name for each in found if each.ratio is None or each.ratio > limit]


def as_json(figures: Figures, cases: Iterable[Case], about: Mapping[str, object]) -> str:
    """Every figure."""
    measured = {}
    for each in cases:
        found = pairs(figures, each)
        measured[each.name] = {
            "unit": each.unit,
            OLD: found.old,
            NEW: found.new,
            "ratios": found.ratios,
            "ratio": found.ratio,
            "failures": found.failures,
        }
    return json.dumps({**about, "measured": measured}, indent=2, ensure_ascii=False) + "\n"
