"""What a handler may return, checked when it is made."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel

from ka_twisted import Response
from ka_twisted.testing import MemoryServer, ParsedResponse
from tests.http1.driving import GET
from tests.logs import Logged
from tests.server.driving import uncounted


def sent(response: Response) -> ParsedResponse:
    """A response as a client reads it."""
    client = MemoryServer(lambda request: response).connect()
    client.send(GET)
    return client.responses[0]


def test_the_default_is_an_empty_200() -> None:
    response = sent(Response())
    assert (response.status, response.body) == (200, b"")
    assert list(response.headers) == [("Date", "Sun, 01 Nov 2026 00:00:00 GMT"), ("Content-Length", "0")]


@pytest.mark.parametrize("body", [b"h\xc3\xa9", "hé", bytearray(b"h\xc3\xa9"), memoryview(b"h\xc3\xa9")])
@pytest.mark.ledger("L-13", "D4-10")
def test_a_whole_body_is_counted(body: Any) -> None:
    response = sent(Response(200, body))
    assert response.body == b"h\xc3\xa9"
    assert response.headers.get("content-length") == "3"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-One": "1", "X-Two": "2"},
        {b"X-One": b"1", b"X-Two": b"2"},
        [("X-One", "1"), ("X-Two", "2")],
        ((b"X-One", "1"), ("X-Two", b"2")),
        iter([("X-One", "1"), ("X-Two", "2")]),
    ],
)
def test_headers_are_a_mapping_or_pairs(headers: Any) -> None:
    response = sent(Response(200, b"", headers))
    assert list(response.headers)[1:3] == [("X-One", "1"), ("X-Two", "2")]


@pytest.mark.ledger("H-23")
def test_repeated_fields_stay_apart_and_in_order() -> None:
    response = sent(Response(200, b"", [("Set-Cookie", "a=1"), ("X", "y"), ("Set-Cookie", "b=2")]))
    assert response.headers.all("set-cookie") == ("a=1", "b=2")


def test_a_date_of_ones_own_is_kept() -> None:
    response = sent(Response(200, b"", {"Date": "Mon, 01 Jan 2024 00:00:00 GMT"}))
    assert response.headers.all("date") == ("Mon, 01 Jan 2024 00:00:00 GMT",)


@pytest.mark.parametrize("status", [200, 299, 404, 599, HTTPStatus.IM_A_TEAPOT])
def test_statuses(status: int) -> None:
    assert sent(Response(status)).status == status


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, -200, "200", 200.0, None, True])
@pytest.mark.ledger("D4-24")
def test_what_is_no_final_status_raises(status: Any) -> None:
    with pytest.raises(ValueError):
        Response(status)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\rb"), ("X", "a\nb"), ("X", "a\r\nb"), ("X", "a\0b"), ("X", "a\x01b"), ("X", "a\x7fb"), ("X\r\n", "a"),
        ("", "a"), ("X Y", "a"), ("X:", "a"), ("X\0", "a"), (b"X\n", b"a"), ("X", b"a\nb"), ("X", "\u20ac"), ("X", 7),
        (7, "a"), ("X", None), ("\xe9", "a"),
    ],
)  # fmt: skip
@pytest.mark.ledger("D4-24", "H-08")
def test_what_is_no_field_raises(name: Any, value: Any) -> None:
    with pytest.raises(ValueError):
        Response(200, b"", [(name, value)])


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "", "1, 1"])
def test_what_is_no_length_raises(value: str) -> None:
    with pytest.raises(ValueError):
        Response(200, b"", {"Content-Length": value})


@pytest.mark.parametrize("length", [-1, True, "5", 1.5])
def test_what_is_no_length_raises_as_an_argument(length: Any) -> None:
    with pytest.raises(ValueError):
        Response.stream([b"hello"], length=length)


def test_two_lengths_have_to_agree() -> None:
    assert sent(Response.stream([b"hello"], headers={"Content-Length": "5"}, length=5)).body == b"hello"
    with pytest.raises(ValueError):
        Response.stream([b"hello"], headers={"Content-Length": "5"}, length=6)


@pytest.mark.parametrize("way", ["argument", "field"])
@pytest.mark.ledger("D4-10")
def test_a_length_may_be_stated_for_a_body_that_is_made_later(way: str) -> None:
    if way == "argument":
        response = sent(Response.stream(uncounted(b"hel", b"lo"), length=5))
    else:
        response = sent(Response.stream(uncounted(b"hel", b"lo"), headers={"Content-Length": "005"}))
    assert response.body == b"hello"
    assert response.headers.get("content-length") == "5"
    assert "transfer-encoding" not in response.headers


@pytest.mark.parametrize("body", [7, None, object(), len])
def test_what_is_no_body_raises(body: Any) -> None:
    with pytest.raises(ValueError):
        Response(200, body)


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "Trailer", "Host", "Authorization", "Content-Type", b"Set-Cookie"]
)
@pytest.mark.ledger("L-28")
def test_what_may_not_be_a_trailer_raises(name: Any) -> None:
    with pytest.raises(ValueError):
        Response(200, b"", trailers={name: "x"})


@pytest.mark.parametrize("name", ["Cache-Control", "Host", "Content-Length", "Content-Type"])
@pytest.mark.ledger("V-07")
def test_naming_an_end_to_end_field_in_connection_raises(name: str) -> None:
    with pytest.raises(ValueError):
        Response(200, b"", {"Connection": name})


@pytest.mark.parametrize(
    ("make", "contentType", "body"),
    [
        (lambda **more: Response.text("hé", **more), "text/plain; charset=utf-8", "hé".encode()),
        (lambda **more: Response.html("<p>", **more), "text/html; charset=utf-8", b"<p>"),
        (lambda **more: Response.json({"a": [1, None]}, **more), "application/json", b'{"a": [1, null]}\n'),
    ],
    ids=["text", "html", "json"],
)
def test_bodies_with_a_type(make: Callable[..., Response], contentType: str, body: bytes) -> None:
    response = sent(make())
    assert (response.status, response.headers.get("content-type"), response.body) == (200, contentType, body)
    response = sent(make(status=404, headers={"X-One": "1"}))
    assert (response.status, response.headers.get("x-one")) == (404, "1")
    assert response.headers.get("content-type") == contentType
    response = sent(make(headers=[("content-type", "application/problem+json")]))
    assert response.headers.all("content-type") == ("application/problem+json",)


def test_what_json_cannot_say_raises() -> None:
    with pytest.raises(TypeError):
        Response.json(object())
    assert json.loads(sent(Response.json("é")).body) == "é"


def test_files_of_no_known_type_have_none(tmp_path: Path) -> None:
    path = tmp_path / "unknown"
    path.write_bytes(b"abc")
    assert "content-type" not in sent(Response.file(path)).headers
    assert sent(Response.file(path, 206, {"Content-Range": "bytes 0-2/9"})).status == 206
    assert sent(Response.file(io.BytesIO(b"abc"), headers={"Content-Type": "a/b"})).headers.get("content-type") == "a/b"


def test_a_response_may_be_given_many_times() -> None:
    response = Response(200, b"again", {"X-One": "1"})
    client = MemoryServer(lambda request: response).connect()
    client.send(GET * 3)
    assert [answer.body for answer in client.responses] == [b"again"] * 3
    assert repr(response) == "<Response 200>"


@pytest.mark.ledger("P-06", "D1-06")
def test_connection_close_closes(logged: Logged) -> None:
    client = MemoryServer(lambda request: Response(200, b"", {"connection": "X-Other, Close"})).connect()
    client.send(GET * 2)
    assert len(client.responses) == 1
    assert client.responses[0].headers.get("connection") == "close"
    assert client.closeReason is not None
    assert client.closeReason.by == "us"
    assert len(logged.messages(LogLevel.warn)) == 1  # about X-Other
