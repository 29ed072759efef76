"""Two commits are measured in turn, and what comes of it is told by pairs; no load is made here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest

from benchmarks import wrk
from benchmarks.__main__ import main
from benchmarks.figures import Figures, Sample
from benchmarks.paired import command, measure, report, revision
from benchmarks.paired.measure import IDLE, LOADS, NEW, OLD, case, order
from benchmarks.paired.revision import BuildFailed, Environment
from benchmarks.peers import Peer
from benchmarks.processes import LoadFailed, PeerFailed, Server, running
from benchmarks.session import Progress


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in the cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


HERE = Environment("here", sys.executable, {"PYTHONPATH": str(revision.ROOT)})


# -- order -------------------------------------------------------------------------------------------


def test_each_runs_twice_in_a_round_and_the_next_round_begins_with_the_other() -> None:
    assert order(1) == (OLD, NEW, NEW, OLD)
    assert order(2) == (NEW, OLD, OLD, NEW)
    assert order(3) == order(1)


@dataclass(frozen=True)
class Worker(Server):
    """A server that computes so many seconds in each run."""

    each: float
    asked: list[float] = field(default_factory=list)

    def processor_time(self) -> float:
        self.asked.append(self.each)
        return len(self.asked) // 2 * self.each


def test_the_time_per_request_is_that_of_both_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[int, int]] = []

    def pretended(port: int, scenario: wrk.Scenario, *, connections: int, seconds: int) -> wrk.Load:
        runs.append((port, seconds))
        return wrk.Load(0.0, 0, 1000 if port == 1 else 500)

    monkeypatch.setattr(wrk, "run", pretended)
    servers = {OLD: Worker(1, 0, 0.01), NEW: Worker(2, 0, 0.02)}
    found = measure.time_per_request(servers, wrk.KEPT_ALIVE, 1, connections=4, seconds=3)
    assert runs == [(1, 1), (2, 1), (1, 3), (2, 3), (2, 3), (1, 3)], "both are warmed up first"
    assert found[OLD].value == pytest.approx(10)
    assert found[NEW].value == pytest.approx(40)


def test_a_wrong_answer_spoils_the_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrk, "run", lambda *arguments, **options: wrk.Load(1.0, 2, 10))
    with pytest.raises(LoadFailed, match="2 failures of 10 requests on the old server"):
        measure.time_per_request(
            {OLD: Worker(1, 0, 0.01), NEW: Worker(2, 0, 0.01)}, wrk.KEPT_ALIVE, 1, connections=4, seconds=1
        )


def test_a_pair_that_fails_is_noted_and_the_others_go_on() -> None:
    def take(reactor: str, load: str, number: int) -> Mapping[str, Sample]:
        if number == 2:
            raise PeerFailed("ended at once")
        return {OLD: Sample(10.0), NEW: Sample(11.0)}

    said = StringIO()
    figures = measure.run(["default"], [IDLE], 3, take, Progress(3, said))
    found = report.pairs(figures, case("default", IDLE))
    assert found.ratios == (1.1, 1.1)
    assert found.failures == ("ended at once",)
    assert "round 1 of 3, idle on default: 10 -> 11 bytes, 1.100\n" in said.getvalue()
    assert "failed: ended at once\n" in said.getvalue()


def test_an_interruption_keeps_what_was_measured() -> None:
    def take(reactor: str, load: str, number: int) -> Mapping[str, Sample]:
        if number == 2:
            raise KeyboardInterrupt
        return {OLD: Sample(10.0), NEW: Sample(11.0)}

    figures = measure.run(["default"], [IDLE], 3, take, Progress(3, StringIO()))
    assert report.pairs(figures, case("default", IDLE)).ratios == (1.1,)


# -- figures -----------------------------------------------------------------------------------------


@pytest.fixture
def figures() -> Figures:
    """Three rounds, whose ratios are 0.9, 1.0 and 1.2."""
    made = Figures()
    for number, (old, new) in enumerate([(10.0, 9.0), (100.0, 100.0), (10.0, 12.0)], 1):
        made.add(case("default", "pipelined"), OLD, number, Sample(old))
        made.add(case("default", "pipelined"), NEW, number, Sample(new))
    return made


def test_the_ratio_is_the_median_within_rounds(figures: Figures) -> None:
    table = report.table(figures, "default", ["pipelined", IDLE], {OLD: "old (a)", NEW: "new (b)"})
    assert table.headings == ("load", "old (a)", "new (b)", "unit", "ratio", "spread", "rounds")
    assert table.rows[0] == ("pipelined", "10", "12", "µs per request", "1.000", "0.900 - 1.200", "3")
    assert table.rows[1] == (IDLE, "-", "-", "bytes per connection", "-", "-", "0")


def test_a_limit_is_exceeded_by_a_ratio_above_it_and_by_one_that_is_not_known(figures: Figures) -> None:
    known, unknown = case("default", "pipelined"), case("default", IDLE)
    assert report.above(figures, [known], 1.0) == []
    assert report.above(figures, [known, unknown], 0.99) == ["default pipelined", "default idle"]


def test_json_has_every_figure(figures: Figures) -> None:
    content = json.loads(report.as_json(figures, [case("default", "pipelined")], {"rounds": 3}))
    measured = content["measured"]["default pipelined"]
    assert content["rounds"] == 3
    assert (measured[OLD], measured["ratio"]) == ([10, 100, 10], 1.0)


# -- environments ------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of another layout with one commit, and a file that is not committed."""
    folder = tmp_path / "repository"
    package = folder / "ka_twisted"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("LAYOUT = 'another'\n")
    (folder / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='ka_twisted', version='0', packages=['ka_twisted'])\n"
    )
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for line in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *line], cwd=folder, check=True)
    (folder / "new").touch()
    monkeypatch.setattr(revision, "ROOT", folder)
    return folder


def test_a_commit_is_named_in_full_and_an_unknown_one_is_one_clear_sentence(repository: Path) -> None:
    assert len(revision.commit("HEAD")) == 40
    with pytest.raises(BuildFailed, match="there is no commit 'nowhere' here"):
        revision.commit("nowhere")


def test_only_the_dependencies_are_pinned() -> None:
    lines = revision.constraints().splitlines()
    assert any(line.startswith("twisted==") for line in lines)
    assert not any(line.startswith("ka-twisted==") for line in lines)


@pytest.mark.packaging
def test_a_commit_is_installed_once_and_the_tree_stays_as_it_is(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revision, "constraints", lambda: "")
    told: list[str] = []
    made = revision.built("HEAD", told.append, tmp_path / "cache")
    assert made.package().is_relative_to(tmp_path / "cache")
    assert revision.built("HEAD", told.append, tmp_path / "cache") == made
    assert len(told) == 1, "the second time it is there"
    status = subprocess.run(["git", "status", "--porcelain"], cwd=repository, capture_output=True, text=True)
    assert status.stdout == "?? new\n"
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == 1


def test_the_server_of_both_answers_every_load() -> None:
    with running(measure.peer(HERE, "default", 1)) as server:
        assert server.anonymous_memory() > 1 << 20
        assert server.processor_time() > 0
        found = measure.memory_per_connection({OLD: server, NEW: server}, 1, idle=20)
    assert set(found) == {OLD, NEW}


def test_what_is_compiled_of_this_tree_stays_out_of_it() -> None:
    tree = revision.this_tree()
    assert tree.package() == revision.ROOT / "ka_twisted"
    kept = Path(tree.variables["PYTHONPYCACHEPREFIX"])
    assert kept.is_relative_to(revision.cache())
    measure.warm([tree], ["default"])
    assert list(kept.rglob("factory.*.pyc"))


def test_both_have_the_same_seed_in_one_round() -> None:
    peers: list[Peer] = [measure.peer(HERE, "default", number) for number in (1, 1, 2)]
    assert [each.variables["PYTHONHASHSEED"] for each in peers] == ["1", "1", "2"]


# -- command line ------------------------------------------------------------------------------------


def test_without_options_everything_is_measured_in_seven_rounds() -> None:
    options = command.arguments().parse_args(["HEAD~1"])
    assert (options.revision, options.rounds, options.only, options.reactors) == (
        "HEAD~1",
        7,
        LOADS,
        ("default", "uvloop"),
    )


def test_loads_are_named_in_any_order() -> None:
    options = command.arguments().parse_args(["HEAD", "--only", "idle,keep-alive", "--reactors", "uvloop"])
    assert (options.only, options.reactors) == (("keep-alive", IDLE), ("uvloop",))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["HEAD", "--only", "uploads"], "there is no 'uploads', but keep-alive, pipelined, "),
        (["HEAD", "--rounds", "0"], "invalid natural value: '0'"),
        ([], "the following arguments are required: REV"),
    ],
)
def test_a_wrong_argument_is_one_clear_sentence(
    line: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["paired", *line])
    assert sentence in capsys.readouterr().err


def test_a_commit_that_there_is_not_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paired", "no-such-commit", "--only", IDLE]) == 1
    assert "python -m benchmarks paired: there is no commit 'no-such-commit' here" in capsys.readouterr().err


def test_the_command_prints_a_table_a_reactor_and_writes_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def take(*arguments: object, **options: object) -> dict[str, Sample]:
        return {OLD: Sample(10.0), NEW: Sample(10.5)}

    monkeypatch.setattr(command, "prepared", lambda options: {OLD: HERE, NEW: HERE})
    monkeypatch.setattr(measure, "measure", take)
    monkeypatch.setattr(measure, "warm", lambda *arguments: None)
    file = tmp_path / "figures.json"
    line = ["paired", "HEAD", "--rounds", "2", "--reactors", "default", "--only", "keep-alive", "--json", str(file)]
    assert main(line) == 0
    assert "reactor default\n\nload" in capsys.readouterr().out
    assert json.loads(file.read_text())["measured"]["default keep-alive"]["ratios"] == [1.05, 1.05]
    assert main([*line, "--limit", "1.02"]) == 1
    assert "above the limit of 1.02, or not measured: default keep-alive" in capsys.readouterr().err
