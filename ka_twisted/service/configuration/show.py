"""
What holds, as text for the operator: the timers and limits as a table, and every value with where it came from.

Where a value came from is a line of the file, a variable, an option, a profile (``--behind``), or the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...config import TcpKeepAlive, Timeouts
from .builder import ConfigurationBuilder
from .example import literal
from .files import Table
from .profiles import PROFILES
from .setting import FieldSetting, SourcedValue
from .settings import ALL_SETTINGS, ARRAYS, BEHIND, LIMITS, TIMERS
from .values import Configuration

_DEFAULT = "default"
_UNSET = "not set"
#: Columns of a value; what comes behind a longer one moves.
_WIDTH = 44


def timersAndLimits(configuration: Configuration) -> str:
    """Every timer and every limit in force, each on a line with its unit and what it does."""
    rows = [
        (each.place, _number(_inForce(configuration, each)), each.help.partition(";")[0].rstrip("."))
        for each in (*TIMERS, *LIMITS)
    ]
    return "\n".join(_aligned(rows))


def _inForce(configuration: Configuration, setting: FieldSetting) -> float:
    if setting.field == "firstRequest":
        return configuration.timeouts.first
    owner = configuration.timeouts if setting.owner is Timeouts else configuration.limits
    value: float = getattr(owner, setting.field)
    return value


def sources(builder: ConfigurationBuilder) -> str:
    """Every setting as the file would have it: its name, its value, and where that came from."""
    return "\n".join(_aligned(list(_rows(builder))))


def _rows(builder: ConfigurationBuilder) -> Iterator[tuple[str, str, str]]:
    profile = builder.values.get(BEHIND)
    timers = {timer.option: timer.seconds for timer in PROFILES[profile.value]} if profile else {}
    several = [table for table in ARRAYS if "." not in table]
    for setting in ALL_SETTINGS:
        value = builder.values.get(setting)
        if value is not None:
            yield _row(setting.place, value)
        elif setting.option in timers and profile is not None:
            yield setting.place, literal(timers[setting.option]), f"{BEHIND.key} {profile.value}, {profile.origin}"
        elif setting.table.partition(".")[0] not in several:
            yield setting.place, _UNSET if setting.default is None else literal(setting.default), _DEFAULT
    for name, tables in (("listen", builder.listeners), ("site", builder.sites)):
        for number, table in enumerate(tables, 1):
            yield from _tableRows(f"{name}[{number}]", table)


def _tableRows(name: str, table: Table) -> Iterator[tuple[str, str, str]]:
    for setting, value in table.values.items():
        yield _row(f"{name}.{setting.key}", value)
    for key, inner in table.tables.items():
        yield from _tableRows(f"{name}.{key}", inner)
    for key, array in table.arrays.items():
        for number, inner in enumerate(array, 1):
            yield from _tableRows(f"{name}.{key}[{number}]", inner)


def _row(name: str, value: SourcedValue) -> tuple[str, str, str]:
    return name, _written(value.value), value.origin


def _written(value: Any) -> str:
    """A value as the file would have it."""
    if isinstance(value, TcpKeepAlive):
        return literal(f"{value.idle}:{value.interval}:{value.count}")
    if isinstance(value, (tuple, list)):
        return literal([str(each) for each in value])
    return literal(value if isinstance(value, (bool, int, float, str)) else str(value))


def _number(value: float) -> str:
    return f"{value:.12g}" if value else "off"


def _aligned(rows: Sequence[tuple[str, str, str]]) -> Iterable[str]:
    name = max((len(row[0]) for row in rows), default=0)
    width = min(max((len(row[1]) for row in rows), default=0), _WIDTH)
    return [f"{row[0]:{name}}  {row[1]:{width}}  {row[2]}" for row in rows]
