"""What wrk prints is read right."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks import wrk
from benchmarks.peers import PEERS
from benchmarks.processes import LoadFailed, running
from benchmarks.wrk import SCENARIOS, Load

_PRINTED = """Running 2s test @ http://127.0.0.1:8110/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.58ms  261.70us   5.67ms   93.05%
    Req/Sec    40.72k     2.66k   45.06k    90.00%
  121391 requests in 3.00s, 13.20MB read
Requests/sec:  40442.52
Transfer/sec:      4.40MB
"""


def test_the_rate_is_read() -> None:
    assert wrk.parse(_PRINTED) == Load(40442.52, 0, 121391)


def test_failures_are_counted() -> None:
    text = _PRINTED + "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 100\n"
    assert wrk.parse(text).failures == 110


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("unable to connect to 127.0.0.1:8099 Connection refused", "unable to connect"),
        ("", "wrk said: nothing"),
        (_PRINTED.replace("40442.52", "0.00"), "not one response"),
    ],
)
def test_output_without_a_rate_is_an_error(text: str, why: str) -> None:
    with pytest.raises(LoadFailed, match=why):
        wrk.parse(text)


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of wrk, which answers slowly and badly; the file to which it writes its arguments."""
    program, said = tmp_path / "wrk", tmp_path / "said"
    program.write_text(f"#!/bin/sh\necho $* >>{said}\necho Requests/sec: 5.5\necho Non-2xx or 3xx responses: 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return said


def test_failures_while_a_server_warms_up_count_too(pretended: Path) -> None:
    with running(PEERS[0]) as server:
        sample = wrk.saturate(server, wrk.PIPELINED, connections=3, seconds=2)
    assert (sample.value, sample.failures) == (5.5, 4)
    assert sample.busy is not None
    assert sample.busy >= 0
    script = wrk.LUA / "pipelined.lua"
    expected = [f"-s {script} -t1 -c3 -d{seconds}s http://127.0.0.1:{server.port}/" for seconds in (1, 2)]
    assert pretended.read_text().splitlines() == expected


def test_the_scripts_exist() -> None:
    assert all((wrk.LUA / scenario.script).exists() for scenario in SCENARIOS if scenario.script)


def test_without_wrk_there_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LoadFailed, match="wrk is missing: apt-get install wrk"):
        wrk.require()
