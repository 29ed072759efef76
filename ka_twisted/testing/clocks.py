"""Time that only moves when it is told."""

from __future__ import annotations

from twisted.internet.task import Clock


def settle(clock: Clock) -> None:
    """Let the clock turn until nothing is left to be done now."""
    while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
        clock.advance(0)


def advance(clock: Clock, seconds: float) -> None:
    """Let time pass; what is due on the way is called when it is due."""
    target = clock.seconds() + seconds
    while (calls := clock.getDelayedCalls()) and (due := min(call.getTime() for call in calls)) <= target:
        clock.advance(max(0.0, due - clock.seconds()))
    clock.advance(max(0.0, target - clock.seconds()))
    settle(clock)
