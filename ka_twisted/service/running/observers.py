"""What observes the connections of a process, from one configuration to the next."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from ..configuration.values import Configuration
from ..errors import ConfigurationError, oneLine

if TYPE_CHECKING:
    from ...observe.connections import ConnectionLog
    from ...observe.metrics import Metrics


class ObserverSet:
    """
    What observes the connections of all generations: something does where there is an operator to read it.

    :ivar numbers: of the connections, which go on from one generation to the next.
    """

    def __init__(self) -> None:
        self.metrics: Metrics | None = None
        self.log: ConnectionLog | None = None
        self.numbers = count(1)
        self.accepted = 0

    def provide(self, configuration: Configuration) -> None:
        """
        Make what a configuration needs and is not there yet.

        :raises ConfigurationError: when a package for it is missing.
        """
        if configuration.admin is None or self.metrics is not None:
            return
        from ...observe.connections import ConnectionLog

        self.metrics = metrics()
        self.log = ConnectionLog()

    def handshakeFailed(self, reason: str) -> None:
        """A connection ended before HTTP began."""
        if self.metrics is not None:
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
