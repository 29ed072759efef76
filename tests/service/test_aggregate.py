"""What workers have counted and remember, together."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from ka_twisted.admin.interfaces import IServerView
from ka_twisted.config import Limits, Timeouts
from ka_twisted.observe.counts import Counts
from ka_twisted.observe.families import CONNECTIONS, CONNECTIONS_OPENED, RELOADS, WORKER_DEATHS
from ka_twisted.service.configuration.values import Admin, Configuration, Listener
from ka_twisted.service.workers.aggregate import Aggregate, WorkersView


def counted(opened: int, open_: int) -> dict[str, Any]:
    return Counts({CONNECTIONS_OPENED: {(): opened}, CONNECTIONS: {("idle",): open_}}).toJson()


def record(number: int, pid: int, age: float, duration: float = 0.1, second: int = 0) -> dict[str, Any]:
    return {
        "connection": number,
        "pid": pid,
        "opened": f"2026-01-01T00:00:{second:02}.000Z",
        "age": age,
        "latest": [{"request": 1, "duration": duration}, {"request": 2, "duration": duration}],
        "inService": [],
    }


class Worker:
    """A worker that answers what it was given."""

    def __init__(self, pid: int, **answers: Any) -> None:
        self.pid = pid
        self.isReady, self.isLeaving = True, False
        self.openConnections = self.accepted = 7
        self.counts: Any = None
        self.records: list[Any] = []
        self.droppedEvents = 0
        self.answers = answers
        self.asked: list[tuple[Any, ...]] = []

    def ask(self, what: str, *arguments: Any) -> Deferred[Any]:
        self.asked.append((what, *arguments))
        return succeed(self.answers.get(what))

    async def recount(self) -> None:
        self.counts = await self.ask("counts") or self.counts


class Supervisor:
    """What a view looks at of a supervisor."""

    def __init__(self, *workers: Worker) -> None:
        self.processes: list[Any] = list(workers)
        self.aggregate = Aggregate()
        self.ready, self.state, self.started = True, "serving", 0.0
        self.drained = 0
        self.configuration = Configuration(
            listeners=(Listener(endpoint="tcp:80"),),
            timeouts=Timeouts(),
            limits=Limits(),
            admin=Admin(endpoint="unix:admin"),
        )

    def drain(self) -> Deferred[None]:
        self.drained += 1
        return succeed(None)


def result(waiting: Deferred[Any]) -> Any:
    found: list[Any] = []
    waiting.addCallback(found.append)
    return found[0]


def test_it_is_a_view_of_one_server() -> None:
    supervisor = Supervisor(Worker(5))
    view = WorkersView(supervisor)
    verifyObject(IServerView, view)
    assert (view.ready, view.state) == (True, "serving")
    about = view.about()
    assert about["workers"] == [{"pid": 5, "ready": True, "open": 7}]
    assert (about["started"], about["listeners"]) == ("1970-01-01T00:00:00+00:00", ["tcp:80"])
    assert about["timers"]["idle"] == 75
    view.drain()
    assert supervisor.drained == 1


def test_counts_are_added_up_and_those_of_the_gone_are_kept_without_their_open_connections() -> None:
    first, second = Worker(1, counts=counted(10, 3)), Worker(2, counts=counted(20, 4))
    supervisor = Supervisor(first, second)
    view = WorkersView(supervisor)
    counts = result(view.counts())
    assert (counts.of(CONNECTIONS_OPENED), counts.of(CONNECTIONS, state="idle")) == (30, 7)
    supervisor.processes.remove(first)
    supervisor.aggregate.remember(first)  # type: ignore[arg-type]
    counts = result(view.counts())
    assert (counts.of(CONNECTIONS_OPENED), counts.of(CONNECTIONS, state="idle")) == (30, 4)
    assert supervisor.aggregate.accepted == 7


def test_who_does_not_answer_counts_as_it_did_last() -> None:
    worker = Worker(1, counts=counted(10, 3))
    view = WorkersView(Supervisor(worker))
    result(view.counts())
    worker.answers = {}
    assert result(view.counts()).of(CONNECTIONS_OPENED) == 10


def test_the_supervisor_counts_reloads() -> None:
    supervisor = Supervisor()
    supervisor.aggregate.reloaded(True)
    supervisor.aggregate.provide(supervisor.configuration)
    supervisor.aggregate.reloaded(True)
    assert result(WorkersView(supervisor).counts()).of(RELOADS, outcome="done") == 1


def test_the_supervisor_counts_workers_that_die() -> None:
    supervisor = Supervisor()
    supervisor.aggregate.died()
    supervisor.aggregate.provide(supervisor.configuration)
    supervisor.aggregate.died()
    assert result(WorkersView(supervisor).counts()).of(WORKER_DEATHS) == 1


def test_connections_are_merged_and_the_gone_have_left_their_records() -> None:
    first = Worker(1, connections={"open": [record(1, 1, 5)], "closed": [record(2, 1, 5, second=9)]})
    second = Worker(2, connections={"open": [record(1, 2, 9)], "closed": [record(2, 2, 1, second=20)]})
    passive = Worker(3)
    gone = Worker(4)
    gone.records = [record(8, 4, 2, second=16), record(7, 4, 1, second=1)]
    supervisor = Supervisor(first, second, passive)
    supervisor.aggregate.remember(gone)  # type: ignore[arg-type]
    view = WorkersView(supervisor)
    told = result(view.connections(10, 1))
    assert first.asked == [("connections", 10, 1)]
    assert [each["pid"] for each in told["open"]] == [1, 2]
    assert [(each["pid"], each["connection"]) for each in told["closed"]] == [(2, 2), (4, 8), (1, 2), (4, 7)]
    assert [len(each["latest"]) for each in told["closed"]] == [2, 1, 2, 1]
    assert [len(each["latest"]) for each in result(view.connections(10, 0))["closed"]] == [2, 0, 2, 0]
    assert result(view.connection(8, 4))["age"] == 2
    assert result(view.connection(1, 9)) is None


def test_of_the_open_ones_the_slowest_and_the_oldest_are_shown() -> None:
    many = [record(number, 1, age=number, duration=1 / number) for number in range(1, 10)]
    many[3]["inService"] = [{"request": 3, "duration": 60.0}]
    view = WorkersView(Supervisor(Worker(1, connections={"open": many, "closed": []})))
    told = result(view.connections(4))
    assert [each["connection"] for each in told["open"]] == [1, 4, 8, 9]


def test_one_connection_is_asked_of_its_own_worker() -> None:
    first, second = Worker(1, connection={"connection": 3}), Worker(2, connection={"connection": 4})
    assert result(WorkersView(Supervisor(first, second)).connection(4, 2)) == {"connection": 4}
    assert (first.asked, second.asked) == ([], [("connection", 4, 2)])
