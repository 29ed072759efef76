"""The benchmarks: what wrk prints is read right, ratios are taken within rounds, nothing is passed over silently."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import load, report
from benchmarks.__main__ import main, present
from benchmarks.load import SCENARIOS, Load, LoadFailed
from benchmarks.peers import OURS, PEERS, Peer, PeerFailed, check_answer, free_port, running, select

_WRK = """Running 2s test @ http://127.0.0.1:8110/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.58ms  261.70us   5.67ms   93.05%
    Req/Sec    40.72k     2.66k   45.06k    90.00%
  121391 requests in 3.00s, 13.20MB read
Requests/sec:  40442.52
Transfer/sec:      4.40MB
"""


def test_the_rate_is_read() -> None:
    assert load.parse(_WRK) == Load(40442.52, 0)


def test_failures_are_counted() -> None:
    text = _WRK + "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 100\n"
    assert load.parse(text).failures == 110


def test_output_without_a_rate_is_an_error() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:8099 Connection refused")


def test_a_ratio_is_taken_within_each_round() -> None:
    figures = report.Figures()
    for number, (ours, theirs) in enumerate(((100.0, 50.0), (10.0, 2.0), (40.0, 10.0))):
        figures.add(number, SCENARIOS[0], OURS, Load(ours, 0))
        figures.add(number, SCENARIOS[0], "nginx", Load(theirs, 0))
    assert figures.ratio("keep-alive", "nginx") == 4.0


def test_a_round_that_one_of_them_failed_is_not_in_the_ratio() -> None:
    figures = report.Figures()
    for number, rate in ((1, 100.0), (2, 10.0), (3, 1000.0)):
        figures.add(number, SCENARIOS[0], OURS, Load(rate, 0))
    figures.fail(1, SCENARIOS[0], "nginx", "no answer")
    figures.add(2, SCENARIOS[0], "nginx", Load(5.0, 0))
    figures.fail(3, SCENARIOS[0], "nginx", "no answer")
    assert figures.ratio("keep-alive", "nginx") == 2.0


def test_a_peer_that_never_ran_has_no_ratio() -> None:
    figures = report.Figures()
    figures.add(1, SCENARIOS[0], "nginx", Load(1.0, 0))
    assert figures.ratio("keep-alive", "nginx") is None
    assert report.rows(figures)[0][4] == "-"


def test_the_table_has_the_fastest_first_and_shows_failures() -> None:
    figures = report.Figures()
    figures.add(1, SCENARIOS[0], OURS, Load(1000.0, 0))
    figures.add(1, SCENARIOS[0], "nginx", Load(2000.0, 7))
    table = report.rows(figures)
    assert [row[1] for row in table] == ["nginx", OURS]
    assert table[0][5] == "7"
    assert "| nginx | 2,000 |" in report.markdown(report.HEADINGS, table)
    assert report.text(report.HEADINGS, table).splitlines()[2].startswith("keep-alive")
    assert json.loads(report.as_json(figures, {}))["scenarios"]["keep-alive"]["nginx"]["failures"] == {"1": 7}


def test_a_peer_that_failed_is_in_the_table_with_the_reason() -> None:
    figures = report.Figures()
    figures.add(1, SCENARIOS[0], OURS, Load(1000.0, 0))
    figures.fail(1, SCENARIOS[0], "nginx", "wrk said:\nunable | to connect")
    assert report.rows(figures)[1] == (
        "keep-alive", "nginx", "-", "-", "-", "1 of 1 runs failed: wrk said: unable / to connect"
    )
    assert report.idle_rows({}, {"nginx": "does not listen"})[0][-1] == "does not listen"


def test_a_missing_peer_is_skipped_with_the_way_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    missing = Peer("none", lambda port, folder: [], ("no_such_module",), (), "pip install nothing")
    assert present([missing]) == []
    assert capsys.readouterr().err == "skipping none: no_such_module is missing (pip install nothing)\n"


def test_every_peer_says_how_it_is_installed_and_scripts_exist() -> None:
    assert all(peer.install for peer in PEERS)
    assert all((load.LUA / scenario.script).exists() for scenario in SCENARIOS if scenario.script)


def test_ours_is_always_among_the_selected() -> None:
    assert [peer.name for peer in select("nginx")] == [OURS, "nginx"]
    assert all([peer.name for peer in select(peer.name)][-1] == peer.name for peer in PEERS)
    assert select(None) == PEERS


def test_an_unknown_peer_is_one_clear_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http1", "--peers", "ngnix"]) == 1
    assert capsys.readouterr().err.startswith("python -m benchmarks: no such peer: ngnix; there are ours, ")


def test_our_server_runs_answers_and_is_gone_afterwards() -> None:
    (ours,) = select(OURS)
    with running(ours) as (port, pid):
        check_answer(port)
        assert Path(f"/proc/{pid}").exists()
    with pytest.raises(PeerFailed, match="no answer"):
        check_answer(port)


def test_a_server_that_ends_at_once_is_told(tmp_path: Path) -> None:
    broken = Peer("broken", lambda port, folder: ["false"])
    with pytest.raises(PeerFailed, match="ended at once"), running(broken):
        pytest.fail("it does not run")
    assert free_port() > 0
