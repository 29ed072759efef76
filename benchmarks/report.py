"""Figures as people and programs read them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median

from .load import Load, Scenario
from .peers import OURS

_PACKAGES = ("ka_twisted", "twisted", "uvloop", "uvicorn", "granian", "aiohttp", "freastal")


@dataclass
class Figures:
    """
    What several rounds measured, by scenario and peer.

    :ivar loads: in the order of the rounds.
    """

    loads: dict[str, dict[str, list[Load]]] = field(default_factory=dict)

    def add(self, scenario: Scenario, peer: str, load: Load) -> None:
        """One run of one round."""
        self.loads.setdefault(scenario.title, {}).setdefault(peer, []).append(load)

    def ratio(self, scenario: str, peer: str) -> float | None:
        """
        How many times as many requests ours answers: the median of the rounds' ratios, each within one round.

        Machines drift; what ran in one round ran close together.
        """
        ours = self.loads[scenario].get(OURS)
        theirs = self.loads[scenario].get(peer)
        if not ours or not theirs:
            return None
        pairs = [(mine.rate, other.rate) for mine, other in zip(ours, theirs, strict=False) if other.rate]
        return median(mine / other for mine, other in pairs) if pairs else None


def environment() -> dict[str, str]:
    """What was measured on: kernel, processors, versions."""
    found = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def rows(figures: Figures) -> list[tuple[str, ...]]:
    """A row for each scenario and peer, the fastest first: median, spread, ratio, failures."""
    table: list[tuple[str, ...]] = []
    for scenario, peers in figures.loads.items():
        ranked = sorted(peers.items(), key=lambda item: -median(load.rate for load in item[1]))
        for peer, loads in ranked:
            rates = [load.rate for load in loads]
            ratio = figures.ratio(scenario, peer)
            failures = sum(load.failures for load in loads)
            table.append(
                (
                    scenario,
                    peer,
                    f"{median(rates):,.0f}",
                    f"{min(rates):,.0f} - {max(rates):,.0f}",
                    "-" if ratio is None else f"{ratio:.2f}",
                    f"{failures:,}" if failures else "",
                )
            )
    return table


HEADINGS = ("scenario", "server", "requests/s", "spread", "ours is x times", "failures")


def text(headings: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: words to the left, figures to the right."""
    widths = [max(len(row[column]) for row in (headings, *table)) for column in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        cells = (cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(
            zip(row, widths, strict=True)
        ))
        return "  ".join(cells).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, table)])


def markdown(headings: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """The same in Markdown."""
    rule = ["---" if column < 2 else "---:" for column in range(len(headings))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, rule, *table))


def as_json(figures: Figures, settings: Mapping[str, object]) -> str:
    """Every single figure, with what it was measured on."""
    loads = {
        scenario: {
            peer: {
                "requests_per_second": [load.rate for load in runs],
                "failures": [load.failures for load in runs],
                "ours_is_times": figures.ratio(scenario, peer),
            }
            for peer, runs in peers.items()
        }
        for scenario, peers in figures.loads.items()
    }
    return json.dumps({"environment": environment(), "settings": dict(settings), "scenarios": loads}, indent=2) + "\n"
