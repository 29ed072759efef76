"""What README.md promises is there."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import ka_twisted

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def readmeCommands() -> ModuleType:
    """The module ``.ci/readme_commands.py``."""
    specification = importlib.util.spec_from_file_location("readme_commands", PROJECT / ".ci" / "readme_commands.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_two_commands_are_the_ones_that_are_run(readmeCommands: ModuleType) -> None:
    assert readmeCommands.commands(README) == {
        "serve": "python -m pip install . && twistd -n keepalive",
        "test": "python -m pip install '.[test]' && python -m pytest",
    }


def test_the_commands_are_run_as_they_are_expected_here(readmeCommands: ModuleType) -> None:
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    for name, command in readmeCommands.commands(README).items():
        assert f'{name}_expected="{command}"\n' in script


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("<!-- command: test -->", ""),
        lambda text: text.replace("command: serve", "command: start"),
        lambda text: text + "\n```sh\nmake\n```\n",
        lambda text: text.replace("twistd -n keepalive\n", "twistd -n keepalive\ncurl -i x\n", 1),
    ],
    ids=["mark missing", "mark unknown", "third block", "two lines"],
)
def test_a_readme_with_other_commands_is_an_error(readmeCommands: ModuleType, change: object) -> None:
    assert callable(change)
    with pytest.raises(ValueError, match="must"):
        readmeCommands.commands(change(README))


@pytest.mark.parametrize("source", BLOCKS, ids=range(len(BLOCKS)))
def test_the_python_of_the_readme_is_python(source: str) -> None:
    compile(source, "README.md", "exec")


@pytest.mark.parametrize("source", BLOCKS, ids=range(len(BLOCKS)))
def test_the_readme_imports_what_there_is(source: str) -> None:
    names = [
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module == "ka_twisted"
        for alias in node.names
    ]
    assert names
    assert set(names) <= set(ka_twisted.__all__)
