"""Figures as people and programs read them."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from .load import Load, Scenario
from .memory import Idle
from .peers import OURS

_PACKAGES = ("ka_twisted", "twisted", "uvloop", "uvicorn", "granian", "aiohttp", "freastal")
_PROGRAMS = {"wrk": "-v", "node": "--version", "nginx": "-v"}


@dataclass
class Figures:
    """
    What several rounds measured, by scenario and peer.

    :ivar loads: by the number of the round.
    :ivar failed: why a run gave no figure, by the number of the round.
    """

    loads: dict[str, dict[str, dict[int, Load]]] = field(default_factory=dict)
    failed: dict[str, dict[str, dict[int, str]]] = field(default_factory=dict)

    def add(self, number: int, scenario: Scenario, peer: str, load: Load) -> None:
        """One run, in the round with this number."""
        self.loads.setdefault(scenario.title, {}).setdefault(peer, {})[number] = load

    def fail(self, number: int, scenario: Scenario, peer: str, why: str) -> None:
        """One run that gave no figure, in the round with this number."""
        self.failed.setdefault(scenario.title, {}).setdefault(peer, {})[number] = why

    @property
    def scenarios(self) -> list[str]:
        """What ran, or failed, in this order."""
        return list(dict.fromkeys((*self.loads, *self.failed)))

    def runs(self, scenario: str, peer: str) -> dict[int, Load]:
        """The runs of a peer that gave a figure."""
        return self.loads.get(scenario, {}).get(peer, {})

    def failures(self, scenario: str, peer: str) -> dict[int, str]:
        """The runs of a peer that gave none."""
        return self.failed.get(scenario, {}).get(peer, {})

    def peers(self, scenario: str) -> list[str]:
        """Who ran, or failed: the fastest first, at the end those without a figure."""
        names = list(dict.fromkeys((*self.loads.get(scenario, {}), *self.failed.get(scenario, {}))))
        return sorted(names, key=lambda name: -_median(self.runs(scenario, name)))

    def ratio(self, scenario: str, peer: str) -> float | None:
        """
        How many times as many requests ours answers: the median of the rounds' ratios, each within one round.

        Machines drift; what ran in one round ran close together. None: in no round both gave a figure.
        """
        ours, theirs = self.runs(scenario, OURS), self.runs(scenario, peer)
        ratios = [ours[number].rate / theirs[number].rate for number in ours.keys() & theirs.keys()]
        return median(ratios) if ratios else None


def _median(runs: Mapping[int, Load]) -> float:
    return median(load.rate for load in runs.values()) if runs else 0.0


def environment() -> dict[str, str]:
    """What was measured, and on what: kernel, processors, versions."""
    found = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": str(os.cpu_count()),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for program, option in _PROGRAMS.items():
        if shutil.which(program):
            done = subprocess.run([program, option], capture_output=True, text=True, timeout=10)
            if number := re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr):
                found[program] = number[0]
    return found


def _processor() -> str:
    """The model of the processor; an empty text where the system does not tell."""
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    model = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return model[1] if model else ""


def rows(figures: Figures) -> list[tuple[str, ...]]:
    """A row for each scenario and peer, the fastest first: median, spread, ratio, failures."""
    return [_row(figures, scenario, peer) for scenario in figures.scenarios for peer in figures.peers(scenario)]


def _row(figures: Figures, scenario: str, peer: str) -> tuple[str, ...]:
    runs, failed = figures.runs(scenario, peer), figures.failures(scenario, peer)
    ratio = figures.ratio(scenario, peer)
    rates = [load.rate for load in runs.values()]
    bad = sum(load.failures for load in runs.values())
    remarks = [f"{bad:,}"] if bad else []
    if failed:
        reasons = "; ".join(dict.fromkeys(map(_cell, failed.values())))
        remarks.append(f"{len(failed)} of {len(runs) + len(failed)} runs failed: {reasons}")
    return (
        scenario,
        peer,
        f"{median(rates):,.0f}" if rates else "-",
        f"{min(rates):,.0f} - {max(rates):,.0f}" if rates else "-",
        "-" if ratio is None else f"{ratio:.2f} x",
        ", ".join(remarks),
    )


def _cell(sentence: str) -> str:
    """A sentence that fits into a cell: one short line, without the bar that ends a cell in Markdown."""
    line = " ".join(sentence.split()).replace("|", "/")
    return line if len(line) <= 80 else f"{line[:79]}…"


HEADINGS = ("scenario", "server", "requests/s", "spread", "ours is", "failures")


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
    scenarios = {name: _peers(figures, name) for name in figures.scenarios}
    return document({"settings": dict(settings), "scenarios": scenarios})


def _peers(figures: Figures, scenario: str) -> dict[str, object]:
    return {
        peer: {
            "requests_per_second": {number: load.rate for number, load in figures.runs(scenario, peer).items()},
            "failures": {number: load.failures for number, load in figures.runs(scenario, peer).items()},
            "failed_runs": figures.failures(scenario, peer),
            "ours_is_times": figures.ratio(scenario, peer),
        }
        for peer in figures.peers(scenario)
    }


def document(content: Mapping[str, object]) -> str:
    """Figures for programs, with what they were measured on."""
    return json.dumps({"environment": environment(), **content}, indent=2) + "\n"


IDLE_HEADINGS = ("server", "connections", "before, KiB", "with them, KiB", "octets each", "failures")


def idle_rows(found: Mapping[str, Idle], failed: Mapping[str, str]) -> list[tuple[str, ...]]:
    """A row for each peer, the smallest first; at the end those that failed."""
    ranked = sorted(found.items(), key=lambda item: item[1].each)
    table: list[tuple[str, ...]] = [
        (name, f"{idle.connections:,}", _kibibytes(idle.before), _kibibytes(idle.after), f"{idle.each:,.0f}", "")
        for name, idle in ranked
    ]
    return table + [(name, "-", "-", "-", "-", _cell(why)) for name, why in failed.items()]


def _kibibytes(octets: int) -> str:
    return f"{octets / 1024:,.0f}"


def idle_json(found: Mapping[str, Idle], failed: Mapping[str, str], settings: Mapping[str, object]) -> str:
    """Every single figure of idle connections, with what it was measured on."""
    idle = {name: {**asdict(figure), "octets_each": figure.each} for name, figure in found.items()}
    return document({"settings": dict(settings), "idle": idle, "failed": dict(failed)})
