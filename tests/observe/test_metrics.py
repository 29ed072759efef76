"""Metrics: what they count, how Prometheus reads it, and that peers cannot make it grow."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from ka_twisted import CloseReason, Limits, Request, Response, Timeouts
from ka_twisted.http1.server import _STATE_NAMES
from ka_twisted.interfaces import IConnectionObserver
from ka_twisted.observe import families, metrics
from ka_twisted.observe.exposition import complete, expose
from ka_twisted.observe.exposition import metrics as metrics_of
from ka_twisted.observe.families import FAMILIES, PREFIX, TIMERS, Family, Kind
from ka_twisted.observe.metrics import Metrics
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET
from tests.server.driving import BIG, Held, ignore, silent, uncounted

Handler = Callable[[Request], Any]
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
HALF_POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello"


class Measured:
    """A server in memory with metrics."""

    def __init__(self, handler: Handler = ignore, **settings: Any) -> None:
        self.metrics = Metrics()
        self.server = MemoryServer(handler, observers=[self.metrics], **settings)

    def connect(self, *data: bytes) -> MemoryClient:
        """A client that sends this."""
        client = self.server.connect()
        for each in data:
            client.send(each)
        return client

    def read(self) -> dict[tuple[str, ...], float]:
        """All samples as Prometheus reads them, by their name without the prefix and their labels' values."""
        data, kind = self.metrics.exposition()
        assert kind.startswith("text/plain; version=")
        return {
            (sample.name.removeprefix("ka_twisted_"), *(sample.labels[name] for name in sorted(sample.labels))):
                sample.value
            for family in text_string_to_metric_families(data.decode())
            for sample in family.samples
        }  # fmt: skip

    def some(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of this name that are not 0, by the values of their labels."""
        return {key[1:]: value for key, value in self.read().items() if key[0] == name and value}

    def one(self, name: str) -> float:
        """The sample that has no labels."""
        return self.read()[name,]


def test_they_are_an_observer() -> None:
    assert verifyObject(IConnectionObserver, Metrics())


def test_without_their_library_they_say_in_one_sentence_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"^Metrics needs the package prometheus-client: pip install \S+$"):
        Metrics()


def test_they_can_share_a_registry() -> None:
    registry = CollectorRegistry(auto_describe=True)
    metrics = Metrics(registry)
    assert metrics.registry is registry
    assert b"ka_twisted_connections_opened_total 0.0\n" in metrics.exposition()[0]
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)


def test_a_handler_can_return_them() -> None:
    def handler(request: Request) -> Response:
        data, kind = measured.metrics.exposition()
        return Response(200, data, {"Content-Type": kind})

    measured = Measured(handler)
    (response,) = measured.connect(GET).responses
    assert b'\nka_twisted_connections{state="responding"} 1.0\n' in response.body
    assert str(response.headers.get("content-type")).startswith("text/plain")


def test_every_metric_is_named_as_prometheus_wants_it() -> None:
    measured = Measured()
    measured.connect(GET)
    for metric in measured.metrics.collect():
        assert re.fullmatch("ka_twisted(_[a-z]+)+", metric.name)
        assert metric.documentation.endswith(".")
        assert all(sample.name.endswith("_total") for sample in metric.samples) == (metric.type == "counter")


def test_every_family_is_documented_with_its_type_its_unit_and_its_labels() -> None:
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w*) ?\| (\S.*) \|$", page, re.MULTILINE)
    assert len(rows) == len(FAMILIES)
    described = {name: (kind, unit) for name, kind, unit, _ in rows}
    assert described == {family.exposedName: (family.kind.value, family.unit) for family in FAMILIES}
    texts = {name: text for name, _, _, text in rows}
    for family in FAMILIES:
        assert all(f"`{label}`" in texts[family.exposedName] for label in family.labels)


def test_every_family_is_exposed_with_its_type_its_help_and_its_unit() -> None:
    measured = Measured()
    measured.connect(GET)
    data, _ = expose(measured.metrics.counts(), "serving", ready=True)
    exposed = {
        family.name + "_total" * (family.type == "counter"): (family.type, family.documentation)
        for family in text_string_to_metric_families(data.decode())
    }
    assert exposed == {family.exposedName: (family.kind.value, family.help) for family in FAMILIES}
    units = {metric.name: metric.unit for metric in metrics_of(complete(measured.metrics.counts(), "serving", True))}
    assert units == {PREFIX + family.name: family.unit for family in FAMILIES}


def test_bytes_are_named_as_bytes() -> None:
    for family in FAMILIES:
        assert ("bytes" in family.name) == (family.unit == "bytes")
        if family.unit == "bytes":
            assert family.exposedName.endswith("_bytes_total")


def test_a_family_without_its_unit_in_its_name_is_refused() -> None:
    with pytest.raises(ValueError, match="the name sent does not end in its unit bytes"):
        Family("sent", Kind.COUNTER, "Bytes sent.", unit="bytes")


def test_a_family_is_counted_everywhere_once_it_is_declared() -> None:
    measured = Measured()
    measured.metrics.count(families.CONNECTIONS_REFUSED, reason="too many")
    measured.metrics.count(families.ACCESS_LOG_DROPPED, 17)
    assert measured.some("connections_refused_total") == {("too many",): 1}
    assert measured.one("access_log_dropped_lines_total") == 17
    with pytest.raises(TypeError, match=r"the labels of connections_refused are \('reason',\), not \('by',\)"):
        measured.metrics.count(families.CONNECTIONS_REFUSED, by="us")
    with pytest.raises(KeyError):
        measured.metrics.count(families.READY)


def test_their_own_exposition_is_that_of_their_counts() -> None:
    measured = Measured()
    measured.connect(GET, GET).disconnect()
    assert measured.metrics.exposition() == expose(measured.metrics.counts())


# -- connections -----------------------------------------------------------------------------------


def test_open_connections_are_counted_by_what_they_do() -> None:
    measured = Measured(silent, timeouts=Timeouts(idle=15, firstRequest=0))
    measured.connect()
    measured.connect(GET)
    measured.connect(b"GET /")
    measured.connect(HALF_POST)
    assert measured.some("connections") == {
        ("unused",): 1, ("responding",): 1, ("reading a head",): 1, ("reading a body",): 1,
    }  # fmt: skip


def test_idle_and_closing_connections_are_told_apart() -> None:
    measured = Measured(timeouts=Timeouts(idle=15))
    measured.connect(GET)
    assert measured.some("connections") == {("idle",): 1}
    measured.server.advance(15)
    assert measured.some("connections") == {("closing",): 1}
    measured.server.advance(15)
    assert measured.some("connections") == {}
    assert measured.one("connections_opened_total") == 1


def test_every_state_there_is_has_its_sample() -> None:
    assert {state for (state,) in _labels("ka_twisted_connections")} == {*_STATE_NAMES.values(), "responding"}


def test_a_factory_that_is_gone_is_forgotten() -> None:
    metrics = Metrics()
    server = MemoryServer(observers=[metrics])
    server.connect()
    assert len(list(metrics._registries)) == 1
    del server
    gc.collect()
    assert list(metrics._registries) == []


def test_closes_are_counted_by_reason_and_by_whom() -> None:
    measured = Measured(timeouts=Timeouts(idle=15))
    measured.connect(GET).disconnect()
    measured.connect(GET).disconnect()
    measured.connect(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").disconnect()
    measured.connect(b"nonsense\r\n\r\n").disconnect()
    measured.connect(GET).reset()
    assert measured.some("connections_closed_total") == {
        ("peer", "PEER_CLOSED_IDLE"): 2,
        ("peer", "CLOSE_REQUESTED"): 1,
        ("us", "BAD_REQUEST"): 1,
        ("network", "TRANSPORT_ERROR"): 1,
    }


def test_the_same_reason_is_counted_apart_when_it_is_ours() -> None:
    measured = Measured(lambda request: Response(200, b"", {"Connection": "close"}))
    measured.connect(GET).disconnect()
    assert measured.some("connections_closed_total") == {("us", "CLOSE_REQUESTED"): 1}


def test_every_reason_is_there_from_the_start() -> None:
    assert {reason for _, reason in _labels("ka_twisted_connections_closed_total")} == {
        reason.name for reason in CloseReason.all()
    }


def test_requests_per_connection_are_a_histogram() -> None:
    measured = Measured()
    for count in (0, 1, 1, 7):
        measured.connect(GET * count).disconnect()
    measured.connect(GET)
    assert measured.one("connection_requests_sum") == 9
    assert measured.one("connection_requests_count") == 4
    buckets = measured.some("connection_requests_bucket")
    assert [buckets[le,] for le in ("0.0", "1.0", "5.0", "10.0", "+Inf")] == [1, 3, 3, 4, 4]


def test_reuse_is_a_share_of_all_requests_those_of_open_connections_included() -> None:
    measured = Measured()
    assert measured.one("connection_reuse_ratio") == 0
    measured.connect()
    measured.connect(GET).disconnect()
    assert measured.one("connection_reuse_ratio") == 0
    measured.connect(GET, GET, GET)
    assert measured.one("connection_reuse_ratio") == 0.5


def test_bytes_of_open_and_of_closed_connections_add_up() -> None:
    measured = Measured()
    assert (measured.one("received_bytes_total"), measured.one("sent_bytes_total")) == (0, 0)
    clients = [measured.connect(GET, GET), measured.connect(GET)]
    for _ in range(2):
        assert measured.one("received_bytes_total") == 3 * len(GET)
        assert measured.one("sent_bytes_total") == sum(len(client.received) for client in clients)
        clients[0].disconnect()


def test_what_comes_after_an_idle_close_is_a_race_lost() -> None:
    measured = Measured(timeouts=Timeouts(idle=15))
    clients = [measured.connect(GET), measured.connect(), measured.connect(GET)]
    closing = measured.connect(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    measured.server.advance(15)
    for client in (*clients[:2], closing):
        client.send(GET)
    measured.server.advance(15)
    assert all(client.closed for client in (*clients, closing))
    assert measured.one("idle_close_races_total") == 2


# -- timers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timer", "data", "settings"),
    [
        ("first_request", b"", {}),
        ("idle", GET, {}),
        ("header", b"GET", {}),
        ("body", HALF_POST, {}),
        ("unread", HALF_POST, {"handler": ignore}),
        ("write", GET, {"handler": lambda request: BIG}),
    ],
)
def test_a_timer_that_ends_a_connection_has_fired(timer: str, data: bytes, settings: dict[str, Any]) -> None:
    async def read(request: Request) -> bytes:
        return await request.read()

    measured = Measured(**{"handler": read, **settings})
    client = measured.server.connect()
    if timer == "write":
        client.stall()
    client.send(data)
    assert measured.some("timers_fired_total") == {}
    measured.server.advance(300)
    assert measured.some("timers_fired_total") == {(timer,): 1}


def test_every_timer_that_can_end_a_connection_is_there() -> None:
    timed = {reason.name for reason in CloseReason.all() if reason.name.endswith("_TIMEOUT")}
    assert set(TIMERS) == timed
    assert {timer for (timer,) in _labels("ka_twisted_timers_fired_total")} == {*TIMERS.values(), "expectation"}


def test_an_expectation_that_time_decided_is_a_timer_that_fired() -> None:
    measured = Measured(silent, timeouts=Timeouts(expectation=1))
    client = measured.connect(EXPECTING)
    measured.server.advance(2)
    client.reset()
    assert measured.some("timers_fired_total") == {("expectation",): 1}


# -- requests --------------------------------------------------------------------------------------


def test_requests_are_counted_by_method_and_class() -> None:
    statuses = {"/204": 204, "/404": 404, "/500": 500}
    measured = Measured(lambda request: Response(statuses.get(request.path, 200)))
    for method, path in ((b"GET", b"/"), (b"GET", b"/204"), (b"HEAD", b"/404"), (b"PUT", b"/500")):
        measured.connect(b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, path))
    assert measured.some("requests_total") == {
        ("GET", "2xx"): 2, ("HEAD", "4xx"): 1, ("PUT", "5xx"): 1,
    }  # fmt: skip


def test_a_request_without_a_response_has_no_class() -> None:
    measured = Measured(silent)
    measured.connect(GET).reset()
    assert measured.some("requests_total") == {("GET", "none"): 1}
    assert measured.one("time_to_first_byte_seconds_count") == 0


def test_methods_that_peers_invent_are_one() -> None:
    measured = Measured()
    client = measured.connect()
    for number in range(100):
        client.send(b"METHOD%d / HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    client.send(b"other / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.send(b"\0\r\n\r\n")
    assert measured.some("requests_total") == {("other", "2xx"): 101, ("other", "4xx"): 1}
    assert set(measured.metrics._requests) == {b"other"}


def test_time_to_the_first_byte_of_a_whole_response_is_that_of_its_handler() -> None:
    measured = Measured(lambda request: deferLater(request.connection.clock, 0.2, lambda: b"slow"))
    measured.connect(GET)
    measured.server.advance(1)
    assert measured.one("time_to_first_byte_seconds_sum") == pytest.approx(0.2)
    buckets = measured.some("time_to_first_byte_seconds_bucket")
    assert ("0.1",) not in buckets
    assert buckets["0.25",] == 1


def test_time_to_the_first_byte_of_a_stream_ends_with_its_head() -> None:
    async def handler(request: Request) -> Response:
        await deferLater(request.connection.clock, 2)
        return Response.stream(uncounted(BIG, BIG))

    measured = Measured(handler)
    client = measured.server.connect()
    client.stall()
    client.send(GET)
    measured.server.advance(20)
    assert measured.one("time_to_first_byte_seconds_count") == 0
    client.resume()
    assert len(client.responses[0].body) == 2 * len(BIG)
    assert measured.one("time_to_first_byte_seconds_sum") == pytest.approx(2)


def test_what_the_connection_answers_by_itself_takes_no_time() -> None:
    measured = Measured()
    measured.connect(b"GET / HTTP/1.1\r\n\r\n")
    assert measured.some("requests_total") == {("GET", "4xx"): 1}
    assert measured.one("time_to_first_byte_seconds_count") == 0


def test_the_depth_of_the_pipeline_is_a_histogram() -> None:
    held = Held()
    measured = Measured(held, limits=Limits(pipelineDepth=8))
    client = measured.connect(GET * 3)
    for number in (3, 1, 2):
        held.answer(number)
    client.send(GET)
    held.answer(4)
    buckets = measured.some("pipeline_depth_bucket")
    assert [buckets[le,] for le in ("1.0", "2.0", "4.0", "+Inf")] == [2, 3, 4, 4]
    assert measured.one("pipeline_depth_sum") == 1 + 2 + 3 + 1


def test_a_request_in_service_is_not_counted_yet() -> None:
    measured = Measured(lambda request: Deferred())
    measured.connect(GET)
    assert measured.some("requests_total") == {}
    assert measured.one("pipeline_depth_count") == 0


# -- what they cost --------------------------------------------------------------------------------


def test_an_ordinary_request_costs_one_call() -> None:
    client = Measured().connect(GET, GET, GET)
    called: list[str] = []

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename == metrics.__file__:
            called.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        client.protocol.dataReceived(GET)
    finally:
        sys.setprofile(None)
    assert called == ["exchangeFinished"]
    assert len(client.responses) == 4


def _labels(name: str) -> set[tuple[str, ...]]:
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels))
        for metric in Metrics().collect()
        for sample in metric.samples
        if sample.name == name
    }
