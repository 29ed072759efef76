"""What is logged while a test runs: wanted errors are taken, any other fails the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(ILogObserver)
class Logged:
    """Events from level warn on."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            self._events.append(event)

    def failures(self, *kinds: type[BaseException]) -> list[Failure]:
        """Take the failures with an exception of these types."""
        return [event["log_failure"] for event in self._take(*kinds)]

    def entries(self, *kinds: type[BaseException]) -> list[str]:
        """Take them, for what was said about them."""
        return [formatEvent(event) for event in self._take(*kinds)]

    def _take(self, *kinds: type[BaseException]) -> list[LogEvent]:
        taken = [event for event in self._events if _failed(event, kinds)]
        self._events = [event for event in self._events if event not in taken]
        return taken

    def messages(self, level: LogLevel = LogLevel.error) -> list[str]:
        """Take what was said at this level without a failure."""
        taken = [event for event in self._events if event["log_level"] is level and "log_failure" not in event]
        self._events = [event for event in self._events if event not in taken]
        return [formatEvent(event) for event in taken]

    @property
    def rest(self) -> list[str]:
        """What was not taken."""
        return [_told(event) for event in self._events]


def _told(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return formatEvent(event) if failure is None else f"{formatEvent(event)}: {failure.getTraceback()}"


def _failed(event: LogEvent, kinds: tuple[type[BaseException], ...]) -> bool:
    failure = event.get("log_failure")
    return failure is not None and failure.check(*kinds) is not None


@contextmanager
def logged() -> Iterator[Logged]:
    """Watch the log; whatever is left untaken at the end fails."""
    log = Logged()
    globalLogPublisher.addObserver(log)
    try:
        yield log
    finally:
        globalLogPublisher.removeObserver(log)
    assert not log.rest, "\n".join(log.rest)
