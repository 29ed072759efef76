"""
Metrics of a server: what its connections do, in numbers.

Serving only adds to plain counts. They become Prometheus' metrics when they are read, and whatever can be looked up
then, such as the states of the open connections, is not counted before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zope.interface import implementer

from ..core.exchange import Exchange
from ..core.reasons import CloseReason
from ..interfaces import IConnection, IConnectionObserver
from . import families
from .counts import SUM, Counts, Histogram
from .families import CONNECTION_STATES, EXPECTATION_TIMER, FAMILIES, TIMERS, Family, Kind, Labels
from .registries import Registries

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["Counts", "Metrics"]

#: The registered methods (RFC 9110 9.3, RFC 5789). Peers can invent any number of others, which are counted as one.
METHODS = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"))
OTHER = b"other"
#: States in which a connection may be closed without a response, while a request is on its way to it.
_BETWEEN_REQUESTS = frozenset(("unused", "idle"))
#: The buckets of the time to the first byte; that of most responses is not searched for.
_BUCKETS = families.TIME_TO_FIRST_BYTE.buckets
_FIRST_BUCKET = _BUCKETS[0]

_Numbers = dict[Family, dict[Labels, float]]


@implementer(IConnectionObserver)
class Metrics:
    """
    Counts what happens on the connections of the factories that it observes, for Prometheus.

    :param registry: where to register; None: a registry of its own.
    :raises ImportError: without the package prometheus-client.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise ImportError("Metrics needs the package prometheus-client: pip install prometheus-client") from error
        self.registry = CollectorRegistry() if registry is None else registry
        self._registries = Registries()
        #: What is told by `count`.
        self._counted: _Numbers = {
            family: dict.fromkeys(family.initial, 0)
            for family in FAMILIES
            if family.kind is not Kind.HISTOGRAM and not family.computed
        }
        self._opened = 0
        #: By the name of the reason, and by the side that ended the connection.
        self._closed: dict[tuple[str, str], int] = {}
        #: Of closed connections: their requests, those of them with one, bytes received and sent.
        self._taken = self._used = self._received = self._sent = 0
        self._races = 0
        self._expectationsExpired = 0
        #: By method and status; a method that is not registered is `OTHER`.
        self._requests: dict[bytes, dict[int | None, int]] = {}
        self._perConnection = Histogram(families.CONNECTION_REQUESTS)
        self._firstByte = Histogram(families.TIME_TO_FIRST_BYTE)
        # Its parts, found faster; the sum is put into it when it is read.
        self._firstByteCounts = self._firstByte.counts
        self._firstByteSum = 0.0
        #: Of requests that were not alone; all others have depth 1.
        self._depth = Histogram(families.PIPELINE_DEPTH)
        self.registry.register(self)

    def exposition(self) -> tuple[bytes, str]:
        """
        All that is in the registry, for a handler to return.

        :return: the bytes of the text format, and their Content-Type.
        """
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    # -- what connections tell -----------------------------------------------------------------------------------------

    def connectionOpened(self, connection: IConnection) -> None:
        """See `IConnectionObserver`."""
        self._opened += 1
        self._registries.add(connection.registry)

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        """See `IConnectionObserver`. It is called for every request, so it makes no call that can be avoided."""
        method = exchange.head.method
        status = exchange.status
        try:
            self._requests[method][status] += 1
        except KeyError:
            self._countAnother(method, status)
        if status is not None and (status < 400 or exchange.error is None):
            wait = (exchange.responded or exchange.ended) - exchange.started
            self._firstByteCounts[0 if wait <= _FIRST_BUCKET else bisect_left(_BUCKETS, wait)] += 1
            self._firstByteSum += wait
        if exchange.depth != 1:
            depths = self._depth
            depths.counts[bisect_left(depths.bounds, exchange.depth)] += 1
            depths.sum += exchange.depth
        if exchange.overdue:
            self._expectationsExpired += 1

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        key = (reason.name, reason.by)
        self._closed[key] = self._closed.get(key, 0) + 1
        requests = connection.requestCount
        histogram = self._perConnection
        histogram.counts[bisect_left(histogram.bounds, requests)] += 1
        histogram.sum += requests
        self._taken += requests
        self._used += requests > 0
        self._received += connection.bytesReceived
        self._sent += connection.bytesSent
        if connection.lateBytes and reason.by == "us" and reason.state in _BETWEEN_REQUESTS:
            self._races += 1

    def _countAnother(self, method: bytes, status: int | None) -> None:
        """The first request of its method and status, or one whose method is not registered."""
        counts = self._requests.setdefault(method if method in METHODS else OTHER, {})
        counts[status] = counts.get(status, 0) + 1

    # -- what others tell ----------------------------------------------------------------------------------------------

    def count(self, family: Family, amount: float = 1, **labels: str) -> None:
        """
        Add to a counter that no connection tells of.

        :param labels: the values of all labels of the family; each combination is a time series of its own, so there
            have to be few.
        """
        _add(self._counted, family, amount, **labels)

    def handshakeFailed(self, reason: str) -> None:
        """
        A connection ended before HTTP began.

        :param reason: one of a few words.
        """
        self.count(families.HANDSHAKE_FAILURES, reason=reason)

    def connectionRefused(self, reason: str) -> None:
        """
        A connection was closed because of a limit, before HTTP began and before observers were told of it.

        :param reason: one of a few words.
        """
        self.count(families.CONNECTIONS_REFUSED, reason=reason)

    def reloaded(self, well: bool) -> None:
        """The server has tried to put another configuration into effect."""
        self.count(families.RELOADS, outcome="done" if well else "failed")

    def workerDied(self) -> None:
        """A process of the server has ended without having been told to."""
        self.count(families.WORKER_DEATHS)

    # -- what is read --------------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """All that was counted so far, and what the open connections do now."""
        numbers = {family: dict(counted) for family, counted in self._counted.items()}
        self._addConnections(numbers)
        self._addRequests(numbers)
        return Counts(numbers)

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        from .exposition import complete, metrics

        return metrics(complete(self.counts()))

    def _addConnections(self, numbers: _Numbers) -> None:
        """The families of connections, those that are open now included."""
        states = dict.fromkeys(CONNECTION_STATES, 0)
        taken, used, received, sent = self._taken, self._used, self._received, self._sent
        for connection in self._registries.connections():
            states[connection.state] += 1
            requests = connection.requestCount
            taken += requests
            used += requests > 0
            received += connection.bytesReceived
            sent += connection.bytesSent
        _add(numbers, families.CONNECTIONS_OPENED, self._opened)
        _add(numbers, families.CONNECTIONS_USED, used)
        _add(numbers, families.IDLE_CLOSE_RACES, self._races)
        _add(numbers, families.RECEIVED_BYTES, received)
        _add(numbers, families.SENT_BYTES, sent)
        _add(numbers, families.REQUESTS_TAKEN, taken)
        for state, count in states.items():
            _add(numbers, families.CONNECTIONS, count, state=state)
        for (reason, by), count in self._closed.items():
            _add(numbers, families.CONNECTIONS_CLOSED, count, reason=reason, by=by)
            if reason in TIMERS:
                _add(numbers, families.TIMERS_FIRED, count, timer=TIMERS[reason])
        _add(numbers, families.TIMERS_FIRED, self._expectationsExpired, timer=EXPECTATION_TIMER)
        numbers[families.CONNECTION_REQUESTS] = self._perConnection.numbers()

    def _addRequests(self, numbers: _Numbers) -> None:
        """The families of requests that are over."""
        for method, counts in self._requests.items():
            for status, count in counts.items():
                group = "none" if status is None else f"{status // 100}xx"
                _add(numbers, families.REQUESTS, count, method=method.decode("ascii"), status=group)
        self._firstByte.sum = self._firstByteSum
        numbers[families.TIME_TO_FIRST_BYTE] = self._firstByte.numbers()
        numbers[families.PIPELINE_DEPTH] = self._depths(sum(numbers[families.REQUESTS].values()))

    def _depths(self, requests: float) -> dict[Labels, float]:
        """The depths that were counted, and those of all other requests, which were alone."""
        histogram = self._depth
        numbers = histogram.numbers()
        alone = requests - sum(histogram.counts)
        numbers[histogram.labels[bisect_left(histogram.bounds, 1)]] += alone
        numbers[SUM,] += alone
        return numbers


def _add(numbers: _Numbers, family: Family, amount: float, **labels: str) -> None:
    """Add to one number of a family."""
    known = numbers[family]
    key = family.key(**labels)
    known[key] = known.get(key, 0) + amount
