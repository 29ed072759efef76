"""
The configuration file, in TOML: read into what it sets, with the lines on which that stands.

What a value means is not decided here: it is the same as on the command line. Python's parser says nothing of lines.
When a line is asked for, because something is wrong on it, the beginnings of the text are parsed until one has what is
looked for: so there is no second grammar, and no cost where nothing is wrong.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from twisted.python import usage

from .setting import Setting, SourcedValue
from .settings import ALL_SETTINGS, ARRAYS
from .valuetypes import asText

# In the standard library from Python 3.11 on.
_toml: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

_Path = tuple[str | int, ...]
#: Keys of a table that fit into a sentence.
_FEW = 6


@dataclass
class Table:
    """
    A table of the file.

    :ivar source: where it begins.
    :ivar values: what it sets.
    :ivar tables: the tables in it, by name.
    :ivar arrays: those that may be there several times, by name.
    """

    source: object
    values: dict[Setting, SourcedValue] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    arrays: dict[str, list[Table]] = field(default_factory=dict)

    def all(self) -> dict[Setting, SourcedValue]:
        """What is set here, and in the tables that are there once."""
        merged = dict(self.values)
        for table in self.tables.values():
            merged.update(table.all())
        return merged


def read(name: str, folder: str | None = None, source: str = "--config") -> Table:
    """
    Read a configuration file. Only names and types are checked.

    :param name: of the file, as sentences call it.
    :param folder: where a relative name begins; None: the working directory.
    :param source: the option or the variable that names it.
    :raises usage.UsageError: with one sentence, which begins with ``name:LINE:`` where a line is to blame.
    """
    path = os.path.join(folder or os.getcwd(), name)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise usage.UsageError(f"{source} {name} cannot be read: {error.strerror}") from error
    return _Document(name, _decoded(name, data), os.path.dirname(path)).table()


def _decoded(name: str, data: bytes) -> str:
    try:
        # A byte-order mark is no part of the text (RFC 3629 6); editors on Windows write one.
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise usage.UsageError(f"{name}:{line}: this is not UTF-8") from error


class _Document:
    def __init__(self, name: str, text: str, folder: str) -> None:
        self._name = name
        self._lines = text.split("\n")
        self._folder = folder
        try:
            self._content: dict[str, Any] = _toml.loads(text)
        except _toml.TOMLDecodeError as error:
            raise usage.UsageError(self._syntaxError(str(error))) from error

    def table(self) -> Table:
        return self._table("", (), self._content)

    def place(self, path: _Path) -> str:
        """``FILE:LINE: name``, the beginning of a sentence about what is at a path."""
        return f"{self._name}:{self.line(path)}: {_dotted(path)}"

    def line(self, path: _Path) -> int:
        """The line on which the statement begins that sets a path."""
        without, having = 0, len(self._lines)
        while (middle := self._between(without, having)) is not None:
            if _has(self._beginning(middle), path):
                having = middle
            else:
                without = middle
        return without + 1

    def _between(self, low: int, high: int) -> int | None:
        """A number of lines between these two that are TOML, close to the middle; None: there is none."""
        numbers = sorted(range(low + 1, high), key=lambda number: abs(2 * number - low - high))
        return next((number for number in numbers if self._beginning(number) is not None), None)

    def _beginning(self, lines: int) -> Any:
        """What the first lines say; None: a statement goes on behind them."""
        try:
            return _toml.loads("\n".join(self._lines[:lines]))
        except _toml.TOMLDecodeError:
            return None

    def _syntaxError(self, said: str) -> str:
        what, line, column = re.fullmatch(  # type: ignore[union-attr]
            r"(.*?)(?: \(at (?:line (\d+), column (\d+)|end of document)\))?", said, re.DOTALL
        ).groups()
        what = " ".join(what.split())
        if line is None:  # the last statement does not end
            line = next(n for n in range(len(self._lines), 0, -1) if self._beginning(n - 1) is not None)
        at = f" at column {column}" if column else ""
        return f"{self._name}:{line}: {what[:1].lower()}{what[1:]}{at}"

    def _table(self, name: str, path: _Path, content: dict[str, Any]) -> Table:
        table = Table(_Source(self, path))
        settings = {setting.key: setting for setting in ALL_SETTINGS if setting.table == name}
        inner = dict(_inner(name))
        for key, value in content.items():
            here = (*path, key)
            if key in settings:
                table.values[settings[key]] = self._value(settings[key], here, value)
            elif key not in inner:
                raise usage.UsageError(f"{self.place(here)} is unknown{_suggestion(name, key, settings, inner)}")
            elif inner[key] in ARRAYS:
                table.arrays[key] = list(self._array(inner[key], here, value))
            elif isinstance(value, dict):
                table.tables[key] = self._table(inner[key], here, value)
            else:
                raise usage.UsageError(f"{self.place(here)} wants a table, not {asText(value)}")
        return table

    def _array(self, name: str, path: _Path, content: Any) -> Iterator[Table]:
        if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
            raise usage.UsageError(f"{self.place(path)} wants a table for each {ARRAYS[name]}: {_written(name)}")
        for index, entry in enumerate(content):
            yield self._table(name, (*path, index), entry)

    def _value(self, setting: Setting, path: _Path, value: Any) -> SourcedValue:
        source = _Source(self, path)
        try:
            return SourcedValue(setting.accept(setting.valueType.accept(value, self._folder)), source)
        except ValueError as error:
            raise usage.UsageError(f"{source}{error}") from None


@dataclass(frozen=True)
class _Source:
    """Where something stands. Its line is looked for when it is needed in a sentence."""

    document: _Document
    path: _Path

    def __str__(self) -> str:
        return self.document.place(self.path)


def _has(content: Any, path: _Path) -> bool:
    for part in path:
        try:
            content = content[part]
        except (KeyError, IndexError):
            return False
    return True


def _dotted(path: Iterable[str | int]) -> str:
    names = [part for part in path if isinstance(part, str)]
    return ".".join(name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name) for name in names)


def _inner(table: str) -> Iterator[tuple[str, str]]:
    """The tables in a table: each by the key that it has there."""
    begin = f"{table}." if table else ""
    for name in dict.fromkeys(setting.table for setting in ALL_SETTINGS):
        if name.startswith(begin) and name != table:
            key = name[len(begin) :].partition(".")[0]
            yield key, begin + key


def _written(name: str) -> str:
    return "[{ chain = ..., key = ... }]" if "." in name else f"[[{name}]]"


def _suggestion(table: str, key: str, settings: Iterable[str], inner: Iterable[str]) -> str:
    """What may have been meant by a key: one that stands elsewhere, or one like it."""
    elsewhere: dict[str, Setting] = {}
    for setting in ALL_SETTINGS:
        for known in (setting.option, setting.key):
            if known and (setting.table, setting.key) != (table, known):
                elsewhere.setdefault(known, setting)
    here = difflib.get_close_matches(key, [*settings, *inner], 1)
    if here and key not in elsewhere:
        return f"; did you mean {table}.{here[0]}?" if table else f"; did you mean {here[0]}?"
    close = [key] if key in elsewhere else difflib.get_close_matches(key, elsewhere, 1, 0.8)
    if not close:
        names = sorted((*settings, *inner))
        return f"; {table} has {', '.join(names[:-1])} and {names[-1]}" if table and len(names) <= _FEW else ""
    meant = elsewhere[close[0]]
    if meant.table:
        return f"; did you mean {meant.table}.{meant.key}?"
    return f"; did you mean {meant.key}, which stands above all tables?"
