"""A session: every task of every experiment, in rounds that alternate between the servers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TextIO

from .figures import Case, Figures, Sample, rounded
from .processes import LoadFailed, PeerFailed

#: Prints one sentence on the terminal.
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """
    How much is measured.

    :ivar peers: see `peers.names`; None: all.
    :ivar rounds: how often each figure is taken.
    :ivar seconds: of each run, after it is warm.
    :ivar connections: that the load uses.
    :ivar idle: connections that do nothing: how many for the memory of one.
    :ivar crowds: connections that do nothing, beside those of the load: how many, ascending.
    :ivar rates: requests a second of a load that is fixed.
    """

    peers: frozenset[str] | None = None
    rounds: int = 3
    seconds: int = 4
    connections: int = 64
    idle: int = 5000
    crowds: tuple[int, ...] = (0, 1000, 2500, 5000, 10000)
    rates: tuple[int, ...] = (5000, 20000)


@dataclass(frozen=True)
class Task:
    """
    One run of one server, and what it measures.

    :ivar title: what is done, for the progress on the terminal.
    :ivar server: whose figures they are; the name of its row.
    :ivar cases: what it gives; all of them have failed when it does.
    :ivar measure: gives a sample for each of the cases by their names; raises PeerFailed or LoadFailed.
    """

    title: str
    server: str
    cases: tuple[Case, ...]
    measure: Callable[[], Mapping[str, Sample]]


class Kind(Enum):
    """How figures are shown."""

    #: One case: the servers from the best to the worst.
    RANKING = "ranking"
    #: Several cases that lie on an axis: a line for each server.
    LINES = "lines"
    #: The same with percentiles on the axis, where it is the tail that matters.
    TAILS = "tails"
    #: Two cases, and how many times the first the second is.
    PAIR = "pair"


@dataclass(frozen=True)
class Chart:
    """
    Cases that are shown together, in one table and one drawing.

    :ivar axis: what the axis of its lines shows.
    """

    title: str
    kind: Kind
    cases: tuple[Case, ...]
    axis: str = ""


@dataclass(frozen=True)
class Experiment:
    """
    What is measured, how it is shown, and what came of it.

    :ivar name: of its files, and on the command line.
    :ivar about: what exactly is measured, in Markdown.
    :ivar tasks: of one round.
    """

    name: str
    title: str
    about: str
    charts: tuple[Chart, ...]
    tasks: tuple[Task, ...]
    figures: Figures = field(default_factory=Figures)


class Progress:
    """Tells what is being done, what came of it, and how long the rest may take."""

    def __init__(self, total: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._done = 0
        self._stream = stream or sys.stderr
        self._clock = clock
        self._begun = clock()

    def begin(self, what: str) -> None:
        """A run begins."""
        number = f"[{self._done + 1:{len(str(self._total))}}/{self._total}{self._left()}]"
        self._stream.write(f"{number} {what}: ")
        self._stream.flush()

    def end(self, result: str) -> None:
        """It is over."""
        self._done += 1
        self._stream.write(f"{result}\n")
        self._stream.flush()

    def _left(self) -> str:
        if not self._done:
            return ""
        seconds = (self._clock() - self._begun) / self._done * (self._total - self._done)
        return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"


def run(experiments: Sequence[Experiment], rounds: int, progress: Progress) -> None:
    """All tasks of all experiments; one that fails is noted, and the others go on."""
    for experiment in experiments:
        for number in range(1, rounds + 1):
            for task in experiment.tasks:
                progress.begin(f"{experiment.name}, round {number} of {rounds}, {task.title}, {task.server}")
                progress.end(_attempt(experiment.figures, task, number))


def _attempt(figures: Figures, task: Task, number: int) -> str:
    try:
        samples = task.measure()
    except (PeerFailed, LoadFailed, OSError) as error:
        for case in task.cases:
            figures.fail(case, task.server, number, str(error))
        return f"failed: {error}"
    for case in task.cases:
        figures.add(case, task.server, number, samples[case.name])
    return ", ".join(f"{case.label} {rounded(samples[case.name].value)} {case.unit}".strip() for case in task.cases)
