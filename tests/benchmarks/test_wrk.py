"""What wrk prints is read right."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import wrk
from benchmarks.processes import LoadFailed
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
    assert wrk.parse(_PRINTED) == Load(40442.52, 0)


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


def test_the_scripts_exist() -> None:
    assert all((wrk.LUA / scenario.script).exists() for scenario in SCENARIOS if scenario.script)


def test_without_wrk_there_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LoadFailed, match="wrk is missing: apt-get install wrk"):
        wrk.require()
