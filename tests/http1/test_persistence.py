"""Keep or close: table D1 of the ledger, row by row, and the rows of groups P, K and N that rest on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ka_twisted.config import Limits, Policy, Timeouts
from ka_twisted.core.deadlines import Deadline
from ka_twisted.core.errors import RemoteProtocolError
from ka_twisted.core.headers import NO_FIELDS
from ka_twisted.core.persistence import ConnectionField, Persistence
from ka_twisted.core.reasons import CloseReason, KeepReason
from ka_twisted.http1 import persistence
from ka_twisted.http1.exchange import Exchange
from ka_twisted.http1.persistence import UnreadBody
from tests.http1.driving import GET, GET_10, Wire, at_once, chunked, cuts, get, later, post, run, upload, when_read
from tests.ledger import case

R, K = CloseReason, KeepReason
CLOSE = ["Connection: close"]
KEEP_ALIVE = ["Connection: keep-alive", "Keep-Alive: timeout=70"]


def decide(minor: int, *options: str, **circumstances: Any) -> Persistence:
    return persistence.decide(bool(minor), frozenset(option.encode() for option in options), **circumstances)


# -- the function ------------------------------------------------------------------------------------------------------

#: Row, HTTP/1 minor, Connection tokens, circumstances, the reason (a `KeepReason` keeps), what the response says.
DECIDED = [
    case("D1-04", 1, "", {"draining": True}, R.DRAINING, ConnectionField.CLOSE),
    case(
        "D1-04",
        0,
        "keep-alive",
        {"draining": True, "limit": R.MAX_AGE, "asks_close": True},
        R.DRAINING,
        ConnectionField.CLOSE,
        note="before all others",
    ),
    case("D1-05", 1, "", {"limit": R.MAX_REQUESTS}, R.MAX_REQUESTS, ConnectionField.CLOSE, note="requests"),
    case("D1-05", 0, "close", {"limit": R.MAX_AGE, "asks_close": True}, R.MAX_AGE, ConnectionField.CLOSE, note="age"),
    case("D1-06", 1, "", {"asks_close": True}, R.CLOSE_REQUESTED, ConnectionField.CLOSE),
    case(
        "D1-06",
        1,
        "close",
        {"asks_close": True, "framed": False},
        R.CLOSE_REQUESTED,
        ConnectionField.CLOSE,
        note="both",
    ),
    case("D1-07", 1, "close", {}, R.CLOSE_REQUESTED, ConnectionField.CLOSE),
    case(
        "D1-07",
        1,
        "close",
        {"framed": False, "unread": UnreadBody.LONG},
        R.CLOSE_REQUESTED,
        ConnectionField.CLOSE,
        note="unframed",
    ),
    case("D1-08", 1, "close keep-alive", {}, R.CLOSE_REQUESTED, ConnectionField.CLOSE),
    case("D1-09", 0, "", {}, R.HTTP10_DEFAULT, ConnectionField.CLOSE),
    case("D1-09", 0, "te", {"framed": False}, R.HTTP10_DEFAULT, ConnectionField.CLOSE, note="others"),
    case("D1-10", 0, "", {"keep_alive_field": True}, R.HTTP10_DEFAULT, ConnectionField.CLOSE),
    case("D1-11", 0, "close", {}, R.CLOSE_REQUESTED, ConnectionField.CLOSE),
    case(
        "D1-11", 0, "close keep-alive", {"keep_alive_10": False}, R.CLOSE_REQUESTED, ConnectionField.CLOSE, note="both"
    ),
    case("D1-13", 0, "keep-alive", {"keep_alive_10": False}, R.HTTP10_DEFAULT, ConnectionField.CLOSE),
    case("D1-14", 0, "keep-alive", {"framed": False}, R.RESPONSE_UNFRAMED, ConnectionField.CLOSE),
    case("D1-15", 0, "keep-alive", {}, K.KEEP_ALIVE_REQUESTED, ConnectionField.KEEP_ALIVE),
    case("D1-16", 0, "keep-alive", {"unread": UnreadBody.SHORT}, K.BODY_READ_AWAY, ConnectionField.KEEP_ALIVE),
    case("D1-17", 0, "keep-alive", {"unread": UnreadBody.LONG}, R.BODY_UNREAD, ConnectionField.CLOSE),
    case("D1-18", 1, "", {}, K.HTTP11_DEFAULT, ConnectionField.NOTHING),
    case("D1-19", 1, "keep-alive", {}, K.KEEP_ALIVE_REQUESTED, ConnectionField.KEEP_ALIVE),
    case(
        "D1-19",
        1,
        "keep-alive te",
        {"keep_alive_10": False},
        K.KEEP_ALIVE_REQUESTED,
        ConnectionField.KEEP_ALIVE,
        note="others",
    ),
    case("D1-20", 1, "", {"keep_alive_field": True}, K.HTTP11_DEFAULT, ConnectionField.NOTHING),
    case("D1-21", 1, "te upgrade x", {"keep_alive_field": True}, K.HTTP11_DEFAULT, ConnectionField.NOTHING),
    case("D1-22", 1, "", {"unread": UnreadBody.SHORT}, K.BODY_READ_AWAY, ConnectionField.NOTHING),
    case(
        "D1-22",
        1,
        "keep-alive",
        {"unread": UnreadBody.SHORT},
        K.BODY_READ_AWAY,
        ConnectionField.KEEP_ALIVE,
        note="token",
    ),
    case("D1-23", 1, "", {"unread": UnreadBody.LONG}, R.BODY_UNREAD, ConnectionField.CLOSE),
    case("D1-24", 1, "", {"unread": UnreadBody.OPEN}, K.BODY_STILL_READ, ConnectionField.NOTHING),
    case("D1-25", 1, "keep-alive", {"unread": UnreadBody.REFUSED}, R.BODY_UNREAD, ConnectionField.CLOSE),
    case("D1-26", 1, "", {"unread": UnreadBody.EXPECTED}, R.EXPECTATION_REFUSED, ConnectionField.CLOSE),
    case("D1-27", 1, "", {"framed": False}, R.RESPONSE_UNFRAMED, ConnectionField.CLOSE),
    case(
        "D1-27",
        1,
        "keep-alive",
        {"framed": False, "unread": UnreadBody.LONG},
        R.RESPONSE_UNFRAMED,
        ConnectionField.CLOSE,
        note="long",
    ),
    case("D1-28", 1, "", {"half_closed": True}, R.PEER_HALF_CLOSED, ConnectionField.CLOSE),
    case("D1-28", 0, "keep-alive", {"half_closed": True}, R.PEER_HALF_CLOSED, ConnectionField.CLOSE, note="1.0"),
    case(
        "D1-28",
        1,
        "",
        {"half_closed": True, "unread": UnreadBody.LONG},
        R.BODY_UNREAD,
        ConnectionField.CLOSE,
        note="behind a close",
    ),
]


@pytest.mark.parametrize(("minor", "options", "circumstances", "reason", "signal"), DECIDED)
def test_the_decision(
    request: pytest.FixtureRequest,
    minor: int, options: str, circumstances: dict[str, Any], reason: KeepReason | CloseReason, signal: ConnectionField,
) -> None:  # fmt: skip
    decision = decide(minor, *options.split(), **circumstances)
    row = request.node.callspec.id[:5]
    expected_row = "D1-23" if request.node.callspec.id == "D1-28 behind a close" else row
    assert (decision.reason, decision.signal, decision.row) == (reason, signal, expected_row)
    assert decision.keep is isinstance(reason, KeepReason)
    assert decision.clause
    assert row[:3] in str(decision)


def test_decisions_are_constants() -> None:
    for minor in (0, 1):
        for options in ([], ["keep-alive"], ["close"]):
            for rest in UnreadBody:
                if rest is UnreadBody.EXPECTED and not minor:
                    continue
                assert decide(minor, *options, unread=rest) is decide(minor, *options, unread=rest)


@pytest.mark.ledger("D1-06")
def test_a_hook_can_close_instead_in_its_own_words() -> None:
    decision = decide(1).close("ration used up")
    assert isinstance(decision.reason, R)
    assert decision.reason.by == "us"
    assert (decision.keep, decision.reason, decision.row) == (False, R.CLOSE_REQUESTED, "D1-06")
    assert decision.detail == "ration used up"
    assert "ration used up" in str(decision)


@pytest.mark.ledger("P-07")
def test_without_persistence_every_decision_closes() -> None:
    for minor in (0, 1):
        for options in ([], ["keep-alive"], ["close"]):
            decision = decide(minor, *options, persistent=False)
            assert (decision.keep, decision.reason, decision.signal) == (False, R.NOT_PERSISTENT, ConnectionField.CLOSE)


def test_only_kept_connections_promise_anything() -> None:
    for given in DECIDED:
        minor, options, circumstances, *_ = given.values
        decision = decide(minor, *options.split(), **circumstances)
        assert (decision.signal is ConnectionField.CLOSE) is not decision.keep


# -- the connection ----------------------------------------------------------------------------------------------------


def streamed(wire: Wire, exchange: Exchange) -> None:
    """Answers with a body of unknown length."""
    exchange.start(200)
    exchange.write(b"hello\n")
    exchange.finish()


def reading(wire: Wire, exchange: Exchange) -> None:
    """Streams a response while it reads the body: an echo; the end is left to the test."""
    wire.read(exchange)
    exchange.start(200)


def asking(wire: Wire, exchange: Exchange) -> None:
    """Wants the connection closed."""
    wire.answer(exchange, 200, [("Connection", "close")])


LONG = "Content-Length: 65537"

#: Row, request, application, settings, Connection, Keep-Alive and Upgrade of the response, reason of the close or None.
CONNECTIONS = [
    case("D1-01", b"nonsense\r\n", at_once, {}, CLOSE, "BAD_REQUEST", note="no request"),
    case("D1-01", get("/", "Connection: ,;"), at_once, {}, CLOSE, "BAD_REQUEST", note="K-09"),
    case("D1-01", upload(b"x\r\n"), when_read, {}, CLOSE, "BAD_REQUEST", note="body"),
    case("D1-01", upload(b"x\r\n"), at_once, {}, CLOSE, "BAD_REQUEST", note="body not wanted"),
    case("D1-05", GET, at_once, {"limits": Limits(maxRequests=1)}, CLOSE, "MAX_REQUESTS"),
    case("D1-06", GET, asking, {}, CLOSE, "CLOSE_REQUESTED"),
    case("D1-06", get("/", "Connection: keep-alive", minor=0), asking, {}, CLOSE, "CLOSE_REQUESTED", note="1.0"),
    case("D1-07", get("/", "Connection: close"), at_once, {}, CLOSE, "CLOSE_REQUESTED"),
    case("D1-07", get("/", "Connection: TE, ClosE"), streamed, {}, CLOSE, "CLOSE_REQUESTED", note="in a list"),
    case("D1-08", get("/", "Connection: keep-alive", "Connection: close"), at_once, {}, CLOSE, "CLOSE_REQUESTED"),
    case("D1-09", GET_10, at_once, {}, CLOSE, "HTTP10_DEFAULT"),
    case("D1-09", get("/", minor=0), streamed, {}, CLOSE, "HTTP10_DEFAULT", note="streamed"),
    case("D1-10", get("/", "Keep-Alive: timeout=5", minor=0), at_once, {}, CLOSE, "HTTP10_DEFAULT"),
    case("D1-11", get("/", "Connection: close", minor=0), at_once, {}, CLOSE, "CLOSE_REQUESTED"),
    case(
        "D1-11",
        get("/", "Connection: close, keep-alive", minor=0),
        at_once,
        {},
        CLOSE,
        "CLOSE_REQUESTED",
        note="both",
    ),
    case(
        "D1-13",
        get("/", "Connection: keep-alive", minor=0),
        at_once,
        {"policy": Policy(keepAlive10=False)},
        CLOSE,
        "HTTP10_DEFAULT",
    ),
    case("D1-14", get("/", "Connection: keep-alive", minor=0), streamed, {}, CLOSE, "RESPONSE_UNFRAMED"),
    case("D1-15", get("/", "Connection: keep-alive", minor=0), at_once, {}, KEEP_ALIVE, None),
    case(
        "D1-15",
        get("/", "Connection: KEEP-Alive", minor=0, method="HEAD"),
        streamed,
        {},
        KEEP_ALIVE,
        None,
        note="HEAD",
    ),
    case("D1-16", get("/", "Connection: keep-alive", "Content-Length: 5", minor=0), at_once, {}, KEEP_ALIVE, None),
    case("D1-17", get("/", "Connection: keep-alive", LONG, minor=0), at_once, {}, CLOSE, "BODY_UNREAD"),
    case("D1-18", GET, at_once, {}, [], None),
    case("D1-18", post(b"hello"), at_once, {}, [], None, note="body in hand"),
    case("D1-18", upload(chunked(b"hello")), when_read, {}, [], None, note="body read"),
    case("D1-19", get("/", "Connection: keep-alive"), at_once, {}, KEEP_ALIVE, None),
    case("D1-19", get("/", "Connection: Keep-Alive"), streamed, {}, KEEP_ALIVE, None, note="streamed"),
    case("D1-20", get("/", "Keep-Alive: timeout=5"), at_once, {}, [], None),
    case("D1-21", get("/", "Connection: TE, upgrade, x", "TE: trailers", "Upgrade: chat"), at_once, {}, [], None),
    case("D1-22", post(b"hello")[:-2], at_once, {}, [], None),
    case(
        "D1-22",
        get("/", "Content-Length: 65536", "Connection: keep-alive"),
        at_once,
        {},
        KEEP_ALIVE,
        None,
        note="token",
    ),
    case("D1-23", get("/", LONG), at_once, {}, CLOSE, "BODY_UNREAD"),
    case("D1-23", get("/", LONG), streamed, {}, CLOSE, "BODY_UNREAD", note="streamed"),
    case("D1-25", upload(b"5\r\nhe"), at_once, {}, CLOSE, "BODY_UNREAD"),
    case("D1-25", upload(b""), streamed, {}, CLOSE, "BODY_UNREAD", note="streamed"),
    case("D1-26", get("/", "Expect: 100-continue", "Content-Length: 5"), at_once, {}, CLOSE, "EXPECTATION_REFUSED"),
    case("D1-27", GET, streamed, {"policy": Policy(chunkedResponses=False)}, CLOSE, "RESPONSE_UNFRAMED"),
]


@pytest.mark.ledger("P-02", "P-04", "P-06", "P-09", "P-10", "K-01", "K-03", "K-05", "K-06", "K-09", "N-08", "X-06")
@pytest.mark.parametrize(("data", "application", "settings", "lines", "reason"), CONNECTIONS)
def test_what_becomes_of_the_connection(
    request: pytest.FixtureRequest,
    data: bytes, application: Callable[
        [Wire, Exchange], None,
    ], settings: dict[str, Any], lines: list[str], reason: str | None,
) -> None:  # fmt: skip
    row = request.node.callspec.id[:5]
    wire = run(data, application, **settings)
    assert wire.reply.connection == lines
    assert wire.reason == reason
    last = wire.core.decision
    assert last is not None
    assert (last.row, last.keep) == (row, reason is None)

    # On a keep, the next request is served from the right byte on; after a close, nothing is.
    wire.send(b"x" * _owed(data) + get("/next"))
    assert (b"/next" in [exchange.target for exchange in wire.exchanges]) is (reason is None)
    assert len(wire.finals) == 1 + (reason is None)


def _owed(data: bytes) -> int:
    """Bytes of the body that are still to come."""
    head, _, body = data.partition(b"\r\n\r\n")
    length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    return int(length) - len(body) if length and b"Expect" not in head else 0


@pytest.mark.ledger("D1-01", "P-17")
@pytest.mark.parametrize(
    ("data", "deadline", "reason"),
    [(b"GET / HT", Deadline.HEADER, "HEADER_TIMEOUT"), (post(b"hello")[:-1], Deadline.BODY, "BODY_TIMEOUT")],
    ids=["head", "body"],
)
def test_d1_01_a_time_out_is_answered_408_and_closes(data: bytes, deadline: Deadline, reason: str) -> None:
    wire = run(data, when_read)
    assert wire.core.deadline is deadline
    wire.core.expire(deadline)
    wire.turn()
    assert (wire.statuses, wire.reply.connection, wire.reason) == ([408], CLOSE, reason)
    assert wire.core.decision is not None
    assert wire.core.decision.row == "D1-01"


@pytest.mark.ledger("P-12", "P-17", "H-05")
@pytest.mark.parametrize(
    ("data", "deadline", "reason"),
    [
        (b"", Deadline.FIRST_REQUEST, "FIRST_REQUEST_TIMEOUT"),
        (b"\r\n\r\n", Deadline.FIRST_REQUEST, "FIRST_REQUEST_TIMEOUT"),
        (GET, Deadline.IDLE, "IDLE_TIMEOUT"), (GET + b"\r\n\r", Deadline.IDLE, "IDLE_TIMEOUT"),
    ],
)  # fmt: skip
def test_where_nothing_of_a_request_came_a_time_out_is_silent(data: bytes, deadline: Deadline, reason: str) -> None:
    wire = run(data)
    assert wire.core.deadline is deadline
    before = len(wire.finals)
    wire.core.expire(deadline)
    wire.turn()
    assert (len(wire.finals), wire.reason, wire.ending.reason.by) == (before, reason, "us")


@pytest.mark.ledger("D1-02")
def test_d1_02_a_response_cut_short_aborts_the_connection() -> None:
    wire = run(GET + get("/2"), later).start()
    wire.exchanges[0].abort()
    wire.turn()
    assert (wire.reply.connection, wire.reply.complete) == ([], False)
    assert wire.reason == "APPLICATION_ABORT"
    assert wire.core.ending is not None
    assert wire.exchanges[0].persistence is persistence.ABORTED
    assert wire.cancelled == [2]


@pytest.mark.ledger("D1-03", "U-03")
@pytest.mark.parametrize("closing", [[], ["Connection: close"]], ids=["kept", "with close"])
def test_d1_03_a_switch_leaves_http_whatever_else_was_said(closing: list[str]) -> None:
    wire = run(get("/", "Upgrade: chat", "Connection: upgrade", *closing) + b"chatter", later)
    assert wire.exchange.switch(b"chat") == b"chatter"
    wire.turn()
    assert wire.reply.connection == ["Upgrade: chat", "Connection: upgrade"]
    assert wire.reason is None
    assert wire.core.state == "switched"
    assert wire.core.deadline is None


@pytest.mark.ledger("D1-04", "P-18")
@pytest.mark.parametrize("streams", [True, False])
def test_d1_04_a_shutdown_closes_with_the_response_in_progress(streams: bool) -> None:
    wire = run(get("/", "Connection: keep-alive"), later)
    wire.core.drain()
    wire.turn().send(GET)
    assert wire.reason is None
    (streamed if streams else at_once)(wire, wire.exchange)
    wire.turn()
    assert (wire.reply.connection, wire.reason) == (CLOSE, "DRAINING")
    assert len(wire.exchanges) == 1


@pytest.mark.ledger("D1-04", "N-02")
def test_d1_04_with_several_in_service_the_last_one_carries_the_close() -> None:
    wire = run(GET + GET + GET, later)
    wire.core.drain()
    for exchange in (wire.exchanges[1], wire.exchanges[0]):
        wire.answer(exchange)
    wire.turn()
    assert [reply.connection for reply in wire.replies] == [[], []]
    wire.answer(wire.exchanges[2]).turn()
    assert [reply.connection for reply in wire.replies] == [[], [], CLOSE]
    assert (wire.reason, wire.cancelled) == ("DRAINING", [])


@pytest.mark.ledger("D1-04", "P-18")
@pytest.mark.parametrize("data", [b"", GET, GET + b"\r\n"], ids=["unused", "idle", "blank line"])
def test_an_idle_connection_closes_at_once_on_shutdown(data: bytes) -> None:
    wire = run(data)
    wire.core.drain()
    assert wire.reason == "DRAINING"


@pytest.mark.ledger("D1-04", "P-18")
def test_a_request_that_has_begun_to_arrive_is_served_on_shutdown_and_none_behind_it() -> None:
    wire = run(GET[:10], later)
    wire.core.drain()
    assert wire.reason is None
    wire.send(GET[10:] + GET)
    assert len(wire.exchanges) == 1
    wire.answer().turn()
    assert (wire.reply.connection, wire.reason) == (CLOSE, "DRAINING")


@pytest.mark.ledger("D1-05", "P-18", "K-06")
def test_d1_05_the_last_request_of_the_ration_carries_the_close() -> None:
    limits = Limits(maxRequests=3)
    for pieces in cuts(get("/", "Connection: keep-alive") * 5, seeds=3):
        wire = Wire(limits=limits).send(*pieces)
        assert [reply.connection for reply in wire.replies] == [
            ["Connection: keep-alive", "Keep-Alive: timeout=70, max=2"],
            ["Connection: keep-alive", "Keep-Alive: timeout=70, max=1"],
            CLOSE,
        ]
        assert wire.reason == "MAX_REQUESTS"


@pytest.mark.ledger("D1-05", "P-18")
def test_d1_05_the_first_response_past_the_age_carries_the_close() -> None:
    wire = Wire().send(GET)
    wire.core.retire(CloseReason.MAX_AGE)
    wire.send(GET + GET)
    assert [reply.connection for reply in wire.replies] == [[], CLOSE]
    assert wire.reason == "MAX_AGE"


@pytest.mark.ledger("D1-04", "P-18")
def test_a_shutdown_that_was_announced_serves_what_was_pipelined_and_closes_with_the_last_response() -> None:
    wire = Wire()
    wire.core.retire(CloseReason.DRAINING)
    assert wire.core.ending is None
    wire.send(GET + GET + GET[:5])
    assert [reply.connection for reply in wire.replies] == [[], []]
    wire.send(GET[5:])
    assert [reply.connection for reply in wire.replies] == [[], [], CLOSE]
    assert wire.reason == "DRAINING"


@pytest.mark.ledger("D1-06", "D1-07")
def test_both_sides_can_have_asked_for_the_close() -> None:
    assert run(GET, asking).ending.reason.by == "us"
    assert run(get("/", "Connection: close")).ending.reason.by == "peer"


@pytest.mark.ledger("D1-12", "V-07")
def test_d1_12_there_is_no_forward_mode() -> None:
    """Until there is: CONNECT is 501, and a 1.0 client stands before an origin, to which K-01 applies."""
    assert run(get("b.example:443", method="CONNECT", minor=0), at_once).statuses == [501]
    wire = run(get("http://a/", "Connection: keep-alive", "Proxy-Connection: close", minor=0))
    assert wire.reply.connection == KEEP_ALIVE
    assert "proxy-connection" not in wire.exchange.headers


@pytest.mark.ledger("D1-16", "D1-22", "P-10")
@pytest.mark.parametrize("minor", [pytest.param(0, id="D1-16"), pytest.param(1, id="D1-22")])
def test_a_short_rest_is_read_away_and_the_connection_kept(minor: int) -> None:
    data = post(b"hello", "Connection: keep-alive", minor=minor)
    for pieces in cuts(data + get("/2", "Connection: keep-alive", minor=minor), seeds=3):
        wire = Wire().send(*pieces)
        assert [reply.connection for reply in wire.replies] == [KEEP_ALIVE, KEEP_ALIVE]
        assert wire.bodies == {}
        assert wire.reason is None


@pytest.mark.ledger("D1-22")
@pytest.mark.parametrize("end", ["stalls", "is cut"])
def test_d1_22_a_short_rest_that_does_not_come_closes(end: str) -> None:
    wire = run(post(b"hello")[:-1])
    assert wire.core.deadline is Deadline.UNREAD
    if end == "stalls":
        wire.core.expire(Deadline.UNREAD)
        wire.turn()
    else:
        wire.eof()
    assert wire.statuses == [200]
    assert wire.reason == ("UNREAD_TIMEOUT" if end == "stalls" else "PEER_CLOSED_MID_REQUEST")


@pytest.mark.ledger("D1-23")
def test_d1_23_a_long_rest_counts_from_where_the_application_stopped() -> None:
    wire = run(get("/", LONG, body=b"x"))
    assert (wire.reply.connection, wire.reason) == ([], None)
    wire = run(get("/", LONG, body=b"x"), when_read)
    wire.answer().turn()
    assert (wire.reply.connection, wire.reason) == ([], None)


@pytest.mark.ledger("D1-23")
def test_d1_23_a_whole_response_ends_the_reading_of_a_long_body() -> None:
    wire = run(get("/", "Content-Length: 1000000"), when_read)
    wire.answer().turn()
    assert (wire.reply.connection, wire.reason) == (CLOSE, "BODY_UNREAD")


@pytest.mark.ledger("D1-24", "P-10")
@pytest.mark.parametrize(
    ("request_", "rest"),
    [
        (upload(b"5\r\nhello\r\n"), b"5\r\nworld\r\n0\r\n\r\n"), (get("/", "Content-Length: 100000"), b"x" * 100000),
    ],
    ids=["chunked", "length"],
)  # fmt: skip
def test_d1_24_the_body_ends_before_the_response_does(request_: bytes, rest: bytes) -> None:
    wire = run(request_, reading)
    assert wire.core.decision is not None
    assert wire.core.decision.row == "D1-24"
    wire.send(rest)
    wire.exchange.finish()
    wire.application = at_once
    wire.turn().send(get("/2"))
    assert [exchange.number for exchange in wire.exchanges] == [1, 2]
    assert (wire.replies[0].connection, wire.reason) == ([], None)


@pytest.mark.ledger("D1-24")
@pytest.mark.parametrize(("size", "kept"), [(100, True), (101, False)])
def test_d1_24_the_body_ends_behind_the_response(size: int, kept: bool) -> None:
    wire = Wire(reading, limits=Limits(unread=100)).send(upload(b"5\r\nhello\r\n"))
    wire.exchange.finish()
    wire.turn()
    assert wire.core.deadline is Deadline.UNREAD
    wire.application = at_once
    for _ in range(size):
        wire.send(b"1\r\nx\r\n")
    wire.send(b"0\r\n\r\n" + get("/2"))
    assert wire.replies[0].connection == []
    assert wire.reason == (None if kept else "BODY_UNREAD")
    assert len(wire.exchanges) == 1 + kept


@pytest.mark.ledger("D1-24")
def test_d1_24_the_application_stops_reading_within_the_response() -> None:
    wire = Wire(reading, limits=Limits(unread=100)).send(get("/", "Content-Length: 1000", body=b"x" * 100))
    wire.exchange.abandon_body()
    wire.send(b"x" * 700)
    assert wire.core.backlog == 0
    assert wire.reason is None
    wire.exchange.finish()
    wire.turn().send(b"x" * 101)
    assert wire.reason == "BODY_UNREAD"


@pytest.mark.ledger("D1-28", "P-13", "L-31")
@pytest.mark.parametrize("minor", [0, 1])
def test_d1_28_after_a_half_close_what_is_complete_is_served(minor: int) -> None:
    wire = run(get("/", "Connection: keep-alive", minor=minor) * (1 + minor), later).eof()
    assert wire.reason is None
    for exchange in wire.exchanges:
        wire.answer(exchange)
    wire.turn()
    assert [reply.connection for reply in wire.replies] == [KEEP_ALIVE] * minor + [CLOSE]
    assert (wire.reason, wire.ending.reason.by) == ("PEER_HALF_CLOSED", "peer")


@pytest.mark.ledger("D1-28", "P-13", "N-02")
def test_d1_28_also_what_waits_behind_others() -> None:
    wire = run(post(b"a") + post(b"b") + GET, later).eof()
    for number in (1, 2, 3):
        assert len(wire.exchanges) == number
        assert wire.reason is None
        wire.answer().turn()
    assert [reply.connection for reply in wire.replies] == [[], [], CLOSE]
    assert wire.reason == "PEER_HALF_CLOSED"


@pytest.mark.ledger("D1-28")
def test_d1_28_is_not_announced_when_it_comes_too_late() -> None:
    wire = run(GET, later).start()
    wire.turn().eof()
    wire.exchange.write(b"hello")
    wire.exchange.finish()
    wire.turn()
    assert (wire.reply.connection, wire.reply.body, wire.reason) == ([], b"hello", "PEER_HALF_CLOSED")


@pytest.mark.ledger("D1-28", "P-14")
@pytest.mark.parametrize(
    ("data", "reason", "statuses"),
    [
        (b"", "PEER_CLOSED_IDLE", []), (b"\r\n", "PEER_CLOSED_IDLE", []), (GET, "PEER_CLOSED_IDLE", [200]),
        (GET + b"\r\n\r\n", "PEER_CLOSED_IDLE", [200]), (GET[:1], "PEER_CLOSED_MID_REQUEST", [400]),
        (GET[:-1], "PEER_CLOSED_MID_REQUEST", [400]), (GET + GET[:9], "PEER_CLOSED_MID_REQUEST", [200, 400]),
        (post(b"hello")[:-1], "PEER_CLOSED_MID_REQUEST", [200]),
    ],
)  # fmt: skip
def test_a_close_in_any_state_ends_in_one_way(data: bytes, reason: str, statuses: list[int]) -> None:
    for pieces in cuts(data) if data else [[]]:
        wire = Wire().send(*pieces).eof()
        assert (wire.reason, wire.ending.reason.by, wire.statuses) == (reason, "peer", statuses)
        wire.eof().send(GET)
        assert wire.statuses == statuses


@pytest.mark.ledger("D1-29", "P-18")
@pytest.mark.parametrize("minor", [0, 1])
def test_d1_29_a_shutdown_within_a_response_closes_behind_it_unannounced(minor: int) -> None:
    wire = run(get("/", "Connection: keep-alive", minor=minor, method="HEAD"), later).start()
    wire.turn()
    assert wire.reply.connection == KEEP_ALIVE
    wire.core.drain()
    wire.send(GET)
    assert wire.reason is None
    wire.exchange.finish()
    wire.turn()
    assert wire.reason == "DRAINING"
    assert len(wire.exchanges) == 1
    assert wire.exchange.persistence is persistence.DRAINING_LATE


@pytest.mark.ledger("D1-29", "D1-24")
def test_d1_29_also_while_a_body_is_read_away() -> None:
    wire = run(post(b"hello")[:-1])
    wire.core.drain()
    assert wire.reason is None
    wire.send(b"o" + GET)
    assert (wire.reason, len(wire.exchanges)) == ("DRAINING", 1)


@pytest.mark.ledger("D1-29")
def test_d1_29_what_is_in_service_behind_it_carries_the_close() -> None:
    wire = run(GET + GET, later).start()
    wire.core.drain()
    wire.exchanges[0].finish()
    wire.turn()
    assert wire.reason is None
    wire.answer(wire.exchanges[1]).turn()
    assert [reply.connection for reply in wire.replies] == [[], CLOSE]


# -- the rows of group P -----------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-01", "P-02")
def test_a_connection_carries_any_number_of_exchanges() -> None:
    wire = Wire()
    for number in range(1, 51):
        wire.send(get(f"/{number}"))
        assert len(wire.finals) == number
    assert wire.core.request_count == 50
    assert wire.reason is None


@pytest.mark.ledger("P-02")
@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 405, 411, 413, 417, 431, 500, 501, 503, 505, 599])
def test_no_status_of_the_applications_closes_by_being_an_error(status: int) -> None:
    wire = run(GET + GET, lambda wire, exchange: wire.answer(exchange, status))
    assert (wire.statuses, wire.reason) == ([status, status], None)
    assert wire.replies[0].connection == []


@pytest.mark.ledger("P-01", "P-07")
@pytest.mark.parametrize(
    "data",
    [GET, GET_10, get("/", "Connection: keep-alive", minor=0), get("/", "Connection: close")],
)
def test_an_endpoint_without_persistence_says_close_in_every_final_response(data: bytes) -> None:
    wire = run(data + data, later, policy=Policy(persistent=False))
    wire.exchange.interim(103)
    wire.answer().turn()
    assert [reply.connection for reply in wire.replies if reply.status >= 200] == [CLOSE]
    assert [reply.connection for reply in wire.replies if reply.status < 200] in ([], [[]])
    assert (wire.reason, len(wire.exchanges)) == ("NOT_PERSISTENT", 1)


@pytest.mark.ledger("P-06", "N-08")
def test_p_06_what_follows_a_close_is_never_parsed() -> None:
    for rest in (GET, b"\x00\xff garbage", b"x" * 100000):
        for pieces in ([get("/", "Connection: close") + rest], [get("/", "Connection: close"), rest]):
            wire = Wire().send(*pieces)
            assert (wire.statuses, wire.reason) == ([200], "CLOSE_REQUESTED")
            wire = Wire(later).send(*pieces)
            assert wire.core.backlog == 0
            assert wire.core.wants_input
            wire.answer().turn()
            assert wire.statuses == [200]


@pytest.mark.ledger("P-06", "P-10")
def test_p_06_the_body_of_the_last_request_is_still_read() -> None:
    for pieces in cuts(post(b"hello", "Connection: close") + GET, seeds=3):
        wire = Wire(when_read).send(*pieces)
        assert (wire.bodies, wire.statuses, wire.reason) == ({1: b"hello"}, [200], "CLOSE_REQUESTED")


@pytest.mark.ledger("P-15")
def test_an_overloaded_server_answers_the_first_request_and_closes() -> None:
    error = RemoteProtocolError(
        503,
        "too many connections",
        "RFC 9110 15.6.4",
        reason=R.TOO_MANY_CONNECTIONS,
        retry_after=5,
    )
    for data in (
        GET,
        post(b"hello"),
        upload(b"5\r\n"),
        get("/", "Expect: 100-continue", "Content-Length: 5"),
        GET_10,
    ):
        wire = Wire()
        wire.core.turn_away(error)
        wire.send(data + GET)
        assert (wire.statuses, wire.reply.connection, wire.reply.get("Retry-After")) == ([503], CLOSE, "5")
        assert (wire.reason, wire.exchanges) == ("TOO_MANY_CONNECTIONS", [])
    wire = Wire()
    wire.core.turn_away(error)
    assert wire.send(b"nonsense\r\n").statuses == [400]


# -- the rows of group K -----------------------------------------------------------------------------------------------


@pytest.mark.ledger("K-06")
@pytest.mark.parametrize(
    ("timeouts", "limits", "lines"),
    [
        (Timeouts(), Limits(), KEEP_ALIVE),
        (Timeouts(idle=15), Limits(), ["Connection: keep-alive", "Keep-Alive: timeout=12"]),
        (Timeouts(idle=15, idleGrace=0.5), Limits(), ["Connection: keep-alive", "Keep-Alive: timeout=14"]),
        (Timeouts(idle=15), Limits(maxRequests=10), ["Connection: keep-alive", "Keep-Alive: timeout=12, max=9"]),
        (Timeouts(idle=0), Limits(maxRequests=10), ["Connection: keep-alive", "Keep-Alive: max=9"]),
        (Timeouts(idle=0), Limits(), ["Connection: keep-alive"]),
    ],
)  # fmt: skip
def test_what_a_client_with_the_token_is_promised(timeouts: Timeouts, limits: Limits, lines: list[str]) -> None:
    for minor in (0, 1):
        data = get("/", "Connection: keep-alive", "Keep-Alive: timeout=9999, max=9999", minor=minor)
        wire = Wire(timeouts=timeouts, limits=limits).send(data)
        assert wire.reply.connection == lines


@pytest.mark.ledger("K-05", "K-08", "K-10")
@pytest.mark.parametrize("minor", [0, 1])
def test_what_connection_names_is_removed_before_the_application_sees_it(minor: int) -> None:
    data = get(
        "/", "X-A: 1", "X-B: 2", "Keep-Alive: 5", "Proxy-Connection: close", "Connection: x-a, keep-alive",
        "Connection: HOST, TE",
        "TE: trailers", "Content-Length: 0", "Upgrade: x", minor=minor,
    )  # fmt: skip
    wire = run(data.replace(b"Connection: HOST", b"Connection: content-length, HOST"))
    names = [name.lower() for name, _ in wire.exchange.headers]
    assert names == ["host"] * minor + ["x-b", "connection", "connection", "content-length", "upgrade"]
    assert wire.reply.connection == KEEP_ALIVE


@pytest.mark.ledger("K-10")
@pytest.mark.parametrize("value", ["close", "keep-alive"])
def test_proxy_connection_is_never_obeyed_and_never_sent(value: str) -> None:
    assert run(get("/", f"Proxy-Connection: {value}")).reply.connection == []
    assert run(get("/", f"Proxy-Connection: {value}", minor=0)).reply.connection == CLOSE
    wire = run(GET, lambda wire, exchange: wire.answer(exchange, 200, [("Proxy-Connection", value)]))
    assert wire.reply.all("Proxy-Connection") == []
    assert wire.reason is None


@pytest.mark.ledger("K-09")
@pytest.mark.parametrize("value", ["a b", "a;b", "close, \x80", '"close"', "keep-alive=1", "a/b", "@"])
def test_a_connection_field_that_is_no_list_of_tokens_is_refused(value: str) -> None:
    for minor in (0, 1):
        wire = run(get("/", f"Connection: {value}", minor=minor))
        assert wire.refusals == [(400, "K-09")]
        assert wire.reply.connection == CLOSE


@pytest.mark.ledger("K-09")
@pytest.mark.parametrize("value", ["", ",", ", ,", " , "])
def test_empty_members_of_the_connection_field_mean_nothing(value: str) -> None:
    assert run(get("/", f"Connection: {value}")).reply.connection == []
    assert run(get("/", f"Connection: {value}", minor=0)).reason == "HTTP10_DEFAULT"


# -- the hook ----------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("D1-06", "P-04")
@pytest.mark.parametrize("streams", [True, False])
def test_every_decision_of_a_response_can_be_reviewed_and_changed(streams: bool) -> None:
    seen: list[Persistence] = []

    def review(exchange: Exchange, decision: Persistence) -> Persistence:
        seen.append(decision)
        return decision.close("enough") if exchange.number == 2 else decision

    def application(wire: Wire, exchange: Exchange) -> None:
        if streams:
            exchange.start(200)
            exchange.finish()
        else:
            exchange.respond(200, NO_FIELDS, b"hello")

    wire = Wire(application, review=review).send(GET * 3)
    assert [decision.row for decision in seen] == ["D1-18", "D1-18"]
    assert [reply.connection for reply in wire.replies] == [[], CLOSE]
    assert wire.reason == "CLOSE_REQUESTED"
    assert wire.core.decision is not None
    assert wire.core.decision.detail == "enough"
