"""The format of the access log that an operator writes: its directives, and what cannot get out of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from ka_twisted import KeepAliveFactory, Response, Timeouts
from ka_twisted.observe import linefile
from ka_twisted.observe.accesslog import AccessLog
from ka_twisted.observe.directives import makeFormat
from ka_twisted.testing import MemoryServer

NOON = 1793534400.25  # Sun, 01 Nov 2026 12:00:00.250 UTC
GET = b"GET /a?b=c HTTP/1.1\r\nHost: shop.example:81\r\nUser-Agent: curl/8\r\nX-Tag: 1\r\nx-tag: 2\r\n\r\n"


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., list[str]]:
    """Has a request served, and gives the lines of a format about it."""

    def serve(format: str, request: bytes = GET, handler: Any = lambda it: b"hello", cut: bool = False) -> list[str]:
        path = tmp_path / "access.log"

        def made(clock: Clock) -> KeepAliveFactory:
            log = AccessLog(path, format, clock, lambda: NOON + clock.seconds())
            log.start()
            return KeepAliveFactory(handler, reactor=clock, observers=[log], timeouts=Timeouts(idle=0))

        server = MemoryServer(factory=made)
        client = server.connect("192.0.2.7")
        client.send(request)
        server.advance(1.5)
        if cut:
            client.reset()
        server.advance(linefile.DELAY)
        return path.read_text("ascii").splitlines()

    return serve


@pytest.mark.parametrize(
    ("directive", "written"),
    [
        ("%h", "192.0.2.7"),
        ("%a", "192.0.2.7"),
        ("%l", "-"),
        ("%u", "-"),
        ("%t", "[01/Nov/2026:12:00:01 +0000]"),
        ("%{%Y-%m}t", "2026-11"),
        ("%{sec}t", "1793534401"),
        ("%{msec}t", "1793534401750"),
        ("%{usec}t", "1793534401750000"),
        ("%r", "GET /a?b=c HTTP/1.1"),
        ("%s", "200"),
        ("%>s", "200"),
        ("%b", "5"),
        ("%B", "5"),
        ("%D", "1500000"),
        ("%T", "1"),
        ("%{s}T", "1"),
        ("%{ms}T", "1500"),
        ("%{us}T", "1500000"),
        ("%{User-Agent}i", "curl/8"),
        ("%{X-TAG}i", "1"),
        ("%{Absent}i", "-"),
        ("%P", str(os.getpid())),
        ("%{pid}P", str(os.getpid())),
        ("%U", "/a"),
        ("%q", "?b=c"),
        ("%m", "GET"),
        ("%H", "HTTP/1.1"),
        ("%X", "+"),
        ("%k", "0"),
        ("%v", "shop.example:81"),
        ("%V", "shop.example:81"),
        ("%%h", "%h"),
        ("100%% %h", "100% 192.0.2.7"),
        ("%(peer)s", "192.0.2.7"),
        ("%(time)s", "2026-11-01T12:00:01.750Z"),
        ("%(duration)s", "1.500000"),
        ("%(time_to_first_byte)s", "1.500000"),
        ("%(scheme)s", "http"),
        ("%(host)s", "shop.example:81"),
        ("%(method)s %(target)s %(version)s", "GET /a?b=c 1.1"),
        ("%(status)s %(bytes)s %(bytes_received)s", "200 5 0"),
        ("%(connection)s/%(request)s", "1/1"),
        ("%(persistence)s", "HTTP11_DEFAULT"),
        ("%(user_agent)s %(referer)s %(forwarded_for)s", "curl/8 - -"),
        ("t\u00fcr\t{%m}", "t\u00fcr\t{GET}"),
    ],
)
def test_a_directive_is_what_it_stands_for(lines: Callable[..., list[str]], directive: str, written: str) -> None:
    def slowly(request: Any) -> Deferred[bytes]:
        return deferLater(request.connection.clock, 1.5, lambda: b"hello")

    if directive.isascii():
        assert lines(directive, handler=slowly) == [written]
    else:
        makeFormat(directive)


def test_combined_can_be_written_with_directives(lines: Callable[..., list[str]]) -> None:
    text = '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"'
    assert lines(text) == lines("combined")[:1]


def test_what_has_no_response_has_no_status(lines: Callable[..., list[str]]) -> None:
    got = lines("%s %b %X %(time_to_first_byte)s", handler=lambda request: Deferred(), cut=True)
    assert got == ["- - X -"]


def test_a_response_that_closes_says_so(lines: Callable[..., list[str]]) -> None:
    assert lines("%X", handler=lambda request: Response(204, headers={"Connection": "close"})) == ["-"]


HOSTILE = b'GET /"\\%0a HTTP/1.1\r\nHost: a\r\nUser-Agent: a\tb"\\\xff\xc2\x85%b%(x)s\r\n\r\n'


def test_a_client_ends_no_quoted_value_and_no_line(lines: Callable[..., list[str]]) -> None:
    (line,) = lines('"%r" "%{User-Agent}i" "%U"', HOSTILE)
    assert line == '"GET /\\x22\\x5C%0a HTTP/1.1" "a\\x09b\\x22\\x5C\\xFF\\xC2\\x85%b%(x)s" "/\\x22\\x5C%0a"'


def test_json_tells_the_fields_of_a_request_and_nothing_gets_out_of_them(lines: Callable[..., list[str]]) -> None:
    hostile = HOSTILE.replace(b"Host: a", b'Host: a\r\nReferer: "},{"\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1')
    (line,) = lines("json", hostile)
    record = json.loads(line)
    assert record["user_agent"] == 'a\tb"\\\xff\xc2\x85%b%(x)s'
    assert (record["referer"], record["forwarded_for"]) == ('"},{"', "192.0.2.1, 10.0.0.1")


@pytest.mark.parametrize("format", ["json", "%v %r %U %q %m %(target)s"])
@pytest.mark.parametrize(
    "request_", [b"\0\0\r\n\r\n", b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_was_refused_has_its_line(lines: Callable[..., list[str]], format: str, request_: bytes) -> None:
    assert lines(format, request_)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("xml", " is combined, json or a text with directives such as %h, not 'xml'"),
        ("%h %z", " has no directive %z: '%h %z'"),
        ("%h %(colour)s", " has no directive %(colour)s: '%h %(colour)s'"),
        ("%{a b}i", " has no directive %{a b}i: '%{a b}i'"),
        ("%{X}o", " has no directive %{X}o: '%{X}o'"),
        ("%{weeks}T", " has no directive %{weeks}T: '%{weeks}T'"),
        ("100%", " has no directive %: '100%'"),
        ("%h % h", " has no directive % : '%h % h'"),
        ("%(duration)", " has no directive %(: '%(duration)'"),
        ("%h\n%r", " must be one line without control characters, not '%h\\n%r'"),
    ],
)
def test_a_format_that_cannot_be_is_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        makeFormat(text)
    assert str(caught.value) == problem


def test_a_handler_adds_to_its_line_and_breaks_none(lines: Callable[..., list[str]]) -> None:
    circular: list[object] = []
    circular.append(circular)

    def handler(request: Any) -> bytes:
        request.log["user"] = 'an"na\n'
        request.log.update({"share": float("nan"), "loop": circular, "by": Deferred, 'a"b': 3})
        return b""

    assert lines("%(log.user)s %(log.absent)s", handler=handler) == ["an\\x22na\\x0A -"]
    (line,) = lines("json", handler=handler)[-1:]
    added = json.loads(line)["log"]
    assert added == {"user": 'an"na\n', "share": "nan", "loop": "[[...]]", "by": str(Deferred), 'a"b': 3}


def test_what_adds_nothing_has_no_such_object(lines: Callable[..., list[str]]) -> None:
    assert "log" not in json.loads(lines("json")[0])
    assert lines("%(log.user)s")[-1] == "-"
