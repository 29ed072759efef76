"""Figures as people and programs read them: tables, Markdown, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from .figures import Case, Ran, middle, rounded
from .peers import OURS
from .session import Chart, Experiment, Kind, Settings

#: A server that used less than this of its processor was not the limit.
_BUSY = 0.9
#: A server that answered less than this did not keep up.
_SUSTAINED = 0.99
#: Milliseconds that a load may do nothing before the figures are doubted.
_STALLED = 5.0
#: Fewer rounds than these do not show what a machine's moods are.
_ENOUGH = 3
#: The longest reason that is given in a table; JSON has the whole.
_REASON = 90


@dataclass(frozen=True)
class Table:
    """A table; the first column are names, the last are remarks."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(experiment: Experiment) -> list[Table]:
    """A table for each chart of an experiment that has any row."""
    made = (_MAKERS[chart.kind](experiment, chart) for chart in experiment.charts)
    return [table for table in made if table.rows]


def _ranking(experiment: Experiment, chart: Chart) -> Table:
    figures, (case,) = experiment.figures, chart.cases
    rows = []
    for server in figures.servers(chart.cases):
        ran = figures.ran(case, server)
        times = figures.ratio((case, OURS), (case, server))
        rows.append((server, rounded(ran.median), spread(ran), _times(times), remarks([ran])))
    return Table(chart.title, ("server", case.unit, "spread", f"{OURS} is", "remarks"), tuple(rows))


def _grid(experiment: Experiment, chart: Chart) -> Table:
    figures = experiment.figures
    rows = []
    for server in figures.servers(chart.cases):
        runs = [figures.ran(case, server) for case in chart.cases]
        rows.append((server, *map(_cell, runs), remarks(runs)))
    return Table(f"{chart.title}, in {chart.cases[0].unit}", ("server", *_labels(chart), "remarks"), tuple(rows))


def _pair(experiment: Experiment, chart: Chart) -> Table:
    figures, (first, second) = experiment.figures, chart.cases
    rows = []
    for server in figures.servers(chart.cases):
        runs = [figures.ran(case, server) for case in chart.cases]
        times = _times(figures.ratio((second, server), (first, server)))
        rows.append((server, *map(_cell, runs), times, remarks(runs)))
    headings = ("server", *_labels(chart), f"{second.label} is", "remarks")
    return Table(f"{chart.title}, in {first.unit}", headings, tuple(rows))


_MAKERS = {Kind.RANKING: _ranking, Kind.LINES: _grid, Kind.TAILS: _grid, Kind.PAIR: _pair}


def _labels(chart: Chart) -> list[str]:
    return [case.label for case in chart.cases]


def spread(ran: Ran) -> str:
    """The least and the most of the rounds."""
    return f"{rounded(min(ran.values))} - {rounded(max(ran.values))}" if ran.values else rounded(None)


def _cell(ran: Ran) -> str:
    """Median, and spread where there is any."""
    return f"{rounded(ran.median)} ({spread(ran)})" if len(ran.values) > 1 else rounded(ran.median)


def _times(ratio: float | None) -> str:
    return rounded(None) if ratio is None else f"{ratio:.2f} x"


def remarks(runs: Sequence[Ran]) -> str:
    """What has to be known of a row: failures, and why a figure is not what it seems."""
    samples = [sample for ran in runs for sample in ran.samples.values()]
    found = []
    if failures := max((sample.failures for sample in samples), default=0):
        found.append(f"up to {failures:,} wrong answers in a run")
    busy = middle(sample.busy for sample in samples if sample.busy is not None)
    if busy is not None and busy < _BUSY:
        found.append(f"processor {busy:.0%} busy")
    sustained = min((sample.sustained for sample in samples if sample.sustained is not None), default=1.0)
    if sustained < _SUSTAINED:
        found.append(f"sustained {sustained:.0%}")
    stalled = max((sample.stalled for sample in samples if sample.stalled is not None), default=0.0)
    if stalled > _STALLED:
        found.append(f"load stalled {rounded(stalled)} ms")
    failed = [why for ran in runs for why in ran.failed.values()]
    if failed:
        reasons = "; ".join(dict.fromkeys(map(_short, failed)))
        found.append(f"{len(failed)} of {sum(len(ran.samples) + len(ran.failed) for ran in runs)} failed: {reasons}")
    return ", ".join(found)


def _short(sentence: str) -> str:
    """A sentence that fits into a cell: one short line, without the bar that ends a cell in Markdown."""
    line = " ".join(sentence.split()).replace("|", "/")
    return line if len(line) <= _REASON else f"{line[: _REASON - 1]}…"


def text(table: Table) -> str:
    """A table for a terminal: words to the left, figures to the right."""
    last = len(table.headings) - 1
    widths = [max(len(row[column]) for row in (table.headings, *table.rows)) for column in range(last + 1)]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    rule = ["-" * width for width in widths]
    return "\n".join([f"{table.title}", "", line(table.headings), line(rule), *map(line, table.rows)])


def markdown(table: Table) -> str:
    """The same in Markdown."""
    last = len(table.headings) - 1
    rule = ["---" if column in (0, last) else "---:" for column in range(last + 1)]
    lines = ("| " + " | ".join(row) + " |" for row in (table.headings, rule, *table.rows))
    return "\n".join((f"### {table.title[0].upper()}{table.title[1:]}", "", *lines))


@dataclass(frozen=True)
class About:
    """
    What belongs to the figures.

    :ivar command: what was run.
    :ivar environment: what was measured, and on what.
    """

    command: str
    when: str
    environment: Mapping[str, str]


def page(experiments: Sequence[Experiment], about: About, settings: Settings, drawings: bool) -> str:
    """
    All results as one page of Markdown.

    :param drawings: whether there is a file NAME.svg of each experiment beside the page.
    """
    versions = ", ".join(f"{name} {value}" for name, value in about.environment.items() if value)
    parts = [f"```console\n$ {about.command}\n```", f"{about.when}; {versions}.", _extent(settings)]
    for experiment in experiments:
        if found := tables(experiment):
            parts += [f"## {experiment.title}", experiment.about]
            if drawings:
                parts.append(f"![{experiment.title}]({experiment.name}.svg)")
            parts += map(markdown, found)
    return "\n\n".join(parts) + "\n"


def _extent(settings: Settings) -> str:
    """How much was measured, and whether that is enough."""
    rounds = "1 round" if settings.rounds == 1 else f"{settings.rounds} rounds"
    extent = f"Each figure comes from {rounds} of {settings.seconds} s."
    if settings.rounds < _ENOUGH:
        extent += " That shows that it runs, not how fast anything is."
    return extent


def as_json(experiments: Sequence[Experiment], about: About, settings: Settings) -> str:
    """Every single figure, with what it was measured on."""
    measured = {experiment.name: _experiment(experiment) for experiment in experiments}
    chosen = asdict(settings) | {"peers": sorted(settings.peers) if settings.peers else None}
    return json.dumps({**asdict(about), "settings": chosen, "experiments": measured}, indent=2) + "\n"


def _experiment(experiment: Experiment) -> dict[str, object]:
    return {case.name: _case(experiment, case) for chart in experiment.charts for case in chart.cases}


def _case(experiment: Experiment, case: Case) -> dict[str, object]:
    figures = experiment.figures
    servers = {}
    for server in figures.servers([case]):
        ran = figures.ran(case, server)
        servers[server] = {
            "median": ran.median,
            "ours_is_times": figures.ratio((case, OURS), (case, server)),
            "rounds": {number: asdict(sample) for number, sample in ran.samples.items()},
            "failed": ran.failed,
        }
    return {"unit": case.unit, "more_is_better": case.more, "servers": servers}
