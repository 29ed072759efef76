"""What a handler sees of a request and of its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ka_twisted import CloseReason, Policy, Request, Response
from ka_twisted.core.reasons import KeepReason
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET, GET_10, chunked, get, post, upload


def seen(data: bytes, **settings: Any) -> Request:
    """The first request that a server makes of these bytes."""
    taken: list[Request] = []

    def handler(request: Request) -> bytes:
        taken.append(request)
        return b"ok"

    MemoryServer(handler, **settings).connect().send(data)
    return taken[0]


def show(data: bytes, what: Callable[[Request], Any]) -> Any:
    """What a handler sees while it is called."""
    taken: list[Any] = []

    def handler(request: Request) -> bytes:
        taken.append(what(request))
        return b"ok"

    MemoryServer(handler).connect().send(data)
    return taken[-1]


# -- the request line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b?c=d&e", "/a/b", "c=d&e"),
        ("/a%20b?c%3D", "/a%20b", "c%3D"),
        ("/?", "/", ""),
        ("/a?b?c", "/a", "b?c"),
        ("http://other/x?y", "/x", "y"),
        ("http://other", "/", ""),
        ("//double//slash", "//double//slash", ""),
    ],
)
@pytest.mark.ledger("H-12", "H-14")
def test_targets(target: str, path: str, query: str) -> None:
    request = seen(get(target))
    assert (request.target, request.path, request.query) == (target, path, query)


@pytest.mark.ledger("H-11")
def test_the_server_as_a_whole() -> None:
    request = seen(get("*", method="OPTIONS"))
    assert (request.target, request.path, request.query) == ("*", "*", "")


@pytest.mark.ledger("H-09", "R-05")
@pytest.mark.parametrize("method", ["GET", "get", "PUT", "X-Mine", "!#$%"])
def test_methods_keep_their_case(method: str) -> None:
    assert seen(get(method=method)).method == method


@pytest.mark.parametrize(("minor", "version"), [(0, "1.0"), (1, "1.1"), (2, "1.1"), (9, "1.1")])
@pytest.mark.ledger("H-02", "H-03")
def test_versions(minor: int, version: str) -> None:
    assert seen(get(minor=minor)).version == version


# -- the fields --------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("H-21", "H-23")
def test_fields() -> None:
    request = seen(get("/", "X-One: 1", "x-one:  2 ", "Accept: */*", "Latin: \xe9t\xe9"))
    headers = request.headers
    assert headers.get("X-ONE") == "1"
    assert headers.all("x-one") == ("1", "2")
    assert headers.get("none") is None
    assert headers.get("none", "other") == "other"
    assert headers.get("latin") == "\xe9t\xe9"
    assert "accept" in headers
    assert "none" not in headers
    assert list(headers) == [("Host", "a"), ("X-One", "1"), ("x-one", "2"), ("Accept", "*/*"), ("Latin", "\xe9t\xe9")]
    assert headers.raw[1] == (b"X-One", b"1")


@pytest.mark.ledger("K-08")
def test_fields_of_the_connection_are_taken_out() -> None:
    headers = seen(get("/", "X-Hop: 1", "X-End: 2", "Connection: x-hop")).headers
    assert "x-hop" not in headers
    assert "x-end" in headers


@pytest.mark.parametrize(
    ("data", "host"),
    [
        (GET, "a"),
        (b"GET / HTTP/1.1\r\nHost: example.com:8080\r\n\r\n", "example.com:8080"),
        (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "[::1]:80"),
        (get("http://other:81/x"), "other:81"),
        (GET_10, ""),
        (b"GET / HTTP/1.0\r\nHost: b\r\n\r\n", "b"),
    ],
)
@pytest.mark.ledger("H-12", "H-15")
def test_hosts(data: bytes, host: str) -> None:
    assert seen(data).host == host


@pytest.mark.ledger("H-20")
def test_an_empty_host_is_for_servers_with_a_default_site() -> None:
    data = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    assert seen(data, policy=Policy(emptyHost=True)).host == ""
    client = MemoryServer().connect()
    client.send(data)
    assert client.responses[0].status == 400
    assert client.closeReason == CloseReason.BAD_REQUEST


@pytest.mark.parametrize(
    ("data", "length", "row"),
    [
        (GET, 0, "D2-21"),
        (get(method="POST"), 0, "D2-21"),
        (post(b""), 0, "D2-19"),
        (post(b"hello"), 5, "D2-20"),
        (upload(chunked(b"hello")), None, "D2-11"),
    ],
)
def test_lengths_come_with_their_rule(data: bytes, length: int | None, row: str) -> None:
    request = seen(data)
    assert request.contentLength == length
    assert (request.framing.length, request.framing.row) == (length, row)
    assert request.framing.clause.startswith("RFC ")


@pytest.mark.parametrize(
    ("field", "awaits", "row"), [("X: y", False, "D3-01"), ("Expect: 100-continue", True, "D3-10")]
)
def test_expectations_come_with_their_rule(field: str, awaits: bool, row: str) -> None:
    request = seen(get("/", "Content-Length: 5", field, method="PUT"))
    assert (request.expectation.expects_continue, request.expectation.row) == (awaits, row)
    assert request.expectation.clause.startswith("RFC ")


def test_offers_to_upgrade() -> None:
    assert seen(get("/", "Upgrade: a/1, b", "Connection: upgrade")).upgrades == ("a/1", "b")
    assert seen(get("/", "Upgrade: a/1, b")).upgrades == ()
    assert seen(GET).upgrades == ()


# -- what becomes of the connection ------------------------------------------------------------------------------------


def test_the_decision_before_and_after_it_is_made() -> None:
    taken: list[Request] = []

    def handler(request: Request) -> Response:
        taken.append(request)
        assert request.persistence.reason == KeepReason.HTTP11_DEFAULT
        return Response(200, b"", {"Connection": "close"})

    MemoryServer(handler).connect().send(GET)
    decision = taken[0].persistence
    assert not decision.keep
    assert decision.reason == CloseReason.CLOSE_REQUESTED
    assert decision.row == "D1-06"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (get("/", "Connection: close"), CloseReason.CLOSE_REQUESTED),
        (GET_10, CloseReason.HTTP10_DEFAULT),
        (get("/", "Connection: keep-alive", minor=0), KeepReason.KEEP_ALIVE_REQUESTED),
    ],
)
def test_what_would_be_decided(data: bytes, reason: object) -> None:
    assert show(data, lambda request: request.persistence.reason) == reason


@pytest.mark.ledger("D1-04")
def test_while_the_server_drains_it_is_a_close() -> None:
    reasons: list[object] = []

    def handler(request: Request) -> bytes:
        request.connection.protocol.drain()
        reasons.append(request.persistence.reason)
        return b"ok"

    MemoryServer(handler).connect().send(GET)
    assert reasons == [CloseReason.DRAINING]


# -- the connection ----------------------------------------------------------------------------------------------------


def test_the_connection_shows_itself() -> None:
    shown: list[tuple[Any, ...]] = []

    def handler(request: Request) -> bytes:
        view = request.connection
        decision = view.lastDecision
        shown.append(
            (view.id, view.requestNumber, view.requestCount, view.age, view.secure, decision and decision.reason.name)
        )
        assert view.peer == view.protocol.peer
        assert view.host == view.protocol.host
        assert view.clock is server.clock
        return b"ok"

    server = MemoryServer(handler)
    server.connect()
    client = server.connect("192.0.2.1")
    client.send(GET)
    server.advance(2)
    client.send(GET * 2)
    assert shown == [
        (2, 1, 1, 0, False, None),
        (2, 2, 2, 2, False, "HTTP11_DEFAULT"),
        (2, 3, 3, 2, False, "HTTP11_DEFAULT"),
    ]
    assert client.protocol.requestCount == 3


def test_state_is_for_the_application() -> None:
    def handler(request: Request) -> str:
        assert request.state is None
        request.state = {"user": 1}
        return repr(request)

    client = MemoryServer(handler).connect()
    client.send(get("/path?query", method="DELETE") * 2)
    assert [response.body for response in client.responses] == [
        b"<Request 1 DELETE /path?query>", b"<Request 2 DELETE /path?query>",
    ]  # fmt: skip
