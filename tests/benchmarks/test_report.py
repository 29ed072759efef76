"""Tables, Markdown and JSON show every figure, and nothing that failed is passed over silently."""

from __future__ import annotations

import json

from benchmarks import report
from benchmarks.figures import Case, Sample
from benchmarks.peers import OURS
from benchmarks.report import About
from benchmarks.session import Chart, Experiment, Kind, Settings

RATE = Case("keep-alive", "requests/s")
ABOUT = About("python -m benchmarks http1", "2026-01-01 00:00 UTC", {"kernel": "Linux 6.1"})


def experiment(kind: Kind = Kind.RANKING, *cases: Case) -> Experiment:
    return Experiment("http1", "Requests", "What is measured.", (Chart("plain", kind, cases or (RATE,)),), ())


def test_a_ranking_has_median_spread_and_ratio() -> None:
    shown = experiment()
    for number, (ours, theirs) in enumerate(((1000.0, 2000.0), (3000.0, 3000.0), (2000.0, 8000.0))):
        shown.figures.add(RATE, OURS, number, Sample(ours))
        shown.figures.add(RATE, "nginx", number, Sample(theirs))
    (table,) = report.tables(shown)
    assert table.rows == (
        ("nginx", "3,000", "2,000 - 8,000", "0.50 x", ""),
        (OURS, "2,000", "1,000 - 3,000", "1.00 x", ""),
    )
    assert "| nginx | 3,000 | 2,000 - 8,000 | 0.50 x |  |" in report.markdown(table).splitlines()
    assert report.text(table).splitlines()[4].split() == ["nginx", "3,000", "2,000", "-", "8,000", "0.50", "x"]


def test_a_server_that_failed_is_in_the_table_with_the_reason() -> None:
    shown = experiment()
    shown.figures.add(RATE, "nginx", 1, Sample(1000.0, failures=7))
    shown.figures.fail(RATE, "nginx", 2, "wrk said:\nunable | to connect")
    shown.figures.fail(RATE, OURS, 1, "x" * 1000)
    rows = report.tables(shown)[0].rows
    assert rows[0][-1] == "up to 7 wrong answers in a run, 1 of 2 failed: wrk said: unable / to connect"
    assert rows[1][:4] == (OURS, "-", "-", "-")
    assert len(rows[1][-1]) < 120


def test_a_figure_that_is_not_what_it_seems_has_a_remark() -> None:
    shown = experiment()
    shown.figures.add(RATE, "idle", 1, Sample(4.0, busy=0.5))
    shown.figures.add(RATE, "busy", 1, Sample(3.0, busy=0.97))
    shown.figures.add(RATE, "flooded", 1, Sample(2.0, sustained=0.45, stalled=0.2))
    shown.figures.add(RATE, "doubted", 1, Sample(1.0, sustained=1.0, stalled=30.0))
    remarks = {row[0]: row[-1] for row in report.tables(shown)[0].rows}
    assert remarks == {
        "idle": "processor 50% busy",
        "busy": "",
        "flooded": "sustained 45%",
        "doubted": "load stalled 30 ms",
    }


def test_lines_have_a_column_for_each_case() -> None:
    cases = (Case("p50", "ms", more=False, label="p50"), Case("p99", "ms", more=False, label="p99"))
    shown = experiment(Kind.TAILS, *cases)
    for number in (1, 2, 3):
        shown.figures.add(cases[0], OURS, number, Sample(float(number)))
    shown.figures.add(cases[1], OURS, 1, Sample(0.25))
    (table,) = report.tables(shown)
    assert table.headings == ("server", "p50", "p99", "remarks")
    assert table.rows == ((OURS, "2 (1 - 3)", "0.25", ""),)


def test_a_pair_has_how_many_times_the_first_the_second_is() -> None:
    cases = (Case("a", "requests/s", label="default"), Case("b", "requests/s", label="uvloop"))
    shown = experiment(Kind.PAIR, *cases)
    for case, value in zip(cases, (100.0, 250.0), strict=True):
        shown.figures.add(case, OURS, 1, Sample(value))
    shown.figures.add(cases[0], "lonely", 1, Sample(1.0))
    (table,) = report.tables(shown)
    assert table.headings == ("server", "default", "uvloop", "uvloop is", "remarks")
    assert table.rows == ((OURS, "100", "250", "2.50 x", ""), ("lonely", "1", "-", "-", ""))


def test_the_page_has_the_command_the_environment_and_the_drawings_that_there_are() -> None:
    shown, empty = experiment(), Experiment("empty", "Nothing ran", "", (Chart("", Kind.RANKING, (RATE,)),), ())
    shown.figures.add(RATE, OURS, 1, Sample(1.0))
    page = report.page([shown, empty], ABOUT, Settings(), drawings=True)
    assert page.startswith("```console\n$ python -m benchmarks http1\n```\n\n2026-01-01 00:00 UTC; kernel Linux 6.1.\n")
    assert "Each figure comes from 3 rounds of 4 s.\n" in page
    assert "What is measured.\n\n![Requests](http1.svg)\n\n### Plain\n" in page
    assert "Nothing ran" not in page
    assert "http1.svg" not in report.page([shown], ABOUT, Settings(), drawings=False)


def test_a_run_that_is_too_short_says_so() -> None:
    page = report.page([], ABOUT, Settings(rounds=1), drawings=False)
    assert "Each figure comes from 1 round of 4 s. That shows that it runs, not how fast anything is.\n" in page


def test_json_has_every_single_figure() -> None:
    shown = experiment()
    shown.figures.add(RATE, OURS, 1, Sample(10.0, busy=0.5))
    shown.figures.add(RATE, OURS, 2, Sample(20.0))
    shown.figures.fail(RATE, "nginx", 1, "does not listen")
    content = json.loads(report.as_json([shown], ABOUT, Settings(peers=frozenset({"nginx"}), rounds=2)))
    assert content["command"] == "python -m benchmarks http1"
    assert content["settings"]["rounds"] == 2
    servers = content["experiments"]["http1"]["keep-alive"]["servers"]
    assert servers[OURS]["median"] == 15.0
    assert servers[OURS]["rounds"]["1"]["busy"] == 0.5
    assert servers[OURS]["ours_is_times"] == 1.0
    assert servers["nginx"]["failed"] == {"1": "does not listen"}
