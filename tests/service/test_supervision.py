"""The supervisor, with workers that are none: who is started, replaced, told to leave, and when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python import usage

from ka_twisted.config import Limits, Timeouts
from ka_twisted.service.configuration.values import Configuration, Listener
from ka_twisted.service.workers.process import WorkerFailed, WorkerProcess
from ka_twisted.service.workers.slots import MAX_RESTART_DELAY, RESTART_DELAY
from ka_twisted.service.workers.supervisor import Supervisor
from ka_twisted.service.workers.worker import LOG, SupervisorLog
from ka_twisted.service.workers.workforce import MARGIN, SIGNALLED, STABLE_AFTER


class Worker:
    """A worker that does what the test says, and remembers what it was told."""

    def __init__(
        self,
        reactor: Any,
        configuration: Any,
        loadTable: Any,
        *,
        ended: Any,
        leaving: Any,
        reported: Any,
        pid: int,
        loads: bool,
    ) -> None:
        self.reactor = reactor
        self.configuration = configuration
        self.sockets: list[Any] = []
        self.isLoaded = loads
        self.began = reactor.seconds()
        self.ageShare = 1.0
        self.answered = self.memory = 0
        self.problem = ""
        self.pid = pid
        self.isReady = False
        self.readySince = 0.0
        self.openConnections = self.accepted = 0
        self.counts = None
        self.records: list[Any] = []
        self.droppedEvents = 0
        self.missedChecks = 0
        self.told: list[str] = []
        self.gone = False
        self.waiting: dict[str, list[Deferred[None]]] = {
            "loaded": [],
            "ready": [],
            "closed": [],
            "drained": [],
            "ended": [],
        }
        self.leaves = leaving
        self.reports = reported
        self.ended = ended

    def spawn(self) -> None:
        """There is no process."""

    def when(self, what: str) -> Deferred[None]:
        if (what == "closed" and "leave" in self.told) or (what == "loaded" and self.isLoaded and not self.gone):
            return succeed(None)
        if self.gone:
            return fail(WorkerFailed("gone")) if what in ("loaded", "ready") else succeed(None)
        self.waiting[what].append(Deferred())
        return self.waiting[what][-1]

    def serve(self, sockets: Any) -> None:
        self.sockets = list(sockets)

    def drain(self) -> Deferred[None]:
        self.told.append("drain")
        return self.when("drained")

    def leave(self) -> None:
        self.told.append("leave")

    def stop(self) -> None:
        self.told.append("stop")

    def stopNow(self) -> None:
        self.told.append("stopNow")

    def reopenLog(self) -> None:
        self.told.append("reopen")

    def abort(self) -> None:
        self.told.append("abort")

    def kill(self) -> None:
        if not self.gone:
            self.told.append("kill")
            self.end("on signal 9")

    def giveUp(self, problem: str) -> None:
        self.problem = self.problem or problem
        self.kill()

    # What happens to it.

    def load(self) -> None:
        if not self.isLoaded:
            self.isLoaded = True
            self.fire("loaded")

    def getReady(self) -> None:
        self.load()
        self.isReady = True
        self.readySince = self.reactor.seconds()
        self.fire("ready")

    def end(self, how: str = "with status 1") -> None:
        self.gone = True
        failed = self.waiting["loaded"] + self.waiting["ready"]
        self.waiting["loaded"], self.waiting["ready"] = [], []
        self.ended(self, how)
        for each in failed:
            each.errback(WorkerFailed(self.problem or f"it exited before, {how}"))
        self.fire("drained")
        self.fire("ended")

    def fire(self, what: str) -> None:
        waiting, self.waiting[what] = self.waiting[what], []
        for each in waiting:
            each.callback(None)


class Port:
    """A listening port."""

    def __init__(self) -> None:
        self.open, self.reading = True, True
        self.factory: Any = None

    def fileno(self) -> int:
        return 42

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 8080)

    def stopListening(self) -> None:
        self.open = False


class Endpoint:
    """Listens."""

    def __init__(self) -> None:
        self.ports: list[Port] = []

    def listen(self, factory: Any) -> Deferred[Port]:
        self.ports.append(Port())
        self.ports[-1].factory = factory
        return succeed(self.ports[-1])


class Reactor(MemoryReactorClock):
    """A reactor that runs already."""

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:
        callable(*args, **kw)


class Supervised:
    """A supervisor, its workers in the order in which they were started, and the configuration that it reads next."""

    #: Whether workers load their applications at once.
    loads = True
    #: What is set of the recycling of workers, and of their start.
    recycling: dict[str, Any] = {}
    #: Seconds within which a worker has to turn.
    patience: float = 0

    def __init__(
        self,
        workers: int = 2,
        *,
        patience: float = 0,
        loads: bool = True,
        recycling: dict[str, Any] | None = None,
        **timeouts: float,
    ) -> None:
        self.loads = loads
        self.recycling = recycling or {}
        self.failed: list[str] = []
        self.reactor: Any = Reactor()
        self.patience = patience
        self.workers: list[Worker] = []
        self.endpoints = {text: Endpoint() for text in ("one", "two")}
        self.next: Any = self.configuration("one", workers=workers, **timeouts)
        self.service: Any = Supervisor(
            self.next,
            reactor=self.reactor,
            read=self.read,
            endpointOf=lambda text: self.endpoints[text],  # type: ignore[arg-type, return-value]
            process=self.worker,  # type: ignore[arg-type]
        )
        self.service.onFailed = self.failed.append
        self.service.startService()

    def configuration(self, *texts: str, workers: int = 2, **timeouts: float) -> Configuration:
        return Configuration(
            listeners=tuple(Listener(endpoint=text) for text in texts),
            timeouts=Timeouts(**timeouts),
            limits=Limits(),
            workers=workers,
            workerTimeout=self.patience,
            **self.recycling,
        )

    def read(self) -> Configuration:
        if isinstance(self.next, Exception):
            raise self.next
        found: Configuration = self.next
        return found

    def worker(self, *arguments: Any, **named: Any) -> Worker:
        self.workers.append(Worker(*arguments, **named, pid=len(self.workers) + 1, loads=self.loads))
        return self.workers[-1]

    def reload(self, *texts: str, **settings: Any) -> list[None]:
        self.next = self.configuration(*(texts or ("one",)), **settings)
        over: list[None] = []
        self.service.reload().addCallback(over.append)
        return over

    def allReady(self) -> None:
        for worker in self.workers:
            if not worker.isReady and not worker.gone:
                worker.getReady()

    @property
    def told(self) -> list[list[str]]:
        return [worker.told for worker in self.workers]


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """The events that are logged during a test."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


def errors(log: list[Any]) -> list[str | None]:
    return [formatEvent(event) for event in log if event["log_level"] >= LogLevel.error]


@pytest.fixture
def supervised() -> Iterator[Supervised]:
    """A supervisor of two workers that are ready."""
    made = Supervised()
    made.allReady()
    yield made
    made.service.stopService()
    made.reactor.pump([100] * 3)


def test_it_accepts_nothing_itself_and_is_ready_when_all_workers_are() -> None:
    made = Supervised()
    (port,) = made.endpoints["one"].ports
    assert not port.reading
    assert [[fd for _, fd in worker.sockets] for worker in made.workers] == [[42], [42]]
    made.workers[0].getReady()
    assert not made.service.ready
    made.workers[1].getReady()
    assert made.service.ready
    made.service.stopService()


def test_what_dies_again_and_again_is_replaced_later_each_time(supervised: Supervised) -> None:
    delay = RESTART_DELAY
    for count in range(3, 15):
        supervised.workers[-1].end()
        supervised.reactor.advance(delay - 0.01)
        assert len(supervised.workers) == count - 1
        supervised.reactor.advance(0.02)
        assert len(supervised.workers) == count
        supervised.workers[-1].getReady()
        delay = min(2 * delay, MAX_RESTART_DELAY)
    assert delay == MAX_RESTART_DELAY
    supervised.reactor.advance(STABLE_AFTER)
    supervised.workers[-1].end()
    supervised.reactor.advance(RESTART_DELAY)
    assert not supervised.workers[-1].gone


def test_who_dies_is_counted_and_who_was_told_to_end_is_not(supervised: Supervised) -> None:
    died: list[None] = []
    supervised.service.aggregate.died = lambda: died.append(None)
    supervised.workers[0].end()
    assert len(died) == 1
    supervised.service.drain()
    supervised.workers[1].end()
    assert len(died) == 1


def test_when_the_first_cannot_start_the_command_ends_with_the_reason(log: list[Any]) -> None:
    made = Supervised(workers=1)
    made.workers[0].end()
    assert made.failed == ["no worker can start: it exited before, with status 1"]
    made.reactor.advance(100)
    assert len(made.workers) == 1
    assert not errors(log)
    made.service.stopService()


def test_one_that_does_not_turn_is_killed_and_replaced(log: list[Any]) -> None:
    made = Supervised(patience=10)
    made.allReady()
    stuck, sound = made.workers
    for second in range(10):
        made.reactor.advance(1)
        sound.missedChecks = 0
        assert stuck.told == [], second
    made.reactor.advance(2)
    sound.missedChecks = 0
    assert (stuck.told, sound.told) == (["abort"], [])
    assert errors(log) == ["worker 1: event loop blocked for 10 s; killing the worker"]
    stuck.end("on signal 6")
    made.reactor.advance(RESTART_DELAY)
    assert len(made.workers) == 3
    made.service.stopService()


def test_one_that_does_not_even_end_is_killed_for_good(log: list[Any]) -> None:
    made = Supervised(workers=1, patience=10)
    made.allReady()
    made.reactor.pump([2] * 7)
    assert made.workers[0].told == ["abort", "kill"]
    assert errors(log)[1:] == ["worker 1 exited on signal 9; restarting it in 0.1 s"]
    made.service.stopService()


def test_time_that_passes_at_once_is_held_against_nobody() -> None:
    made = Supervised(patience=10)
    made.allReady()
    made.reactor.advance(86400)  # the machine was asleep
    assert made.told == [[], []]
    made.service.stopService()


def test_one_that_is_not_ready_need_not_turn_nor_anybody_where_that_is_said() -> None:
    made = Supervised(patience=10)
    made.reactor.pump([2] * 9)
    assert made.told == [[], []]
    made.allReady()
    made.patience = 0
    made.reload()
    for worker in made.workers[2:]:
        worker.getReady()
    made.reactor.pump([2] * 3)
    made.allReady()
    assert made.service.configuration.workerTimeout == 0
    made.reactor.pump([10] * 9)
    assert made.told[2:] == [[], []]
    made.service.stopService()


def test_a_reload_that_gives_up_the_last_slot_that_is_not_ready_makes_the_server_ready() -> None:
    made = Supervised(workers=2)
    made.workers[0].getReady()
    made.reload(workers=1)
    made.workers[2].getReady()
    assert made.service.ready
    made.service.stopService()


def test_who_stays_behind_a_failed_reload_is_replaced_on_the_old_ports(log: list[Any]) -> None:
    made = Supervised(workers=2)
    made.allReady()
    made.reload("two")
    made.workers[2].getReady()
    made.workers[3].end()  # the reload is given up
    made.workers[4].end()  # and the first cannot be replaced once more
    assert "a worker keeps the new configuration" in "".join(filter(None, errors(log)))
    made.workers[2].end()
    made.reactor.advance(RESTART_DELAY)
    assert [name for name, _ in made.workers[5].sockets] == [name for name, _ in made.workers[0].sockets]
    assert not [event for event in log if event.get("log_failure") is not None]
    made.service.stopService()


def test_one_that_is_leaving_has_to_turn_too() -> None:
    made = Supervised(workers=1, patience=10)
    made.allReady()
    made.reload(workers=1)
    made.workers[1].getReady()
    made.reactor.advance(1)
    made.workers[0].told.clear()
    for _ in range(7):
        made.reactor.advance(2)
        made.workers[1].missedChecks = 0
    assert made.told == [["abort", "kill"], []]
    made.service.stopService()


def test_what_a_worker_logs_is_logged_with_all_that_it_is_about(log: list[Any]) -> None:
    theirs, ours = os.pipe()
    observe = SupervisorLog(ours)
    about = {"peer": IPv4Address("TCP", "192.0.2.1", 40000), "status": 500, "level": "none", "nothing": None}
    observe({"log_level": LogLevel.warn, "log_namespace": "shop", "log_format": "no {milk}", "milk": "{milk}", **about})
    worker: Any = WorkerProcess(MemoryReactorClock(), None, None, ended=None, leaving=None, reported=None)  # type: ignore[arg-type]
    worker.pid = 4711
    worker.childDataReceived(LOG, os.read(theirs, 65536))
    (event,) = log
    assert (formatEvent(event), event["log_level"]) == ("worker 4711: no {milk}", LogLevel.warn)
    assert (event["log_namespace"], event["peer"], event["status"]) == ("shop", "192.0.2.1", "500")
    os.close(theirs)
    os.close(ours)


def test_one_that_is_never_ready_is_killed() -> None:
    made = Supervised(workers=1)
    made.reactor.advance(60)
    assert made.workers[0].told == ["kill"]
    assert made.failed == ["no worker can start: none was ready within 60 s"]
    made.service.stopService()


def test_without_any_worker_it_is_not_ready(supervised: Supervised) -> None:
    supervised.workers[0].end()
    assert supervised.service.ready
    supervised.workers[1].end()
    assert not supervised.service.ready
    supervised.reactor.advance(0.1)
    supervised.workers[2].getReady()
    assert supervised.service.ready


def test_a_reload_replaces_one_after_the_other_and_only_when_the_new_one_is_ready(supervised: Supervised) -> None:
    over = supervised.reload(idle=33)
    assert supervised.service.state == "reloading"
    assert len(supervised.workers) == 3
    assert supervised.told == [[], [], []]
    supervised.workers[2].getReady()
    assert len(supervised.workers) == 4
    assert supervised.told == [["leave"], [], [], []]
    supervised.workers[3].getReady()
    assert supervised.told == [["leave"], ["leave"], [], []]
    assert over == [None]
    assert supervised.service.state == "serving"
    assert [worker.configuration.timeouts.idle for worker in supervised.workers] == [75, 75, 33, 33]
    supervised.workers[0].end("with status 0")
    supervised.reactor.advance(60)
    assert len(supervised.workers) == 4


def test_when_the_first_new_one_fails_the_old_ones_stay(supervised: Supervised, log: list[Any]) -> None:
    over = supervised.reload("one", "two", idle=33)
    supervised.workers[2].end()
    assert over == [None]
    assert supervised.told == [[], [], []]
    assert supervised.service.configuration.timeouts.idle == 75
    assert [port.open for port in supervised.endpoints["two"].ports] == [False]
    assert errors(log) == [
        "the configuration was not reloaded, the old one stays: "
        "a worker with the new configuration did not become ready: it exited before, with status 1"
    ]


def test_when_a_later_one_fails_those_before_it_are_replaced_once_more(supervised: Supervised) -> None:
    over = supervised.reload(idle=33)
    supervised.workers[2].getReady()
    supervised.workers[3].end()
    assert over == []
    supervised.workers[4].getReady()
    assert over == [None]
    assert supervised.workers[4].configuration.timeouts.idle == 75
    assert supervised.told == [["leave"], [], ["leave"], [], []]
    assert [slot.worker.pid for slot in supervised.service.slots] == [5, 2]


def test_a_reload_can_change_the_number_of_workers_and_what_is_listened_on(supervised: Supervised) -> None:
    supervised.reload("two", workers=3)
    for _ in range(3):
        supervised.allReady()
    assert len(supervised.service.slots) == 3
    assert [port.open for port in supervised.endpoints["one"].ports] == [False]
    supervised.reload("two", workers=1)
    supervised.allReady()
    assert supervised.told == [["leave"]] * 5 + [[]]
    assert len(supervised.service.slots) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (usage.UsageError("shop.toml:3: no"), "shop.toml:3: no"),
        (
            Supervised.configuration(Supervised, "one", workers=0),  # type: ignore[arg-type]
            "changing between worker processes and none takes a restart",
        ),
    ],
)
def test_a_wrong_configuration_starts_nobody(
    supervised: Supervised, log: list[Any], change: Any, sentence: str
) -> None:
    supervised.next = change
    supervised.service.reload()
    assert len(supervised.workers) == 2
    assert errors(log) == [f"the configuration was not reloaded, the old one stays: {sentence}"]


def test_a_worker_that_is_told_to_end_by_others_is_replaced_at_once(supervised: Supervised) -> None:
    supervised.workers[0].leaves(supervised.workers[0])
    supervised.reactor.advance(SIGNALLED)
    assert len(supervised.workers) == 3
    supervised.workers[0].end("with status 0")
    supervised.reactor.advance(60)
    assert len(supervised.workers) == 3


def test_a_stop_drains_all_then_ends_all(supervised: Supervised) -> None:
    stopped: list[None] = []
    supervised.service.stopService().addCallback(stopped.append)
    assert supervised.told == [["drain"], ["drain"]]
    assert not supervised.endpoints["one"].ports[0].open
    supervised.workers[0].fire("drained")
    supervised.workers[1].fire("drained")
    assert supervised.told == [["drain", "stop"]] * 2
    supervised.workers[0].end("with status 0")
    assert stopped == []
    supervised.workers[1].end("with status 0")
    assert stopped == [None]
    assert len(supervised.workers) == 2


def test_what_does_not_drain_or_end_is_killed() -> None:
    made = Supervised(drain=7)
    made.allReady()
    stopped: list[None] = []
    made.service.stopService().addCallback(stopped.append)
    made.reactor.advance(7 + 1 + MARGIN)
    assert made.told == [["drain", "stop"]] * 2
    made.reactor.advance(MARGIN)
    assert made.told == [["drain", "stop", "kill"]] * 2
    assert stopped == [None]


def test_a_drain_keeps_the_workers_to_answer_for_them(supervised: Supervised) -> None:
    supervised.service.drain()
    for worker in supervised.workers:
        worker.fire("drained")
    assert supervised.told == [["drain"], ["drain"]]
    assert (supervised.service.ready, supervised.service.state) == (False, "draining")


def test_the_sockets_stay_open_while_the_drain_is_announced() -> None:
    made = Supervised(drainDelay=5)
    made.allReady()
    made.service.drain()
    made.reactor.advance(4.7)
    assert made.endpoints["one"].ports[0].open
    made.reactor.advance(0.3)
    assert not made.endpoints["one"].ports[0].open


def test_haste_is_passed_on_and_does_not_wait_for_the_deaf() -> None:
    made = Supervised(drain=0, drainDelay=60)
    made.allReady()
    stopped: list[None] = []
    made.service.stopService().addCallback(stopped.append)
    made.service.stopNow()
    assert not made.endpoints["one"].ports[0].open
    assert all("stopNow" in told for told in made.told)
    made.reactor.advance(MARGIN)
    assert all("kill" in told for told in made.told)
    assert stopped == [None]


def test_nobody_is_started_while_it_shuts_down(supervised: Supervised) -> None:
    supervised.workers[0].end()
    supervised.service.drain()
    supervised.workers[1].end()
    supervised.reactor.advance(60)
    assert len(supervised.workers) == 2


def test_a_reload_that_a_shut_down_interrupts_tells_nobody_to_leave(supervised: Supervised) -> None:
    over = supervised.reload(idle=33)
    supervised.service.drain()
    supervised.workers[2].getReady()
    assert over == [None]
    assert supervised.told == [["drain"], ["drain"], ["drain"]]
    assert len(supervised.workers) == 3


def test_the_access_log_is_opened_anew_by_each(supervised: Supervised) -> None:
    supervised.service.reopenLog()
    assert supervised.told == [["reopen"], ["reopen"]]


def test_the_status_sums_up_what_the_workers_do(supervised: Supervised) -> None:
    supervised.workers[0].openConnections, supervised.workers[0].accepted = 3, 10
    supervised.workers[1].openConnections, supervised.workers[1].accepted = 4, 20
    supervised.workers[1].end()
    assert supervised.service.status() == ("serving: 1 of 2 workers ready, 3 connections open, 30 accepted so far")


def test_the_first_worker_is_started_alone_and_the_others_once_it_has_loaded() -> None:
    made = Supervised(workers=3, loads=False)
    assert len(made.workers) == 1
    assert made.workers[0].sockets == []
    made.workers[0].load()
    assert len(made.workers) == 3
    assert len(made.workers[0].sockets) == 1
    made.service.stopService()


def test_the_command_does_not_end_while_one_of_the_first_workers_may_start(log: list[Any]) -> None:
    made = Supervised(workers=2)
    made.workers[0].end()
    assert made.failed == []
    made.workers[1].getReady()
    made.reactor.advance(RESTART_DELAY)
    made.workers[2].getReady()
    assert made.service.ready
    made.service.stopService()


def test_a_reload_listens_on_nothing_new_before_the_new_application_is_loaded(supervised: Supervised) -> None:
    supervised.loads = False
    over = supervised.reload("two")
    assert supervised.endpoints["two"].ports == []
    supervised.workers[2].end()
    assert (over, supervised.endpoints["two"].ports) == ([None], [])


def test_clients_are_answered_while_no_worker_can_start_and_not_any_more_then(log: list[Any]) -> None:
    made = Supervised(workers=1)
    made.allReady()
    (port,) = made.endpoints["one"].ports
    made.workers[0].end()
    assert not port.reading
    made.reactor.advance(RESTART_DELAY)
    made.workers[1].end()
    assert port.reading
    assert "a worker cannot start: it exited before" in made.service.status()
    made.reactor.advance(2 * RESTART_DELAY)
    made.workers[2].getReady()
    assert not port.reading
    made.service.stopService()


def test_workers_that_have_done_their_part_are_replaced_one_by_one() -> None:
    made = Supervised(recycling={"workerMaxRequests": 10})
    made.allReady()
    for worker in made.workers[:2]:
        worker.answered = 10
        worker.reports(worker)
    assert len(made.workers) == 3
    assert made.told[:2] == [[], []]
    made.workers[2].getReady()
    assert made.told[:2] == [["leave"], []]
    made.workers[1].reports(made.workers[1])
    assert len(made.workers) == 3, "the first is not gone yet"
    made.workers[0].end("with status 0")
    made.workers[1].reports(made.workers[1])
    assert len(made.workers) == 4
    made.service.stopService()


def test_a_worker_stays_when_its_successor_cannot_start(log: list[Any]) -> None:
    made = Supervised(workers=1, recycling={"workerMaxAge": 100.0})
    made.allReady()
    first = made.workers[0]
    made.reactor.advance(100)
    first.reports(first)
    made.workers[1].end()
    assert first.told == []
    assert errors(log)[-1] == (
        "worker 1 is not replaced: a worker did not become ready: it exited before, with status 1; "
        "trying again in 0.1 s"
    )
    first.reports(first)
    assert len(made.workers) == 2
    made.reactor.advance(RESTART_DELAY)
    first.reports(first)
    assert len(made.workers) == 3
    made.service.stopService()
