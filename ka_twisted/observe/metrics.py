"""
Metrics for Prometheus: what the connections of a server do, in numbers.

Serving only adds to plain counts. They become Prometheus' metrics when somebody reads them, and whatever can be
looked up then, such as the states of the open connections, is not counted before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zope.interface import implementer

from ..core.deadlines import Deadline
from ..core.reasons import CloseReason
from ..http1.exchange import Exchange
from ..interfaces import IConnectionObserver
from .counts import SUM, Counts, Histogram, Labels
from .watched import Connection, OpenConnections

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["STATES", "TIMERS", "Counts", "Metrics"]

#: What `KeepAliveProtocol.state` can say.
STATES = ("unused", "idle", "reading a head", "reading a body", "responding", "closing", "switched")
#: The registered methods (RFC 9110 9.3, RFC 5789). Peers can invent any number of others, which are one here.
METHODS = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"))
OTHER = b"other"
#: The timers that end a connection, by the reason that they give.
TIMERS = {deadline.reason.name: deadline.name.lower() for deadline in Deadline if deadline.reason is not None}
EXPECTATION = Deadline.EXPECTATION.name.lower()
#: What can come of a reload.
DONE, FAILED = "done", "failed"
#: What a connection does that may be ended without a word, while a request is on its way.
_AT_REST = frozenset(("unused", "idle"))
#: Seconds to the first byte, at most, that most responses take: they are not looked for among the ranges.
_FAST = 0.001


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
        self._closed: dict[Labels, int] = {(reason.name, reason.by): 0 for reason in CloseReason.all()}
        #: Of connections that are closed: all requests, those that were the first of theirs, bytes in and out.
        self._taken = self._used = self._received = self._sent = 0
        self._races = 0
        self._expired = 0
        #: By method and status; a method that is not registered is `OTHER`.
        self._requests: dict[bytes, dict[int | None, int]] = {}
        self._perConnection = Histogram(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000)
        self._firstByte = Histogram(_FAST, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
        #: Of requests that had company; the others are all of depth 1.
        self._depth = Histogram(1, 2, 4, 8, 16, 32, 64)
        self._handshakes: dict[str, int] = {}
        self._reloads = {DONE: 0, FAILED: 0}
        self._workerDeaths = 0
        self.registry.register(self)

    def exposition(self) -> tuple[bytes, str]:
        """
        All that is in the registry, for a handler to return.

        :return: the bytes of the text format, and their Content-Type.
        """
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    # What connections tell.

    def connectionOpened(self, connection: Connection) -> None:
        """See `IConnectionObserver`."""
        self._opened += 1
        self._open.watch(connection)

    def exchangeFinished(self, connection: Connection, exchange: Exchange) -> None:
        """See `IConnectionObserver`. Every request comes this way: no calls that can be spared."""
        head = exchange.head
        status = exchange.status
        try:
            self._requests[head.method][status] += 1
        except KeyError:
            self._countAnother(head.method, status)
        if status is not None and (status < 400 or exchange.error is None):
            wait = (exchange.responded or exchange.ended) - exchange.started
            histogram = self._firstByte
            histogram.counts[0 if wait <= _FAST else bisect_left(histogram.bounds, wait)] += 1
            histogram.sum += wait
        if exchange.depth != 1:
            depths = self._depth
            depths.counts[bisect_left(depths.bounds, exchange.depth)] += 1
            depths.sum += exchange.depth
        if not head.pipelinable and exchange.overdue:
            self._expired += 1

    def connectionClosed(self, connection: Connection, reason: CloseReason) -> None:
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
        if connection.lateBytes and reason.by == "us" and reason.state in _AT_REST:
            self._races += 1

    def _countAnother(self, method: bytes, status: int | None) -> None:
        """A request of a kind that was not met before, or that has no count of its own."""
        counts = self._requests.setdefault(method if method in METHODS else OTHER, {})
        counts[status] = counts.get(status, 0) + 1

    # What others tell.

    def handshakeFailed(self, reason: str) -> None:
        """
        A connection ended before HTTP began.

        :param reason: one of a few words; each is a time series of its own.
        """
        self._handshakes[reason] = self._handshakes.get(reason, 0) + 1

    def reloaded(self, well: bool) -> None:
        """The server has tried to put another configuration into effect."""
        self._reloads[DONE if well else FAILED] += 1

    def workerDied(self) -> None:
        """A process of the server has ended that nobody had told to."""
        self._workerDeaths += 1

    # What is read.

    def counts(self) -> Counts:
        """All that was counted so far, and what the open connections do now."""
        states = dict.fromkeys(STATES, 0)
        taken, used, received, sent = self._taken, self._used, self._received, self._sent
        for connection in self._open:
            states[connection.state] += 1
            requests = connection.requestCount
            taken += requests
            used += requests > 0
            received += connection.bytesReceived
            sent += connection.bytesSent
        classes = self._byClass()
        return Counts(
            {
                "connections": {(state,): count for state, count in states.items()},
                "connections_opened": {(): self._opened},
                "connections_closed": {**self._closed},
                "connections_used": {(): used},
                "timers_fired": self._fired(),
                "connection_requests": self._perConnection.numbers(),
                "idle_close_races": {(): self._races},
                "received_bytes": {(): received},
                "sent_bytes": {(): sent},
                "requests": classes,
                "requests_taken": {(): taken},
                "time_to_first_byte_seconds": self._firstByte.numbers(),
                "pipeline_depth": self._depths(sum(classes.values())),
                "handshake_failures": {(reason,): count for reason, count in self._handshakes.items()},
                "reloads": {(outcome,): count for outcome, count in self._reloads.items()},
                "worker_deaths": {(): self._workerDeaths},
            }
        )

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        from .exposition import metrics

        return metrics(self.counts())

    def _fired(self) -> dict[Labels, float]:
        fired: dict[Labels, float] = {(timer,): 0 for timer in TIMERS.values()}
        for (reason, _), count in self._closed.items():
            if reason in TIMERS:
                fired[TIMERS[reason],] += count
        fired[EXPECTATION,] = self._expired
        return fired

    def _byClass(self) -> dict[Labels, float]:
        classes: dict[Labels, float] = {}
        for method, counts in self._requests.items():
            for status, count in counts.items():
                key = (method.decode("ascii"), "none" if status is None else f"{status // 100}xx")
                classes[key] = classes.get(key, 0) + count
        return classes

    def _depths(self, requests: float) -> dict[Labels, float]:
        """The depths that were counted, and those of all other requests, which were alone."""
        histogram = self._depth
        numbers = histogram.numbers()
        alone = requests - sum(histogram.counts)
        numbers[histogram.labels[bisect_left(histogram.bounds, 1)]] += alone
        numbers[SUM,] += alone
        return numbers
