"""What a terminal shows beside the log: where the server listens, how to stop it, and what a stop waits for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from shlex import quote
from typing import TextIO

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

#: Clears the rest of a line, so that a shorter text replaces a longer one (ECMA-48, EL).
_CLEAR = "\x1b[K"


def terminal() -> TextIO | None:
    """The terminal that standard error is, if it is one; twistd replaces ``sys.stderr`` by its log."""
    stream = sys.__stderr__
    try:
        return stream if stream is not None and stream.isatty() else None
    except ValueError:  # it is closed
        return None


def tellServing(addresses: Iterable[str], pidfile: str | None) -> None:
    """
    Say on one line where the server listens, and how to stop it; nothing without a terminal.

    :param pidfile: of the process in the background; None: it is in the foreground; empty: it has no such file.
    """
    stream = terminal()
    if stream is None:
        return
    if pidfile is None:
        end = "press Ctrl-C to stop"
    else:
        end = f"stop it with: kill $(cat {quote(pidfile)})" if pidfile else "in the background, without a pid file"
    print(f"keepalive: listening on {', '.join(addresses)}; {end}", file=stream, flush=True)


class DrainProgress:
    """
    One line on the terminal, renewed each second while the server drains; what is logged takes its place.

    :param connections: how many are open.
    :param stream: finds the terminal; None: there is none, and nothing is said.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        connections: Callable[[], int],
        stream: Callable[[], TextIO | None] = terminal,
    ) -> None:
        self._reactor = reactor
        self._connections = connections
        self._find = stream
        self._stream: TextIO | None = None
        self._end: float | None = None
        self._ticks = LoopingCall(self._show)
        self._ticks.clock = reactor

    def start(self, seconds: float | None) -> None:
        """
        Begin.

        :param seconds: after which all is over; None: there is no such limit.
        """
        self._stream = self._find()
        if self._stream is not None:
            self._end = None if seconds is None else self._reactor.seconds() + seconds
            self._ticks.start(1)

    def stop(self) -> None:
        """Take the line away."""
        if self._ticks.running:
            self._ticks.stop()
            self._write("")

    def _show(self) -> None:
        count = self._connections()
        text = f"draining: {count} open connection{'' if count == 1 else 's'}"
        if self._end is not None:
            text += f", {max(round(self._end - self._reactor.seconds()), 0)} s left at most"
        self._write(text)

    def _write(self, text: str) -> None:
        assert self._stream is not None
        try:
            # The cursor goes back to the left: a line of the log is written over this one.
            self._stream.write(f"\r{_CLEAR}{text}\r")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone
            if self._ticks.running:
                self._ticks.stop()
