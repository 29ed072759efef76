"""The row of the ledger is documentation: no code compares it with anything."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ka_twisted

PACKAGE = Path(ka_twisted.__file__).parent


def judged(tree: ast.AST) -> list[int]:
    """The lines where a ``row`` is compared, matched, looked up, or asked for the beginning of its name."""
    found = []
    for node in ast.walk(tree):
        operands: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            operands = [node.subject]
        elif isinstance(node, ast.Subscript):
            operands = [node.slice]
        elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
            operands = [node.test]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asked = node.func.attr in {"startswith", "endswith", "partition", "split"}
            operands = [node.func.value] if asked else node.args if node.func.attr == "get" else []
        found += [
            operand.lineno for operand in operands if isinstance(operand, ast.Attribute) and operand.attr == "row"
        ]
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_depends_on_a_row(path: Path) -> None:
    assert not judged(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize(
    "code",
    [
        'a.row == "D1-01"', 'a.b.row != "D1-01"', 'a.row in ROWS', '"D1-01" is a.row', "ROWS[a.row]", "ROWS.get(a.row)",
        'a.row.startswith("D1")', "if a.row:\n    b()", 'match a.row:\n    case "D1-01":\n        b()',
    ],
)  # fmt: skip
def test_dependence_is_found(code: str) -> None:
    assert judged(ast.parse(code))


@pytest.mark.parametrize("code", ['{"row": a.row}', "f(row=a.row)", 'f"{a.row}"', "a.row = row", "a.clause == b"])
def test_telling_the_row_is_no_dependence(code: str) -> None:
    assert not judged(ast.parse(code))
