"""
Draws the house and the way of a request as SVG. Standard library only.

The floors of the house are computed from who may import whom: a room stands one floor above the highest of those that
it imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

#: Names of rooms, and of those that each may import.
Arrows = Mapping[str, frozenset[str]]

_WIDTH, _GAP, _PAD = 780, 10, 8
_LINE = 14
_COLOURS = ("#2f7fc9", "#2c9163", "#c2570c", "#9a4fd0", "#0f8a9d")


def read_arrows(text: str) -> dict[str, frozenset[str]]:
    """
    The table ``MAY_IMPORT`` of ``tests/test_layers.py``, from its source.

    :raises LookupError: when it is not there.
    """
    for node in ast.parse(text).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "MAY_IMPORT":
            assert isinstance(node.value, ast.Dict)
            return {
                ast.literal_eval(key): frozenset(_names(value))
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if key is not None
            }
    raise LookupError("there is no table MAY_IMPORT")


def _names(node: ast.expr) -> set[str]:
    empty = isinstance(node, ast.Call)  # set()
    return set() if empty else {name for name in ast.literal_eval(node) if name}


def floors(arrows: Arrows) -> list[list[str]]:
    """The rooms of each floor, the lowest floor first."""
    level: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in level:
            level[name] = 1 + max(map(of, arrows.get(name, ())), default=-1)
        return level[name]

    found: list[list[str]] = []
    for name in arrows:
        while len(found) <= of(name):
            found.append([])
        found[of(name)].append(name)
    return found


def read_rooms(lines: Iterable[str]) -> dict[str, str]:
    """What is in each room, from lines such as ``core: what every version shares``."""
    pairs = (line.partition(":") for line in lines if line.strip())
    return {name.strip(): text.strip() for name, _, text in pairs}


def draw_house(arrows: Arrows, rooms: Mapping[str, str], built: frozenset[str]) -> str:
    """
    The floors, the highest on top.

    :param built: the rooms that exist; the others have a dashed wall.
    """
    parts: list[str] = []
    y = float(_PAD)
    for floor in reversed(floors(arrows)):
        width = (_WIDTH - 2 * _PAD - _GAP * (len(floor) - 1)) / len(floor)
        texts = {name: wrap(rooms.get(name, ""), max(int((width - 22) / 6.2), 12)) for name in floor}
        height = 34 + _LINE * max(len(lines) for lines in texts.values())
        for number, name in enumerate(floor):
            parts += _room(name, texts[name], _PAD + number * (width + _GAP), y, width, height, name in built)
        y += height + _GAP
    label = "The folders of the package by floors; each may import from floors below it. The table below says which."
    return _svg(_WIDTH, round(y - _GAP + _PAD), label, parts)


def _room(name: str, lines: Sequence[str], x: float, y: float, width: float, height: float, built: bool) -> list[str]:
    kind = "state" if built else "state planned"
    parts = [f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>']
    parts.append(f'<text class="name" x="{x + 11:g}" y="{y + 20:g}">{escape(name)}</text>')
    parts += [
        f'<text class="what" x="{x + 11:g}" y="{y + 36 + _LINE * number:g}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    return parts


@dataclass(frozen=True)
class Step:
    """
    One step of a way.

    :ivar target: the same as the source: it is something that the source does.
    """

    source: str
    target: str
    text: str


def read_steps(lines: Iterable[str]) -> tuple[list[str], list[Step]]:
    """
    The columns, from a first line ``columns: a, b, c``; and steps, from lines such as ``a -> b: bytes``, ``a: waits``.

    :raises ValueError: for a step of a column that there is not.
    """
    first, *others = (line for line in lines if line.strip())
    columns = [name.strip() for name in first.removeprefix("columns:").split(",")]
    steps = []
    for line in others:
        who, _, text = line.partition(":")
        source, _, target = (name.strip() for name in who.partition("->"))
        step = Step(source, target or source, text.strip())
        if not {step.source, step.target} <= set(columns):
            raise ValueError(f"no such column: {line!r}")
        steps.append(step)
    return columns, steps


def draw_way(columns: Sequence[str], steps: Sequence[Step]) -> str:
    """Columns of those that take part, and the steps between them from top to bottom."""
    each = (_WIDTH - 2 * _PAD) / len(columns)
    middle = {name: _PAD + each * (number + 0.5) for number, name in enumerate(columns)}
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(columns)}
    parts: list[str] = []
    y = 56.0
    for step in steps:
        start, end = middle[step.source], middle[step.target]
        span = abs(end - start) or each
        lines = wrap(step.text, max(int((span - 16) / 5.8), 12))
        y += _LINE * len(lines) + 10
        parts += _step(step, lines, start, end, y, colours[step.source])
    bottom = y + 16
    walls = [
        f'<line class="life" x1="{x:g}" y1="40" x2="{x:g}" y2="{bottom:g}"/>' for x in middle.values()
    ]  # fmt: skip
    heads = []
    for name, x in middle.items():
        heads.append(f'<rect class="head" x="{x - each / 2 + 5:g}" y="8" width="{each - 10:g}" height="30" rx="7"/>')
        heads.append(f'<text class="name" text-anchor="middle" x="{x:g}" y="28">{escape(name)}</text>')
    return _svg(_WIDTH, round(bottom + _PAD), "The steps of a request from top to bottom.", [*walls, *heads, *parts])


def _step(step: Step, lines: Sequence[str], start: float, end: float, y: float, colour: str) -> list[str]:
    centre = (start + end) / 2
    first = y - 6 - _LINE * (len(lines) - 1)
    parts = [
        f'<text class="what" text-anchor="middle" x="{centre:g}" y="{first + _LINE * number:g}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    if start == end:
        return [*parts, f'<circle cx="{start:g}" cy="{y:g}" r="3.5" fill="{colour}"/>']
    way = 1 if end > start else -1
    parts.append(f'<path d="M{start:g},{y:g} H{end - 9 * way:g}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    parts.append(f'<path d="M{end:g},{y:g} l{-9 * way},-4.5 v9 z" fill="{colour}"/>')
    return parts


def _svg(width: int, height: int, label: str, parts: Iterable[str]) -> str:
    return "\n".join(
        [
            f'<svg class="machine" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' role="img" aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg">',
            f"<style>{_STYLE}</style>",
            *parts,
            "</svg>",
        ]
    )


_STYLE = (
    ".machine text{font-family:system-ui,sans-serif}"
    ".machine .name{font-size:13px;font-weight:600;fill:currentColor}"
    ".machine .what{font-size:11.5px;fill:currentColor;opacity:.85}"
    ".machine .state,.machine .head{fill:none;stroke:currentColor;stroke-width:1.2}"
    ".machine .planned{stroke-dasharray:5 4;opacity:.7}"
    ".machine .life{stroke:currentColor;stroke-width:1;opacity:.25}"
)
