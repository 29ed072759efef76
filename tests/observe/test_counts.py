"""Counts as values: what servers have counted adds up, and goes from one process to another."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ka_twisted.observe.counts import Counts, Labels
from ka_twisted.observe.exposition import FAMILIES, STATES
from ka_twisted.observe.metrics import Metrics
from ka_twisted.testing import MemoryServer
from tests.core.driving import GET

NUMBERS = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), st.integers(0, 1000))
COUNTS = st.builds(Counts, st.dictionaries(st.sampled_from(("requests", "connections_closed")), NUMBERS))


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
    octets, _ = counts.exposition()
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(octets.decode())
        for sample in family.samples
    }


@given(COUNTS, COUNTS, COUNTS)
def test_theyAddUpInAnyOrder(a: Counts, b: Counts, c: Counts) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Counts() == a
    assert {name: (a + b - b).of(name, *labels) for name, numbers in a.families.items() for labels in numbers} == {
        name: a.of(name, *labels) for name, numbers in a.families.items() for labels in numbers
    }


@given(COUNTS)
def test_theyArriveAsTheyWereSent(counts: Counts) -> None:
    assert Counts.fromJson(json.loads(json.dumps(counts.toJson()))) == counts


def test_thoseOfAServerArriveAsTheyWereSent() -> None:
    counts = served(3)
    assert Counts.fromJson(json.loads(json.dumps(counts.toJson()))) == counts
    assert counts != Counts()
    assert counts != 3


def test_addingLeavesTheSummandsAsTheyWere() -> None:
    first, second = served(1), served(2)
    before = first.toJson()
    _ = first + second
    assert first.toJson() == before


def test_gaugesAddUpToo() -> None:
    both = served(1) + served(2) + served(3, closed=True)
    assert both.some("connections") == {("idle",): 2}
    assert both.total("connections") == 2
    assert both.of("connections_opened") == 3


def test_theReuseRatioIsThatOfTheSum() -> None:
    assert Counts().reuse == 0
    assert served(1).reuse == 0
    assert (served(1) + served(9)).reuse == 0.8
    assert samples(served(1) + served(9))["ka_twisted_connection_reuse_ratio"] == 0.8


def test_histogramsAddUp() -> None:
    told = samples(served(1, closed=True) + served(7, closed=True))
    assert told["ka_twisted_connection_requests_bucket 1.0"] == 1
    assert told["ka_twisted_connection_requests_bucket 10.0"] == 2
    assert told["ka_twisted_connection_requests_bucket +Inf"] == 2
    assert told["ka_twisted_connection_requests_sum"] == 8


def test_aDifferenceIsWhatHasComeSince() -> None:
    metrics = Metrics()
    client = MemoryServer(observers=[metrics]).connect()
    client.send(GET * 2)
    before = metrics.counts()
    client.send(GET * 3)
    client.disconnect()
    since = metrics.counts() - before
    assert since.total("requests") == 3
    assert since.total("connections") == -1
    assert since.of("connections_closed", "PEER_CLOSED_IDLE", "peer") == 1


def test_whatHasEndedHasNothingOpen() -> None:
    counts = served(2)
    ended = counts.ended()
    assert (counts.total("connections"), ended.total("connections")) == (1, 0)
    assert ended.total("requests") == 2
    assert set(ended.families["connections"]) == set(counts.families["connections"])


@pytest.mark.parametrize(
    ("share", "bound"), [(0, 0.1), (0.5, 0.1), (0.51, 0.5), (0.9, 0.5), (0.91, inf), (1, inf)]
)
def test_aQuantileIsTheEndOfItsRange(share: float, bound: float) -> None:
    ranges: dict[Labels, float] = {("0.05",): 0, ("0.1",): 5, ("0.5",): 4, ("+Inf",): 1, ("sum",): 70.0}
    assert Counts({"wait": ranges}).quantile("wait", share) == bound


def test_nothingHasNoQuantile() -> None:
    assert Counts().quantile("wait", 0.5) is None
    assert served(0).quantile("time_to_first_byte_seconds", 0.5) is None


def test_whatIsCountedIsExposedAndNothingElse() -> None:
    assert set(served(1).families) == {family.name for family in FAMILIES}


def test_noCountsAreAnExpositionToo() -> None:
    told = samples(Counts())
    assert told["ka_twisted_connection_reuse_ratio"] == 0
    assert told["ka_twisted_connection_requests_count"] == 0


@pytest.mark.parametrize("state", STATES)
def test_whatTheServerDoesIsToldWhereItIsKnown(state: str) -> None:
    octets, kind = Counts().exposition(state, state != "draining")
    assert kind.startswith("text/plain")
    assert f'ka_twisted_server_state{{state="{state}"}} 1.0\n'.encode() in octets
    assert octets.count(b"ka_twisted_server_state{") == len(STATES)
    assert (b"ka_twisted_ready 0.0\n" in octets) is (state == "draining")
    assert b"ka_twisted_ready" not in Counts().exposition()[0]


def test_workersThatDiedAreCounted() -> None:
    metrics = Metrics()
    metrics.workerDied()
    assert metrics.counts().of("worker_deaths") == 1


def test_handshakesAndReloadsAreCountedByWhatCameOfThem() -> None:
    metrics = Metrics()
    metrics.handshakeFailed("timeout")
    metrics.handshakeFailed("not TLS")
    metrics.handshakeFailed("timeout")
    metrics.reloaded(True)
    counts = metrics.counts() + metrics.counts()
    assert counts.some("handshake_failures") == {("timeout",): 4, ("not TLS",): 2}
    assert counts.families["reloads"] == {("done",): 2, ("failed",): 0}
    metrics.reloaded(False)
    assert metrics.counts().of("reloads", "failed") == 1
