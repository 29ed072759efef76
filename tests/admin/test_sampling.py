"""What open pages are sent: an event a second, the same to all, and few samples while no page is open."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ka_twisted import CloseReason, Timeouts
from ka_twisted.admin import AdminHandler, LocalView
from ka_twisted.admin.history import COLUMN, COLUMNS, History
from ka_twisted.admin.sampling import FOREMOST, LAST, SELDOM
from ka_twisted.observe.counts import Counts
from ka_twisted.observe.families import CONNECTIONS_CLOSED, RELOADS, REQUESTS
from ka_twisted.testing import MemoryClient
from tests.admin.running import NOON, Operated, Running
from tests.admin.test_handler import Faulty
from tests.http1.driving import GET, get
from tests.logs import logged


class Watch:
    """A page that watches."""

    def __init__(self, it: Operated) -> None:
        self.client: MemoryClient = it.operators.connect()
        self.client.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def events(self) -> list[tuple[str, Any]]:
        """All that has come: names and what was said."""
        return list(self._parsed())

    def _parsed(self) -> Iterator[tuple[str, Any]]:
        (response,) = self.client.responses
        assert response.headers.get("content-type") == "text/event-stream"
        for event in response.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.splitlines())
            if "data" in fields:
                yield fields.get("event", "message"), json.loads(fields["data"])

    def said(self) -> list[Any]:
        """What the samples were."""
        return [said for name, said in self.events() if name == "message"]

    @property
    def last(self) -> Any:
        return self.said()[-1]


class Counting(LocalView):
    """A view that knows how often it is looked at."""

    def __init__(self, running: Running) -> None:
        super().__init__(running.metrics, running.log, running)
        self.looks: list[str] = []

    def counts(self) -> Deferred[Counts]:
        self.looks.append("counts")
        return super().counts()

    def connections(self, limit: int, requests: int = 50) -> Deferred[Any]:
        self.looks.append("connections")
        return super().connections(limit, requests)


def counting() -> tuple[Operated, Counting]:
    running = Running(Clock())
    view = Counting(running)
    it = Operated(view=view)
    view.looks.clear()
    return it, view


# -- how often -------------------------------------------------------------------------------------


def test_what_is_is_said_at_once() -> None:
    it = Operated()
    it.users.connect().send(GET)
    watch = Watch(it)
    assert [name for name, _ in watch.events()] == ["history", "message"]
    assert watch.last["connections"] == {"idle": 1}
    assert watch.client.responses[0].body.startswith(b"retry: 1000\n\n")


def test_what_happens_is_seen_within_a_second() -> None:
    it = Operated()
    watch = Watch(it)
    for count in (1, 2, 3):
        it.users.connect().send(GET)
        it.advance(1)
        assert watch.last["connections"] == {"idle": count}
    assert len(watch.said()) == 4


def test_all_who_watch_share_one_look() -> None:
    it, view = counting()
    watches = [Watch(it) for _ in range(5)]
    assert view.looks == ["counts", "connections"]
    it.advance(3)
    assert view.looks == ["counts", "connections"] * 4
    assert [len(watch.said()) for watch in watches] == [4] * 5


def test_while_no_page_is_open_few_samples_are_taken() -> None:
    it, view = counting()
    it.advance(60)
    assert view.looks == ["counts"] * int(60 / SELDOM)
    watch = Watch(it)
    it.advance(2)
    view.looks.clear()
    watch.client.reset()
    it.advance(60)
    assert view.looks.count("counts") <= 1 + 60 / SELDOM
    assert view.looks.count("connections") <= 1
    assert not it.admin._sampler._watchers


def test_columns_are_equally_wide_whenever_the_page_is_opened() -> None:
    it = Operated()
    it.advance(17.3)
    watch = Watch(it)
    it.advance(13.4)
    watch.client.disconnect()
    it.advance(20.1)
    (_, history), *_ = Watch(it).events()
    whole = history["columns"][:-1]
    assert [column["t"] - NOON for column in whole] == list(range(0, 50, COLUMN))
    assert {column["s"] for column in whole} == {COLUMN}


def test_a_timer_that_is_early_makes_no_difference() -> None:
    past = Past()
    for number, early in enumerate((0, 0.02, 0, 0.04, 0.001, 0)):
        past.at(number * COLUMN - early, 1)
    assert [column["requests"] for column in past.history.columns()] == [1, 1, 1, 1, 1, 0]


def test_who_comes_back_is_told_at_once() -> None:
    it = Operated()
    Watch(it).client.reset()
    it.advance(2)
    it.users.connect().send(GET)
    again = Watch(it)
    assert [name for name, _ in again.events()] == ["history", "message"]
    assert again.last["connections"] == {"idle": 1}


def test_a_slow_page_misses_events_and_none_waits() -> None:
    it = Operated()
    slow, quick = Watch(it), Watch(it)
    slow.client.stall()
    for _ in range(300):
        it.advance(1)
    assert len(quick.said()) == 301
    slow.client.resume()
    it.advance(3)
    told = [said["now"] for said in slow.said()]
    assert told == sorted(told)
    assert len(told) < 301
    assert told[-1] == quick.last["now"]


def test_what_is_not_wanted_any_more_is_not_looked_at() -> None:
    clock = Clock()
    running = Running(clock)
    view = Counting(running)
    handler = AdminHandler(view, "", clock)
    clock.advance(0)
    assert view.looks == ["counts"]
    del handler
    gc.collect()
    clock.advance(SELDOM)
    assert view.looks == ["counts"]
    assert clock.getDelayedCalls() == []


def test_a_view_that_takes_its_time_is_not_asked_twice() -> None:
    answers: list[Deferred[Counts]] = []

    class Slow(LocalView):
        def counts(self) -> Deferred[Counts]:
            answers.append(Deferred())
            return answers[-1]

    running = Running(Clock())
    it = Operated(view=Slow(running.metrics, running.log, running))
    watch = Watch(it)
    it.advance(10)
    assert len(answers) == 1
    answers.pop().callback(running.metrics.counts())
    assert len(watch.said()) == 1
    it.advance(1)
    assert len(answers) == 1


# -- what is said ----------------------------------------------------------------------------------


def test_the_foremost_connections_are_told() -> None:
    it = Operated()
    for number in range(30):
        it.users.connect().send(get(f"/slow?{90 - number}"))
        it.advance(1)
    for _ in range(20):
        it.users.connect().disconnect()
    said = (watch := Watch(it)).last
    assert [row["connection"] for row in said["oldest"]] == list(range(1, FOREMOST + 1))
    assert [row["connection"] for row in said["slowest"]] == list(range(1, FOREMOST + 1))
    assert [row["connection"] for row in said["closed"]] == list(range(50, 50 - LAST, -1))
    assert said["slowest"][0]["last"] == {"method": "GET", "target": "/slow?90", "status": None}
    assert said["slowest"][0]["seconds"] == 30
    assert said["closed"][0]["ended"] == "PEER_CLOSED_IDLE"
    assert watch.last["connections"]["responding"] == 30


def test_a_row_tells_of_the_request_that_waits() -> None:
    it = Operated()
    client = it.users.connect()
    client.send(get("/quick"))
    client.send(get("/slow?9"))
    it.advance(2)
    row = Watch(it).last["slowest"][0]
    assert (row["last"]["target"], row["seconds"], row["state"], row["requests"]) == ("/slow?9", 2, "responding", 2)
    it.advance(10)
    row = Watch(it).last["slowest"][0]
    assert (row["last"], row["seconds"]) == ({"method": "GET", "target": "/slow?9", "status": 200}, 9)


def test_figures_are_those_of_the_last_minute_and_of_all_time() -> None:
    it = Operated(timeouts=Timeouts(idle=0))
    client = it.users.connect()
    it.advance(5)
    client.send(GET * 10)
    it.advance(100)
    client.send(GET * 3)
    said = Watch(it).last
    assert (said["recent"]["requests"], said["total"]["requests"]) == (3, 13)
    assert said["recent"]["reuse"] == 1
    assert said["total"]["reuse"] == pytest.approx(12 / 13, abs=0.001)
    assert said["recent"]["half"] == 0.001
    assert 60 <= said["recent"]["seconds"] <= 65


def test_a_server_that_has_done_nothing_says_so() -> None:
    said = Watch(Operated()).last
    assert (said["recent"]["reuse"], said["recent"]["half"], said["rate"]) == (None, None, 0)
    assert said["remarks"] == []
    assert said["about"]["state"] == "serving"


def test_the_drain_is_said() -> None:
    it = Operated()
    watch = Watch(it)
    it.running.drain()
    it.advance(1)
    assert watch.last["about"]["state"] == "draining"
    assert "The server is draining" in watch.last["remarks"][0]["text"]


def test_the_history_explains_its_reasons() -> None:
    (name, history), *_ = Watch(Operated()).events()
    assert name == "history"
    assert set(history["reasons"]) == {reason.name for reason in CloseReason.all()}
    assert history["reasons"]["APPLICATION_ABORT"]["kind"] == "ours"


# -- what fails ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "text", "left"),
    [
        ("counts", "The counts of the server cannot be read.", "oldest"),
        ("connections", "The connections of the server cannot be read.", "connections"),
        ("about", "The description of the server cannot be read.", "oldest"),
    ],
)
def test_a_part_that_fails_is_said_and_logged_once_and_the_others_stay(part: str, text: str, left: str) -> None:
    it = Operated()
    it.users.connect().send(GET)
    view = Faulty(it.running, part)
    it.admin._sampler._view = view
    with logged() as log:
        watch = Watch(it)
        it.advance(5)
        assert len(log.failures(RuntimeError)) == 1
        assert watch.last["remarks"][0] == {"level": "bad", "text": f"{text} See the log."}
        assert watch.last[left]
        view.parts.clear()
        it.advance(1)
        assert watch.last["remarks"] == []
        view.parts.add(part)
        it.advance(1)
        assert len(log.failures(RuntimeError)) == 1


def test_a_description_that_lacks_something_is_a_fault_that_is_said() -> None:
    it = Operated()
    it.running.view.about = lambda: {"version": "0"}  # type: ignore[method-assign,typeddict-item]
    with logged() as log:
        watch = Watch(it)
        assert len(log.failures(KeyError)) == 1
    assert watch.last["remarks"] == [{"level": "bad", "text": "The figures of the server cannot be read. See the log."}]


# -- the history -----------------------------------------------------------------------------------


class Past:
    """A history whose time the test sets."""

    def __init__(self) -> None:
        self.now = NOON
        self.history = History(lambda: self.now)
        self.counts = Counts()

    def at(self, seconds: float, requests: int = 0, **closed: int) -> None:
        """What has happened until then."""
        self.now = NOON + seconds
        self.counts += Counts(
            {
                REQUESTS: {("GET", "2xx"): requests},
                CONNECTIONS_CLOSED: {(reason, "us"): count for reason, count in closed.items()},
            }
        )
        self.history.add(self.counts)


def test_columns_tell_what_happened_in_them() -> None:
    past = Past()
    for second in range(12):
        past.at(second, 2, **({"IDLE_TIMEOUT": 1} if second == 7 else {}))
    first, second_, third = past.history.columns()
    assert [column["t"] for column in (first, second_, third)] == [NOON, NOON + 5, NOON + 10]
    assert [column["requests"] for column in (first, second_, third)] == [10, 10, 2]
    assert [column["closed"] for column in (first, second_, third)] == [
        [],
        [{"reason": "IDLE_TIMEOUT", "by": "us", "count": 1}],
        [],
    ]
    assert [column["s"] for column in (first, second_, third)] == [5, 5, 1]
    assert past.history.columns(2) == [second_, third]


def test_the_past_is_forgotten() -> None:
    past = Past()
    for number in range(3 * COLUMNS):
        past.at(number * COLUMN, 1)
    columns = past.history.columns()
    assert len(columns) == COLUMNS
    assert columns[0]["t"] == NOON + (2 * COLUMNS) * COLUMN


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    past = Past()
    past.at(0, 1)
    past.at(20, 5)
    past.at(10, 5)
    past.at(26, 5)
    assert sum(column["requests"] for column in past.history.columns()) == 15
    assert past.history.rate(REQUESTS) > 0


def test_the_rate_is_that_of_now() -> None:
    past = Past()
    assert past.history.rate(REQUESTS) == 0
    past.at(0, 1000)
    assert past.history.rate(REQUESTS) == 0
    for second in range(1, 20):
        past.at(second, 50 if second < 12 else 30)
    assert past.history.rate(REQUESTS) == 30


@pytest.mark.parametrize(
    ("outcomes", "failed"),
    [("", False), ("d", False), ("f", True), ("fd", False), ("df", True), ("dff", True), ("f    ", True)],
)
def test_it_is_known_whether_the_last_reload_failed(outcomes: str, failed: bool) -> None:
    past = Past()
    past.at(0)
    for number, outcome in enumerate(outcomes, 1):
        name = {"d": "done", "f": "failed"}.get(outcome, "neither")
        past.counts += Counts({RELOADS: {(name,): 1}})
        past.at(number * COLUMN)
    assert past.history.reloadFailed() is failed
