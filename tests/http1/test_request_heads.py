"""Heads: request lines, fields and what they mean, and the heads of responses; the rows of group H."""

from __future__ import annotations

import random

import pytest

from ka_twisted.config import Limits, Policy
from ka_twisted.core.errors import LocalProtocolError
from ka_twisted.core.semantics import REASON_PHRASES
from ka_twisted.core.targets import split_target
from ka_twisted.http1.encoding import STATUS_LINES
from ka_twisted.http1.request_fields import read_fields
from ka_twisted.http1.request_lines import check_target
from tests.http1.driving import GET, Wire, cut_at_random, cuts, get, later, run

HOST = b"Host: a\r\n\r\n"


def refused(data: bytes, status: int, row: str = "", *, limits: Limits | None = None, cutting: bool = True) -> None:
    """The bytes are answered with this status and a close, however they are cut; the application is not called."""
    for pieces in cuts(data, seeds=4) if cutting else [[data]]:
        wire = Wire(limits=limits).send(*pieces)
        assert wire.statuses == [status], pieces
        assert not wire.exchanges
        assert wire.reply.connection == ["Connection: close"]
        if not data.startswith(b"HEAD "):
            assert wire.reply.get("Content-Length") == str(len(wire.reply.body))
            assert wire.reply.body.endswith(b")\n"), "one line that names the rule"
        if row:
            assert wire.refusals == [(status, row)]
        assert wire.reason in ("BAD_REQUEST", "BODY_TOO_LARGE")
        wire.send(GET)
        assert wire.statuses == [status]


def accepted(data: bytes, *, limits: Limits | None = None, policy: Policy | None = None) -> Wire:
    """The bytes are one request, however they are cut."""
    for pieces in cuts(data, seeds=2):
        wire = Wire(limits=limits, policy=policy).send(*pieces)
        assert wire.statuses == [200]
        assert wire.refusals == []
    return wire


# -- request lines -----------------------------------------------------------------------------------------------------


@pytest.mark.ledger("H-03", "H-16")
def test_a_request_line_gives_method_target_and_version() -> None:
    exchange = accepted(get("/a%20b?c=d&e", method="FROB")).exchange
    assert (exchange.method, exchange.target, exchange.http11) == (b"FROB", b"/a%20b?c=d&e", True)
    assert not accepted(get("/", minor=0)).exchange.http11


@pytest.mark.ledger("H-02", "H-03")
@pytest.mark.parametrize("minor", range(10))
def test_every_minor_version_of_http1_is_answered_with_http11(minor: int) -> None:
    wire = accepted(get("/", minor=minor))
    assert wire.exchange.http11 is (minor > 0)
    assert wire.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (wire.reason is None) is (minor > 0)


@pytest.mark.ledger("H-02")
@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.0"])
def test_another_major_version_is_505(version: bytes) -> None:
    refused(b"GET / " + version + b"\r\n" + HOST, 505, "H-02")


@pytest.mark.ledger("H-02")
def test_the_preface_of_http2_is_505() -> None:
    refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "H-02")


@pytest.mark.ledger("H-01")
@pytest.mark.parametrize(
    "version",
    [
        b"HTTP/1.10", b"HTTP/01.1", b"http/1.1", b"Http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/11.1",
        b"HTTP 1.1", b"HTTP/1,1",
        b"HTP/1.1", b"HTTPS/1.1", b"HTTP/1.1x", b"HTTP/1.x", b"HTTP/a.1", b"HTTP/ 1.1", b"ICY/1.1", b"HTTP/2",
        b"HTTP/2.00", b"X",
    ],
)  # fmt: skip
def test_a_malformed_version_is_400(version: bytes) -> None:
    refused(b"GET / " + version + b"\r\n" + HOST, 400, "H-01")


@pytest.mark.ledger("H-04")
@pytest.mark.parametrize("line", [b"GET /\r\n", b"GET / \r\n", b"GET /index.html\r\n\r\n"])
def test_a_request_line_without_a_version_is_400(line: bytes) -> None:
    refused(line + HOST, 400)


@pytest.mark.ledger("H-06")
@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1\r\n", b"GET /  HTTP/1.1\r\n", b"GET\t/ HTTP/1.1\r\n", b"GET /\tHTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n", b"GET / HTTP/1.1\t\r\n", b"\tGET / HTTP/1.1\r\n", b"GET / a HTTP/1.1\r\n",
        b"GET \x0b/ HTTP/1.1\r\n",
    ],
)  # fmt: skip
def test_exactly_one_blank_parts_a_request_line(line: bytes) -> None:
    refused(line + HOST, 400)


@pytest.mark.ledger("H-07", "H-08")
@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"\nGET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\n\nHost: a\r\n\r\n", b"GET / HTTP/1.1\rHost: a\r\r",
        b"GET / HTTP/1.1\r\nHost: a\r\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", b"GET / HTTP/1.1\r\r\n", b"\rGET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rX",
        b"GET /\r HTTP/1.1\r\n", b"GET /\n HTTP/1.1\r\n", b"GET / HTTP/1.1\n\n",
    ],
)  # fmt: skip
def test_a_lone_lf_or_cr_is_400(head: bytes) -> None:
    refused(head + b"\r\n\r\n", 400)


@pytest.mark.ledger("H-08")
@pytest.mark.parametrize("byte", [*range(9), *range(11, 13), *range(14, 32), 127])
def test_a_control_in_the_head_is_400(byte: int) -> None:
    control = bytes([byte])
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: a" + control + b"b\r\n\r\n", 400, cutting=False)
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX" + control + b": b\r\n\r\n", 400, cutting=False)
    refused(b"GET /" + control + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400, cutting=False)
    refused(b"GE" + control + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400, cutting=False)


@pytest.mark.ledger("H-09")
@pytest.mark.parametrize("method", [b"", b"G(T", b"G\xc4T", b"GET,", b'"GET"', b"GET:", b"{", b"GET/"])
def test_a_method_that_is_no_token_is_400(method: bytes) -> None:
    refused(method + b" / HTTP/1.1\r\n" + HOST, 400)


@pytest.mark.ledger("H-09")
@pytest.mark.parametrize("method", ["get", "Get", "GET", "M-SEARCH", "X!", "QUERY"])
def test_methods_keep_their_case_and_unknown_ones_are_the_applications(method: str) -> None:
    wire = run(get("/", method=method) + GET, later)
    assert wire.exchange.method == method.encode() or len(wire.exchanges) == 2
    wire.answer(wire.exchanges[0], 501).turn()
    assert (wire.replies[0].status, wire.reason) == (501, None)


@pytest.mark.ledger("H-09", "L-01")
def test_head_runs_what_get_runs_without_the_body() -> None:
    answered = [run(get("/", method=method)).reply for method in ("GET", "HEAD")]
    assert answered[0].lines == answered[1].lines
    assert (answered[0].body, answered[1].body) == (b"hello\n", b"")


@pytest.mark.ledger("H-05")
@pytest.mark.parametrize("minor", [0, 1])
def test_empty_lines_ahead_of_a_request_are_skipped_up_to_a_bound(minor: int) -> None:
    data = b"\r\n" * 8 + get("/", "Connection: keep-alive", minor=minor)
    for pieces in cuts(data + data, seeds=4):
        wire = Wire().send(*pieces)
        assert wire.statuses == [200, 200]
        assert wire.core.request_count == 2
    refused(b"\r\n" * 9, 400, "H-05")
    refused(b"\r\n" * 9 + GET, 400, "H-05")
    accepted(GET, limits=Limits(blankLines=0))
    refused(b"\r\n" + GET, 400, "H-05", limits=Limits(blankLines=0))


@pytest.mark.ledger("H-05")
def test_empty_lines_do_not_add_up_over_requests() -> None:
    wire = Wire().send(*[b"\r\n" * 8 + GET] * 20)
    assert wire.statuses == [200] * 20


@pytest.mark.ledger("H-14")
@pytest.mark.parametrize("target", [b"/#a", b"/\x7f", b"/\x80", b"/\xff", b"/a\x00", b"#", b"/\xc3\xa4"])
def test_a_target_with_other_bytes_is_400(target: bytes) -> None:
    refused(b"GET " + target + b" HTTP/1.1\r\n" + HOST, 400, "H-14")


@pytest.mark.ledger("H-14")
@pytest.mark.parametrize(
    "target",
    ["/%", "/%zz", "/a|b^c", '/"', "//a", "/?", "/a?b?c", "/{}", "/\\", "/%00", "/a//../b"],
)
def test_the_raw_target_goes_to_the_application(target: str) -> None:
    assert accepted(get(target)).exchange.target == target.encode()


@pytest.mark.ledger("H-10")
def test_8000_bytes_always_fit() -> None:
    line = b"GET /" + b"a" * 7986 + b" HTTP/1.1\r\n"
    assert len(line) - 2 == 8000
    for pieces in ([line + HOST], [line[:5000], line[5000:], HOST], cut_at_random(line + HOST, random.Random(1))):
        assert Wire().send(*pieces).statuses == [200]


@pytest.mark.ledger("H-10")
def test_a_longer_line_is_414() -> None:
    limits = Limits(maxLine=40)
    accepted(get("/" + "a" * 26), limits=limits)
    refused(get("/" + "a" * 27), 414, "H-10", limits=limits)
    refused(b"GET /" + b"a" * 100, 414, "H-10", limits=limits)
    refused(b"GET /" + b"a" * 100 + b"\x00", 414, "H-10", limits=limits)
    refused(b"GET /\x00" + b"a" * 100, 400, "H-14", limits=limits)


@pytest.mark.ledger("H-10")
def test_a_longer_method_than_any_is_501() -> None:
    accepted(get("/", method="A" * 32))
    refused(get("/", method="A" * 33), 501, "H-10")
    refused(b"A" * 100, 501, "H-10")
    refused(b"A" * 100 + b"\x00", 501, "H-10")
    refused(b"A\x00" + b"A" * 100, 400, "H-09")


@pytest.mark.ledger("H-11")
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "*"), ("HEAD", "*"), ("options", "*"), ("OPTIONS", "**"), ("GET", "a:80"), ("GET", "a"),
        ("OPTIONS", "a:80"), ("CONNECT", "a"),
        ("CONNECT", "/"), ("CONNECT", "a:"), ("CONNECT", "a:b"), ("CONNECT", "http://a:80/"), ("CONNECT", "u@a:80"),
        ("CONNECT", "a:99999"),
        ("CONNECT", "*"), ("GET", "?a"), ("GET", "http:/a"), ("GET", "http:a"), ("GET", "://a"), ("GET", "1http://a/"),
        ("GET", "http:///a"),
        ("GET", "http://u@a/"), ("GET", "http://a:b/"), ("GET", "http://"),
    ],
)  # fmt: skip
def test_a_form_of_target_that_does_not_go_with_the_method_is_400(method: str, target: str) -> None:
    refused(get(target, method=method), 400, "H-11")


@pytest.mark.ledger("H-11")
def test_the_asterisk_goes_with_options() -> None:
    assert accepted(get("*", method="OPTIONS")).exchange.target == b"*"


@pytest.mark.ledger("H-12")
@pytest.mark.parametrize(
    ("target", "authority", "path", "query"),
    [
        (b"http://b.example/a/b?c=d", b"b.example", "/a/b", "c=d"), (b"HTTP://b:81", b"b:81", "/", ""),
        (b"http://b?x", b"b", "/", "x"),
        (b"https://[::1]:8443/", b"[::1]:8443", "/", ""), (b"/a?b", None, "/a", "b"), (b"*", None, "*", ""),
        (b"//a/b", None, "//a/b", ""),
        (b"/?", None, "/", ""), (b"/a?b?c", None, "/a", "b?c"),
    ],
)  # fmt: skip
def test_a_target_names_an_authority_a_path_and_a_query(
    target: bytes,
    authority: bytes | None,
    path: str,
    query: str,
) -> None:
    assert check_target(b"OPTIONS", target) == authority
    assert split_target(target) == (path, query)
    accepted(get(target.decode(), method="OPTIONS"))


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("H-19", "H-12")
def test_a_request_without_host_is_400_in_http11_only() -> None:
    refused(b"GET / HTTP/1.1\r\n\r\n", 400, "H-19")
    refused(b"GET / HTTP/1.9\r\nX: y\r\n\r\n", 400, "H-19")
    refused(b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "H-19")
    accepted(b"GET / HTTP/1.0\r\n\r\n")
    accepted(b"GET / HTTP/1.0\r\nX: y\r\n\r\n")


@pytest.mark.ledger("H-20", "H-15")
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize(
    "lines",
    [
        ["Host: a", "Host: a"],
        ["Host: a", "hOST: b"],
        ["Host: a,b"],
        ["Host: u@a"],
        ["Host: a/b"],
        ["Host: a:x"],
        ["Host: a b"],
        ["Host:"],
    ],
)
def test_a_repeated_or_invalid_host_is_400_in_any_version(minor: int, lines: list[str]) -> None:
    refused("\r\n".join([f"GET / HTTP/1.{minor}", *lines, "", ""]).encode(), 400, "H-20")


@pytest.mark.ledger("H-20")
def test_an_empty_host_needs_a_site_for_it() -> None:
    data = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    refused(data, 400, "H-20")
    accepted(data, policy=Policy(emptyHost=True))


@pytest.mark.ledger("H-21", "H-23")
def test_names_ignore_case_and_blanks_round_values_are_not_part_of_them() -> None:
    wire = accepted(b"GET / HTTP/1.1\r\nhOsT:a\r\nX: \t b \t c \t\r\nx:\r\nX:\xe4\xff\r\n\r\n")
    assert wire.exchange.headers.raw == ((b"hOsT", b"a"), (b"X", b"b \t c"), (b"x", b""), (b"X", b"\xe4\xff"))
    assert wire.exchange.fields is not None
    assert wire.exchange.fields.host == b"a"


@pytest.mark.ledger("H-22", "H-24", "H-25")
@pytest.mark.parametrize(
    "line",
    [
        b" X: folded", b"\tX: folded", b"X : y", b"X\t: y", b"X", b": y", b"X y: z", b"X(: y", b"\xe4: y", b"=",
        b"X\x00: y",
        b"Host: a\r\n more",
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_a_line_that_is_no_field_is_400(line: bytes, first: bool) -> None:
    lines = [line, b"Host: a"] if first else [b"Host: a", line]
    refused(b"GET / HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n", 400)


@pytest.mark.ledger("H-26")
def test_a_header_section_has_limits() -> None:
    fields = b"Host: a\r\nX: yyyyyyyyyyyyyyy\r\n"
    head = b"GET / HTTP/1.1\r\n" + fields + b"\r\n"
    accepted(head, limits=Limits(maxHeaderBytes=len(fields)))
    refused(head, 431, "H-26", limits=Limits(maxHeaderBytes=len(fields) - 1))
    accepted(head, limits=Limits(maxHeaderFields=2))
    refused(head, 431, "H-26", limits=Limits(maxHeaderFields=1))
    refused(b"GET / HTTP/1.1\r\nX: " + b"y" * 200, 431, "H-26", limits=Limits(maxHeaderBytes=100))
    assert run(get("/", "X: " + "y" * 16370)).statuses == [200]
    assert run(get("/", "X: " + "y" * 16371)).statuses == [431]


@pytest.mark.ledger("H-16")
def test_the_application_is_called_once_and_not_before_the_empty_line() -> None:
    wire = Wire(later)
    for index in range(len(GET) - 1):
        wire.send(GET[index : index + 1])
        assert not wire.exchanges
    assert len(wire.send(GET[-1:]).exchanges) == 1


# -- what fields mean --------------------------------------------------------------------------------------------------


@pytest.mark.ledger("U-03", "U-05", "U-07", "U-01")
@pytest.mark.parametrize(
    ("lines", "http11", "offered"),
    [
        (["Upgrade: chat", "Connection: upgrade"], True, (b"chat",)),
        (["Upgrade: Chat/1, h2c, x", "Upgrade: y", "Connection: a, UPGRADE"], True, (b"Chat/1", b"x", b"y")),
        (["Upgrade: h2c", "HTTP2-Settings: AAA", "Connection: upgrade, http2-settings"], True, ()),
        (["Upgrade: H2C", "Connection: upgrade"], True, ()),
        (["Upgrade: chat"], True, ()),
        (["Upgrade: chat", "Connection: close"], True, ()),
        (["Connection: upgrade"], True, ()),
        (["Upgrade: chat", "Connection: upgrade"], False, ()),
    ],
)  # fmt: skip
def test_an_offer_to_switch_needs_its_option_and_http11(
    lines: list[str],
    http11: bool,
    offered: tuple[bytes, ...],
) -> None:
    parted = [line.encode().partition(b": ") for line in lines]
    fields = read_fields([(b"Host", b"a"), *((name, value) for name, _, value in parted)], http11, Limits(), Policy())
    assert fields.upgrades == offered
    if not offered:
        wire = run(get("/", *lines, minor=int(http11)), later)
        with pytest.raises(LocalProtocolError):
            wire.exchange.switch(b"chat")
        wire.answer().turn()
        assert (wire.reply.status, wire.reply.all("Upgrade")) == (200, [])


@pytest.mark.ledger("U-02", "U-07")
def test_only_what_was_offered_can_be_switched_to() -> None:
    wire = run(get("/", "Upgrade: Chat", "Connection: upgrade"), later)
    with pytest.raises(LocalProtocolError):
        wire.exchange.switch(b"talk")
    wire.exchange.switch(b"cHAT")
    assert wire.turn().statuses == [101]


@pytest.mark.ledger("U-07", "V-07")
def test_426_lists_protocols_and_names_the_field() -> None:
    wire = run(GET + GET, later).answer(None, 426, [("Upgrade", "chat"), ("Connection", "upgrade")]).turn()
    assert wire.replies[0].connection == ["Upgrade: chat", "Connection: upgrade"]
    assert wire.reason is None
    wire.answer(None, 200, [("Upgrade", "chat")]).turn()
    assert wire.replies[1].connection == []


def test_a_block_is_remembered_only_for_requests_that_it_means_the_same_for() -> None:
    block = "Content-Length: 5"
    body = b"hello"
    first = get("/", block, method="POST", body=body)
    for other, statuses in (
        (get("/", block, method="PUT", body=body), [200, 200]),
        (get("/", block, method="TRACE", body=body), [200, 400]),
        (get("a:80", block, method="CONNECT", body=body), [200, 400]),
        (get("/", block, method="POST", minor=0, body=body).replace(b"\r\nC", b"\r\nHost: a\r\nC", 1), [200, 200]),
    ):
        wire = run(first + other)
        assert wire.statuses == statuses
    assert wire.reason == "HTTP10_DEFAULT", "the same block in HTTP/1.0 is another request"
    head = get("*", method="OPTIONS") + get("*", method="GET")
    assert run(head).statuses == [200, 400]


def test_a_repeated_head_is_recognised_whole_only() -> None:
    """The same head again and again, then ones that begin like it."""
    for different in (
        get("/", "X: y"),
        get("/x"),
        GET[:-2] + b"Connection: close\r\n\r\n",
        b"\r\n" + GET,
        get("/", method="HEAD"),
    ):
        for pieces in cuts(GET * 4 + different + GET, seeds=6):
            wire = Wire().send(*pieces)
            assert wire.statuses[:5] == [200] * 5
            assert [exchange.number for exchange in wire.exchanges] == list(range(1, len(wire.exchanges) + 1))
            assert len(wire.statuses) == (5 if b"close" in different else 6)
    assert Wire().send(GET * 4 + GET[:-2] + b"x\r\n").statuses == [200] * 4 + [400]


# -- responses ---------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("H-27", "H-03")
def test_a_status_line_has_its_blank_even_without_a_phrase() -> None:
    assert set(STATUS_LINES) == set(range(100, 600))
    for status, line in STATUS_LINES.items():
        assert line == b"HTTP/1.1 %d %b\r\n" % (status, REASON_PHRASES.get(status, b""))
    assert STATUS_LINES[299] == b"HTTP/1.1 299 \r\n"
    assert run(GET, lambda wire, exchange: wire.answer(exchange, 299)).data.startswith(b"HTTP/1.1 299 \r\n")


def test_every_final_response_has_the_date_of_the_second_it_is_made_in() -> None:
    wire = Wire(later, wall_clock=lambda: 1_800_000_000.25 + wire.seconds)
    wire.send(GET * 4)
    wire.exchanges[0].interim(103)
    wire.answer().start()
    wire.exchanges[1].finish()
    wire.answer(None, 200, [("Date", "mine")])
    wire.seconds = 0.75
    wire.answer().send(b"nonsense\r\n")
    first, second = "Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 08:00:01 GMT"
    assert [reply.get("Date") for reply in wire.replies] == [None, first, first, "mine", second, second]
