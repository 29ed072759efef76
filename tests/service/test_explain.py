"""``python -m ka_twisted explain``: what it says of requests, and of what is none."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ka_twisted import testing
from ka_twisted.explain import command as command
from ka_twisted.explain.explanation import lfHint

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    """The exit status and what was printed."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = io.StringIO()
    status = command.run(parser.parse_args(arguments), io.BytesIO(stdin), out)
    return status, out.getvalue()


def told(data: bytes, *arguments: str) -> dict[str, Any]:
    """The JSON document about these bytes."""
    status, text = run("--json", *arguments, stdin=data)
    assert status == 0
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def one(data: bytes, *arguments: str) -> dict[str, Any]:
    """What it says of the only request."""
    (request,) = told(data, *arguments)["requests"]
    assert isinstance(request, dict)
    return request


@pytest.fixture
def response(tmp_path: Path) -> Callable[[bytes], str]:
    """Makes a file that holds a response head, and gives its name."""

    def make(head: bytes) -> str:
        path = tmp_path / "response"
        path.write_bytes(head)
        return str(path)

    return make


# -- requests that are served ------------------------------------------------------------------------


def test_an_ordinary_request_is_told_whole() -> None:
    assert told(GET) == {
        "requests": [
            {
                "number": 1,
                "line": "GET / HTTP/1.1",
                "host": "a",
                "connection": [],
                "upgrades": [],
                "framing": {
                    "delimiter": "no body",
                    "length": 0,
                    "clause": "RFC 9112 6.3 (7)",
                    "row": "D2-21",
                },
                "expectation": {
                    "awaits": False,
                    "met": True,
                    "clause": "RFC 9110 10.1.1",
                    "row": "D3-01",
                },
                "overlap": {
                    "allowed": True,
                    "why": "GET is safe, and nothing follows the head",
                    "clause": "RFC 9112 9.3.2",
                    "row": "N-02",
                },
                "response": {
                    "status": 200,
                    "length": 6,
                    "assumed": True,
                    "framing": {
                        "delimiter": "Content-Length",
                        "length": 6,
                        "clause": "RFC 9112 6.3 (6)",
                        "row": "D4-10",
                    },
                },
                "persistence": {
                    "keep": True,
                    "reason": "HTTP11_DEFAULT",
                    "text": "HTTP/1.1 connections persist unless close is asked for",
                    "clause": "RFC 2616 8.1.2.1; RFC 9112 9.3",
                    "row": "D1-18",
                },
                "carries": ["Content-Length: 6"],
            }
        ],
        "unread": 0,
    }


@pytest.mark.parametrize(
    ("head", "row", "carries"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "D1-09", ["Connection: close", "Content-Length: 6"]),
        (
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "D1-15",
            ["Connection: keep-alive", "Keep-Alive: timeout=70", "Content-Length: 6"],
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
            "D1-08",
            ["Connection: close", "Content-Length: 6"],
        ),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\n\r\n", "D1-20", ["Content-Length: 6"]),
    ],
)
def test_the_persistence_and_what_is_said_of_it(head: bytes, row: str, carries: list[str]) -> None:
    request = one(head)
    assert request["persistence"]["row"] == row
    assert request["carries"] == carries


def test_what_it_says_is_what_a_server_sends() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    server = testing.MemoryServer()
    client = server.connect()
    client.send(head)
    sent = client.received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert set(one(head)["carries"]) < set(sent)


def test_pipelined_requests_are_told_one_by_one() -> None:
    data = (
        GET
        + b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        + b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
        + GET
    )
    requests = told(data)["requests"]
    assert [request["number"] for request in requests] == [1, 2, 3, 4]
    assert [request["overlap"]["allowed"] for request in requests] == [True, False, False, True]
    assert requests[1]["body"] == {"bytes": 5, "complete": True}
    assert requests[2]["body"] == {"bytes": 21, "complete": True}


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", "POST is not safe"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "a body follows"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "the connection may leave HTTP",
        ),
    ],
)
def test_why_a_request_is_served_alone(head: bytes, why: str) -> None:
    assert one(head)["overlap"]["why"] == why
    assert not one(head)["overlap"]["allowed"]


def test_behind_a_close_nothing_is_read() -> None:
    document = told(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
    assert len(document["requests"]) == 1
    assert document["unread"] == len(GET)


def test_behind_a_body_and_a_close_nothing_is_read() -> None:
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    assert told(head + b"hello" + GET)["unread"] == len(GET)


@pytest.mark.parametrize(
    ("body", "row", "invited"),
    [(b"", "D3-09", True), (b"hel", "D3-14", False), (b"hello", "D3-08", False)],
)
def test_whether_the_body_is_invited(body: bytes, row: str, invited: bool) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
    expectation = one(head + body)["expectation"]
    assert (expectation["awaits"], expectation["row"]) == (True, "D3-10")
    assert (expectation["answer"]["row"], expectation["answer"]["continue"]) == (row, invited)


@pytest.mark.parametrize(
    ("fields", "body", "row"),
    [
        (b"Content-Length: 9\r\nExpect: 100-continue\r\n", b"", "D1-26"),
        (b"Content-Length: 9\r\n", b"1234", "D1-22"),
        (b"Content-Length: 99999\r\n", b"1234", "D1-23"),
        (b"Transfer-Encoding: chunked\r\n", b"4\r\n1234\r\n", "D1-25"),
    ],
)
def test_a_body_that_is_not_whole_is_told_both_ways(fields: bytes, body: bytes, row: str) -> None:
    request = one(b"PUT / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body)
    assert request["persistence"]["row"] == "D1-18"
    assert request["ifLeftUnread"]["row"] == row
    assert request["body"]["bytes"] == len(body)
    assert not request["body"]["complete"]
    assert request["body"]["ifThisIsAll"]["row"] == "D2-29"


# -- with a response ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "head", "framing", "persistence", "carries"),
    [
        (b"1.1", b"200 OK\r\nContent-Length: 3\r\n", "D4-10", "D1-18", ["Content-Length: 3"]),
        (b"1.1", b"200 OK\r\n", "D4-11", "D1-18", ["Transfer-Encoding: chunked"]),
        (
            b"1.1",
            b"200 OK\r\nConnection: Close\r\nTransfer-Encoding: chunked\r\n",
            "D4-12",
            "D1-06",
            ["Connection: close", "Transfer-Encoding: chunked"],
        ),
        (b"1.0", b"200 OK\r\n", "D4-15", "D1-14", ["Connection: close"]),
        (b"1.1", b"204 No Content\r\n", "D4-07", "D1-18", []),
        (b"1.1", b"304 Not Modified\r\nContent-Length: 9\r\n", "D4-09", "D1-18", ["Content-Length: 9"]),
    ],
)
def test_the_response_head_has_its_say(
    response: Callable[[bytes], str],
    version: bytes,
    head: bytes,
    framing: str,
    persistence: str,
    carries: list[str],
) -> None:
    option = b"Connection: keep-alive\r\n" if version == b"1.0" else b""
    request = one(
        b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + option + b"\r\n",
        "--response",
        response(b"HTTP/1.1 " + head + b"\r\nthe body"),
    )
    assert not request["response"]["assumed"]
    assert request["response"]["framing"]["row"] == framing
    assert request["persistence"]["row"] == persistence
    assert request["carries"] == carries


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"hello\r\n\r\n", "not the status line of an HTTP/1 response"),
        (b"HTTP/1.1 200 OK\r\n", "the response head does not end in an empty line"),
        (b"HTTP/1.1 200 OK\n\n", "some lines end in LF alone where HTTP has CR LF"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "a final response has a status from 200 to 599, not 101"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not one Content-Length"),
    ],
)
def test_a_response_that_is_none_is_one_sentence(
    response: Callable[[bytes], str], capsys: pytest.CaptureFixture[str], head: bytes, sentence: str
) -> None:
    assert run("--response", response(head), stdin=GET) == (2, "")
    said = capsys.readouterr().err
    assert said.startswith("explain: ")
    assert sentence in said
    assert said.count("\n") == 1


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line", "status", "row", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1", 400, "H-19", "BAD_REQUEST"),
        (b"GET / HTTP/2.0\r\n\r\n", None, 505, "H-02", "BAD_REQUEST"),
        (b"\x16\x03\x01", None, 400, "H-09", "BAD_REQUEST"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", None, 414, "H-10", "BAD_REQUEST"),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1",
            400,
            "D2-02",
            "BAD_REQUEST",
        ),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "PUT / HTTP/1.1",
            400,
            "D2-22",
            "BAD_REQUEST",
        ),
    ],
)
def test_what_is_refused_is_told_with_its_status(
    data: bytes, line: str | None, status: int, row: str, reason: str
) -> None:
    document = told(data + GET)
    (request,) = document["requests"]
    assert request["line"] == line
    assert request["refused"].items() >= {"status": status, "row": row, "closeReason": reason}.items()
    assert request["refused"]["sentence"]
    assert request["refused"]["clause"]
    assert not request["persistence"]["keep"]
    assert request["carries"][0] == "Connection: close"
    assert document["unread"] > 0


def test_an_unknown_expectation_is_refused_and_the_connection_kept() -> None:
    first, second = told(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n" + GET)["requests"]
    assert first["refused"]["status"] == 417
    assert first["persistence"]["keep"]
    assert "refused" not in second


def test_a_head_without_its_end_is_refused_as_by_a_server_whose_client_has_gone() -> None:
    refused = one(b"GET / HTTP/1.1\r\nHost: a\r\n")["refused"]
    assert (refused["status"], refused["closeReason"]) == (400, "PEER_CLOSED_MID_REQUEST")
    assert refused["hint"] == "the input ends here; a request head ends in an empty line"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n\n"])
def test_lines_that_end_as_in_an_editor_are_refused_with_a_hint(data: bytes) -> None:
    request = one(data)
    assert request["refused"]["status"] == 400
    assert request["refused"]["hint"] == lfHint(b"\n").removeprefix("; ")


def test_such_lines_are_read_on_request() -> None:
    assert one(b"GET / HTTP/1.1\nHost: a\r\n\n", "--crlf")["persistence"]["keep"]


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\r"])
def test_nothing_is_no_request(data: bytes) -> None:
    assert told(data) == {"requests": [], "unread": 0}
    assert run(stdin=data) == (0, "There is no request in the input.\n")


# -- settings ----------------------------------------------------------------------------------------


def test_settings_change_what_is_decided() -> None:
    old = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert "Keep-Alive: timeout=8" in one(old, "--idle-timeout", "10")["carries"]
    assert "Keep-Alive: timeout=70, max=4" in one(old, "--max-requests", "5")["carries"]
    assert one(old, "--no-keep-alive-10")["persistence"]["row"] == "D1-13"
    assert one(GET, "--max-requests", "1")["persistence"]["reason"] == "MAX_REQUESTS"
    assert one(GET, "--max-line", "9")["refused"]["status"] == 414
    assert one(GET, "--max-header-bytes", "5")["refused"]["status"] == 431
    put = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    assert one(put, "--max-body-bytes", "8")["refused"]["closeReason"] == "BODY_TOO_LARGE"
    assert one(put, "--unread-bytes", "8")["ifLeftUnread"]["row"] == "D1-23"


def test_a_setting_that_cannot_be_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--max-line", "0") == (2, "")
    assert capsys.readouterr().err.startswith("explain: Limits.maxLine must be at least 1")


# -- files and text ------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing")
    assert run(missing) == (2, "")
    assert capsys.readouterr().err == f"explain: {missing}: No such file or directory\n"


def test_requests_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "request"
    path.write_bytes(GET)
    assert run(str(path))[1].startswith("request 1: GET / HTTP/1.1\n")


def test_the_text_says_what_the_document_says() -> None:
    data = (
        b"GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n"
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    status, text = run(stdin=data)
    assert status == 0
    for request in told(data)["requests"]:
        for part in ("framing", "expectation", "overlap", "persistence"):
            assert request[part]["row"] in text
            assert request[part]["clause"] in text
    for said in ("upgrades     y", "if the body is not read, close: EXPECTATION_REFUSED", "D3-09"):
        assert said in text


def test_the_text_of_a_refusal() -> None:
    text = run(stdin=b"GET / HTTP/1.1\n\n")[1]
    assert text == (
        "request 1: no request line: 'GET / HTTP/1.1\\n'\n"
        "  refused      400, the request line does not end in an HTTP version [RFC 9112 2.3; H-01]\n"
        "  hint         some lines end in LF alone where HTTP has CR LF: --crlf converts them\n"
        "  persistence  close: BAD_REQUEST, what came was not HTTP within the limits"
        " [RFC 9112 2.2, 6.3; D1-01]\n"
        "  carries      Connection: close\n"
        "               Content-Length: 81\n"
        "\n"
        "Here the connection ends; what remains is not looked at: 1 byte.\n"
    )


def test_no_input_makes_it_fail() -> None:
    # Any bytes at all are explained, and what is printed is ASCII.
    heads = [b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n", bytes(range(256)), b"\xff" * 99]
    for head in heads:
        for end in range(len(head)):
            status, text = run(stdin=GET + head[:end])
            assert status == 0
            assert text.isascii()
