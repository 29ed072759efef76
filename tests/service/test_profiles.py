"""Timers that fit a balancer, and what is said about those that do not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel

from ka_twisted.config import Timeouts
from ka_twisted.service.configuration.options import Options
from ka_twisted.service.configuration.profiles import PROFILES
from ka_twisted.service.configuration.settings import SETTINGS
from tests.logs import logged

DOCS = Path(__file__).parent.parent.parent / "docs"
BY_OPTION = {setting.option: setting for setting in SETTINGS}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def parse(*arguments: str) -> Options:
    options = Options(MemoryReactorClock())
    options.parseOptions(list(arguments))
    return options


def warnings(*arguments: str) -> list[str]:
    """What is logged while these options are read."""
    with logged() as log:
        parse(*arguments)
        return log.messages(LogLevel.warn)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_outlasts_its_balancer_everywhere(name: str) -> None:
    timers = {timer.option: timer for timer in PROFILES[name]}
    assert set(timers) == {"idle-timeout", "body-timeout", "write-timeout"}
    for timer in timers.values():
        assert timer.seconds > timer.theirs, timer
    timeouts = parse("--behind", name).configuration.timeouts
    assert timeouts.idle > timers["idle-timeout"].theirs
    assert timeouts.first > timers["idle-timeout"].theirs, "some open connections ahead of requests"


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_sets_its_timers_and_no_others(name: str) -> None:
    values = {BY_OPTION[timer.option].field: timer.seconds for timer in PROFILES[name]}
    assert parse("--behind", name).configuration.timeouts == Timeouts(**values)
    assert parse("--behind", name).configuration.limits == parse().configuration.limits
    assert warnings("--behind", name) == []


def test_what_is_given_wins_over_the_profile() -> None:
    given = parse("--behind", "envoy", "--idle-timeout", "4000", "--header-timeout", "3").configuration.timeouts
    assert given == Timeouts(idle=4000, header=3, body=330, write=330)


def test_the_file_wins_over_the_profile_of_the_command_line(folder: Path) -> None:
    (folder / "k.toml").write_text("[timeouts]\nbody = 1000\n")
    given = parse("--behind", "envoy", "--config", "k.toml").configuration.timeouts
    assert given == Timeouts(idle=3900, body=1000, write=330)


@pytest.mark.parametrize("value", ["61", "0", "75"])
def test_what_outlasts_the_balancer_is_not_warned_of(value: str) -> None:
    assert warnings("--behind", "nginx", "--idle-timeout", value) == []


def test_without_a_balancer_nothing_is_warned_of() -> None:
    assert warnings("--idle-timeout", "1", "--body-timeout", "1") == []


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("short", [0.5, 1])
def test_what_the_balancer_outlasts_is_warned_of_with_both_numbers(name: str, short: float) -> None:
    for timer in PROFILES[name]:
        value = timer.theirs * short
        assert warnings("--behind", name, f"--{timer.option}", str(value)) == [
            f"--{timer.option} {value:g} is not longer than the {timer.theirs:g} s after which {timer.why}"
        ]


def test_a_warning_about_the_file_names_the_line(folder: Path) -> None:
    (folder / "k.toml").write_text("behind = 'alb'\n\n[timeouts]\nidle = 30\n")
    assert warnings("--config", "k.toml") == [
        "k.toml:4: timeouts.idle 30 is not longer than the 60 s after which the load balancer closes an idle connection"
        " (idle_timeout.timeout_seconds)"
    ]
    assert warnings("--config", "k.toml", "--idle-timeout", "65") == []


def test_a_check_shows_warnings_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--behind", "nginx", "--idle-timeout", "2.5", "--check")
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[0], err) == (
        "configuration is valid",
        "keepalive: warning: --idle-timeout 2.5 is not longer than the 60 s after which nginx closes an idle connection"
        " to a server (keepalive_timeout upstream)\n",
    )


def test_the_documentation_has_the_numbers() -> None:
    page = (DOCS / "configuration.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `--(\S+)` \| (\S+) s \| (\S+) s \|", page, re.MULTILINE)
    assert rows == [
        (name, timer.option, f"{timer.seconds:g}", f"{timer.theirs:g}")
        for name, timers in PROFILES.items()
        for timer in timers
    ]
