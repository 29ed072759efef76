"""Figures as drawings, with matplotlib: one file for each experiment, a panel for each of its charts."""

from __future__ import annotations

import io
import re
from importlib import import_module
from math import log10
from pathlib import Path
from typing import Any

from .figures import Figures, Ran, rounded
from .peers import CEILINGS, OURS, PEERS
from .session import Chart, Experiment, Kind

#: What is ours is red, and its lines are wide.
_OURS = ("#c1272d", "#e8743b")
_OTHERS = (
    *("#0f6292", "#5aa9d6", "#3c7d3f", "#8fbf5a", "#6b4c9a", "#b29ad1"),
    *("#7a7a7a", "#b8a13c", "#2b2b2b", "#4fb3a5", "#e3a6c4"),
)
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "svg.hashsalt": "benchmarks",  # the same figures make the same file
    "svg.fonttype": "none",  # text stays text
    "figure.constrained_layout.use": True,
}
#: Inches.
_WIDTH, _ROW, _PANEL = 9.0, 0.24, 3.6


class NoPlots(Exception):
    """matplotlib is missing."""


def require() -> None:
    """
    See that matplotlib is there.

    :raises NoPlots: when it is not.
    """
    try:
        import_module("matplotlib")
    except ImportError:
        raise NoPlots("no plots: matplotlib is missing (pip install matplotlib)") from None


def draw(experiment: Experiment, folder: Path) -> list[Path]:
    """Write an experiment's drawing as SVG and as PNG; nothing where it has no figures."""
    charts = [chart for chart in experiment.charts if any(_drawn(experiment.figures, chart))]
    if not charts:
        return []
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    with matplotlib.rc_context(_STYLE):
        heights = [_height(experiment.figures, chart) for chart in charts]
        figure, panels = pyplot.subplots(
            len(charts), figsize=(_WIDTH, sum(heights)), squeeze=False, height_ratios=heights
        )
        for chart, panel in zip(charts, panels[:, 0], strict=True):
            panel.set_title(chart.title, loc="left")
            _DRAWERS[chart.kind](panel, experiment.figures, chart)
        paths = [folder / f"{experiment.name}.svg", folder / f"{experiment.name}.png"]
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        paths[0].write_text(_same(drawn.getvalue()), encoding="utf-8")
        figure.savefig(paths[1], dpi=110)
        pyplot.close(figure)
    return paths


def _same(text: str) -> str:
    """An SVG with its clip paths numbered: matplotlib names them after addresses in memory, another one in each run."""
    names = list(dict.fromkeys(re.findall(r'<clipPath id="(\w+)"', text)))
    for number, name in enumerate(names, 1):
        text = text.replace(name, f"clip{number}")
    return text


def _drawn(figures: Figures, chart: Chart) -> list[str]:
    """The servers with a figure in a chart, the best first."""
    return [
        server
        for server in figures.servers(chart.cases)
        if any(figures.ran(case, server).samples for case in chart.cases)
    ]


def _height(figures: Figures, chart: Chart) -> float:
    if chart.kind in (Kind.LINES, Kind.TAILS):
        return _PANEL
    return 0.8 + _ROW * len(_drawn(figures, chart)) * len(chart.cases)


def _colour(server: str) -> str:
    """The same colour for the same server in every drawing."""
    if server.startswith(OURS):
        return _OURS[server != OURS]
    names = [peer.name for peer in (*PEERS, *CEILINGS) if not peer.name.startswith(OURS)]
    return _OTHERS[names.index(server) % len(_OTHERS)] if server in names else _OTHERS[-1]


def _bars(panel: Any, figures: Figures, chart: Chart) -> None:
    """A bar for each server and case: the median, and the spread as a thin line."""
    servers = _drawn(figures, chart)
    thick = 0.8 / len(chart.cases)
    several = len(chart.cases) > 1
    for place, server in enumerate(servers):
        for index, case in enumerate(chart.cases):
            ran = figures.ran(case, server)
            if ran.samples:
                _bar(panel, ran, place + index * thick, thick, _colour(server), case.label if several else "")
    panel.set_yticks([place + thick * (len(chart.cases) - 1) / 2 for place in range(len(servers))], servers)
    panel.invert_yaxis()
    longest = max(value for server in servers for case in chart.cases for value in figures.ran(case, server).values)
    panel.set_xlim(0, 1.2 * longest)  # leaves room for the figure behind the bar
    panel.set_xlabel(chart.cases[0].unit)
    panel.xaxis.set_major_formatter("{x:,.0f}")


def _bar(panel: Any, ran: Ran, place: float, thick: float, colour: str, label: str) -> None:
    median = ran.median or 0.0
    panel.barh(place, median, 0.92 * thick, color=colour)
    panel.plot([min(ran.values), max(ran.values)], [place, place], color="#222222", linewidth=1)
    panel.annotate(
        f"{rounded(median)} {label}".rstrip(),
        (max(median, *ran.values), place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _lines(panel: Any, figures: Figures, chart: Chart) -> None:
    """A line for each server through its medians, in a band from the least to the most."""
    for server in _drawn(figures, chart):
        points = [(case.at, ran) for case in chart.cases if (ran := figures.ran(case, server)).samples]
        places = [_place(chart, at) for at, _ in points]
        wide = 2.4 if server.startswith(OURS) else 1.3
        panel.plot(
            places,
            [ran.median for _, ran in points],
            "o-",
            color=_colour(server),
            linewidth=wide,
            markersize=4,
            label=server,
        )
        least, most = ([end(ran.values) for _, ran in points] for end in (min, max))
        panel.fill_between(places, least, most, color=_colour(server), alpha=0.15, linewidth=0)
    panel.set_ylabel(chart.cases[0].unit)
    panel.set_xlabel(chart.axis)
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    panel.grid(color="#e4e4e4")
    if chart.kind is Kind.TAILS:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_xticks([_place(chart, case.at) for case in chart.cases], [case.label for case in chart.cases])
    else:
        panel.set_ylim(bottom=0)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter("{x:,.0f}")


def _place(chart: Chart, at: float) -> float:
    """Where a case lies on the axis; percentiles by how many requests are worse, a step for each tenth of them."""
    return -log10(1 - at / 100) if chart.kind is Kind.TAILS else at


_DRAWERS = {Kind.RANKING: _bars, Kind.PAIR: _bars, Kind.LINES: _lines, Kind.TAILS: _lines}
