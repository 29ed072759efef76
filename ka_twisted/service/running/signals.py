"""
What the signals mean while the service runs.

Twisted lets twistd die of the signal that stopped it. A server that a signal asked to stop, and that has drained, did
what it was asked for: it ends with status 0. The second signal means "at once": without this it would be a traceback,
since the reactor is stopping already.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from twisted.internet.error import ReactorNotRunning

from ...net.private import movedAway, rotatedBy


class StopSignals:
    """
    The handlers of the signals that stop one service.

    :param reactor: provides IReactorCore and IReactorFromThreads.
    :param stopNow: called in the reactor's thread for each signal after the first.
    :param numbers: the signals that it is about.
    """

    def __init__(
        self,
        reactor: Any,
        stopNow: Callable[[], object],
        numbers: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT),
    ) -> None:
        self._reactor = reactor
        self._stopNow = stopNow
        self._numbers = numbers
        self._previous: dict[int, Any] = {}
        self._stopping = False

    def install(self) -> None:
        """Take over from the reactor's handlers, and take SIGQUIT; not where the reactor has installed none."""
        if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGTERM)):
            return
        for number in self._numbers:
            if number == signal.SIGQUIT or signal.getsignal(number) is not signal.default_int_handler:
                self._previous[number] = signal.signal(number, self._received)

    def uninstall(self) -> None:
        """Give the handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _received(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stopNow if self._stopping else self._stop)
        self._stopping = True

    def _stop(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # it is stopping already


class OperatorSignals:
    """
    The signals by which an operator asks for something: SIGHUP, SIGUSR1.

    What they meant before they still mean. twistd rotates its own log (``--logfile``) at SIGUSR1; where that was moved
    by something else before, it is opened anew instead.

    :param reactor: provides IReactorFromThreads.
    :param meanings: what is called, in the reactor's thread, for each signal.
    """

    def __init__(self, reactor: Any, meanings: Mapping[int, Callable[[], object]]) -> None:
        self._reactor = reactor
        self._meanings = meanings
        self._previous: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals over; not outside of the main thread, where Python does not allow it."""
        if threading.current_thread() is threading.main_thread():
            for number in self._meanings:
                self._previous[number] = signal.signal(number, self._received)

    def uninstall(self) -> None:
        """Give them back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _received(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        logFile = rotatedBy(previous)
        if logFile is not None and movedAway(logFile):
            self._reactor.callFromThread(logFile.reopen)
        elif callable(previous) and previous is not signal.default_int_handler:
            previous(number, frame)
        self._reactor.callFromThread(self._meanings[number])
