"""The 100-continue handshake: table D3 of the ledger, row by row, and the rows of group X."""

from __future__ import annotations

import pytest

from ka_twisted.config import Limits
from ka_twisted.core.deadlines import Deadline
from ka_twisted.core.errors import LocalProtocolError
from ka_twisted.core.framing import NO_BODY
from ka_twisted.http1.events import BodyComplete
from ka_twisted.http1.expectation import decide
from ka_twisted.http1.framing import decide_request
from ka_twisted.http1.states import Body, Expectation
from tests.http1.driving import GET, Wire, at_once, chunked, cuts, get, later, post, run, when_read

EXPECT = "Expect: 100-continue"
#: A request that announces five bytes and waits to be asked for them.
WAITING = get("/", "Content-Length: 5", EXPECT, method="PUT")
BODIES = [
    pytest.param("Content-Length: 5", b"hello", id="length"),
    pytest.param("Transfer-Encoding: chunked", chunked(b"hel", b"lo"), id="chunked"),
]


def waiting(body: str = "Content-Length: 5", *fields: str, minor: int = 1) -> bytes:
    return get("/", body, EXPECT, *fields, method="PUT", minor=minor)


def invited(wire: Wire) -> bool:
    wire.turn()
    return 100 in wire.statuses


# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("D3-01", "X-08")
@pytest.mark.parametrize("method", ["PUT", "POST", "GET"])
@pytest.mark.parametrize(("field", "body"), BODIES)
def test_without_the_field_there_is_never_a_100(method: str, field: str, body: bytes) -> None:
    wire = run(get("/", field, method=method), when_read)
    assert wire.exchange.head.expected is not None
    assert wire.exchange.head.expected.row == "D3-01"
    assert wire.core.expecting() is None
    wire.send(body)
    assert wire.statuses == [200]
    assert wire.bodies == {1: b"hello"}


@pytest.mark.ledger("X-09")
@pytest.mark.parametrize(
    "field",
    [
        pytest.param(EXPECT, id="D3-02"),
        pytest.param("Expect: tea", id="D3-03"),
        pytest.param("Expect: 100-continue, tea", id="D3-03 both"),
    ],
)
def test_the_field_of_an_http10_request_is_ignored(request: pytest.FixtureRequest, field: str) -> None:
    wire = run(get("/", "Content-Length: 5", field, method="PUT", minor=0), when_read)
    assert wire.exchange.head.expected is not None
    assert wire.exchange.head.expected.row == request.node.callspec.id[:5]
    assert wire.exchange.handshake is Expectation.NONE
    wire.send(b"hello")
    assert wire.statuses == [200]
    assert wire.reason == "HTTP10_DEFAULT"


@pytest.mark.ledger("D3-04", "X-13")
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Content-Length: x", EXPECT], 400), (["Content-Length: 11", EXPECT], 413),
        (["Content-Length: x", "Expect: tea"], 400),
        (["Content-Length: 11", "Expect: tea"], 413), (["Transfer-Encoding: gzip, chunked", "Expect: tea"], 501),
    ],
)  # fmt: skip
def test_d3_04_an_error_of_the_framing_comes_before_any_100_or_417(fields: list[str], status: int) -> None:
    wire = run(get("/", *fields, method="PUT"), limits=Limits(maxBodyBytes=10))
    assert wire.statuses == [status]
    assert not wire.exchanges
    assert wire.reply.connection == ["Connection: close"]


UNMET = [
    "tea", "100-continue, tea", "tea, 100-continue", "100-continue=x", "100-continue;x", '"100-continue"',
    "100-continued",
]  # fmt: skip


@pytest.mark.ledger("D3-05", "X-13", "X-14")
@pytest.mark.parametrize("value", UNMET)
@pytest.mark.parametrize("length", [[], ["Content-Length: 0"]], ids=["none", "zero"])
def test_d3_05_an_unknown_expectation_without_a_body_is_417_and_keeps(value: str, length: list[str]) -> None:
    wire = run(get("/", f"Expect: {value}", *length) + get("/2"))
    assert wire.refusals == [(417, "D3-05")]
    assert wire.statuses == [417, 200]
    assert wire.replies[0].connection == []
    assert [exchange.target for exchange in wire.exchanges] == [b"/2"]
    assert wire.reason is None


@pytest.mark.ledger("D3-05", "P-06")
def test_d3_05_the_417_follows_table_d1() -> None:
    wire = run(get("/", "Expect: tea", "Connection: close") + GET)
    assert (wire.statuses, wire.reply.connection, wire.reason) == ([417], ["Connection: close"], "CLOSE_REQUESTED")


@pytest.mark.ledger("D3-06", "X-13")
@pytest.mark.parametrize(
    ("body", "kept", "reason"),
    [
        pytest.param(b"", False, "EXPECTATION_REFUSED", id="nothing"),
        pytest.param(b"he", True, None, id="a part"),
        pytest.param(b"hello", True, None, id="all"),
    ],
)
def test_d3_06_an_unknown_expectation_with_a_body_is_417(body: bytes, kept: bool, reason: str | None) -> None:
    data = get("/", "Content-Length: 5", "Expect: 100-continue, tea", body=body)
    wire = run(data)
    assert wire.refusals == [(417, "D3-06")]
    assert wire.reply.connection == ([] if kept else ["Connection: close"])
    wire.send(b"hello"[len(body) :] + get("/2"))
    assert wire.statuses == ([417, 200] if kept else [417])
    assert wire.reason == reason
    assert wire.bodies == {}


@pytest.mark.ledger("D3-06", "D1-23")
def test_d3_06_a_long_rest_closes() -> None:
    wire = run(get("/", "Content-Length: 100000", "Expect: tea", body=b"x"))
    assert (wire.statuses, wire.reason) == ([417], "BODY_UNREAD")


@pytest.mark.ledger("D3-07", "X-10")
@pytest.mark.parametrize("length", [[], ["Content-Length: 0"]], ids=["none", "zero"])
def test_d3_07_without_a_body_there_is_no_100(length: list[str]) -> None:
    wire = run(get("/", EXPECT, *length), later)
    assert wire.exchange.head.expected is not None
    assert wire.exchange.head.expected.row == "D3-07"
    assert wire.core.expecting() is None
    wire.exchange.accept()
    wire.answer().turn()
    assert (wire.statuses, wire.reason) == ([200], None)


@pytest.mark.ledger("D3-08", "X-10")
@pytest.mark.parametrize(("field", "body"), BODIES)
def test_d3_08_with_the_whole_body_there_is_no_100(field: str, body: bytes) -> None:
    wire = run(waiting(field) + body + GET, when_read)
    assert wire.statuses == [200, 200]
    assert wire.bodies == {1: b"hello"}
    assert wire.exchanges[0].persistence is not None
    assert wire.exchanges[0].persistence.row == "D1-18"


@pytest.mark.ledger("D3-09", "X-04")
@pytest.mark.parametrize(("field", "body"), BODIES)
@pytest.mark.parametrize("yes", ["accept", "read"])
def test_d3_09_accepting_sends_the_100_at_once(field: str, body: bytes, yes: str) -> None:
    for pieces in cuts(body, seeds=2):
        wire = run(waiting(field), later)
        assert wire.core.expecting() is wire.exchange
        assert not wire.data
        if yes == "accept":
            wire.exchange.accept()
        else:
            wire.read()
        wire.turn()
        assert wire.data == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert wire.core.expecting() is None
        wire.read().send(*pieces)
        assert wire.statuses == [100, 200]
        assert wire.finals[0].body == b"hello"
        assert wire.reason is None


@pytest.mark.ledger("D3-10", "X-05")
def test_d3_10_while_the_application_is_undecided_nothing_is_sent() -> None:
    wire = run(WAITING, later)
    assert not wire.data
    assert wire.core.expecting() is wire.exchange
    assert wire.exchange.handshake is Expectation.HELD
    assert wire.core.deadline is None, "the peer owes nothing"
    assert wire.reason is None


@pytest.mark.ledger("D3-11", "X-05", "P-16")
def test_d3_11_time_decides_for_the_application_and_the_body_is_held_up_to_a_bound() -> None:
    wire = Wire(later, limits=Limits(readAhead=100)).send(waiting("Content-Length: 150"))
    wire.core.expire(Deadline.EXPECTATION)
    assert invited(wire)
    wire.send(b"x" * 99)
    assert wire.core.wants_input
    wire.send(b"x")
    assert not wire.core.wants_input
    assert wire.bodies == {}
    wire.read().turn()
    assert wire.bodies == {1: b"x" * 100}
    assert wire.core.wants_input
    wire.send(b"x" * 50)
    assert wire.statuses == [100, 200]


@pytest.mark.ledger("D3-12", "X-04", "X-06", "X-07", "D1-26")
@pytest.mark.parametrize("status", [200, 303, 413, 417, 500])
@pytest.mark.parametrize("streamed", [True, False])
def test_d3_12_a_final_status_takes_the_place_of_the_100(status: int, streamed: bool) -> None:
    wire = run(WAITING, later)
    if streamed:
        wire.start(None, status, None, 0)
        wire.exchange.finish()
    else:
        wire.answer(None, status)
    wire.turn()
    assert wire.statuses == [status]
    assert wire.reply.connection == ["Connection: close"]
    assert wire.reason == "EXPECTATION_REFUSED"
    assert wire.exchange.handshake is Expectation.REFUSED
    for call in (wire.exchange.accept, wire.exchange.begin_body):
        with pytest.raises(LocalProtocolError):
            call()
    wire.send(b"hello" + GET)
    assert wire.bodies == {}
    assert wire.statuses == [status]


@pytest.mark.ledger("D3-13", "U-04", "U-06")
@pytest.mark.parametrize("asked", [True, False], ids=["by the application", "by the switch"])
def test_d3_13_a_switch_is_preceded_by_the_100_and_the_body(asked: bool) -> None:
    wire = run(waiting("Content-Length: 5", "Upgrade: chat", "Connection: upgrade"), later)
    with pytest.raises(LocalProtocolError):
        wire.exchange.switch(b"chat")
    if asked:
        wire.exchange.accept()
    wire.application = later
    wire.exchange.begin_body()
    wire.core.receive(b"hello" + b"chatter")
    wire.exchange.flowing = True
    events = []
    while (event := wire.core.next_event()) is not None:
        events.append(event)
    assert isinstance(events[-1], BodyComplete)
    assert wire.exchange.switch(b"chat") == b"chatter"
    wire.turn()
    assert wire.statuses == [100, 101]
    assert wire.exchange.persistence is not None
    assert wire.exchange.persistence.row == "D1-03"


@pytest.mark.ledger("D3-14", "X-10")
def test_d3_14_with_a_part_of_the_body_there_accepting_sends_no_100() -> None:
    for separate in (True, False):
        wire = Wire(later).send(*([WAITING, b"he"] if separate else [WAITING + b"he"]))
        wire.exchange.accept()
        wire.read().turn()
        assert not wire.data
        wire.send(b"llo")
        assert wire.statuses == [200]
        assert wire.bodies == {1: b"hello"}


@pytest.mark.ledger("D3-15")
def test_d3_15_a_part_of_the_body_stops_the_timer_and_is_held() -> None:
    wire = run(WAITING, later)
    assert wire.core.expecting() is wire.exchange
    wire.send(b"he")
    assert wire.core.expecting() is None
    assert wire.exchange.handshake is Expectation.WAIVED
    wire.core.expire(Deadline.EXPECTATION)
    wire.turn()
    assert not wire.data
    assert wire.bodies == {}
    assert wire.core.backlog == 2


@pytest.mark.ledger("D3-16", "X-06")
@pytest.mark.parametrize(
    ("field", "part", "row", "reason"),
    [
        ("Content-Length: 5", b"he", "D1-22", None), ("Content-Length: 99999", b"he", "D1-23", "BODY_UNREAD"),
        ("Transfer-Encoding: chunked", b"2\r\nhe\r\n", "D1-25", "BODY_UNREAD"),
        ("Transfer-Encoding: chunked", chunked(b"he"), "D1-18", None),
    ],
)  # fmt: skip
def test_d3_16_a_final_status_with_a_part_of_the_body_there(
    field: str,
    part: bytes,
    row: str,
    reason: str | None,
) -> None:
    wire = run(waiting(field) + part, at_once)
    assert wire.statuses == [200]
    assert wire.exchange.persistence is not None
    assert (wire.exchange.persistence.row, wire.reason) == (row, reason)
    assert wire.bodies == {}


@pytest.mark.ledger("D3-17")
def test_d3_17_there_is_one_100_at_most() -> None:
    wire = run(WAITING, later)
    for _ in range(2):
        wire.exchange.accept()
        wire.read()
        wire.core.expire(Deadline.EXPECTATION)
    wire.turn()
    assert wire.statuses == [100]


@pytest.mark.ledger("D3-18", "X-22", "N-02")
def test_d3_18_nothing_is_sent_before_the_earlier_responses_are() -> None:
    wire = run(GET + GET + WAITING, later)
    assert len(wire.exchanges) == 2
    assert wire.core.expecting() is None
    wire.core.expire(Deadline.EXPECTATION)
    wire.answer(wire.exchanges[1]).turn()
    assert len(wire.exchanges) == 2
    assert not wire.data
    wire.answer(wire.exchanges[0]).turn()
    assert len(wire.exchanges) == 3
    assert wire.core.expecting() is wire.exchange
    wire.read().turn()
    assert wire.statuses == [200, 200, 100]


@pytest.mark.ledger("D3-19", "X-22")
@pytest.mark.parametrize("part", [b"he", b"hello"])
def test_d3_19_what_came_meanwhile_makes_the_100_superfluous(part: bytes) -> None:
    wire = run(GET, later).send(WAITING, part)
    wire.answer().turn()
    assert len(wire.exchanges) == 2
    assert wire.core.expecting() is None
    wire.read().turn()
    wire.send(b"hello"[len(part) :])
    assert wire.statuses == [200, 200]
    assert wire.bodies == {2: b"hello"}


@pytest.mark.ledger("D3-20", "N-08")
@pytest.mark.parametrize("body", [b"", b"hello"])
def test_d3_20_behind_a_response_that_closes_the_request_is_discarded(body: bytes) -> None:
    wire = run(GET + WAITING + body, later).answer(None, 200, [("Connection", "close")]).turn()
    assert wire.statuses == [200]
    assert len(wire.exchanges) == 1
    assert wire.reason == "CLOSE_REQUESTED"


@pytest.mark.ledger("D3-21", "D3-22", "X-11")
@pytest.mark.parametrize("status", [pytest.param(200, id="D3-21"), pytest.param(500, id="D3-22")])
@pytest.mark.parametrize(
    ("field", "part", "row"),
    [
        ("Content-Length: 5", b"", "D1-22"), ("Content-Length: 5", b"he", "D1-22"),
        ("Content-Length: 99999", b"", "D1-23"),
        ("Transfer-Encoding: chunked", b"2\r\nhe\r\n", "D1-25"),
    ],
)  # fmt: skip
def test_a_final_status_after_the_100(status: int, field: str, part: bytes, row: str) -> None:
    wire = run(waiting(field), later)
    wire.exchange.accept()
    wire.turn().send(*[part] if part else [])
    wire.answer(None, status).turn()
    assert wire.statuses == [100, status]
    assert wire.exchange.persistence is not None
    assert wire.exchange.persistence.row == row
    assert (wire.reason is None) is (row == "D1-22")


@pytest.mark.ledger("D3-23", "P-17")
def test_d3_23_silence_after_the_100_is_408() -> None:
    wire = run(WAITING, when_read)
    assert wire.core.deadline is Deadline.BODY
    wire.core.expire(Deadline.BODY)
    wire.turn()
    assert wire.statuses == [100, 408]
    assert wire.finals[0].connection == ["Connection: close"]
    assert wire.reason == "BODY_TIMEOUT"


@pytest.mark.ledger("D3-24", "D1-04")
def test_d3_24_a_shutdown_still_invites_and_closes_with_the_response() -> None:
    wire = run(WAITING, later)
    wire.core.drain()
    wire.turn()
    assert wire.reason is None
    wire.read().turn()
    assert wire.statuses == [100]
    wire.send(b"hello" + GET)
    assert wire.statuses == [100, 200]
    assert wire.finals[0].connection == ["Connection: close"]
    assert wire.reason == "DRAINING"
    assert len(wire.exchanges) == 1


@pytest.mark.ledger("D3-25", "P-14")
def test_d3_25_a_client_that_closes_while_it_waits_gets_nothing() -> None:
    wire = run(WAITING, later).eof()
    assert not wire.data
    (failure,) = wire.failures
    assert (failure.exchange, failure.error.row) == (wire.exchange, "D3-25")
    assert wire.exchange.over
    assert wire.cancelled == []
    assert (wire.reason, wire.ending.reason.by) == ("PEER_CLOSED_MID_REQUEST", "peer")
    for call in (wire.exchange.accept, wire.exchange.begin_body, wire.answer, wire.start):
        with pytest.raises(LocalProtocolError):
            call()
    wire.core.expire(Deadline.EXPECTATION)
    wire.turn()
    assert not wire.data


@pytest.mark.ledger("D3-25", "P-14")
def test_d3_25_a_connection_that_is_lost_while_the_client_waits() -> None:
    wire = run(WAITING, later)
    assert wire.core.lost() == [wire.exchange]
    for call in (wire.exchange.accept, wire.exchange.begin_body, wire.answer, wire.start):
        with pytest.raises(LocalProtocolError):
            call()
    assert not wire.core.take_output()


# -- the field ---------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("X-14")
@pytest.mark.parametrize(
    "lines",
    [
        [b"100-continue"], [b"100-CONTINUE"], [b"100-continue, 100-Continue"], [b"100-continue", b"100-continue"],
        [b", 100-continue,,"],
        [b"", b"100-continue"],
    ],
)  # fmt: skip
def test_ways_to_say_100_continue(lines: list[bytes]) -> None:
    length5 = decide_request(True, [], [b"5"])
    assert decide(True, lines, length5).expects_continue
    assert decide(True, lines, length5).supported
    assert not decide(True, lines, NO_BODY).expects_continue
    assert decide(True, lines, NO_BODY).supported


@pytest.mark.ledger("X-14")
@pytest.mark.parametrize("lines", [[b""], [b","], [b" , "], []])
def test_a_field_without_members_expects_nothing(lines: list[bytes]) -> None:
    decided = decide(True, lines, decide_request(True, [], [b"5"]))
    assert not decided.expects_continue
    assert decided.row == "D3-01"


# -- what else holds ---------------------------------------------------------------------------------------------------


@pytest.mark.ledger("X-12", "D1-22")
def test_x_12_without_the_expectation_an_early_status_keeps_within_the_bound() -> None:
    wire = Wire(at_once).send(post(b"x" * 65536)[:-65536])
    assert (wire.statuses, wire.reply.connection) == ([200], [])
    wire.send(b"x" * 65536 + GET)
    assert (wire.statuses, wire.reason) == ([200, 200], None)


@pytest.mark.ledger("X-12", "D1-23")
def test_x_12_beyond_the_bound_the_close_is_announced() -> None:
    wire = Wire(at_once).send(post(b"x" * 65537)[:-65537])
    assert wire.reply.connection == ["Connection: close"]
    assert wire.reason == "BODY_UNREAD"


def test_an_error_of_the_body_is_not_followed_by_a_100() -> None:
    wire = run(waiting("Transfer-Encoding: chunked"), later).send(b"nonsense\r\n")
    wire.read().turn()
    assert wire.statuses == [400]
    with pytest.raises(LocalProtocolError):
        wire.exchange.begin_body()
    assert wire.exchange.body is Body.CUT


def test_no_bytes_are_no_part_of_a_body() -> None:
    wire = run(WAITING, later).send(b"")
    assert wire.core.expecting() is wire.exchange
