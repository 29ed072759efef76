"""The configuration for HAProxy: HAProxy takes it, and it fits the servers behind it."""

from __future__ import annotations

import re
import subprocess

import pytest

from ka_twisted.service.configuration.profiles import PROFILES
from tests.deploy.fleet import CONFIGURATION, HAPROXY
from tests.service.twistd import environment

TEXT = CONFIGURATION.read_text("utf-8")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

needsHaproxy = pytest.mark.program("haproxy")


def seconds(pattern: str) -> float:
    """The one time that follows a pattern, comments aside."""
    lines = [line.partition("#")[0] for line in TEXT.splitlines()]
    [(number, unit)] = re.findall(rf"\b{pattern}\s+(\d+)(ms|s|m|h)\b", "\n".join(lines))
    return int(number) * _UNITS[unit]


def check(text: str) -> tuple[int, str]:
    """Have HAProxy read a configuration: its status, and all that it says."""
    done = subprocess.run(
        [str(HAPROXY), "-c", "-f", "/dev/stdin"],
        input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        env=environment(),
    )  # fmt: skip
    return done.returncode, done.stdout


@needsHaproxy
def test_haproxy_takes_it_without_a_warning() -> None:
    status, said = check(TEXT)
    assert status == 0, said
    assert "WARNING" not in said
    assert "ALERT" not in said


@needsHaproxy
def test_haproxy_is_heard_where_it_is_wrong() -> None:
    status, said = check(TEXT.replace("http-reuse safe", "http-reuse sometimes"))
    assert status == 1
    assert "http-reuse" in said


def test_the_servers_outlast_its_timers() -> None:
    timers = {timer.option: timer for timer in PROFILES["haproxy"]}
    client = seconds("timeout client")
    assert {timer.theirs for timer in timers.values()} == {client}
    assert seconds("timeout http-keep-alive") <= client
    assert seconds("pool-purge-delay") < timers["idle-timeout"].seconds


def test_a_server_stays_until_it_is_found_out_of_service() -> None:
    """The drain delay that the text asks for is longer than two checks take."""
    assert "fall 2" in TEXT
    [asked] = re.findall(r"--drain-delay (\d+)$", TEXT, re.MULTILINE)
    assert seconds("inter") + seconds("fastinter") < int(asked)
