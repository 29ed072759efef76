"""
Random walks over a supervisor: workers get ready, die and leave, time passes, reloads succeed and fail, at any time.

Nothing is raised; there are as many workers as there should be, once all that are started get ready; and when the
service has stopped, no worker, no port and no delayed call is left.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.python import usage

from ka_twisted.service.workers.slots import MAX_RESTART_DELAY
from tests.service.test_supervision import Supervised, Worker

SEEDS = range(400)
STEPS = 40


class Walk:
    """One walk."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.made = Supervised(
            workers=random.randint(1, 3),
            patience=random.choice([0, 10]),
            drain=random.choice([0, 5]),
            drainDelay=random.choice([0, 2]),
            loads=random.choice([True, False]),
            recycling={
                "workerStartTimeout": random.choice([0.0, 60.0]),
                "workerMaxRequests": random.choice([0, 10]),
                "workerMaxAge": random.choice([0.0, 30.0]),
            },
        )
        self.stopped: Deferred[Any] | None = None
        self.drained = False

    def step(self) -> None:
        if self.made.failed:
            self.stop()  # as the reactor does
        steps: list[Callable[[], object]] = [
            self.ready, self.ready, self.ready, self.end, self.wait, self.wait, self.turn, self.turn, self.finish,
            self.leave, self.reload, self.fail, self.load, self.load, self.report, self.report, self.work,
        ]  # fmt: skip
        if self.random.random() < 0.02:
            steps = [self.stop, self.drain]
        self.random.choice(steps)()

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.made.workers if not worker.gone]

    def some(self) -> list[Worker]:
        """One worker, if there is any."""
        return self.random.sample(self.alive, min(1, len(self.alive)))

    # What workers do.

    def ready(self) -> None:
        for worker in self.some():
            if not worker.isReady and worker.sockets:
                worker.getReady()

    def load(self) -> None:
        for worker in self.some():
            worker.load()

    def work(self) -> None:
        for worker in self.some():
            worker.answered += 7

    def report(self) -> None:
        for worker in self.some():
            if worker.isReady:
                worker.reports(worker)

    def end(self) -> None:
        for worker in self.some():
            worker.end()

    def turn(self) -> None:
        for worker in self.alive:
            worker.missedChecks = 0

    def finish(self) -> None:
        for worker in self.some():
            worker.fire("drained")
            if "stop" in worker.told or "leave" in worker.told:
                worker.end("with status 0")

    def leave(self) -> None:
        for worker in self.some():
            if worker.isReady and "leave" not in worker.told:
                worker.told.append("leave")  # by a signal from outside
                worker.leaves(worker)

    # What others do.

    def wait(self) -> None:
        self.made.reactor.advance(self.random.choice([0.05, 0.2, 1, 2, 7, 61]))

    def reload(self) -> None:
        if self.stopped is None:
            self.made.reload(self.random.choice(["one", "two"]), workers=self.random.randint(1, 3))

    def fail(self) -> None:
        if self.stopped is None:
            self.made.next = usage.UsageError("no")
            self.made.service.reload()

    def drain(self) -> None:
        if self.stopped is None:
            self.drained = True
            self.made.service.drain()

    def stop(self) -> None:
        self.stopped = self.stopped or self.made.service.stopService()

    # What has to be.

    def recover(self) -> None:
        """Every worker gets ready, and none dies any more; those that have done their part are replaced."""
        for _ in range(20):
            for worker in self.alive:
                worker.missedChecks = 0
                worker.load()
                if not worker.isReady and worker.sockets:
                    worker.getReady()
                if "leave" in worker.told or "stop" in worker.told:
                    worker.end("with status 0")
                elif not worker.gone:
                    worker.reports(worker)
                worker.answered, worker.ageShare = 0, 1000.0
            self.made.reactor.advance(MAX_RESTART_DELAY / 10)
        assert len(self.alive) == len(self.made.service.slots), [
            (w.pid, w.told, w.isReady, w.isLoaded) for w in self.made.workers
        ]
        assert len(self.alive) == self.made.service.configuration.workers
        assert self.made.service.ready
        assert not any(port.reading for endpoint in self.made.endpoints.values() for port in endpoint.ports)
        assert "cannot start" not in self.made.service.status()

    def finally_(self) -> None:
        self.stop()
        over: list[Any] = []
        assert self.stopped is not None
        self.stopped.addCallback(over.append)
        for _ in range(100):
            self.finish()
            self.made.reactor.advance(2)
        assert over, "it does not stop"
        assert not self.made.service.processes
        assert not self.alive
        assert not self.made.reactor.getDelayedCalls()
        assert not any(port.open for endpoint in self.made.endpoints.values() for port in endpoint.ports)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_workers_are_replaced_and_nothing_is_left(seed: int) -> None:
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        walk = Walk(seed)
        for _ in range(STEPS):
            walk.step()
        if walk.stopped is None and not walk.drained and not walk.made.failed:
            walk.recover()
        assert len(walk.made.failed) <= 1
        assert not (walk.made.failed and any(worker.isReady for worker in walk.made.workers[:1]))
        walk.finally_()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert not [event["log_failure"].getTraceback() for event in events if event.get("log_failure") is not None]
