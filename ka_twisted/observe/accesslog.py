"""The access log: a line for every request, and in JSON for the end of every connection."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IReactorTime
from zope.interface import implementer

from ..core.reasons import CloseReason
from ..http1.exchange import Exchange
from ..interfaces import IConnectionObserver
from .linefile import LineFile
from .lines import FORMATS, Format, LogContext

#: Seconds for which the clocks are taken to go alike.
_TRUSTED = 1.0


class _Connection(Protocol):
    """What the log looks at, of a `KeepAliveProtocol`."""

    id: int

    @property
    def peer(self) -> IAddress: ...

    @property
    def requestCount(self) -> int: ...

    @property
    def age(self) -> float: ...


@implementer(IConnectionObserver)
class AccessLog:
    """
    Writes a line for each request of the factories that it observes.

    Lines are gathered and written together, at the latest half a second after they were made. What
    cannot be written is lost, is logged once, and is made up for by a line that says how many are
    missing; nothing of it is felt by the connections.

    :param path: where to append; ``-`` is standard output.
    :param format: ``combined`` as Apache has it, or ``json``: an object a line, times in seconds.
    :param reactor: the clock of the observed factories; None: the global reactor.
    :param wallClock: gives the seconds since the epoch.
    :raises ValueError: for another format.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: str = "combined",
        reactor: IReactorTime | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        if format not in FORMATS:
            raise ValueError(f"a log format is {' or '.join(FORMATS)}, not {format!r}")
        if reactor is None:
            from twisted.internet import reactor as globalReactor

            reactor = cast(IReactorTime, globalReactor)
        self._seconds = reactor.seconds
        self._wallClock = wallClock
        self._format: Format = FORMATS[format]()
        self._file = LineFile(os.fspath(path), reactor, self._format.lost, wallClock)
        self._visits: dict[_Connection, LogContext] = {}
        #: What the wall clock is ahead of the other, and when that is to be looked at again.
        self._ahead = 0.0
        self._look = -inf

    def start(self) -> None:
        """
        Open the file. Before that, and after `stop`, nothing is recorded.

        :raises OSError: when it cannot be opened for writing.
        """
        self._file.open()

    def stop(self) -> None:
        """Write what waits, and close the file."""
        self._file.close()
        self._visits.clear()

    def reopen(self) -> None:
        """
        Go on in a new file of the same name, once the old one was renamed.

        :raises OSError: when it cannot be opened; the old one is kept then.
        """
        self._file.reopen()

    def connectionOpened(self, connection: _Connection) -> None:
        """See `IConnectionObserver`: a connection is of interest once it has something to say."""

    def exchangeFinished(self, connection: _Connection, exchange: Exchange) -> None:
        """See `IConnectionObserver`."""
        if not self._file.isOpen:
            return
        visit = self._visits.get(connection)
        if visit is None:
            visit = self._visits[connection] = _visit(connection)
        ended = exchange.ended
        if ended >= self._look:
            self._look = ended + _TRUSTED
            self._ahead = self._wallClock() - self._seconds()
        self._file.write(self._format.exchange(visit, exchange, ended + self._ahead))

    def connectionClosed(self, connection: _Connection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        visit = self._visits.pop(connection, None)
        if not self._file.isOpen:
            return
        count, age = connection.requestCount, connection.age
        visit = visit or _visit(connection)
        line = self._format.closed(visit, reason, count, age, self._wallClock())
        if line:
            self._file.write(line)


def _visit(connection: _Connection) -> LogContext:
    """Where a connection comes from, without the port; ``-`` where that has no address."""
    peer = connection.peer
    host = "" if isinstance(peer, UNIXAddress) else getattr(peer, "host", "")
    return LogContext(connection.id, str(host) or "-")
