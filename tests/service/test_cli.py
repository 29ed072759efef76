"""``python -m ka_twisted``: the way to its tools."""

from __future__ import annotations

import argparse
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

from ka_twisted.service import cli
from tests.service.twistd import environment

#: The `run` of a tool.
Tool = Callable[[argparse.Namespace], int]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tool], None]:
    """Makes a function the only tool, as ``count WORD...``."""

    def installed(run: Tool) -> None:
        tool = types.ModuleType("counting", "Count words.")
        vars(tool).update(run=run, add_arguments=lambda parser: parser.add_argument("words", nargs="*"))
        monkeypatch.setitem(sys.modules, "counting", tool)
        monkeypatch.setattr(cli, "SUBCOMMANDS", (("count", "counting", "count words"),))

    return installed


def test_a_subcommand_gets_its_arguments_and_gives_the_status(install: Callable[[Tool], None]) -> None:
    install(lambda namespace: len(namespace.words))
    assert cli.main(["count", "one", "two"]) == 2


def test_without_a_subcommand_the_usage_is_shown(
    install: Callable[[Tool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    install(lambda namespace: 0)
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "required: COMMAND" in capsys.readouterr().err


def test_an_interrupt_is_the_shells_status_for_it(install: Callable[[Tool], None]) -> None:
    def run(namespace: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    install(run)
    assert cli.main(["count"]) == 130


def test_explain_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ka_twisted", "explain", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "usage: python -m ka_twisted explain" in done.stdout


def test_a_reader_that_leaves_is_no_error() -> None:
    # What is shown is read by a program that ends at once.
    process = subprocess.Popen(
        [sys.executable, "-m", "ka_twisted", "explain", "-"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, said = process.communicate(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
    assert said == b""
    assert process.returncode == 1
