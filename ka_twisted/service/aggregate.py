"""What the workers of a supervisor have done together, those that are gone included."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .process import WorkerProcess

if TYPE_CHECKING:
    from ..observe.metrics import Metrics

#: Stories that are kept of closed connections of workers that are gone.
_STORIES = 200


class Aggregate:
    """
    What is left of workers that are gone: their counts, so that sums never go back, and their last stories.

    :ivar accepted: connections.
    :ivar metrics: what the supervisor itself counts; None where nobody reads it.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.metrics: Metrics | None = None
        self.counts: Any = None
        self.stories: deque[dict[str, Any]] = deque(maxlen=_STORIES)

    def reloaded(self, well: bool) -> None:
        """A reload is over."""
        if self.metrics is not None:
            self.metrics.reloaded(well)  # type: ignore[attr-defined,unused-ignore]

    def remember(self, worker: WorkerProcess) -> None:
        """A worker is gone."""
        self.accepted += worker.accepted
        self.stories.extend({**story, "pid": worker.pid} for story in reversed(worker.stories))
