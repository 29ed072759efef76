"""The playground: every route, on a server in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.address import IPv6Address, UNIXAddress

from ka_twisted import CloseReason, playground
from ka_twisted.testing import MemoryClient, MemoryServer, ParsedResponse


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    """The playground; no connection is left when the test is over."""
    server = MemoryServer(playground.application)
    yield server
    for connection in list(server.factory.connections):
        connection.abort()
    server.settle()


@pytest.fixture
def client(server: MemoryServer) -> MemoryClient:
    return server.connect()


def ask(client: MemoryClient, target: str, method: str = "GET", fields: str = "", body: bytes = b"") -> ParsedResponse:
    """Send one request and give the last response."""
    if body:
        fields += f"Content-Length: {len(body)}\r\n"
    head = f"{method} {target} HTTP/1.1\r\nHost: play.test\r\n{fields}\r\n"
    client.send(head.encode() + body)
    return client.responses[-1]


def asJson(response: ParsedResponse) -> Any:
    assert response.headers.get("content-type") == "application/json"
    return json.loads(response.body)


# -- the connection --------------------------------------------------------------------------------


def test_the_page_shows_this_very_connection(server: MemoryServer, client: MemoryClient) -> None:
    server.connect()
    response = ask(client, "/")
    assert response.status == 200
    page = response.body.decode()
    assert "<h1>Connection 1, request 1</h1>" in page
    for said in ("HTTP11_DEFAULT", "D1-18", "RFC 9112 6.3 (7)", "D2-21", "D3-01", "127.0.0.1:40001"):
        assert said in page
    assert "The response before this one" not in page

    page = ask(client, "/").body.decode()
    assert "<h1>Connection 1, request 2</h1>" in page
    assert "carried 2 requests" in page
    assert "The response before this one" in page


def test_the_page_says_when_the_connection_will_close(client: MemoryClient) -> None:
    page = ask(client, "/", fields="Connection: close\r\n").body.decode()
    assert "close: close was asked for (CLOSE_REQUESTED)" in page
    assert client.ended


def test_the_page_leads_to_the_other_routes(client: MemoryClient) -> None:
    page = ask(client, "/").body.decode()
    for path in playground.ROUTES:
        assert path in page


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_came_from_there(client: MemoryClient) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: a&b'c\r\n\r\n")
    response = client.responses[0]
    page = response.body.decode()
    assert "http://a&amp;b&#x27;c/whoami" in page
    assert "a&b" not in page
    assert (response.headers.get("content-security-policy") or "").startswith("default-src 'none'")
    assert not any(word in page for word in ("<script", "src=", "@import", "url("))


def test_the_page_has_no_body_for_head(client: MemoryClient) -> None:
    response = ask(client, "/", "HEAD")
    assert response.status == 200
    assert int(response.headers.get("content-length") or 0) > 1000


def test_whoami_is_the_same_as_json(server: MemoryServer, client: MemoryClient) -> None:
    server.advance(1.5)
    first = asJson(ask(client, "/whoami"))
    assert first == {
        "connection": 1,
        "request": 1,
        "requestCount": 1,
        "age": 1.5,
        "peer": "127.0.0.1:40001",
        "server": "127.0.0.1:8080",
        "secure": False,
        "version": "1.1",
        "host": "play.test",
        "framing": {
            "delimiter": "no body",
            "length": 0,
            "clause": "RFC 9112 6.3 (7)",
            "row": "D2-21",
        },
        "expectation": {"awaits": False, "clause": "RFC 9110 10.1.1", "row": "D3-01"},
        "persistence": {
            "keep": True,
            "reason": "HTTP11_DEFAULT",
            "clause": "RFC 2616 8.1.2.1; RFC 9112 9.3",
            "row": "D1-18",
            "detail": "",
        },
        "lastDecision": None,
    }
    second = asJson(ask(client, "/whoami"))
    assert second["lastDecision"] == first["persistence"]
    assert second["request"] == 2


@pytest.mark.parametrize("target", ["/", "/whoami"])
def test_how_long_the_answer_is_does_not_depend_on_the_numbers_in_it(server: MemoryServer, target: str) -> None:
    lengths = set()
    for _ in range(12):
        client = server.connect("192.0.2.255")
        for _ in range(12):
            lengths.add(ask(client, target).headers.get("content-length"))
            server.advance(1.01)
    assert len(lengths) == 1


def test_whoami_for_one_dot_zero(client: MemoryClient) -> None:
    client.send(b"GET /whoami HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    response = client.responses[0]
    assert asJson(response)["version"] == "1.0"
    assert asJson(response)["persistence"]["reason"] == "KEEP_ALIVE_REQUESTED"
    assert response.headers.get("connection") == "keep-alive"


def test_places_are_printable() -> None:
    assert playground.place(IPv6Address("TCP", "::1", 80)) == "[::1]:80"
    assert playground.place(UNIXAddress(b"/run/x")) == "a socket of this machine"


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"])
def test_echo_gives_back_the_body_with_its_type(client: MemoryClient, method: str) -> None:
    response = ask(client, "/echo", method, "Content-Type: text/x-play\r\n", b"hello")
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers.get("content-type") == "text/x-play"
    assert response.headers.get("content-length") == "5"
    assert response.headers.get("x-content-type-options") == "nosniff"


def test_echo_of_nothing_is_nothing(client: MemoryClient) -> None:
    response = ask(client, "/echo")
    assert (response.status, response.body) == (200, b"")
    assert response.headers.get("content-type") == "application/octet-stream"


def test_echo_streams_both_ways(client: MemoryClient) -> None:
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"5\r\nfirst\r\n")
    assert client.responses[0].body == b"first"
    assert not client.responses[0].complete
    client.send(b"6\r\nsecond\r\n0\r\n\r\n")
    assert client.responses[0].body == b"firstsecond"
    assert client.responses[0].complete
    assert ask(client, "/whoami").status == 200


def test_echo_invites_a_withheld_body(client: MemoryClient) -> None:
    client.send(b"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert [response.status for response in client.allResponses] == [100]
    client.send(b"ok")
    assert [response.status for response in client.allResponses] == [100, 200]
    assert client.responses[0].body == b"ok"


def test_echo_holds_the_client_back_while_it_does_not_read(client: MemoryClient) -> None:
    client.stall()
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(10):
        client.send(b"x" * 65536)
    assert client.paused
    assert client.transport.unsentBytes() < 300_000
    client.resume()
    assert not client.paused


def test_upload_counts_and_digests(client: MemoryClient) -> None:
    body = b"0123456789" * 5000
    response = ask(client, "/upload?limit=50000", "PUT", body=body)
    assert asJson(response) == {"bytes": 50000, "sha256": hashlib.sha256(body).hexdigest()}


def test_upload_without_a_limit_takes_anything(client: MemoryClient) -> None:
    assert asJson(ask(client, "/upload", "POST", body=b"x" * 100_000))["bytes"] == 100_000


def test_upload_of_nothing_is_within_any_limit(client: MemoryClient) -> None:
    assert asJson(ask(client, "/upload?limit=0", "POST"))["bytes"] == 0


def test_upload_invites_what_the_limit_allows(client: MemoryClient) -> None:
    head = b"PUT /upload?limit=5 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    client.send(head)
    assert [response.status for response in client.allResponses] == [100]
    client.send(b"hello")
    assert asJson(client.responses[0])["bytes"] == 5
    assert not client.ended


def test_upload_invites_nothing_above_the_limit(client: MemoryClient) -> None:
    head = b"PUT /upload?limit=5 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n"
    client.send(head)
    assert [response.status for response in client.allResponses] == [413]
    assert client.responses[0].body == b"6 bytes are more than the limit of 5\n"
    assert client.ended
    client.disconnect()
    assert client.closeReason == CloseReason.EXPECTATION_REFUSED


def test_upload_counts_chunks_as_they_come(client: MemoryClient) -> None:
    client.send(b"POST /upload?limit=9 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"5\r\nhello\r\n")
    assert client.responses == []
    client.send(b"5\r\nhello\r\n")
    assert client.responses[0].status == 413
    assert client.responses[0].body == b"the body is larger than the limit of 9 bytes\n"
    assert client.ended


def test_upload_takes_chunks_up_to_the_limit(client: MemoryClient) -> None:
    client.send(
        b"POST /upload?limit=9 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n4\r\nyou!\r\n0\r\n\r\n"
    )
    assert asJson(client.responses[0])["bytes"] == 9
    assert not client.ended


# -- the rest --------------------------------------------------------------------------------------


def test_slow_takes_its_time(server: MemoryServer, client: MemoryClient) -> None:
    client.send(b"GET /slow?seconds=2.5 HTTP/1.1\r\nHost: a\r\n\r\n")
    server.advance(2.4)
    assert client.responses == []
    server.advance(0.2)
    assert client.responses[0].body == b"this took 2.5 s\n"


def test_slow_requests_of_one_connection_overlap(server: MemoryServer, client: MemoryClient) -> None:
    client.send(b"GET /slow?seconds=1 HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    server.advance(1)
    assert len(client.responses) == 3


def test_slow_stops_when_the_client_goes(server: MemoryServer, client: MemoryClient) -> None:
    client.send(b"GET /slow?seconds=300 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert any(call.getTime() == 300 for call in server.clock.getDelayedCalls())
    client.reset()
    assert not any(call.getTime() == 300 for call in server.clock.getDelayedCalls())


def test_stream_states_no_length(client: MemoryClient) -> None:
    response = ask(client, "/stream?chunks=3&size=4")
    assert response.body == b"...\n" * 3
    assert response.headers.get("transfer-encoding") == "chunked"
    assert b"\r\n4\r\n...\n\r\n" in client.received


def test_stream_has_defaults(client: MemoryClient) -> None:
    assert len(ask(client, "/stream").body) == 10 * 1024


@pytest.mark.parametrize("query", ["chunks=0", "size=0"])
def test_stream_may_be_empty(client: MemoryClient, query: str) -> None:
    response = ask(client, f"/stream?{query}")
    assert (response.status, response.body, response.complete) == (200, b"", True)


def test_stream_waits_for_the_client(client: MemoryClient) -> None:
    client.stall()
    client.send(b"GET /stream?chunks=10000&size=10000 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.transport.unsentBytes() < 2_000_000  # of 100,000,000


def test_stream_ends_by_close_for_one_dot_zero(client: MemoryClient) -> None:
    client.send(b"GET /stream?chunks=2&size=2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.responses[0].body == b".\n.\n"
    assert client.responses[0].headers.get("connection") == "close"


@pytest.mark.parametrize("code", [200, 299, 404, 418, 503, 599])
def test_status_is_what_was_asked_for(client: MemoryClient, code: int) -> None:
    response = ask(client, f"/status/{code}")
    assert response.status == code
    assert response.body.startswith(f"{code} ".encode())
    assert not client.ended


@pytest.mark.parametrize("code", [204, 205, 304])
def test_some_statuses_have_no_body(client: MemoryClient, code: int) -> None:
    assert ask(client, f"/status/{code}").body == b""
    assert client.received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("code", "field"),
    [(302, "Location"), (401, "WWW-Authenticate"), (405, "Allow"), (426, "Upgrade")],
)
def test_a_status_has_the_fields_it_needs(client: MemoryClient, code: int, field: str) -> None:
    assert field in ask(client, f"/status/{code}").headers


@pytest.mark.parametrize("code", ["", "abc", "100", "199", "600", "2000", "-200", "200/x", "٢٠٠"])
def test_what_is_no_final_status_is_refused(client: MemoryClient, code: str) -> None:
    quoted = "".join(f"%{byte:02X}" if byte > 127 else chr(byte) for byte in code.encode())
    response = ask(client, f"/status/{quoted}")
    assert response.status == 400
    assert response.body.startswith(b"the status of a response is a number from 200 to 599, not '")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("/slow?seconds=soon", "seconds is a number such as 2 or 0.5, not 'soon'"),
        ("/slow?seconds=", "seconds is a number such as 2 or 0.5, not ''"),
        ("/slow?seconds=-1", "seconds is a number such as 2 or 0.5, not '-1'"),
        ("/slow?seconds=nan", "seconds is a number such as 2 or 0.5, not 'nan'"),
        ("/slow?seconds=1e3", "seconds is a number such as 2 or 0.5, not '1e3'"),
        ("/slow?seconds=300.5", "seconds is at most 300, not 300.5"),
        ("/stream?chunks=1.5", "chunks is a whole number, not '1.5'"),
        ("/stream?size=99999999999", "size is at most 16777216, not 99999999999"),
        ("/stream?chunks=16777216&size=16777216", "chunks times size is at most 17179869184 bytes"),
        ("/stream?chunks=%D9%A2", "chunks is a whole number, not '٢'"),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(client: MemoryClient, target: str, sentence: str) -> None:
    response = ask(client, target)
    assert (response.status, response.body.decode()) == (400, f"{sentence}\n")
    assert not client.ended


def test_a_bad_limit_is_refused_before_the_body_is_invited(client: MemoryClient) -> None:
    client.send(b"PUT /upload?limit=x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert [response.status for response in client.allResponses] == [400]


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/slow", "GET, HEAD"),
        ("PUT", "/stream?chunks=1", "GET, HEAD"),
        ("POST", "/whoami", "GET, HEAD"),
        ("GET", "/upload", "POST, PUT"),
    ],
)
def test_other_methods_are_refused_with_those_that_are_not(
    client: MemoryClient, method: str, target: str, allowed: str
) -> None:
    response = ask(client, target, method)
    assert response.status == 405
    assert response.headers.get("allow") == allowed
    assert response.body.decode() == f"{target.partition('?')[0]} answers {allowed}, not {method}\n"


@pytest.mark.parametrize("target", ["/nowhere", "/echo/", "/Slow", "/status", "//", "/favicon.ico"])
def test_everything_else_is_not_found(client: MemoryClient, target: str) -> None:
    response = ask(client, target)
    assert response.status == 404
    assert response.body.decode() == f"there is nothing at {target}\n"


def test_an_absolute_target_is_the_same_path(client: MemoryClient) -> None:
    assert asJson(ask(client, "http://other.test/whoami"))["host"] == "other.test"
