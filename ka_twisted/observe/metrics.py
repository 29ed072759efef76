"""
Metrics for Prometheus: what the connections of a server do, in numbers.

Serving only adds to plain counts. They become Prometheus' metrics when somebody reads them, and whatever can be
looked up then, such as the states of the open connections, is not counted before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from zope.interface import implementer

from ..core.deadlines import Deadline
from ..core.pipeline import Exchange
from ..core.reasons import CloseReason
from ..interfaces import IConnectionObserver
from .watched import Connection, OpenConnections

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.core import HistogramMetricFamily

#: What `KeepAliveProtocol.state` can say.
STATES = ("unused", "idle", "reading a head", "reading a body", "responding", "closing", "switched")
#: The registered methods (RFC 9110 9.3, RFC 5789). Peers can invent any number of others, which are one here.
METHODS = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"))
OTHER = b"other"
#: The timers that end a connection, by the reason that they give.
TIMERS = {deadline.reason.name: deadline.name.lower() for deadline in Deadline if deadline.reason is not None}
EXPECTATION = Deadline.EXPECTATION.name.lower()
#: What a connection does that may be ended without a word, while a request is on its way.
_AT_REST = frozenset(("unused", "idle"))


class _Histogram:
    """
    How many of some values lie in which range.

    :param bounds: the upper ends of the ranges, each included; what is larger than all has a range of its own.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@implementer(IConnectionObserver)
class Metrics:
    """
    Counts what the factories do that it observes, and exposes it to Prometheus.

    :param registry: where to register; None: a registry of its own.
    :raises ImportError: without the package prometheus-client.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise ImportError("Metrics needs the package prometheus-client: pip install prometheus-client") from error
        self.registry = CollectorRegistry() if registry is None else registry
        self._open = OpenConnections()
        self._opened = 0
        self._closed: dict[tuple[str, str], int] = {(reason.name, reason.by): 0 for reason in CloseReason.all()}
        #: Of connections that are closed: all requests, those that were the first of theirs, octets in and out.
        self._taken = self._firsts = self._received = self._sent = 0
        self._races = 0
        self._expired = 0
        #: By method and status; a method that is not registered is `OTHER`.
        self._requests: dict[tuple[bytes, int | None], int] = {}
        self._perConnection = _Histogram(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000)
        self._firstByte = _Histogram(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
        #: Of requests that had company; the others are all of depth 1.
        self._depth = _Histogram(1, 2, 4, 8, 16, 32, 64)
        self.registry.register(self)

    def exposition(self) -> tuple[bytes, str]:
        """
        All that is in the registry, for a handler to return.

        :return: the octets of the text format, and their Content-Type.
        """
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    # What connections tell.

    def connectionOpened(self, connection: Connection) -> None:
        """See `IConnectionObserver`."""
        self._opened += 1
        self._open.heardOf(connection)

    def exchangeFinished(self, connection: Connection, exchange: Exchange) -> None:
        """See `IConnectionObserver`. Every request comes this way: no calls that can be spared."""
        head = exchange.head
        status = exchange.status
        try:
            self._requests[head.method, status] += 1
        except KeyError:
            self._countAnother(head.method, status)
        if status is not None and exchange.error is None:
            wait = (exchange.responded or connection.factory.now()) - exchange.started
            histogram = self._firstByte
            histogram.counts[bisect_left(histogram.bounds, wait)] += 1
            histogram.sum += wait
        if exchange.depth != 1:
            self._depth.add(exchange.depth)
        if exchange.overdue:
            self._expired += 1

    def connectionClosed(self, connection: Connection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        key = (reason.name, reason.by)
        self._closed[key] = self._closed.get(key, 0) + 1
        requests = connection.requestCount
        self._perConnection.add(requests)
        self._taken += requests
        self._firsts += requests > 0
        self._received += connection.octetsReceived
        self._sent += connection.octetsSent
        if connection.lateOctets and reason.by == "us" and reason.state in _AT_REST:
            self._races += 1

    def _countAnother(self, method: bytes, status: int | None) -> None:
        """A request of a kind that was not met before, or that has no count of its own."""
        key = (method if method in METHODS else OTHER, status)
        self._requests[key] = self._requests.get(key, 0) + 1

    # What Prometheus reads.

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield from self._aboutConnections()
        yield from self._aboutRequests()

    def _aboutConnections(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        states = dict.fromkeys(STATES, 0)
        taken, firsts, received, sent = self._taken, self._firsts, self._received, self._sent
        for connection in self._open:
            states[connection.state] += 1
            requests = connection.requestCount
            taken += requests
            firsts += requests > 0
            received += connection.octetsReceived
            sent += connection.octetsSent

        gauge = GaugeMetricFamily("ka_twisted_connections", "Open connections by what they do.", labels=["state"])
        for state, count in states.items():
            gauge.add_metric([state], count)
        yield gauge
        yield CounterMetricFamily("ka_twisted_connections_opened", "Connections accepted.", self._opened)
        closed = dict(self._closed)
        counter = CounterMetricFamily(
            "ka_twisted_connections_closed", "Connections closed, by reason and by whom.", labels=["reason", "by"]
        )
        for (reason, by), count in closed.items():
            counter.add_metric([reason, by], count)
        yield counter
        yield self._timers(closed)
        yield _family(
            self._perConnection, "ka_twisted_connection_requests", "Requests of a connection, told when it is closed."
        )
        yield GaugeMetricFamily(
            "ka_twisted_connection_reuse_ratio",
            "Share of all requests that came on a connection which had served one before.",
            1 - firsts / taken if taken else 0,
        )
        yield CounterMetricFamily(
            "ka_twisted_idle_close_races",
            "Connections on which something came after they were closed as idle: most likely a request, lost.",
            self._races,
        )
        yield CounterMetricFamily("ka_twisted_received_bytes", "Octets of HTTP received.", received)
        yield CounterMetricFamily("ka_twisted_sent_bytes", "Octets of HTTP sent.", sent)

    def _timers(self, closed: dict[tuple[str, str], int]) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        fired = dict.fromkeys(TIMERS.values(), 0)
        for (reason, _), count in closed.items():
            if reason in TIMERS:
                fired[TIMERS[reason]] += count
        fired[EXPECTATION] = self._expired
        counter = CounterMetricFamily("ka_twisted_timers_fired", "Time-outs that came into effect.", labels=["timer"])
        for timer, count in fired.items():
            counter.add_metric([timer], count)
        return counter

    def _aboutRequests(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        classes: dict[tuple[str, str], int] = {}
        for (method, status), count in list(self._requests.items()):
            key = (method.decode("ascii"), "none" if status is None else f"{status // 100}xx")
            classes[key] = classes.get(key, 0) + count
        counter = CounterMetricFamily(
            "ka_twisted_requests", "Requests by method and class of the response's status.", labels=["method", "status"]
        )
        for labels, count in classes.items():
            counter.add_metric(labels, count)
        yield counter
        yield _family(
            self._firstByte,
            "ka_twisted_time_to_first_byte_seconds",
            "From the end of a request's head until the head of its response was made.",
        )
        alone = sum(classes.values()) - sum(self._depth.counts)
        yield _family(
            self._depth,
            "ka_twisted_pipeline_depth",
            "Requests in service on its connection when a request was taken up, itself included.",
            alone,
        )


def _family(histogram: _Histogram, name: str, text: str, ones: int = 0) -> HistogramMetricFamily:
    """
    A histogram as Prometheus has it.

    :param ones: so many values of 1 that were not counted.
    """
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.utils import floatToGoString

    counts = list(histogram.counts)
    counts[bisect_left(histogram.bounds, 1)] += ones
    bounds = map(floatToGoString, (*histogram.bounds, inf))
    buckets = list(zip(bounds, accumulate(counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.sum + ones)
