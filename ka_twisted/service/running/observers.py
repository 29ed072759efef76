"""What observes the connections of a process, from one configuration to the next."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from zope.interface import implementer

from ...core.exchange import Exchange
from ...core.reasons import CloseReason
from ...interfaces import IConnection, IConnectionObserver
from ...net.stages import CROWDED
from ...observe.families import ACCESS_LOG_DROPPED
from ..configuration.values import Configuration
from ..errors import ConfigurationError, oneLine

if TYPE_CHECKING:
    from ...observe.connections import ConnectionLog
    from ...observe.linefile import LineFile
    from ...observe.metrics import Metrics


@implementer(IConnectionObserver)
class AnsweredCount:
    """
    Counts the requests that were answered. It is there only where their number is limited.

    :ivar count: since the process began.
    """

    def __init__(self) -> None:
        self.count = 0

    def connectionOpened(self, connection: IConnection) -> None:
        """See `IConnectionObserver`."""

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        """See `IConnectionObserver`."""
        self.count += 1

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""


class ObserverSet:
    """
    What observes the connections of all generations: something does where there is an operator to read it.

    :param accessLogFile: takes the lines of the access log; None: the file that the configuration names.
    :ivar answered: counts the requests of a worker whose number is limited.
    :ivar numbers: of the connections, which go on from one generation to the next.
    """

    def __init__(self, accessLogFile: LineFile | None = None) -> None:
        self.accessLogFile = accessLogFile
        self.metrics: Metrics | None = None
        self.log: ConnectionLog | None = None
        self.answered: AnsweredCount | None = None
        self.numbers = count(1)
        self.accepted = 0

    def provide(self, configuration: Configuration) -> None:
        """
        Make what a configuration needs and is not there yet.

        :raises ConfigurationError: when a package for it is missing.
        """
        if configuration.workerMaxRequests and self.answered is None:
            self.answered = AnsweredCount()
        if configuration.admin is None or self.metrics is not None:
            return
        from ...observe.connections import ConnectionLog

        self.metrics = metrics()
        self.log = ConnectionLog()

    def linesDropped(self, count: int) -> None:
        """Lines of the access log are lost."""
        if self.metrics is not None:
            self.metrics.count(ACCESS_LOG_DROPPED, count)

    def handshakeFailed(self, reason: str) -> None:
        """A connection ended before HTTP began."""
        if self.metrics is None:
            return
        if reason == CROWDED:
            self.metrics.connectionRefused(reason)
        else:
            self.metrics.handshakeFailed(reason)


def metrics() -> Metrics:
    """
    Make metrics.

    :raises ConfigurationError: when the package for them is missing.
    """
    from ...observe.metrics import Metrics

    try:
        return Metrics()
    except ImportError as error:
        raise ConfigurationError(oneLine(error)) from error
