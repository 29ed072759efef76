"""Peers are found by their names, missing ones are skipped with a sentence, and servers are gone when they should."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.crowd import Crowd
from benchmarks.experiments import EXPERIMENTS
from benchmarks.peers import CEILINGS, OURS, PEERS, Peer, chosen, names, nginx, on_twisted, present
from benchmarks.processes import PeerFailed, Server, check_answer, free_port, processors, running
from benchmarks.session import Settings

OUR_PEER = PEERS[0]


def test_every_peer_can_be_chosen_by_its_name_and_ours_is_always_there() -> None:
    for peer in (*PEERS, *CEILINGS):
        assert chosen((*PEERS, *CEILINGS), names(peer.name)) == list(dict.fromkeys((OUR_PEER, peer)))
    assert chosen(PEERS, None) == list(PEERS)
    assert [peer.name for peer in chosen(PEERS, names(" NGINX,uvicorn"))] == [OURS, "uvicorn", "nginx"]


def test_an_unknown_name_is_one_clear_sentence() -> None:
    with pytest.raises(ValueError, match=f"no such peer: ngnix; there are {OURS}, "):
        names("ngnix")


def test_a_missing_peer_is_skipped_with_the_way_to_install_it() -> None:
    said: list[str] = []
    missing = Peer("none", lambda port, folder: [], ("no_such_module",), ("no-such-program",), "pip install nothing")
    assert present([missing], said.append) == []
    assert said == ["skipping none: no_such_module, no-such-program is missing (pip install nothing)"]


def test_a_server_on_a_reactor_that_twisted_does_not_know_is_skipped() -> None:
    assert on_twisted("none", "ours:hello", reactor="no-such").missing == ["Twisted's reactor 'no-such'"]
    assert on_twisted("usual", "ours:hello").missing == []


def test_every_peer_says_how_it_is_installed() -> None:
    assert all(peer.install for peer in (*PEERS, *CEILINGS))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_measures_ours_and_shows_all_that_it_measures(name: str) -> None:
    experiment = EXPERIMENTS[name](Settings(peers=names(OURS)), lambda sentence: None)
    assert {task.server for task in experiment.tasks} == {OURS}
    shown = [case for chart in experiment.charts for case in chart.cases]
    assert len({case.name for case in shown}) == len(shown)
    assert {case for task in experiment.tasks for case in task.cases} <= set(shown)
    assert "{" not in experiment.about


def test_our_server_runs_answers_and_is_gone_afterwards() -> None:
    with running(OUR_PEER) as server:
        check_answer(server.port)
        assert server.memory() > 1_000_000
    assert not Path(f"/proc/{server.pid}").exists()
    with pytest.raises(PeerFailed, match="no answer"):
        check_answer(server.port)
    with pytest.raises(PeerFailed, match="has ended"):
        server.processor_time()


def test_a_server_runs_on_its_processor_and_this_process_on_all() -> None:
    before = os.sched_getaffinity(0)
    with running(OUR_PEER) as server:
        expected = before if processors()[0] is None else {processors()[0]}
        assert os.sched_getaffinity(server.pid) == expected
        assert os.sched_getaffinity(0) == before


def test_idle_connections_that_the_server_closes_are_told() -> None:
    with ExitStack() as over:
        with running(OUR_PEER) as server:
            crowd = over.enter_context(Crowd(server.port))
            crowd.grow(20)
            crowd.check()
        with pytest.raises(PeerFailed, match="closed 20 of 20 idle connections"):
            crowd.check()
        with pytest.raises(PeerFailed, match=r"refused .with 20 connections open"):
            crowd.grow(21)


def test_workers_that_a_server_made_are_gone_with_it(gone: Callable[[list[int]], None]) -> None:
    started = []

    def command(port: int, folder: Path) -> list[str]:
        line = OUR_PEER.command(port, folder)
        program = f"import signal, subprocess; signal.signal(15, signal.SIG_DFL); subprocess.run({line!r})"
        return [sys.executable, "-c", program]

    with running(Peer("parent", command)) as server:
        started += server.processes()
        assert len(started) == 2
        assert server.memory() > Server(server.port, started[1]).memory(), "all of them count"
    gone(started)


def test_a_server_that_ends_at_once_is_told_with_what_it_said() -> None:
    broken = Peer("broken", lambda port, folder: [sys.executable, "-c", "raise ValueError('no such option')"])
    with pytest.raises(PeerFailed, match="ended at once: ValueError: no such option"), running(broken):
        pytest.fail("it does not run")


def test_a_server_that_answers_something_else_is_not_measured() -> None:
    other = Peer("other", lambda port, folder: [sys.executable, "-m", "http.server", str(port), "-d", str(folder)])
    with pytest.raises(PeerFailed, match="answers text/html"), running(other):
        pytest.fail("it does not answer as it should")


def test_the_configuration_of_nginx_names_its_port_and_its_folder(tmp_path: Path) -> None:
    port = free_port()
    nginx("location /file/ { alias FOLDER/; }")(port, tmp_path)
    written = (tmp_path / "nginx.conf").read_text()
    assert f"listen 127.0.0.1:{port} " in written
    assert f"alias {tmp_path}/;" in written
