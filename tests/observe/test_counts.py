"""Counts as values: what servers have counted adds up, and goes from one process to another."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ka_twisted.observe.counts import Counts
from ka_twisted.observe.exposition import expose
from ka_twisted.observe.families import (
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    CONNECTIONS_OPENED,
    FAMILIES,
    HANDSHAKE_FAILURES,
    RELOADS,
    REQUESTS,
    SERVER_STATES,
    TIME_TO_FIRST_BYTE,
    WORKER_DEATHS,
    Labels,
)
from ka_twisted.observe.metrics import Metrics
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET

NUMBERS = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), st.integers(0, 1000))
COUNTS = st.builds(Counts, st.dictionaries(st.sampled_from((REQUESTS, CONNECTIONS_CLOSED)), NUMBERS))


def served(requests: int, *, closed: bool = False) -> Counts:
    """The counts of a server on which one connection had so many requests."""
    metrics = Metrics()
    server = MemoryServer(observers=[metrics])
    client = server.connect()
    client.send(GET * requests)
    if closed:
        client.disconnect()
    return metrics.counts()


def samples(counts: Counts) -> dict[str, float]:
    data, _ = expose(counts)
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
    }


@given(COUNTS, COUNTS, COUNTS)
def test_they_add_up_in_any_order(a: Counts, b: Counts, c: Counts) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Counts() == a
    restored = a + b - b
    for family, numbers in a.families.items():
        assert {labels: restored.families[family][labels] for labels in numbers} == numbers


@given(COUNTS)
def test_they_arrive_as_they_were_sent(counts: Counts) -> None:
    assert Counts.fromJson(json.loads(json.dumps(counts.toJson()))) == counts


def test_those_of_a_server_arrive_as_they_were_sent() -> None:
    counts = served(3)
    assert Counts.fromJson(json.loads(json.dumps(counts.toJson()))) == counts
    assert counts != Counts()
    assert counts != 3


def test_adding_leaves_the_summands_as_they_were() -> None:
    first, second = served(1), served(2)
    before = first.toJson()
    _ = first + second
    assert first.toJson() == before


def test_gauges_add_up_too() -> None:
    both = served(1) + served(2) + served(3, closed=True)
    assert both.nonzero(CONNECTIONS) == {("idle",): 2}
    assert both.total(CONNECTIONS) == 2
    assert both.of(CONNECTIONS_OPENED) == 3


def test_the_reuse_ratio_is_that_of_the_sum() -> None:
    assert Counts().reuseRatio == 0
    assert served(1).reuseRatio == 0
    assert (served(1) + served(9)).reuseRatio == 0.8
    assert samples(served(1) + served(9))["ka_twisted_connection_reuse_ratio"] == 0.8


def test_histograms_add_up() -> None:
    told = samples(served(1, closed=True) + served(7, closed=True))
    assert told["ka_twisted_connection_requests_bucket 1.0"] == 1
    assert told["ka_twisted_connection_requests_bucket 10.0"] == 2
    assert told["ka_twisted_connection_requests_bucket +Inf"] == 2
    assert told["ka_twisted_connection_requests_sum"] == 8


def test_a_difference_is_what_has_come_since() -> None:
    metrics = Metrics()
    client = MemoryServer(observers=[metrics]).connect()
    client.send(GET * 2)
    before = metrics.counts()
    client.send(GET * 3)
    client.disconnect()
    since = metrics.counts() - before
    assert since.total(REQUESTS) == 3
    assert since.total(CONNECTIONS) == -1
    assert since.of(CONNECTIONS_CLOSED, reason="PEER_CLOSED_IDLE", by="peer") == 1


def test_what_has_ended_has_nothing_open() -> None:
    counts = served(2)
    ended = counts.ended()
    assert (counts.total(CONNECTIONS), ended.total(CONNECTIONS)) == (1, 0)
    assert ended.total(REQUESTS) == 2
    assert set(ended.families[CONNECTIONS]) == set(counts.families[CONNECTIONS])


@pytest.mark.parametrize(("share", "bound"), [(0, 0.1), (0.5, 0.1), (0.51, 0.5), (0.9, 0.5), (0.91, inf), (1, inf)])
def test_a_quantile_is_the_end_of_its_range(share: float, bound: float) -> None:
    ranges: dict[Labels, float] = {("0.05",): 0, ("0.1",): 5, ("0.5",): 4, ("+Inf",): 1, ("sum",): 70.0}
    assert Counts({TIME_TO_FIRST_BYTE: ranges}).quantile(TIME_TO_FIRST_BYTE, share) == bound


def test_nothing_has_no_quantile() -> None:
    assert Counts().quantile(TIME_TO_FIRST_BYTE, 0.5) is None
    assert served(0).quantile(TIME_TO_FIRST_BYTE, 0.5) is None


def test_what_is_counted_is_exposed_and_nothing_else() -> None:
    assert set(served(1).families) == {family for family in FAMILIES if not family.computed}


def test_no_counts_are_an_exposition_too() -> None:
    told = samples(Counts())
    assert told["ka_twisted_connection_reuse_ratio"] == 0
    assert told["ka_twisted_connection_requests_count"] == 0


@pytest.mark.parametrize("state", SERVER_STATES)
def test_what_the_server_does_is_told_where_it_is_known(state: str) -> None:
    data, kind = expose(Counts(), state, state != "draining")
    assert kind.startswith("text/plain")
    assert f'ka_twisted_server_state{{state="{state}"}} 1.0\n'.encode() in data
    assert data.count(b"ka_twisted_server_state{") == len(SERVER_STATES)
    assert (b"ka_twisted_ready 0.0\n" in data) is (state == "draining")
    assert b"ka_twisted_ready" not in expose(Counts())[0]


def test_workers_that_died_are_counted() -> None:
    metrics = Metrics()
    metrics.workerDied()
    assert metrics.counts().of(WORKER_DEATHS) == 1


def test_handshakes_and_reloads_are_counted_by_what_came_of_them() -> None:
    metrics = Metrics()
    metrics.handshakeFailed("timeout")
    metrics.handshakeFailed("not TLS")
    metrics.handshakeFailed("timeout")
    metrics.reloaded(True)
    counts = metrics.counts() + metrics.counts()
    assert counts.nonzero(HANDSHAKE_FAILURES) == {("timeout",): 4, ("not TLS",): 2}
    assert counts.families[RELOADS] == {("done",): 2, ("failed",): 0}
    metrics.reloaded(False)
    assert metrics.counts().of(RELOADS, outcome="failed") == 1
