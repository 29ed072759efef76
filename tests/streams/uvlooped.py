"""The reactor on uvloop, turned by hand, with a time that only moves when it is told."""

from __future__ import annotations

from functools import cache

import uvloop

from ka_twisted.reactors.uvloop import UvloopReactor


class UvloopStepped(UvloopReactor):
    """The reactor, with a time that only moves when it is told."""

    now = 0.0

    def seconds(self) -> float:
        return self.now

    def turn(self, wait: float) -> None:
        """Do what is ready, or will be within so many seconds."""
        self.runUntilCurrent()
        self.iterate(wait)

    def due(self) -> float | None:
        """When the next delayed call is due."""
        return min((call.getTime() for call in self.getDelayedCalls()), default=None)


@cache
def stepped() -> UvloopStepped:
    """One for all tests: it is left as it was found."""
    return UvloopStepped(uvloop.new_event_loop())
