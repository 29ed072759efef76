"""The command measures, writes what was asked for, and leaves nothing running."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import plots
from benchmarks.__main__ import arguments, main, settings_of
from benchmarks.figures import Case, Sample
from benchmarks.peers import HERE, OURS
from benchmarks.processes import Server
from benchmarks.session import Chart, Experiment, Kind, Settings


def test_a_short_run_writes_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--quick", "--rates", "100", "--idle", "20", "--connections", "2", "--peers", OURS]
    assert main(["latency", "memory", *options, "--output", str(tmp_path / "new")]) == 0
    said = capsys.readouterr()
    assert "Latency at a fixed load: 100 requests per second, in ms" in said.out
    assert "[1/2] latency, round 1 of 1, 100 requests/s, ka_twisted: p50 " in said.err
    content = json.loads((tmp_path / "new" / "results.json").read_text())
    sample = content["experiments"]["latency"]["100/s p50"]["servers"][OURS]["rounds"]["1"]
    assert 0 < sample["value"] < 1000
    assert sample["sustained"] > 0.5
    assert content["experiments"]["memory"]["idle"]["servers"][OURS]["median"] > 0
    assert content["environment"]["kernel"]
    page = (tmp_path / "new" / "results.md").read_text()
    assert page.startswith("```console\n$ python -m benchmarks latency memory --quick")
    assert "\n## Memory per idle connection\n" in page


def test_a_server_that_fails_is_in_the_tables_and_in_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.processes.EXPECTED", b"something else")
    assert main(["memory", "--quick", "--peers", OURS, "--markdown", str(tmp_path / "page.md")]) == 1
    assert "answers text/plain with b'hello world" in capsys.readouterr().out
    assert "answers text/plain" in (tmp_path / "page.md").read_text()


def test_a_termination_stops_the_server_that_runs(gone: Callable[[list[int]], None]) -> None:
    line = [sys.executable, "-m", "benchmarks", "latency", "--peers", OURS, "--rates", "100", "--seconds", "60"]
    command = subprocess.Popen(line, cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    found: list[int] = []
    try:
        deadline = time.monotonic() + 20
        while len(found) < 2 and time.monotonic() < deadline:
            found = Server(0, command.pid).processes()[1:]
        assert len(found) == 2, "a server and a load"
        command.send_signal(signal.SIGTERM)
        assert command.wait(10) == 128 + signal.SIGTERM
    finally:
        command.kill()
        command.communicate()
    gone(found)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["http2"], "there is no 'http2', but http1, "),
        (["--peers", "ngnix"], "no such peer: ngnix; there are ka_twisted, "),
        (["--rounds", "0"], "invalid natural value: '0'"),
        (["--rates", "0,100"], "invalid rates value: '0,100'"),
        (["--crowds", "100"], "invalid crowds value: '100'"),
    ],
)
def test_a_wrong_argument_is_one_clear_sentence(
    line: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(line)
    assert sentence in capsys.readouterr().err


def test_what_was_asked_for_goes_over_what_is_quick() -> None:
    assert settings_of(arguments().parse_args([])) == Settings()
    quick = settings_of(arguments().parse_args(["--quick", "--seconds", "2", "--crowds", "10,5"]))
    assert (quick.rounds, quick.seconds, quick.crowds) == (1, 2, (5, 10))


# -- plots -------------------------------------------------------------------------------------------


def test_without_matplotlib_there_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plots.NoPlots, match=r"no plots: matplotlib is missing \(pip install matplotlib\)"):
        plots.require()


def test_every_kind_of_chart_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cases = tuple(Case(name, "ms", label=name, at=at) for name, at in (("p50", 50.0), ("p99", 99.0)))
    charts = [Chart("ranking", Kind.RANKING, cases[:1])]
    charts += [Chart(kind.value, kind, cases, "percentile") for kind in (Kind.LINES, Kind.TAILS, Kind.PAIR)]
    shown = Experiment("every", "Every kind", "", tuple(charts), ())
    assert plots.draw(shown, tmp_path) == []
    for case in cases:
        for number in (1, 2):
            shown.figures.add(case, OURS, number, Sample(float(number)))
    shown.figures.add(cases[1], "nginx", 1, Sample(1.0))
    drawn = plots.draw(shown, tmp_path)
    assert [path.name for path in drawn] == ["every.svg", "every.png"]
    assert "<svg" in drawn[0].read_text()
    again = drawn[0].read_text()
    plots.draw(shown, tmp_path)
    assert drawn[0].read_text() == again, "the same figures make the same file"
