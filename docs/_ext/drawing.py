"""
Draws a table of transitions as SVG. Standard library only.

The states stand below each other. What happens leaves a state on its right and comes back into the state that follows;
transitions of one event into one state share a lane, so that lines meet but labels never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from textwrap import wrap

Table = Mapping[Enum, Mapping[Enum, Enum]]

_COLOURS = ("#2f7fc9", "#c2570c", "#2c9163", "#9a4fd0", "#b8417f", "#0f8a9d", "#8a7a1c")
_LEFT, _WIDTH, _ROW, _LANE, _GAP, _PAD = 8, 236, 26, 20, 22, 12
_RIGHT = _LEFT + _WIDTH
_RADIUS = 6


@dataclass
class _Lane:
    """The transitions of one event into one state."""

    event: Enum
    target: Enum
    colour: str
    sources: list[Enum] = field(default_factory=list)
    index: int = 0


def states_of(table: Table) -> list[Enum]:
    """Every state of a machine, in the order of their definition."""
    for row in table.values():
        for state in row:
            return list(type(state))
    return []


def draw(name: str, table: Table) -> str:
    """
    The drawing of one machine.

    :return: an ``svg`` element that takes its colours from what surrounds it.
    """
    return _Drawing(name, table).svg()


class _Drawing:
    def __init__(self, name: str, table: Table) -> None:
        self._name = name
        self._states = states_of(table)
        self._colours = {event: _COLOURS[i % len(_COLOURS)] for i, event in enumerate(table)}
        self._lanes: dict[tuple[Enum, Enum], _Lane] = {}
        self._loops: dict[Enum, list[Enum]] = {state: [] for state in self._states}
        for event, row in table.items():
            for source, target in row.items():
                if source is target:
                    self._loops[source].append(event)
                else:
                    key = (event, target)
                    lane = self._lanes.setdefault(key, _Lane(event, target, self._colours[event]))
                    lane.sources.append(source)
        self._final = {s for s in self._states if not any(s in row for row in table.values())}
        labels = max((len(event.name) for event in table), default=0)
        self._lanesAt = _RIGHT + 8.2 * labels + 22
        self._boxes: dict[Enum, tuple[float, float]] = {}
        self._ports: dict[tuple[Enum, int, bool], float] = {}
        self._loopsAt: dict[tuple[Enum, Enum], float] = {}
        self._bottom = self._place()
        self._assign()

    def _place(self) -> float:
        """Give every box its height and every line its port; returns the bottom of the drawing."""
        y = float(_PAD)
        for state in self._states:
            lanes = list(self._lanes.values())
            rows: list[tuple[str, _Lane | Enum]] = []
            rows += [("in", lane) for lane in lanes if lane.target is state]
            rows += [("out", lane) for lane in lanes if state in lane.sources]
            rows += [("loop", event) for event in self._loops[state]]
            text = 38 + 15 * len(self._lines(state))
            height = max(text, len(rows) * _ROW + 8)
            first = y + (height - len(rows) * _ROW) / 2 + _ROW / 2 + 2
            for number, (kind, what) in enumerate(rows):
                at = first + number * _ROW
                if isinstance(what, _Lane):
                    self._ports[state, id(what), kind == "in"] = at
                else:
                    self._loopsAt[state, what] = at
            self._boxes[state] = (y, height)
            y += height + _GAP
        return y - _GAP + _PAD

    def _span(self, lane: _Lane) -> tuple[float, float]:
        ys = [self._ports[source, id(lane), False] for source in lane.sources]
        ys.append(self._ports[lane.target, id(lane), True])
        return min(ys), max(ys)

    def _length(self, lane: _Lane) -> float:
        top, bottom = self._span(lane)
        return bottom - top

    def _assign(self) -> None:
        """Short lanes inside, long ones outside, none on another."""
        taken: list[list[tuple[float, float]]] = []
        for lane in sorted(self._lanes.values(), key=self._length):
            top, bottom = self._span(lane)
            free = (i for i, spans in enumerate(taken) if all(bottom < low or top > high for low, high in spans))
            lane.index = next(free, len(taken))
            if lane.index == len(taken):
                taken.append([])
            taken[lane.index].append((top - 4, bottom + 4))
        self._right = self._lanesAt + max(0, len(taken) - 1) * _LANE + _PAD

    @staticmethod
    def _lines(state: Enum) -> list[str]:
        return wrap(str(state.value), 34)

    def svg(self) -> str:
        """The whole drawing."""
        width, height = round(self._right), round(self._bottom)
        label = f"The states of {self._name} and the transitions between them; the table below says the same."
        parts = [
            f'<svg class="machine" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' role="img" aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg">',
            f"<style>{_STYLE}</style>",
        ]
        for lane in self._lanes.values():
            parts += self._drawLane(lane)
        for (_, event), y in self._loopsAt.items():
            parts += self._drawLoop(event, y)
        for state in self._states:
            parts += self._drawBox(state)
        return "\n".join([*parts, "</svg>"])

    def _drawLane(self, lane: _Lane) -> list[str]:
        x = self._lanesAt + lane.index * _LANE
        end = self._ports[lane.target, id(lane), True]
        paths, labels = [], []
        for source in lane.sources:
            y = self._ports[source, id(lane), False]
            turn = _RADIUS if end > y else -_RADIUS
            paths.append(
                f"M{_RIGHT},{y:g} H{x - _RADIUS:g} Q{x:g},{y:g} {x:g},{y + turn:g}"
                f" V{end - turn:g} Q{x:g},{end:g} {x - _RADIUS:g},{end:g} H{_RIGHT + 7}"
            )
            labels.append(self._label(lane.event, _RIGHT + 8, y - 5))
        arrow = f"M{_RIGHT + 1},{end:g} l9,-4.5 v9 z"
        return [
            f'<path d="{" ".join(paths)}" fill="none" stroke="{lane.colour}" stroke-width="1.6"/>',
            f'<path d="{arrow}" fill="{lane.colour}"/>',
            *labels,
        ]

    def _drawLoop(self, event: Enum, y: float) -> list[str]:
        colour = self._colours[event]
        return [
            f'<path d="M{_RIGHT},{y - 6:g} h7 a6,6 0 0 1 0,12" fill="none" stroke="{colour}" stroke-width="1.6"/>',
            f'<path d="M{_RIGHT + 1},{y + 6:g} l9,-4.5 v9 z" fill="{colour}"/>',
            self._label(event, _RIGHT + 20, y + 4),
        ]

    def _label(self, event: Enum, x: float, y: float) -> str:
        return f'<text class="event" x="{x:g}" y="{y:g}" fill="{self._colours[event]}">{escape(event.name)}</text>'

    def _drawBox(self, state: Enum) -> list[str]:
        y, height = self._boxes[state]
        box = f'<rect class="state" x="{_LEFT}" y="{y:g}" width="{_WIDTH}" height="{height:g}" rx="7"/>'
        parts = [box]
        if state in self._final:
            parts.append(
                f'<rect class="end" x="{_LEFT + 3}" y="{y + 3:g}" width="{_WIDTH - 6}" height="{height - 6:g}" rx="5"/>'
            )
        lines = self._lines(state)
        top = y + (height - 18 - 15 * len(lines)) / 2 + 12
        parts.append(f'<text class="name" x="{_LEFT + 14}" y="{top:g}">{escape(state.name)}</text>')
        parts += [
            f'<text class="what" x="{_LEFT + 14}" y="{top + 18 + 15 * number:g}">{escape(line)}</text>'
            for number, line in enumerate(lines)
        ]
        return parts


_STYLE = (
    ".machine text{font-family:system-ui,sans-serif}"
    ".machine .name{font-size:14px;font-weight:600;fill:currentColor}"
    ".machine .what{font-size:12px;fill:currentColor;opacity:.8}"
    ".machine .event{font-size:12px;font-weight:600;font-family:ui-monospace,monospace}"
    ".machine .state{fill:none;stroke:currentColor;stroke-width:1.2}"
    ".machine .end{fill:none;stroke:currentColor;stroke-width:.8}"
)
