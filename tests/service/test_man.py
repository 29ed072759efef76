"""The manual page: made from the table of options, as it is in the distribution, and fit for man."""

from __future__ import annotations

import re
import subprocess

import pytest

from ka_twisted.service import cli
from ka_twisted.service.configuration.commandline import groups, options
from ka_twisted.service.configuration.environment import NAMES
from ka_twisted.service.configuration.man import page
from tests.programs import find
from tests.service.twistd import PATIENCE, PROJECT

PAGE = PROJECT / "ka_twisted" / "service" / "configuration" / "twistd-keepalive.1"


def call(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [str(find(program)), *arguments, str(PAGE)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANWIDTH": "80"},
    )
    return done.stdout + done.stderr


def test_the_page_in_the_distribution_is_of_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["man"]) == 0
    made = capsys.readouterr().out
    assert made == page()
    assert PAGE.read_text("utf-8") == made, (
        "python -m ka_twisted man > ka_twisted/service/configuration/twistd-keepalive.1"
    )


def test_the_distribution_installs_it() -> None:
    assert f'("share/man/man1", ["{PAGE.relative_to(PROJECT)}"])' in (PROJECT / "setup.py").read_text()


@pytest.mark.program("groff")
def test_groff_has_no_complaint() -> None:
    assert call("groff", "-man", "-ww", "-z", "-K", "utf8") == ""


@pytest.mark.program("mandoc")
def test_mandoc_complains_of_the_missing_date_alone() -> None:
    # A date would be that of no change in particular.
    said = call("mandoc", "-T", "lint").splitlines()
    assert [line for line in said if "missing date" not in line] == []


@pytest.mark.program("mandoc")
def test_every_option_is_shown_with_its_variable_and_its_key() -> None:
    shown = call("mandoc", "-T", "ascii", "-O", "width=500")
    # What is bold or underlined is typed twice.
    lines = [" ".join(re.sub(".\b", "", line).split()) for line in shown.splitlines()]
    text = "\n".join(lines)
    for heading, _ in groups():
        assert heading in lines
    for option in options():
        assert option.written in text
        assert " ".join(option.help.split()) in text
        if option.variable:
            assert ", ".join(name for name in (option.variable, option.place) if name) in lines
    assert all(name in text for name in NAMES)


def test_nothing_in_the_page_is_a_request_by_accident() -> None:
    requests = {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".RI", ".br", '.\\"'}
    for line in page().splitlines():
        assert not line.startswith("'")
        assert not line.startswith(".") or line.split()[0] in requests
