"""Places for workers, and how long each waits for its next one."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall

from ..configuration.values import Configuration
from ..listening.ports import OpenPorts
from .process import WorkerProcess

#: Seconds until a worker that died is replaced: at first, and at last, when one after the other dies.
RESTART_DELAY, MAX_RESTART_DELAY = 0.1, 30.0


class Slot:
    """
    A place for a worker.

    :ivar worker: who has it; None while a successor waits to be started.
    :ivar delay: how long that takes.
    :ivar problem: why the last one did not become ready; empty: it did.
    """

    def __init__(self, configuration: Configuration, openPorts: OpenPorts) -> None:
        self.configuration = configuration
        self.openPorts = openPorts
        self.worker: WorkerProcess | None = None
        self.delay = RESTART_DELAY
        self.restart: IDelayedCall | None = None
        self.problem = ""

    @property
    def isReady(self) -> bool:
        """Whether there is a worker that serves."""
        return self.worker is not None and self.worker.isReady

    @property
    def isIdle(self) -> bool:
        """Whether there is no worker, and none is about to be started."""
        return self.worker is None and self.restart is None

    def cancel(self) -> None:
        """Start no worker here any more."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None
