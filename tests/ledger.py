"""
Which rows of the HTTP connection ledger are carried by which tests.

A test names its rows in a marker, ``@pytest.mark.ledger("P-01", "K-03")``, in the id of a parameter set, or in its own
name, ``test_P_01_...``. `case` makes a parameter set for a row. ``python -m tests.ledger`` prints every row with its
tests.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
LEDGER = TESTS.parent / "docs" / "http1-connection-ledger.md"

_LINE = re.compile(r"\| ([A-Z]\d?-\d\d) \| (.*) \|")
_IN_NAME = re.compile(r"(?<![A-Za-z0-9])([A-Z]\d?)_(\d\d)(?![0-9])")
_IN_ID = re.compile(r"(?<!\w)([A-Z]\d?)-(\d\d)(?!\w)")

#: Tests by row, each by its node id.
Coverage = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Row:
    """
    One row of the ledger.

    :ivar group: ``"P"``, or ``"D1"`` for a row of a decision table.
    :ivar cells: what stands behind the id.
    """

    id: str
    cells: tuple[str, ...]

    @property
    def group(self) -> str:
        return self.id.partition("-")[0]

    @property
    def number(self) -> int:
        return int(self.id.partition("-")[2])

    @property
    def binds_server(self) -> bool:
        """Whether an HTTP/1 server has to show it."""
        last = _LAST_SERVER_ROW.get(self.group)
        if last is not None:
            return self.number <= last
        return self.group != "Z" and len(self.group) == 1 and "server" in self.cells[0].split(", ")


#: How far the server's part of each decision table goes; behind it stand the client and the proxy.
_LAST_SERVER_ROW = {"D1": 29, "D2": 99, "D3": 25, "D4": 99, "D5": 0}


def read_ledger(text: str) -> dict[str, Row]:
    """
    The rows of a ledger by id.

    :raises ValueError: when an id stands there twice.
    """
    rows: dict[str, Row] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        if match[1] in rows:
            raise ValueError(f"row {match[1]} stands in the ledger twice")
        rows[match[1]] = Row(match[1], tuple(match[2].split(" | ")))
    return rows


def case(row: str, *values: Any, note: str = "") -> Any:
    """A set of parameters that stands for a row; the note tells sets of one row apart."""
    name = f"{row} {note}" if note else row
    return pytest.param(*values, id=name, marks=pytest.mark.ledger(row))


def rows_named(text: str) -> set[str]:
    """The rows in the name of a test, or in the id of its parameters."""
    return {f"{group}-{number}" for pattern in (_IN_NAME, _IN_ID) for group, number in pattern.findall(text)}


def coverage(items: Iterable[pytest.Item]) -> Coverage:
    """The rows that these tests carry."""
    found: dict[str, set[str]] = {}
    for item in items:
        rows = rows_named(item.name)
        for marker in item.iter_markers("ledger"):
            rows.update(marker.args)
        for row in rows:
            found.setdefault(row, set()).add(item.nodeid)
    return {row: frozenset(tests) for row, tests in found.items()}


class _Collector:
    """Sees the tests before any is deselected."""

    def __init__(self) -> None:
        self.coverage: Coverage = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.coverage = coverage(items)


def collect() -> Coverage:
    """
    What the whole suite covers, without running any of it. For a process of its own: it imports every test module.

    :raises RuntimeError: when the suite cannot be collected.
    """
    collector = _Collector()
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", str(TESTS)], plugins=[collector])
    if status is not pytest.ExitCode.OK:
        raise RuntimeError(said.getvalue())
    return collector.coverage


def collect_apart() -> Coverage:
    """As `collect`, in a process of its own."""
    command = [sys.executable, "-m", "tests.ledger", "--json"]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {row: frozenset(tests) for row, tests in json.loads(done.stdout).items()}


def missing(rows: Mapping[str, Row], covered: Coverage) -> list[str]:
    """The rows that bind a server and that no test carries, in the order of the ledger."""
    return [row.id for row in rows.values() if row.binds_server and not covered.get(row.id)]


def unknown(rows: Mapping[str, Row], covered: Coverage) -> dict[str, list[str]]:
    """What tests carry and the ledger does not have."""
    return {row: sorted(tests) for row, tests in covered.items() if row not in rows}


def report(rows: Mapping[str, Row], covered: Coverage) -> str:
    """Every row that binds a server, with its tests."""
    lines: list[str] = []
    for row in rows.values():
        tests = sorted(covered.get(row.id, ()))
        if not row.binds_server and not tests:
            continue
        lines.append(f"{row.id}: {len(tests) or 'NO'} test{'' if len(tests) == 1 else 's'}")
        lines += [f"    {test}" for test in tests]
    bound = sum(row.binds_server for row in rows.values())
    lacking = missing(rows, covered)
    lines += ["", f"{bound - len(lacking)} of {bound} rows that bind a server have a test"]
    if lacking:
        lines.append(f"without: {' '.join(lacking)}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    covered = collect()
    if arguments == ["--json"]:
        print(json.dumps({row: sorted(tests) for row, tests in covered.items()}))
    else:
        print(report(read_ledger(LEDGER.read_text()), covered))


if __name__ == "__main__":
    main(sys.argv[1:])
