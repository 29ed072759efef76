"""The access log: a line for every request, and in JSON for the end of every connection."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from math import inf
from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IReactorTime
from zope.interface import implementer

from ..core.exchange import Exchange
from ..core.forwarded import TrustedProxies
from ..core.reasons import CloseReason
from ..interfaces import IConnection, IConnectionObserver
from .directives import makeFormat
from .linefile import LineFile
from .lines import Format, LogContext

#: Seconds after which the difference between the clocks is measured again.
_OFFSET_VALID = 1.0


@implementer(IConnectionObserver)
class AccessLog:
    """
    Writes a line for each request of the factories that it observes.

    Lines are gathered and written together, at the latest half a second after they were made. What
    cannot be written is lost, is logged once, and is made up for by a line that says how many are
    missing. Lines for a pipe that no process reads wait in a bounded queue, and are lost past it. Connections
    never wait for the log.

    :param path: where to append: a file, a FIFO, or ``-``, which is standard output.
    :param format: ``combined`` as Apache has it, ``json``: an object a line, times in seconds; or a text with
        directives (`directives`).
    :param reactor: the clock of the observed factories; None: the global reactor.
    :param wallClock: gives the seconds since the epoch.
    :param file: writes the lines, instead of a `LineFile` for the path.
    :raises ValueError: for another format, or a directive that is not known.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: str = "combined",
        reactor: IReactorTime | None = None,
        wallClock: Callable[[], float] = time.time,
        *,
        file: LineFile | None = None,
    ) -> None:
        try:
            self._format: Format = makeFormat(format)
        except ValueError as error:
            raise ValueError(f"a log format{error}") from None
        if reactor is None:
            from twisted.internet import reactor as globalReactor

            reactor = cast(IReactorTime, globalReactor)
        self._seconds = reactor.seconds
        self._wallClock = wallClock
        self._file = file or LineFile(os.fspath(path), reactor, self._format.lost, wallClock)
        self._contexts: dict[IConnection, LogContext] = {}
        #: Seconds by which the wall clock is ahead of the reactor's, and when that is to be measured again.
        self._offset = 0.0
        self._offsetDue = -inf

    def start(self) -> None:
        """
        Open the file. Before that, and after `stop`, nothing is recorded.

        :raises OSError: when it cannot be opened for writing.
        """
        self._file.lostLine = self._format.lost
        self._file.open()

    @property
    def file(self) -> LineFile:
        """What writes the lines."""
        return self._file

    @property
    def droppedLines(self) -> int:
        """Lines that could not be written, since the log was made."""
        return self._file.droppedLines

    def stop(self) -> None:
        """Write what waits, and close the file."""
        self._file.close()
        self._contexts.clear()

    def reopen(self) -> None:
        """
        Go on in a new file of the same name, once the old one was renamed.

        :raises OSError: when it cannot be opened; the old one is kept then.
        """
        self._file.reopen()

    def connectionOpened(self, connection: IConnection) -> None:
        """See `IConnectionObserver`: a connection is of interest once it has something to say."""

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        """See `IConnectionObserver`."""
        if not self._file.isOpen:
            return
        try:
            context = self._contexts[connection]
        except KeyError:
            context = self._contexts[connection] = _context(connection)
        if context.trusted is not None:
            context.findClient(exchange)
        ended = exchange.ended
        if ended >= self._offsetDue:
            self._offsetDue = ended + _OFFSET_VALID
            self._offset = self._wallClock() - self._seconds()
        self._file.write(self._format.exchange(context, exchange, ended + self._offset))

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        context = self._contexts.pop(connection, None)
        if not self._file.isOpen:
            return
        count, age = connection.requestCount, connection.age
        context = context or _context(connection)
        line = self._format.closed(context, reason, count, age, self._wallClock())
        if line:
            self._file.write(line)


def _context(connection: IConnection) -> LogContext:
    """What its lines say of a connection: the client's address without the port, ``-`` where it has none."""
    local = connection.host
    port = str(getattr(local, "port", "-"))
    peer = connection.peer
    context = LogContext(connection.id, _address(peer), _address(local), port, connection.secure)
    trusted: TrustedProxies | None = getattr(connection.registry, "trustedProxies", None)
    if trusted is not None and trusted.trusts(None if isinstance(peer, UNIXAddress) else getattr(peer, "host", "")):
        context.trusted = trusted
    return context


def _address(address: IAddress) -> str:
    host = "" if isinstance(address, UNIXAddress) else getattr(address, "host", "")
    return str(host) or "-"
