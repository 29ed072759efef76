"""`Counts` in the text format of Prometheus. What there is says `families`; nothing is counted here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from .counts import SUM, Counts
from .families import FAMILIES, PREFIX, READY, REUSE_RATIO, SERVER_STATE, SERVER_STATES, Family, Kind, Labels

if TYPE_CHECKING:
    from prometheus_client import Metric


def expose(counts: Counts, state: str | None = None, ready: bool | None = None) -> tuple[bytes, str]:
    """
    The counts of a server, or of several together, as Prometheus reads them.

    :param state: one of `SERVER_STATES`; None: not shown.
    :param ready: whether it takes new connections; None: not shown.
    :return: the bytes of the text format, and their Content-Type.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector

    class Once(Collector):
        def collect(self) -> Iterator[Metric]:
            return metrics(complete(counts, state, ready))

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def complete(counts: Counts, state: str | None = None, ready: bool | None = None) -> Counts:
    """Counts with the families that are computed; parameters as for `expose`."""
    computed: dict[Family, dict[Labels, float]] = {REUSE_RATIO: {(): counts.reuseRatio}}
    if state is not None:
        computed[SERVER_STATE] = {(each,): each == state for each in SERVER_STATES}
    if ready is not None:
        computed[READY] = {(): ready}
    return Counts({**counts.families, **computed})


def metrics(counts: Counts) -> Iterator[Metric]:
    """The metrics of prometheus-client, in the order of `FAMILIES`; computed ones where they are among the counts."""
    for family in FAMILIES:
        if family in counts.families or not family.computed:
            yield _metric(family, counts.families.get(family, {}))


def _metric(family: Family, numbers: Mapping[Labels, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    if family.kind is Kind.HISTOGRAM:
        return _histogram(family, numbers)
    make = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = make(PREFIX + family.name, family.help, labels=family.labels, unit=family.unit)
    for labels in sorted(numbers):
        metric.add_metric(labels, numbers[labels])
    return metric


def _histogram(family: Family, numbers: Mapping[Labels, float]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    bounds = sorted((bound for (bound,) in numbers if bound != SUM), key=float)
    sums = accumulate(numbers[bound,] for bound in bounds)
    return HistogramMetricFamily(
        PREFIX + family.name,
        family.help,
        buckets=list(zip(bounds, sums, strict=True)) or [("+Inf", 0)],
        sum_value=numbers.get((SUM,), 0),
        unit=family.unit,
    )
