"""`Counts` as Prometheus reads them. The table says what there is; nothing is counted here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from .counts import SUM, Counts, Labels

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "ka_twisted_"
#: What a server can be doing.
STATES = ("serving", "reloading", "draining")


class Family(NamedTuple):
    """
    Some numbers of a kind.

    :ivar kind: ``counter``, ``gauge`` or ``histogram``.
    :ivar labels: the names of what tells them apart; a histogram has none beside its ranges.
    """

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()


FAMILIES = (
    Family("connections", "gauge", "Open connections by what they do.", ("state",)),
    Family("connections_opened", "counter", "Connections accepted."),
    Family("connections_closed", "counter", "Connections closed, by reason and by whom.", ("reason", "by")),
    Family("connections_used", "counter", "Connections that have had a request."),
    Family("timers_fired", "counter", "Time-outs that came into effect.", ("timer",)),
    Family("connection_requests", "histogram", "Requests of a connection, told when it is closed."),
    Family(
        "idle_close_races",
        "counter",
        "Connections on which something came after they were closed as idle: most likely a request, lost.",
    ),
    Family("received_bytes", "counter", "Bytes of HTTP received."),
    Family("sent_bytes", "counter", "Bytes of HTTP sent."),
    Family("requests", "counter", "Requests by method and class of the response's status.", ("method", "status")),
    Family("requests_taken", "counter", "Requests taken up, those included that are not over yet."),
    Family(
        "time_to_first_byte_seconds",
        "histogram",
        "From the end of a request's head until the head of its response was made.",
    ),
    Family(
        "pipeline_depth",
        "histogram",
        "Requests in service on its connection when a request was taken up, itself included.",
    ),
    Family("handshake_failures", "counter", "Connections that ended before HTTP began, by reason.", ("reason",)),
    Family("reloads", "counter", "Attempts to put another configuration into effect, by outcome.", ("outcome",)),
    Family("worker_deaths", "counter", "Workers that ended although nobody had told them to."),
)


def metrics(counts: Counts, state: str | None = None, ready: bool | None = None) -> Iterator[Metric]:
    """
    The metrics of a server, or of several together.

    :param state: one of `STATES`; None: not told.
    :param ready: whether it wants new connections; None: not told.
    """
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
    for name, kind, text, labels in FAMILIES:
        numbers = counts.families.get(name, {})
        if kind == "histogram":
            yield _histogram(name, text, numbers)
            continue
        metric = kinds[kind](PREFIX + name, text, labels=labels)
        for values in sorted(numbers):
            metric.add_metric(values, numbers[values])
        yield metric
    yield GaugeMetricFamily(
        f"{PREFIX}connection_reuse_ratio",
        "Share of all requests that came on a connection which had served one before.",
        counts.reuse,
    )
    if state is not None:
        gauge = GaugeMetricFamily(f"{PREFIX}server_state", "1 for what the server is doing.", labels=["state"])
        for each in STATES:
            gauge.add_metric([each], each == state)
        yield gauge
    if ready is not None:
        yield GaugeMetricFamily(f"{PREFIX}ready", "Whether the server wants new connections.", ready)


def _histogram(name: str, text: str, numbers: Mapping[Labels, float]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    labels = sorted((bound for (bound,) in numbers if bound != SUM), key=float)
    sums = accumulate(numbers[bound,] for bound in labels)
    buckets = list(zip(labels, sums, strict=True)) or [("+Inf", 0)]
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=numbers.get((SUM,), 0))


def exposed(counts: Counts, state: str | None = None, ready: bool | None = None) -> tuple[bytes, str]:
    """See `Counts.exposition`."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector

    class Once(Collector):
        def collect(self) -> Iterator[Metric]:
            return metrics(counts, state, ready)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry), CONTENT_TYPE_LATEST
