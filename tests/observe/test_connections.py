"""The connection log: whole records, small ones, and what becomes of them when there are too many."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from ka_twisted import CloseReason, KeepAliveProtocol, Persistence, Request, Response, Timeouts
from ka_twisted.interfaces import IConnectionObserver
from ka_twisted.observe import connections
from ka_twisted.observe.connections import ConnectionLog
from ka_twisted.observe.records import LENGTH
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, get, post
from tests.server.driving import Held, echo, ignore, silent, stream_echo, uncounted

NOON = 1793534400.25  # Sun, 01 Nov 2026 12:00:00.250 UTC
CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Logged:
    """A server in memory with a connection log."""

    def __init__(
        self, handler: Callable[[Request], Any] = ignore, connections: int = 200, requests: int = 50, **settings: Any
    ) -> None:
        self.log = ConnectionLog(connections, requests, lambda: NOON + self.server.clock.seconds())
        self.server = MemoryServer(handler, observers=[self.log], **settings)

    def connect(self, *data: bytes, peer: str = "192.0.2.7") -> MemoryClient:
        """A client that sends this."""
        client = self.server.connect(peer)
        for each in data:
            client.send(each)
        return client

    def closed(self) -> list[dict[str, Any]]:
        """The closed connections, as a reader of the JSON gets them."""
        return list(json.loads(json.dumps(self.log.closed())))

    def open(self) -> list[dict[str, Any]]:
        """Likewise the open ones."""
        return list(json.loads(json.dumps(self.log.open())))


def numbers(told: Mapping[str, Any]) -> list[int]:
    """Which requests are remembered."""
    return [request["request"] for request in told["latest"]]


def test_it_is_an_observer() -> None:
    assert verifyObject(IConnectionObserver, ConnectionLog())


@pytest.mark.parametrize("sizes", [(0, 50), (200, 0)])
def test_it_remembers_something(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one connection, and one request of each"):
        ConnectionLog(*sizes)


# -- records ---------------------------------------------------------------------------------------


def test_a_record_is_complete() -> None:
    it = Logged(lambda request: deferLater(request.connection.clock, 1.5, lambda: b"hello"))
    it.server.advance(5)
    client = it.connect(get("/first?a=1"))
    it.server.advance(2)
    client.send(CLOSE)
    it.server.advance(2)
    client.disconnect()
    assert it.closed() == [
        {
            "connection": 1,
            "peer": "192.0.2.7:40001",
            "opened": "2026-11-01T12:00:05.250Z",
            "age": 4,
            "requests": 2,
            "ended": {
                "reason": "CLOSE_REQUESTED",
                "by": "peer",
                "state": "responding",
                "clause": "RFC 2616 8.1.2.1; RFC 9112 9.6",
                "text": "close was asked for",
            },
            "latest": [
                {
                    "request": 1,
                    "method": "GET",
                    "target": "/first?a=1",
                    "version": "1.1",
                    "status": 200,
                    "bytes": 5,
                    "duration": 1.5,
                    "persistence": {
                        "keep": True,
                        "reason": "HTTP11_DEFAULT",
                        "clause": "RFC 2616 8.1.2.1; RFC 9112 9.3",
                        "row": "D1-18",
                    },
                },
                {
                    "request": 2,
                    "method": "GET",
                    "target": "/",
                    "version": "1.1",
                    "status": 200,
                    "bytes": 5,
                    "duration": 1.5,
                    "persistence": {
                        "keep": False,
                        "reason": "CLOSE_REQUESTED",
                        "clause": "RFC 2616 8.1.2.1; RFC 9112 9.6",
                        "row": "D1-07",
                    },
                },
            ],
        }
    ]


def test_the_latest_to_close_comes_first() -> None:
    it = Logged()
    clients = [it.connect(GET) for _ in range(3)]
    for place in (1, 2, 0):
        clients[place].disconnect()
    assert [told["connection"] for told in it.closed()] == [1, 3, 2]


def test_a_connection_without_a_request_has_a_record() -> None:
    it = Logged(timeouts=Timeouts(firstRequest=3))
    client = it.connect()
    it.server.advance(3)
    client.disconnect()
    (told,) = it.closed()
    assert (told["requests"], told["latest"], told["ended"]["reason"]) == (0, [], "FIRST_REQUEST_TIMEOUT")


def test_the_reason_is_the_one_that_the_connection_tells() -> None:
    it = Logged(lambda request: Response(200, b"", {"Connection": "close"}))
    client = it.connect(GET)
    client.disconnect()
    ended = it.closed()[0]["ended"]
    reason = client.closeReason
    assert reason == CloseReason.CLOSE_REQUESTED
    assert ended == {name: getattr(reason, name) for name in ("by", "state", "clause", "text")} | {
        "reason": "CLOSE_REQUESTED"
    }
    assert ended["by"] == "us"


@pytest.mark.parametrize(
    ("address", "written"),
    [
        (IPv6Address("TCP", "2001:db8::1", 4711), "[2001:db8::1]:4711"),
        (UNIXAddress(b"/run/client"), None),
        (UNIXAddress(None), None),
    ],
)
def test_the_peer_is_an_address_or_nothing(address: IAddress, written: str | None) -> None:
    it = Logged()
    client = it.connect(GET)
    client.transport._peer = address  # type: ignore[assignment]
    assert it.open()[0]["peer"] == written


# -- requests --------------------------------------------------------------------------------------


def test_a_refused_request_says_why() -> None:
    it = Logged()
    it.server.advance(5)
    it.connect(b"GET /x HTTP/1.1\r\n\r\n")
    (request,) = it.open()[0]["latest"]
    assert request["error"] == {"text": "the Host field is missing", "row": "H-19"}
    assert (request["status"], request["target"], request["duration"]) == (400, "/x", 0)
    assert request["persistence"]["reason"] == "BAD_REQUEST"
    assert "responseFraming" not in request


def test_what_is_no_request_line_has_no_method() -> None:
    it = Logged()
    it.connect(b"\0\0\r\n\r\n")
    (request,) = it.open()[0]["latest"]
    assert [request[name] for name in ("method", "target", "version")] == [None] * 3


def test_a_request_without_a_response_has_no_status_and_no_decision() -> None:
    it = Logged(silent)
    it.connect(GET).reset()
    (request,) = it.closed()[0]["latest"]
    assert (request["status"], request["persistence"]) == (None, None)


@pytest.mark.parametrize(
    ("handler", "data", "rows"),
    [
        pytest.param(ignore, GET, {}, id="nothing to tell"),
        pytest.param(echo, post(b"hello"), {"framing": "D2-20"}, id="a body"),
        pytest.param(
            stream_echo,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            {"framing": "D2-11", "responseFraming": "D4-11"},
            id="chunked both ways",
        ),
        pytest.param(
            lambda request: Response.stream(uncounted(b"a", b"b")),
            b"GET / HTTP/1.0\r\n\r\n",
            {"responseFraming": "D4-15"},
            id="ended by the close",
        ),
        pytest.param(ignore, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", {"responseFraming": "D4-05"}, id="HEAD"),
        pytest.param(
            ignore,
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            {"framing": "D2-20", "expectation": "D3-10"},
            id="an expectation",
        ),
    ],
)
def test_rows_are_told_where_they_matter(handler: Any, data: bytes, rows: dict[str, str]) -> None:
    it = Logged(handler)
    it.connect(data)
    (request,) = [*it.open(), *it.closed()][0]["latest"]
    names = ("framing", "expectation", "responseFraming", "error")
    assert {name: request[name] for name in names if name in request} == rows


def test_what_the_application_says_of_its_decision_is_told() -> None:
    class Rationed(KeepAliveProtocol):
        def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
            return decision.close("enough " * int(request.query))

    it = Logged(protocol=Rationed)
    it.connect(get("/?1"))
    it.connect(get("/?1000"))
    long, short = (told["latest"][0]["persistence"]["detail"] for told in it.open())
    assert short == "enough "
    assert len(long) == LENGTH
    assert long.startswith("enough enough")
    assert long.endswith("…")


def test_a_long_target_is_cut() -> None:
    it = Logged()
    exactly = "/" + "x" * (LENGTH - 1)
    it.connect(get(exactly), get(exactly + "y"), get("/" + "z" * 8000))
    targets = [request["target"] for request in it.open()[0]["latest"]]
    assert targets == [exactly, exactly[:-1] + "…", "/" + "z" * (LENGTH - 2) + "…"]


# -- open connections ------------------------------------------------------------------------------


def test_an_open_connection_tells_what_it_has_done_and_is_doing() -> None:
    held = Held()
    it = Logged(held)
    it.connect(GET)
    it.server.advance(1)
    client = it.connect(GET + get("/a") + get("/b"))
    held.answer(1)
    held.answer(3)
    it.server.advance(2)
    young, old = it.open()
    assert [told["connection"] for told in (young, old)] == [2, 1]
    assert young["opened"] == "2026-11-01T12:00:01.250Z"
    assert (young["age"], young["requests"], young["state"]) == (2, 3, "responding")
    assert "ended" not in young
    assert numbers(young) == [1, 3]
    assert [(each["request"], each["target"], each["status"], each["duration"]) for each in young["inService"]] == [
        (2, "/a", None, 2)
    ]
    assert numbers(old) == []
    client.reset()
    assert numbers(it.closed()[0]) == [1, 3, 2]
    assert [told["connection"] for told in it.open()] == [1]


def test_there_is_a_limit_to_how_many_open_ones_are_told() -> None:
    it = Logged()
    for _ in range(5):
        it.connect()
    assert [[told["connection"] for told in it.log.open(limit)] for limit in (2, 9, 0)] == [
        [2, 1], [5, 4, 3, 2, 1], [5, 4, 3, 2, 1],
    ]  # fmt: skip


def test_the_slowest_and_the_oldest_are_told_first() -> None:
    it = Logged(lambda request: deferLater(request.connection.clock, float(request.query)))
    clients = [it.connect() for _ in range(6)]
    clients[3].send(get("/?3"))
    it.server.advance(2)
    clients[4].send(get("/?90"))
    it.server.advance(1)
    assert [told["connection"] for told in it.log.open(4)] == [5, 4, 2, 1]
    assert [told["connection"] for told in it.log.open(2)] == [4, 1]  # it took 3 s; number 5 waits for 1 s
    it.server.advance(5)
    assert [told["connection"] for told in it.log.open(2)] == [5, 1]
    assert [told["connection"] for told in it.log.open(3)] == [5, 2, 1]


def test_there_is_a_limit_to_the_requests_that_are_told() -> None:
    it = Logged()
    it.connect(*[GET] * 5).disconnect()
    it.connect(*[GET] * 5)
    assert [numbers(it.log.open(1, requests)[0]) for requests in (0, 2, 9)] == [[], [4, 5], [1, 2, 3, 4, 5]]
    assert [numbers(it.log.closed(1, requests)[0]) for requests in (0, 2, 9)] == [[], [4, 5], [1, 2, 3, 4, 5]]


def test_there_is_a_limit_to_how_many_closed_ones_are_told() -> None:
    it = Logged()
    for _ in range(3):
        it.connect().disconnect()
    assert [[told["connection"] for told in it.log.closed(limit)] for limit in (2, 9, 0)] == [
        [3, 2], [3, 2, 1], [3, 2, 1],
    ]  # fmt: skip


def test_one_can_be_looked_up() -> None:
    it = Logged()
    it.connect(GET, GET).disconnect()
    it.connect(GET)
    closed, opened = it.log.connection(1), it.log.connection(2)
    assert closed == it.log.closed()[0]
    assert opened == it.log.open()[0]
    assert it.log.connection(3) is None


def test_factories_number_their_connections_apart() -> None:
    it = Logged()
    other = MemoryServer(observers=[it.log])
    it.connect(peer="192.0.2.7")
    other.connect(peer="192.0.2.8").disconnect()
    for peer in ("192.0.2.7:40001", "192.0.2.8:40001"):
        told = it.log.connection(1, peer)
        assert told is not None
        assert told["peer"] == peer
    assert it.log.connection(1, "192.0.2.9:40001") is None


def test_an_idle_connection_has_no_record_before_its_first_request() -> None:
    it = Logged()
    client = it.connect()
    (told,) = it.open()
    assert (told["state"], told["latest"], told["inService"]) == ("unused", [], [])
    assert it.log._records == {}
    client.send(GET)
    client.disconnect()
    assert it.log._records == {}


# -- how much is kept ------------------------------------------------------------------------------


def test_only_the_last_requests_are_kept() -> None:
    it = Logged(requests=3)
    client = it.connect(*[GET] * 5)
    assert numbers(it.open()[0]) == [3, 4, 5]
    client.disconnect()
    (told,) = it.closed()
    assert (told["requests"], numbers(told)) == (5, [3, 4, 5])


def test_only_the_last_connections_are_kept() -> None:
    it = Logged(connections=3)
    for _ in range(5):
        it.connect(GET).disconnect()
    assert [told["connection"] for told in it.closed()] == [5, 4, 3]


def test_open_connections_share_their_room() -> None:
    it = Logged(connections=2, requests=3)
    clients = [it.connect(*[GET] * 4) for _ in range(4)]
    assert [numbers(told) for told in reversed(it.open())] == [[2, 3, 4], [2, 3, 4], [4], [4]]
    clients[0].disconnect()
    clients[3].send(GET)
    clients[3].send(GET)
    clients[3].send(GET)
    assert [numbers(told) for told in reversed(it.open())] == [[2, 3, 4], [4], [6, 7]]
    for client in clients[1:]:
        client.disconnect()
    assert it.log._remembered == 0
    assert [numbers(told) for told in it.closed()] == [[6, 7], [4]]


def test_what_is_kept_is_small_whatever_comes() -> None:
    """Of a request nothing large stays: not its fields, its body, an exception, nor what is said of it."""
    it = Logged(echo, requests=2)
    fields = b"".join(b"X-Field-%d: %b\r\n" % (number, b"v" * 100) for number in range(90))
    body = b"b" * 60000
    it.connect(
        b"POST /%b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (b"t" * 8000, fields, len(body), body),
        b"GET /%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"t" * 8000, fields * 2),
    ).disconnect()
    ((about, records),) = it.log._closed
    assert len(records) == 2
    assert _size(about) + _size(records) < 6000


@pytest.mark.parametrize(("data", "pieces"), [(GET, 7), (get("/" + "t" * 8000), None)])
def test_an_open_connection_keeps_no_head_that_is_large(data: bytes, pieces: int | None) -> None:
    it = Logged()
    client = it.connect(GET)
    (record,) = it.log._records.values()
    assert record.head is not None
    client.send(data, pieces)
    assert record.head is None
    client.send(GET)
    assert numbers(it.open()[0]) == [1, 2, 3]


def _size(value: Any) -> int:
    """Bytes of a value and of what it is made of, but for what is shared by all requests."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(_size(part) for pair in value.items() for part in pair)
    if isinstance(value, tuple | list):
        return size + sum(map(_size, value))
    assert value is None or isinstance(value, str | bytes | int | float | Persistence)
    return size


def test_an_ordinary_request_costs_one_call() -> None:
    client = Logged().connect(GET, GET, GET)
    called: list[str] = []

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename == connections.__file__:
            called.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        client.protocol.dataReceived(GET)
    finally:
        sys.setprofile(None)
    assert called == ["exchangeFinished"]
    assert len(client.responses) == 4
