"""Waits of a life cycle, which a second signal ends."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two looks at something that does not tell when it changes.
_INTERVAL = 0.1


class Pauses:
    """
    Waits.

    :ivar over: whether there are no more: all that were begun have ended, and others end at once.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._waiting: dict[Deferred[None], IDelayedCall] = {}
        self.over = False

    def wait(self, seconds: float) -> Deferred[None]:
        """Fires after so many seconds, or when `end` is called."""
        if self.over or seconds <= 0:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting[waiting] = self._reactor.callLater(seconds, self._due, waiting)
        return waiting

    async def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, at most so many seconds."""
        end = self._reactor.seconds() + seconds
        while not self.over and not done() and (left := end - self._reactor.seconds()) > 0:
            await self.wait(min(left, _INTERVAL))

    def end(self) -> None:
        """Wait no more."""
        self.over = True
        for waiting, call in list(self._waiting.items()):
            call.cancel()
            self._due(waiting)

    def _due(self, waiting: Deferred[None]) -> None:
        del self._waiting[waiting]
        waiting.callback(None)
