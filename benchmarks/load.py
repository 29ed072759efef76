"""The load: wrk, and what it prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

LUA = Path(__file__).resolve().parent / "lua"


@dataclass(frozen=True)
class Scenario:
    """
    What is asked of the servers.

    :ivar script: a Lua file for wrk, None for plain requests.
    """

    name: str
    title: str
    script: str | None = None


SCENARIOS = (
    Scenario("keep-alive", "keep-alive"),
    Scenario("pipelined", "pipelined x16", "pipelined.lua"),
    Scenario("fields", "browser-like fields", "browser.lua"),
)


@dataclass(frozen=True)
class Load:
    """
    What one run of wrk measured.

    :ivar rate: requests a second.
    :ivar failures: responses other than 2xx and 3xx, and socket errors.
    """

    rate: float
    failures: int


class LoadFailed(Exception):
    """wrk could not be run, or printed nothing to be understood."""


def parse(text: str) -> Load:
    """
    Read what wrk printed.

    :raises LoadFailed: when there is no rate in it, or not one response was counted.
    """
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    if rate is None:
        raise LoadFailed(f"wrk said: {text.strip()[-300:] or 'nothing'}")
    if float(rate[1]) == 0:
        raise LoadFailed("not one response")
    failures = 0
    if refused := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        failures += int(refused[1])
    if errors := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
        failures += sum(map(int, errors.groups()))
    return Load(float(rate[1]), failures)


def require() -> None:
    """
    See that wrk is there.

    :raises LoadFailed: when it is not.
    """
    if shutil.which("wrk") is None:
        raise LoadFailed("wrk is missing: apt-get install wrk")


def run(port: int, scenario: Scenario, *, connections: int, seconds: int, cpu: int | None = None) -> Load:
    """
    Put a server under load with one thread of wrk, on one processor.

    :raises LoadFailed: when wrk fails.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    if scenario.script is not None:
        command[1:1] = ["-s", str(LUA / scenario.script)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds + 30,
            preexec_fn=(lambda: os.sched_setaffinity(0, {cpu})) if cpu is not None else None,
        )
    except subprocess.TimeoutExpired:
        raise LoadFailed("wrk did not end") from None
    return parse(done.stdout + done.stderr)
