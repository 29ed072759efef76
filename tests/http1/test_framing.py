"""Where messages end: tables D2 and D4 of the ledger, row by row, and the rows of group L that rest on them."""

from __future__ import annotations

from typing import Any

import pytest

from ka_twisted.config import Limits, Policy
from ka_twisted.core.errors import LocalProtocolError, RemoteProtocolError
from ka_twisted.core.framing import Delimiter
from ka_twisted.http1.framing import decide_request, decide_response
from tests.http1.driving import GET, Wire, at_once, chunked, cuts, get, later, post, run, upload, when_read
from tests.ledger import case

TE, CL = "Transfer-Encoding: ", "Content-Length: "

#: Row, HTTP/1 minor, values of Transfer-Encoding and Content-Length, method, status, settings.
REFUSED = [
    case("D2-01", 0, ["chunked"], [], "POST", 400, {}),
    case("D2-01", 0, ["gzip"], ["5"], "GET", 400, {}, note="with a length"),
    case("D2-01", 0, [""], [], "POST", 400, {}, note="empty"),
    case("D2-02", 1, ["chunked"], ["5"], "POST", 400, {}),
    case("D2-02", 1, ["identity"], ["nonsense"], "GET", 400, {}, note="both broken"),
    case("D2-02", 1, [""], [""], "GET", 400, {}, note="both empty"),
    case("D2-03", 1, [""], [], "POST", 400, {}, note="empty"),
    case("D2-03", 1, [",chunked"], [], "POST", 400, {}, note="empty member first"),
    case("D2-03", 1, ["chunked,"], [], "POST", 400, {}, note="empty member last"),
    case("D2-03", 1, ["chunked", ""], [], "POST", 400, {}, note="empty line"),
    case("D2-04", 1, ['"chunked"'], [], "POST", 400, {}, note="quotes"),
    case("D2-04", 1, ["chun ked"], [], "POST", 400, {}, note="blank inside"),
    case("D2-04", 1, ["(chunked)"], [], "POST", 400, {}, note="comment"),
    case("D2-04", 1, ["\xa0chunked"], [], "POST", 400, {}, note="no-break space"),
    case("D2-05", 1, ["chunked;q=1"], [], "POST", 400, {}),
    case("D2-05", 1, ["chunked ; a"], [], "POST", 400, {}, note="blanks"),
    case("D2-05", 1, ["chunked;"], [], "POST", 400, {}, note="empty"),
    case("D2-06", 1, ["chunked, chunked"], [], "POST", 400, {}, note="one line"),
    case("D2-06", 1, ["chunked", "Chunked"], [], "POST", 400, {}, note="two lines"),
    case("D2-06", 1, ["chunked, gzip, chunked"], [], "POST", 400, {}, note="apart"),
    case("D2-07", 1, ["gzip"], [], "POST", 400, {}, note="gzip"),
    case("D2-07", 1, ["identity"], [], "POST", 400, {}, note="identity"),
    case("D2-07", 1, ["xchunked"], [], "POST", 400, {}, note="xchunked"),
    case("D2-07", 1, ["chunked, gzip"], [], "POST", 400, {}, note="chunked first"),
    case("D2-08", 1, ["gzip, chunked"], [], "POST", 501, {}, note="gzip"),
    case("D2-08", 1, ["identity, chunked"], [], "POST", 501, {}, note="identity"),
    case("D2-08", 1, ["gzip", "chunked"], [], "POST", 501, {}, note="two lines"),
    case("D2-08", 1, ["gzip;a=b, chunked"], [], "POST", 501, {}, note="parameters"),
    case("D2-09", 1, ["chunked"], [], "TRACE", 400, {}, note="TRACE"),
    case("D2-09", 1, ["Chunked"], [], "CONNECT", 400, {}, note="CONNECT"),
    case("D2-10", 1, ["chunked"], [], "POST", 411, {"policy": Policy(lengthRequired=True)}),
    case("D2-12", 1, [], [""], "POST", 400, {}, note="empty"),
    case("D2-12", 1, [], ["+5"], "POST", 400, {}, note="plus"),
    case("D2-12", 0, [], ["-5"], "POST", 400, {}, note="minus"),
    case("D2-12", 1, [], ["0x10"], "POST", 400, {}, note="hexadecimal"),
    case("D2-12", 1, [], ["1 2"], "POST", 400, {}, note="blank"),
    case("D2-12", 1, [], ["1_0"], "POST", 400, {}, note="underscore"),
    case("D2-12", 1, [], ["\xb2"], "POST", 400, {}, note="superscript"),
    case("D2-12", 1, [], ["5,"], "POST", 400, {}, note="empty member"),
    case("D2-12", 1, [], ["5.0"], "POST", 400, {}, note="fraction"),
    case("D2-13", 1, [], ["5", "6"], "POST", 400, {}, note="two lines"),
    case("D2-13", 0, [], ["5, 6"], "POST", 400, {}, note="list"),
    case("D2-13", 1, [], ["5, 05"], "POST", 400, {}, note="leading zero"),
    case("D2-14", 1, [], ["5", "5"], "POST", 400, {}, note="two lines"),
    case("D2-14", 1, [], ["5,5"], "GET", 400, {}, note="list"),
    case("D2-15", 1, [], ["1" * 20], "POST", 413, {}),
    case("D2-15", 0, [], ["9" * 5000], "POST", 413, {}, note="thousands of digits"),
    case("D2-16", 1, [], ["11"], "POST", 413, {"limits": Limits(maxBodyBytes=10)}),
    case("D2-16", 1, [], ["9" * 19], "PUT", 413, {"limits": Limits(maxBodyBytes=2**40)}, note="19 digits"),
    case("D2-17", 1, [], ["1"], "TRACE", 400, {}, note="TRACE"),
    case("D2-17", 1, [], ["5"], "CONNECT", 400, {}, note="CONNECT"),
]

#: Row, HTTP/1 minor, values of both fields, method, delimiter, length.
ACCEPTED = [
    case("D2-11", 1, ["chunked"], [], "POST", Delimiter.CHUNKED, None),
    case("D2-11", 1, ["CHUNKed"], [], "GET", Delimiter.CHUNKED, None, note="any case and method"),
    case("D2-11", 1, ["\tchunked "], [], "FROB", Delimiter.CHUNKED, None, note="blanks round it"),
    case("D2-18", 1, [], ["0005"], "POST", Delimiter.LENGTH, 5),
    case("D2-18", 1, [], ["010"], "POST", Delimiter.LENGTH, 10, note="decimal, not octal"),
    case("D2-19", 1, [], ["0"], "POST", Delimiter.NONE, 0),
    case("D2-19", 0, [], ["000"], "TRACE", Delimiter.NONE, 0, note="zeros"),
    case("D2-20", 1, [], ["5"], "GET", Delimiter.LENGTH, 5, note="GET"),
    case("D2-20", 0, [], ["5"], "HEAD", Delimiter.LENGTH, 5, note="HEAD"),
    case("D2-20", 1, [], ["9" * 19], "PUT", Delimiter.LENGTH, 10**19 - 1, note="19 digits"),
    case("D2-21", 1, [], [], "GET", Delimiter.NONE, 0, note="GET"),
    case("D2-21", 1, [], [], "POST", Delimiter.NONE, 0, note="POST"),
    case("D2-21", 0, [], [], "PUT", Delimiter.NONE, 0, note="PUT"),
]


def head(minor: int, codings: list[str], lengths: list[str], method: str) -> bytes:
    target = "a:80" if method == "CONNECT" else "/"
    lines = [TE + value for value in codings] + [CL + value for value in lengths]
    return get(target, *lines, method=method, minor=minor)


@pytest.mark.ledger("L-03", "L-05", "L-14", "L-15", "L-18", "L-19", "L-20", "L-21", "L-23")
@pytest.mark.parametrize(("minor", "codings", "lengths", "method", "status", "settings"), REFUSED)
def test_requests_that_cannot_be_framed(
    request: pytest.FixtureRequest,
    minor: int, codings: list[str], lengths: list[str], method: str, status: int, settings: dict[str, Any],
) -> None:  # fmt: skip
    row = request.node.callspec.id[:5]
    limits, policy = settings.get("limits", Limits()), settings.get("policy", Policy())
    with pytest.raises(RemoteProtocolError) as caught:
        decide_request(
            bool(minor),
            [value.encode("latin-1") for value in codings],
            [value.encode("latin-1") for value in lengths],
            method.encode(),
            max_body=limits.maxBodyBytes,
            length_required=policy.lengthRequired,
        )
    assert (caught.value.status, caught.value.row) == (status, row)

    # The connection refuses it, whatever comes behind: no 100, no application, one answer, the close.
    data = (
        head(minor, codings, lengths, method).replace(
            b"\r\n\r\n",
            b"\r\nExpect: 100-continue\r\n\r\n",
        )
        + b"hello"
        + GET
    )
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        wire = Wire(**settings).send(*pieces).eof()
        assert wire.refusals == [(status, row)]
        assert not wire.exchanges
        assert wire.statuses == [status]
        assert wire.reply.connection == ["Connection: close"]
        assert wire.reply.get("Content-Length") == str(len(wire.reply.body))
        assert wire.reason == ("BODY_TOO_LARGE" if row == "D2-16" else "BAD_REQUEST")
        assert wire.ending.reason.by == "us"


@pytest.mark.parametrize("byte", [b"\x0b", b"\x00", b"\x0c", b"\x7f"], ids=["VT", "NUL", "FF", "DEL"])
@pytest.mark.ledger("D2-04", "H-08")
def test_a_control_in_transfer_encoding(byte: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decide_request(True, [byte + b"chunked"], [])
    assert (caught.value.status, caught.value.row) == (400, "D2-04")
    wire = run(get("/").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: " + byte + b"chunked\r\n\r\n") + chunked(b"x"))
    assert wire.statuses == [400]
    assert wire.reason == "BAD_REQUEST"


@pytest.mark.ledger("L-07", "L-10", "L-14", "L-17", "L-20")
@pytest.mark.parametrize(("minor", "codings", "lengths", "method", "delimiter", "length"), ACCEPTED)
def test_requests_that_are_framed(
    request: pytest.FixtureRequest,
    minor: int, codings: list[str], lengths: list[str], method: str, delimiter: Delimiter, length: int | None,
) -> None:  # fmt: skip
    wire = run(head(minor, codings, lengths, method), later)
    decided = wire.exchange.framing
    assert decided.row == request.node.callspec.id[:5]
    assert (decided.delimiter, decided.length) == (delimiter, length)
    assert decided.framed
    assert decided.clause.startswith("RFC 9112 6.3")


@pytest.mark.ledger("D2-16")
def test_a_body_of_exactly_the_limit_is_accepted() -> None:
    wire = run(post(b"0123456789"), when_read, limits=Limits(maxBodyBytes=10))
    assert wire.reply.body == b"0123456789"


@pytest.mark.ledger("L-32", "D2-16")
def test_a_limit_that_will_pass_is_told_with_retry_after() -> None:
    wire = run(post(b"x" * 11), limits=Limits(maxBodyBytes=10, bodyRetryAfter=30))
    assert (wire.reply.status, wire.reply.get("Retry-After")) == (413, "30")
    assert run(post(b"x" * 11), limits=Limits(maxBodyBytes=10)).reply.get("Retry-After") is None


@pytest.mark.ledger("L-09", "D2-10", "D2-21")
def test_a_length_is_insisted_on_only_where_the_policy_says_so() -> None:
    for policy in (Policy(), Policy(lengthRequired=True)):
        assert run(get("/", method="POST"), policy=policy).statuses == [200]
        assert run(post(b"x"), policy=policy).statuses == [200]
    assert run(upload(chunked(b"x")), when_read).statuses == [200]


@pytest.mark.ledger("L-17", "D2-20")
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "FROB"])
def test_a_body_is_read_with_any_method_and_framed_apart_from_the_next_request(method: str) -> None:
    wire = run(post(GET, method=method) + get("/2"), when_read)
    assert [exchange.target for exchange in wire.exchanges] == [b"/", b"/2"]
    assert wire.bodies == {1: GET}
    assert wire.statuses == [200, 200]


@pytest.mark.ledger("D2-21", "L-07")
def test_without_length_fields_what_follows_is_the_next_request() -> None:
    wire = run(get("/1", method="POST") + get("/2"))
    assert [exchange.target for exchange in wire.exchanges] == [b"/1", b"/2"]


# -- while a chunked body is read --------------------------------------------------------------------------------------

FAULTS = [
    case("D2-22", b"5\r\nhello\r\nx\r\n", 400, {}, note="size"),
    case("D2-22", b"\r\n", 400, {}, note="no size"),
    case("D2-22", b"-1\r\n", 400, {}, note="signed"),
    case("D2-22", b"0x5\r\nhello\r\n", 400, {}, note="0x"),
    case("D2-22", b"5 \r\nhello\r\n", 400, {}, note="blank"),
    case("D2-22", b"1" * 17 + b"\r\n", 400, {}, note="17 digits"),
    case(
        "D2-22",
        b"5;a=" + b"b" * 30 + b"\r\nhello\r\n",
        400,
        {"limits": Limits(maxChunkLine=20)},
        note="line too long",
    ),
    case("D2-22", b"5" * 50, 400, {"limits": Limits(maxChunkLine=20)}, note="line too long and unfinished"),
    case("D2-22", b"5;\r\nhello\r\n", 400, {}, note="extension without a name"),
    case("D2-22", b"5;a\x01\r\nhello\r\n", 400, {}, note="control in an extension"),
    case("D2-22", b"1;aaaaaa\r\nx\r\n" * 4, 400, {"limits": Limits(maxChunkExtensions=20)}, note="extensions too long"),
    case("D2-22", b"5\r\nhelloworld\r\n", 400, {}, note="bytes after the data"),
    case("D2-22", b"5\r\nhello\n", 400, {}, note="lone LF after the data"),
    case("D2-22", b"5\r\nhello\r\r", 400, {}, note="lone CR after the data"),
    case("D2-22", b"5\nhello\r\n", 400, {}, note="lone LF after the size"),
    case("D2-24", b"5\r\nhello\r\n6\r\n world\r\n", 413, {"limits": Limits(maxBodyBytes=10)}),
    case("D2-24", b"f" * 16 + b"\r\n", 413, {"limits": Limits(maxBodyBytes=10)}, note="at once"),
    case("D2-26", b"0\r\nX\r\n\r\n", 400, {}, note="malformed"),
    case("D2-26", b"0\r\nX : y\r\n\r\n", 400, {}, note="blank before the colon"),
    case("D2-26", b"0\r\nX: y\n\r\n", 400, {}, note="lone LF"),
    case(
        "D2-26",
        b"0\r\nX: " + b"y" * 100 + b"\r\n\r\n",
        431,
        {"limits": Limits(maxTrailerBytes=50)},
        note="too large",
    ),
    case("D2-26", b"0\r\n" + b"X: y\r\n" * 4 + b"\r\n", 431, {"limits": Limits(maxTrailerFields=3)}, note="too many"),
]


@pytest.mark.ledger("L-24", "L-25", "L-26", "L-28", "L-32", "X-11")
@pytest.mark.parametrize(("data", "status", "settings"), FAULTS)
def test_a_fault_in_a_chunked_body_before_the_response(
    request: pytest.FixtureRequest, data: bytes, status: int, settings: dict[str, Any]
) -> None:
    row = request.node.callspec.id[:5]
    outcomes = set()
    for pieces in cuts(upload(data + GET)):
        wire = Wire(when_read, **settings).send(*pieces)
        assert wire.statuses == [status]
        assert wire.reply.connection == ["Connection: close"]
        assert wire.reply.get("Content-Length") == str(len(wire.reply.body))
        assert len(wire.exchanges) == 1
        (failure,) = wire.failures
        assert failure.error.row == row
        outcomes.add((wire.reason, wire.data, wire.bodies.get(1, b"")))
    assert len(outcomes) == 1
    assert wire.reason == ("BODY_TOO_LARGE" if status == 413 else "BAD_REQUEST")


@pytest.mark.parametrize(
    ("data", "status", "settings"),
    [
        case({"D2-22": "D2-23", "D2-24": "D2-25", "D2-26": "D2-27"}[given.id[:5]], *given.values, note=given.id[6:])
        for given in FAULTS
    ],
)
def test_a_fault_in_a_chunked_body_within_the_response(
    request: pytest.FixtureRequest, data: bytes, status: int, settings: dict[str, Any]
) -> None:
    first = upload(b"1\r\nx\r\n")
    outcomes = set()
    for pieces in cuts(data + GET, seeds=3):
        wire = Wire(later, **settings).send(first)
        wire.read().start()
        wire.exchange.write(b"part")
        wire.turn().send(*pieces)
        assert len(wire.failures) == 1
        if request.node.callspec.id.startswith("D2-27"):
            assert wire.core.ending is None
            wire.exchange.finish()
            wire.turn()
            assert wire.reply.complete
        else:
            assert not wire.reply.complete
        assert wire.reply.connection == []
        assert len(wire.exchanges) == 1
        assert not wire.ending.reset
        outcomes.add((wire.reason, wire.data))
    assert len(outcomes) == 1
    # The response ends unfinished, and yet not by the application's fault.
    assert wire.reason == ("BODY_TOO_LARGE" if status == 413 else "BAD_REQUEST")


@pytest.mark.ledger("D2-28", "L-28")
def test_forbidden_trailers_are_discarded_and_the_rest_is_kept_apart() -> None:
    trailers = (
        b"Content-Length: 99\r\nX-Sum: 1\r\nHost: evil\r\nTransfer-Encoding: gzip\r\nX-A: 2\r\nAuthorization: x\r\n"
    )
    for pieces in cuts(upload(chunked(b"hello", trailers=trailers)) + get("/2")):
        wire = Wire(when_read).send(*pieces)
        exchange = wire.exchanges[0]
        assert exchange.trailers.raw == ((b"X-Sum", b"1"), (b"X-A", b"2"))
        assert "X-Sum" not in exchange.headers
        assert wire.statuses == [200, 200]
        assert wire.reason is None


@pytest.mark.ledger("D2-29", "L-31", "L-26")
@pytest.mark.parametrize(
    "data",
    [
        get("/", CL + "5"), get("/", CL + "5", body=b"hell"), upload(b""), upload(b"5"), upload(b"5\r"),
        upload(b"5\r\nhell"),
        upload(b"5\r\nhello"), upload(b"5\r\nhello\r"), upload(b"5\r\nhello\r\n"), upload(b"5\r\nhello\r\n0"),
        upload(b"5\r\nhello\r\n0\r\n"), upload(b"5\r\nhello\r\n0\r\n\r"), upload(b"5\r\nhello\r\n0\r\nX: y"),
        upload(b"5\r\nhello\r\n0\r\nX: y\r\n"),
    ],
    ids=lambda data: repr(data.partition(b"\r\n\r\n")[2]),
)  # fmt: skip
def test_the_input_ends_inside_a_body(data: bytes) -> None:
    for pieces in cuts(data, seeds=2):
        wire = Wire(when_read).send(*pieces).eof()
        assert wire.statuses == [400]
        assert wire.reply.connection == ["Connection: close"]
        assert len(wire.failures) == 1
        assert wire.failures[0].error.row == "D2-29"
        assert wire.reason == "PEER_CLOSED_MID_REQUEST"
        assert wire.ending.reason.by == "peer"

        # With the response begun: the application is told, and finishes it.
        wire = Wire(later).send(*pieces)
        wire.read().start().turn()
        wire.eof()
        assert len(wire.failures) == 1
        wire.exchange.finish()
        wire.turn()
        assert (wire.statuses, wire.reply.complete, wire.reason) == ([200], True, "PEER_CLOSED_MID_REQUEST")


@pytest.mark.ledger("D2-30", "P-17", "L-31")
@pytest.mark.parametrize("data", [get("/", CL + "5", body=b"hell"), upload(b"5\r\nhel")], ids=["length", "chunked"])
def test_silence_inside_a_body(data: bytes) -> None:
    wire = run(data, when_read)
    deadline = wire.core.deadline
    assert deadline is not None
    wire.core.expire(deadline)
    wire.turn()
    assert wire.statuses == [408]
    assert wire.reply.connection == ["Connection: close"]
    assert wire.failures[0].error.row == "D2-30"
    assert wire.reason == "BODY_TIMEOUT"

    wire = run(data, later)
    wire.read().start().turn()
    wire.core.expire(deadline)
    wire.turn()
    assert len(wire.failures) == 1
    wire.exchange.finish()
    wire.turn()
    assert (wire.statuses, wire.reply.complete, wire.reason) == ([200], True, "BODY_TIMEOUT")


# -- responses ---------------------------------------------------------------------------------------------------------

N, L, C, X = Delimiter.NONE, Delimiter.LENGTH, Delimiter.CHUNKED, Delimiter.CLOSE

#: Row, method, status, HTTP/1 minor, length, length stated, closing, chunked, delimiter, length field.
RESPONSES = [
    case("D4-01", "GET", 103, 1, None, None, False, True, N, None),
    case("D4-01", "HEAD", 100, 1, 5, 5, True, True, N, None, note="with a length"),
    case("D4-03", "GET", 101, 1, None, None, False, True, N, None),
    case("D4-04", "CONNECT", 200, 1, 5, 5, False, True, N, None, note="1.1"),
    case("D4-04", "CONNECT", 204, 0, None, None, False, True, N, None, note="1.0"),
    case("D4-05", "HEAD", 200, 1, 5, 5, False, True, N, 5),
    case("D4-05", "HEAD", 404, 0, 0, None, True, True, N, 0, note="1.0"),
    case("D4-06", "HEAD", 200, 1, None, None, False, True, N, None),
    case("D4-06", "HEAD", 200, 0, None, None, False, False, N, None, note="1.0"),
    case("D4-07", "GET", 204, 1, 5, 5, False, True, N, None),
    case("D4-07", "HEAD", 204, 0, None, None, True, True, N, None, note="HEAD"),
    case("D4-08", "GET", 205, 1, 5, 5, False, True, N, 0),
    case("D4-08", "POST", 205, 0, None, None, True, True, N, 0, note="1.0"),
    case("D4-09", "GET", 304, 1, 5, None, False, True, N, None, note="counted"),
    case("D4-09", "GET", 304, 1, 5, 5, False, True, N, 5, note="stated"),
    case("D4-10", "GET", 200, 1, 0, None, False, True, L, 0, note="empty"),
    case("D4-10", "POST", 500, 1, 5, 5, True, False, L, 5, note="closing"),
    case("D4-10", "CONNECT", 404, 1, 5, 5, False, True, L, 5, note="CONNECT refused"),
    case("D4-11", "GET", 200, 1, None, None, False, True, C, None),
    case("D4-12", "GET", 200, 1, None, None, True, True, C, None),
    case("D4-13", "GET", 200, 1, None, None, False, False, X, None),
    case("D4-14", "GET", 200, 0, 5, None, False, True, L, 5),
    case("D4-15", "GET", 200, 0, None, None, False, True, X, None),
    case("D4-25", "GET", 206, 1, 5, None, False, True, L, 5, note="known"),
    case("D4-25", "GET", 206, 0, None, None, False, True, X, None, note="unknown"),
]


@pytest.mark.ledger("L-01", "L-02", "L-06", "L-22", "L-30")
@pytest.mark.parametrize(
    ("method", "status", "minor", "length", "stated", "closing", "allowed", "delimiter", "field"), RESPONSES
)
def test_the_framing_of_a_response(
    request: pytest.FixtureRequest,
    method: str, status: int, minor: int, length: int | None, stated: int | None, closing: bool, allowed: bool,
    delimiter: Delimiter, field: int | None,
) -> None:  # fmt: skip
    decided = decide_response(
        method.encode(), status, bool(minor), length, stated=stated, closing=closing, chunked=allowed
    )
    assert (decided.delimiter, decided.length) == (delimiter, field)
    assert decided.framed is (delimiter is not Delimiter.CLOSE)
    if not request.node.callspec.id.startswith("D4-25"):
        assert decided.row == request.node.callspec.id[:5]


#: Row, method, status, HTTP/1 minor, stream?, length stated, fields, policy, length fields, body, kept.
SENT = [
    case("D4-05", "HEAD", 200, 1, False, None, Policy(), [CL + "6"], b"", True, note="whole"),
    case("D4-05", "HEAD", 200, 1, True, 9, Policy(), [CL + "9"], b"", True, note="stated"),
    case("D4-06", "HEAD", 200, 1, True, None, Policy(), [], b"", True),
    case("D4-07", "GET", 204, 1, False, None, Policy(), [], b"", True, note="whole"),
    case("D4-07", "GET", 204, 1, True, 6, Policy(), [], b"", True, note="streamed"),
    case("D4-08", "GET", 205, 1, False, None, Policy(), [CL + "0"], b"", True, note="whole"),
    case("D4-08", "GET", 205, 1, True, None, Policy(), [CL + "0"], b"", True, note="streamed"),
    case("D4-09", "GET", 304, 1, False, None, Policy(), [], b"", True, note="whole"),
    case("D4-09", "GET", 304, 1, True, None, Policy(), [], b"", True, note="streamed"),
    case("D4-10", "GET", 200, 1, False, None, Policy(), [CL + "6"], b"hello\n", True, note="whole"),
    case("D4-10", "GET", 200, 1, True, 6, Policy(), [CL + "6"], b"hello\n", True, note="streamed"),
    case("D4-11", "GET", 200, 1, True, None, Policy(), [TE + "chunked"], b"hello\n", True),
    case("D4-13", "GET", 200, 1, True, None, Policy(chunkedResponses=False), [], b"hello\n", False),
    case("D4-14", "GET", 200, 0, False, None, Policy(), [CL + "6"], b"hello\n", True, note="whole"),
    case("D4-14", "GET", 200, 0, True, 6, Policy(), [CL + "6"], b"hello\n", True, note="streamed"),
    case("D4-15", "GET", 200, 0, True, None, Policy(), [], b"hello\n", False),
    case("D4-25", "GET", 206, 1, False, None, Policy(), [CL + "6"], b"hello\n", True, note="known"),
    case("D4-25", "GET", 206, 1, True, None, Policy(), [TE + "chunked"], b"hello\n", True, note="unknown"),
]


@pytest.mark.ledger("L-01", "L-02", "L-06", "L-07", "L-13", "L-22", "L-30", "P-08", "D4-23")
@pytest.mark.parametrize(
    ("method", "status", "minor", "streamed", "stated", "policy", "length_fields", "body", "kept"), SENT
)
def test_the_bytes_of_a_response(
    method: str, status: int, minor: int, streamed: bool, stated: int | None, policy: Policy, length_fields: list[str],
    body: bytes, kept: bool,
) -> None:  # fmt: skip
    fields = [("Content-Type", "multipart/byteranges; boundary=x")] if status == 206 else []
    wire = run(get("/", "Connection: keep-alive", method=method, minor=minor) + GET, later, policy=policy)
    first = wire.exchanges[0]
    if streamed:
        wire.start(first, status, fields, stated)
        first.write(b"hel")
        first.write(b"lo\n")
        first.finish()
    else:
        wire.answer(first, status, fields)
    wire.turn()
    reply = wire.replies[0]
    assert [
        f"{name}: {value}" for name, value in reply.lines if name in ("Content-Length", "Transfer-Encoding")
    ] == length_fields
    assert (reply.status, reply.body, reply.complete) == (status, body, True)
    assert (wire.reason is None) is kept
    assert wire.core.busy is kept, "the next request waits for its response"
    assert first.bytes_sent == len(body)


@pytest.mark.ledger("D4-12")
def test_a_chunked_response_before_a_close_has_its_last_chunk() -> None:
    wire = run(get("/", "Connection: close"), later).start()
    framing = wire.exchange.response_framing
    assert framing is not None
    assert framing.row == "D4-12"
    wire.exchange.write(b"hello")
    wire.exchange.finish()
    wire.turn()
    assert wire.data.endswith(b"5\r\nhello\r\n0\r\n\r\n")
    assert (wire.reply.get("Transfer-Encoding"), wire.reply.connection) == ("chunked", ["Connection: close"])
    assert wire.reason == "CLOSE_REQUESTED"


@pytest.mark.ledger("D4-01", "D4-02", "X-09", "L-30")
@pytest.mark.parametrize("minor", [1, 0])
def test_interim_responses_have_no_length_and_do_not_go_to_http10(minor: int) -> None:
    wire = run(get("/", "Connection: keep-alive", minor=minor), later)
    wire.exchange.interim(103)
    wire.answer().turn()
    assert wire.statuses == ([103, 200] if minor else [200])
    assert wire.replies[0].connection == ([] if minor else ["Connection: keep-alive", "Keep-Alive: timeout=70"])
    assert wire.reason is None


@pytest.mark.ledger("L-04", "L-16")
def test_the_only_coding_ever_sent_is_our_own_chunked() -> None:
    mine = [("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "99")]
    wire = run(GET, later).start(None, 200, mine)
    wire.exchange.write(b"hello")
    wire.exchange.finish()
    wire.turn()
    assert wire.reply.all("Transfer-Encoding") == ["chunked"]
    assert wire.reply.all("Content-Length") == []
    assert wire.reply.body == b"hello"
    wire = run(GET, later).answer(None, 200, mine, b"hello").turn()
    assert (wire.reply.all("Transfer-Encoding"), wire.reply.all("Content-Length")) == ([], ["5"])


@pytest.mark.ledger("L-13", "D4-10")
def test_a_body_handed_over_whole_is_counted_even_when_empty() -> None:
    assert run(GET, lambda wire, exchange: wire.answer(exchange, body=b"")).reply.get("Content-Length") == "0"


# -- what the application does afterwards ------------------------------------------------------------------------------


@pytest.mark.ledger("D4-16", "L-11")
@pytest.mark.parametrize("whole", [True, False])
def test_bytes_beyond_the_stated_length_are_dropped_and_the_connection_closes(whole: bool) -> None:
    wire = run(GET + get("/2"), later)
    assert len(wire.exchanges) == 2
    first = wire.exchanges[0]
    if whole:
        wire.answer(first, 200, [("Content-Length", "3")], b"hello")
    else:
        wire.start(first, 200, None, 3)
        first.write(b"he")
        first.write(b"llo")
        first.finish()
    wire.turn()
    assert (wire.reply.body, wire.reply.complete) == (b"hel", True)
    assert first.excess == 2
    assert wire.reason == "APPLICATION_ABORT"
    assert not wire.ending.reset
    assert wire.cancelled == [2]


@pytest.mark.ledger("D4-17", "L-11")
@pytest.mark.parametrize("whole", [True, False])
def test_too_few_bytes_abort_the_response_and_are_never_padded(whole: bool) -> None:
    wire = run(GET, later)
    if whole:
        wire.answer(None, 200, [("Content-Length", "9")], b"hello")
    else:
        wire.start(None, 200, None, 9)
        wire.exchange.write(b"hello")
        wire.exchange.finish()
    wire.turn()
    assert (wire.reply.body, wire.reply.complete) == (b"hello", False)
    assert (wire.reason, wire.ending.reset) == ("APPLICATION_ABORT", False)


@pytest.mark.ledger("D4-18", "D4-24", "H-08")
@pytest.mark.parametrize("status", [99, 100, 101, 199, 600, 1000, 0, -1])
def test_a_wrong_status_raises_and_leaves_the_request_to_be_answered(status: int) -> None:
    wire = run(GET, later)
    for attempt in (wire.answer, wire.start):
        with pytest.raises(ValueError):
            attempt(None, status)
    assert not wire.data
    wire.answer(None, 500, None, b"sorry").turn()
    assert (wire.reply.status, wire.reply.get("Content-Length"), wire.reply.connection) == (500, "5", [])
    assert wire.reason is None


@pytest.mark.ledger("D4-19", "D1-02")
@pytest.mark.parametrize("length", [None, 10], ids=["chunked", "length"])
def test_a_failure_after_the_head_leaves_the_response_visibly_unfinished(length: int | None) -> None:
    wire = run(GET, later).start(None, 200, None, length)
    wire.exchange.write(b"hello")
    wire.exchange.abort()
    wire.turn()
    assert (wire.reply.body, wire.reply.complete) == (b"hello", False)
    assert wire.data.partition(b"\r\n\r\n")[2] == (b"hello" if length else b"5\r\nhello\r\n")
    assert (wire.reason, wire.ending.reset) == ("APPLICATION_ABORT", False)


@pytest.mark.ledger("D4-20")
@pytest.mark.parametrize("data", [get("/", minor=0), get("/", "Connection: keep-alive", minor=0)])
def test_a_failure_inside_a_body_that_the_close_ends_is_shown_by_a_reset(data: bytes) -> None:
    wire = run(data, later).start()
    wire.exchange.write(b"hello")
    wire.exchange.abort()
    assert (wire.reason, wire.ending.reset) == ("APPLICATION_ABORT", True)


@pytest.mark.ledger("D4-21", "L-27")
def test_trailers_are_announced_and_follow_the_last_chunk() -> None:
    wire = run(get("/", "TE: trailers", "Connection: TE"), later)
    fields = wire.exchange.fields
    assert fields is not None
    assert fields.wants_trailers
    wire.start(trailers=[b"X-Sum"])
    wire.exchange.write(b"hello")
    wire.exchange.finish([(b"X-Sum", b"1")])
    wire.turn()
    assert wire.reply.get("Trailer") == "X-Sum"
    assert (wire.reply.body, wire.reply.trailers) == (b"hello", [("X-Sum", "1")])
    assert wire.reason is None


@pytest.mark.ledger("D4-22", "L-27")
@pytest.mark.parametrize(("data", "length"), [(GET, 5), (get("/", minor=0), None), (get("/", method="HEAD"), None)])
def test_trailers_have_no_place_in_any_other_framing(data: bytes, length: int | None) -> None:
    wire = run(data, later).start(None, 200, None, length, [b"X-Sum"])
    wire.exchange.write(b"hello")
    wire.exchange.finish([(b"X-Sum", b"1")])
    wire.turn()
    assert b"X-Sum" not in wire.data
    assert wire.reply.complete


@pytest.mark.ledger("L-29", "D4-22")
@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["TE: trailers"], False), (["TE: trailers", "Connection: te"], True),
        (["TE: gzip, Trailers", "Connection: x, TE"], True),
        (["TE: gzip;q=1", "Connection: TE"], False), (["Connection: TE"], False),
        (["TE: chunked", "TE: trailers", "Connection: TE"], True),
        (["TE: trailersx", "Connection: TE"], False),
    ],
)  # fmt: skip
def test_trailers_are_wanted_only_by_te_with_its_connection_option(lines: list[str], wanted: bool) -> None:
    wire = run(get("/", *lines), later)
    fields = wire.exchange.fields
    assert fields is not None
    assert fields.wants_trailers is wanted
    assert ("te" in wire.exchange.headers) is (lines != [] and "Connection" not in "".join(lines))


@pytest.mark.ledger("D4-23", "L-01")
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)])
def test_bytes_written_to_a_response_without_a_body_are_dropped_and_counted(method: str, status: int) -> None:
    wire = run(get("/", method=method) + GET, later).start(None, status)
    first = wire.exchanges[0]
    first.write(b"hello")
    assert (first.excess, first.bytes_sent) == (5, 0)
    first.finish()
    wire.turn()
    assert b"hello" not in wire.data
    assert wire.reason is None


@pytest.mark.ledger("D1-03", "D4-03", "D4-04")
def test_connect_makes_no_tunnel_here() -> None:
    wire = run(get("a:80", method="CONNECT") + b"tunnelled")
    assert wire.refusals == [(501, "V-16")]
    assert wire.reply.connection == ["Connection: close"]
    assert not wire.exchanges


@pytest.mark.ledger("D1-03", "D4-03")
def test_101_leaves_http() -> None:
    wire = run(get("/", "Upgrade: chat", "Connection: upgrade"), later)
    wire.exchange.switch(b"chat")
    wire.turn()
    assert wire.reply.lines == [("Upgrade", "chat"), ("Connection", "upgrade")]
    assert wire.exchange.persistence is not None
    assert (wire.exchange.persistence.row, wire.reason) == ("D1-03", None)


def test_an_application_that_never_looks_at_the_body_is_served_too() -> None:
    wire = run(upload(chunked(b"a", b"b")) + post(b"hello") + GET, at_once)
    assert wire.statuses == [200, 200, 200]


@pytest.mark.ledger("L-11", "D4-17")
def test_bytes_of_a_stated_length_may_be_sent_past_the_connection_in_their_turn() -> None:
    wire = run(GET * 2, later)
    first, second = wire.exchanges
    wire.start(second, length=4).start(first, length=10)
    for exchange in (first, second):  # its head has not left; it is not its turn
        with pytest.raises(LocalProtocolError, match="out of turn"):
            exchange.written_past(4)
    wire.turn()
    first.written_past(4)
    first.write(b"567")
    wire.turn()
    with pytest.raises(LocalProtocolError, match="beyond a stated length"):
        first.written_past(4)
    first.written_past(3)
    first.finish()
    wire.turn()
    assert first.bytes_sent == 10
    second.written_past(4)
    second.finish()
    wire.turn()
    assert wire.reason is None
    with pytest.raises(LocalProtocolError, match="out of turn"):
        second.written_past(0)


def test_no_bytes_of_a_body_in_chunks_are_sent_past_the_connection() -> None:
    wire = run(GET, later).start().turn()
    with pytest.raises(LocalProtocolError, match="beyond a stated length"):
        wire.exchange.written_past(1)
