"""Rounds alternate between the servers, one that fails does not end the session, and progress is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO

from benchmarks.figures import Case, Sample
from benchmarks.processes import LoadFailed, PeerFailed
from benchmarks.session import Experiment, Progress, Task, run

FAST = Case("fast", "requests/s", label="fast")
SLOW = Case("slow", "ms")


def experiment(**measured: Callable[[], Mapping[str, Sample]]) -> Experiment:
    tasks = tuple(Task("hello", server, (FAST, SLOW), measure) for server, measure in measured.items())
    return Experiment("http1", "Requests", "", (), tasks)


def test_rounds_alternate_and_a_failure_counts_for_its_run_only() -> None:
    ran = []

    def sound() -> Mapping[str, Sample]:
        ran.append("sound")
        return {"fast": Sample(1000.0), "slow": Sample(0.5)}

    def broken() -> Mapping[str, Sample]:
        ran.append("broken")
        if len(ran) == 2:
            raise LoadFailed("wrk did not end")
        raise PeerFailed("does not listen")

    shown = StringIO()
    whole = experiment(sound=sound, broken=broken)
    run([whole], 2, Progress(4, shown))
    assert ran == ["sound", "broken"] * 2
    for case in (FAST, SLOW):
        assert whole.figures.ran(case, "broken").failed == {1: "wrk did not end", 2: "does not listen"}
    assert whole.figures.ran(FAST, "sound").values == [1000.0, 1000.0]
    lines = shown.getvalue().splitlines()
    assert lines[0] == "[1/4] http1, round 1 of 2, hello, sound: fast 1,000 requests/s, 0.5 ms"
    assert lines[3].endswith("http1, round 2 of 2, hello, broken: failed: does not listen")


def test_progress_estimates_what_is_left() -> None:
    shown = StringIO()
    now = iter((0.0, 5.0, 200.0))
    progress = Progress(10, shown, clock=lambda: next(now))
    for _ in range(3):
        progress.begin("a run")
        progress.end("done")
    begun = [line.partition("]")[0] for line in shown.getvalue().splitlines()]
    assert begun == ["[ 1/10", "[ 2/10, 45 s left", "[ 3/10, 13 min left"]
