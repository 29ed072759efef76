"""Several requests on one connection: responses in order, light requests side by side, bounds on what is held."""

from __future__ import annotations

import itertools
import random

import pytest

from ka_twisted.config import Limits
from ka_twisted.core.errors import LocalProtocolError
from ka_twisted.http1.exchange import Exchange
from ka_twisted.http1.states import Answer
from tests.http1.driving import (
    GET,
    Wire,
    at_once,
    chunked,
    cut_at_random,
    cuts,
    get,
    later,
    post,
    run,
    upload,
    when_read,
)

LIGHT = {
    "GET": get("/"), "HEAD": get("/", method="HEAD"), "OPTIONS": get("*", method="OPTIONS"),
    "TRACE": get("/", method="TRACE"),
    "length 0": get("/", "Content-Length: 0"), "1.0": get("/", "Connection: keep-alive", minor=0),
    "expectation without body": get("/", "Expect: 100-continue"),
}  # fmt: skip
BARRIERS = {
    "POST": get("/", method="POST"), "DELETE": get("/", method="DELETE"), "unknown": get("/", method="FROB"),
    "lower case": get("/", method="get"), "body": post(b"hello", method="GET"),
    "chunked": upload(chunked(b"a"), method="GET"),
    "upgrade": get("/", "Upgrade: chat", "Connection: upgrade"),
    "expectation": get("/", "Content-Length: 0", "Expect: tea"),
}  # fmt: skip


def numbers(wire: Wire) -> list[int]:
    return [exchange.number for exchange in wire.exchanges]


def tagged(wire: Wire, exchange: Exchange) -> None:
    """Answer with the number of the request."""
    wire.answer(exchange, 200, [("X-Number", str(exchange.number))], b"%d" % exchange.number)


@pytest.mark.ledger("N-02")
@pytest.mark.parametrize("data", LIGHT.values(), ids=LIGHT)
def test_light_requests_run_side_by_side(data: bytes) -> None:
    wire = run(data * 3, later)
    assert numbers(wire) == [1, 2, 3]
    assert len(wire.core.exchanges) == 3


@pytest.mark.ledger("N-02")
@pytest.mark.parametrize("data", BARRIERS.values(), ids=BARRIERS)
def test_any_other_waits_for_those_before_it_and_those_behind_wait_for_it(data: bytes) -> None:
    refused = b"tea" in data
    wire = run(GET + GET + data + GET, later)
    assert numbers(wire) == [1, 2]
    wire.answer(wire.exchanges[1]).turn()
    assert numbers(wire) == [1, 2]
    wire.answer(wire.exchanges[0]).turn()
    if refused:
        assert numbers(wire) == [1, 2, 4]
        return
    assert numbers(wire) == [1, 2, 3]
    wire.answer().turn()
    assert numbers(wire) == [1, 2, 3, 4]
    assert wire.statuses == [200, 200, 200]


@pytest.mark.ledger("N-02")
def test_what_waits_is_taken_up_however_it_came() -> None:
    for pieces in cuts(GET + post(b"hello") + GET + upload(chunked(b"x")) + GET, seeds=6):
        wire = Wire(later).send(*pieces)
        for number in range(1, 6):
            assert numbers(wire)[-1] == number
            wire.answer().turn()
        assert wire.statuses == [200] * 5


@pytest.mark.ledger("N-02")
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_responses_leave_in_the_order_of_the_requests(order: tuple[int, ...]) -> None:
    wire = run(GET * 4, later)
    done: set[int] = set()
    for index in order:
        tagged(wire, wire.exchanges[index])
        wire.turn()
        done.add(index)
        ready = next((n for n in range(4) if n not in done), 4)
        assert [reply.get("X-Number") for reply in wire.replies] == [str(n + 1) for n in range(ready)]
    assert wire.core.held_bytes == 0
    assert not wire.core.busy


@pytest.mark.ledger("N-02", "X-22")
def test_everything_of_a_later_response_waits_interim_ones_and_streams_too() -> None:
    wire = run(GET + GET + GET, later)
    second, third = wire.exchanges[1:]
    second.interim(103)
    wire.start(second)
    second.write(b"sec")
    wire.start(third, length=5)
    third.write(b"third")
    third.finish()
    wire.turn()
    assert not wire.data
    assert wire.core.held_bytes > 0
    wire.answer().turn()
    assert wire.statuses == [200, 103, 200]
    second.write(b"ond")
    second.finish()
    wire.turn()
    assert [reply.body for reply in wire.replies] == [b"hello\n", b"", b"second", b"third"]
    assert wire.core.held_bytes == 0


@pytest.mark.ledger("N-02", "P-16")
def test_the_depth_is_bounded() -> None:
    wire = Wire(later, limits=Limits(pipelineDepth=3)).send(GET * 5)
    assert numbers(wire) == [1, 2, 3]
    wire.answer(wire.exchanges[2]).turn()
    assert numbers(wire) == [1, 2, 3], "a finished response that waits still takes its place"
    wire.answer(wire.exchanges[0]).turn()
    assert numbers(wire) == [1, 2, 3, 4]
    wire.answer().turn()
    assert numbers(wire) == [1, 2, 3, 4, 5]


@pytest.mark.ledger("N-02")
def test_a_depth_of_one_is_one_at_a_time() -> None:
    wire = Wire(later, limits=Limits(pipelineDepth=1)).send(GET * 3)
    for number in (1, 2, 3):
        assert numbers(wire) == list(range(1, number + 1))
        wire.answer().turn()
    assert wire.statuses == [200] * 3


@pytest.mark.ledger("N-02", "P-16")
def test_what_is_held_is_bounded() -> None:
    wire = Wire(later, limits=Limits(maxHeldBytes=100)).send(GET * 2)
    wire.answer(wire.exchanges[1], body=b"x" * 200)
    wire.send(GET)
    assert numbers(wire) == [1, 2]
    assert wire.core.held_bytes > 200
    wire.answer(wire.exchanges[0]).turn()
    assert numbers(wire) == [1, 2, 3]
    assert wire.core.held_bytes == 0


@pytest.mark.ledger("P-16", "P-13")
def test_reading_pauses_when_enough_waits_and_goes_on_later() -> None:
    wire = Wire(later, limits=Limits(readAhead=200)).send(post(b"")[:-4] + b"\r\n\r\n")
    assert wire.core.wants_input
    while wire.core.wants_input:
        wire.send(GET)
        assert wire.core.backlog <= 200 + len(GET)
    assert numbers(wire) == [1]
    wire.answer().turn()
    assert wire.core.wants_input
    assert len(wire.exchanges) > 2


@pytest.mark.ledger("P-16")
def test_reading_never_pauses_while_nothing_is_in_progress() -> None:
    wire = Wire(limits=Limits(readAhead=1))
    for byte in GET:
        assert wire.core.wants_input
        wire.send(bytes([byte]))
    assert wire.statuses == [200]
    assert wire.core.wants_input


@pytest.mark.ledger("N-08", "D3-20")
@pytest.mark.parametrize("close", ["response", "abort", "half"])
def test_a_close_cancels_what_is_behind_it(close: str) -> None:
    wire = run(GET * 5, later)
    first, second, *behind = wire.exchanges
    wire.answer(behind[1])
    if close == "response":
        wire.answer(second, 200, [("Connection", "close")])
    elif close == "abort":
        second.abort()
    else:
        wire.start(second, length=9)
        second.finish()
    wire.turn()
    assert wire.cancelled == [3, 5], "the fourth was over"
    assert wire.reason is None, "the first is still due"
    assert not wire.data
    for exchange in (behind[0], behind[2]):
        assert exchange.answer is Answer.ABORTED
        with pytest.raises(LocalProtocolError):
            wire.answer(exchange)
    wire.answer(first).turn()
    assert wire.statuses == ([200, 200] if close == "response" else [200] if close == "abort" else [200, 200])
    assert wire.reason == ("CLOSE_REQUESTED" if close == "response" else "APPLICATION_ABORT")
    assert (wire.core.held_bytes, wire.core.busy) == (0, False)


@pytest.mark.ledger("N-08", "P-06")
@pytest.mark.parametrize(
    ("last", "statuses"),
    [
        (get("/", "Connection: close"), [200] * 3),
        (b"nonsense\r\n", [200, 200, 400]),
        (get("/", "Host: b"), [200, 200, 400]),
        (b"A" * 99, [200, 200, 501]),
    ],
)  # fmt: skip
def test_the_last_request_is_answered_behind_the_others_and_nothing_behind_it(last: bytes, statuses: list[int]) -> None:
    for pieces in cuts(GET + GET + last + GET, seeds=3):
        wire = Wire(later).send(*pieces)
        assert not wire.data
        for exchange in reversed(wire.exchanges):
            wire.answer(exchange)
        wire.turn()
        assert wire.statuses == statuses
        assert wire.replies[-1].connection == ["Connection: close"]
        assert wire.core.ending is not None


@pytest.mark.ledger("N-08", "D2-22")
def test_a_broken_body_ends_the_pipeline_there() -> None:
    wire = run(GET + upload(b"x\r\n") + GET, when_read)
    assert wire.statuses == [200, 400]
    assert numbers(wire) == [1, 2]


def test_an_exchange_is_answered_once() -> None:
    wire = run(GET, later)
    for attempt in (lambda: wire.exchange.write(b""), lambda: wire.exchange.finish()):
        with pytest.raises(LocalProtocolError):
            attempt()
    wire.start()
    for again in (wire.answer, wire.start, lambda: wire.exchange.interim(103)):
        with pytest.raises(LocalProtocolError):
            again()
    wire.exchange.finish()
    data = wire.turn().data
    exchange = wire.exchange
    for late in (
        lambda: wire.answer(exchange), lambda: wire.start(exchange), lambda: exchange.write(b"x"),
        lambda: exchange.finish(), lambda: exchange.interim(103), lambda: exchange.abort(),
    ):  # fmt: skip
        with pytest.raises(LocalProtocolError):
            late()
    assert wire.turn().data == data


@pytest.mark.parametrize("status", [99, 100, 101, 200, 500])
def test_an_interim_response_has_an_interim_status_and_101_is_not_for_this(status: int) -> None:
    wire = run(GET, later)
    with pytest.raises(LocalProtocolError):
        wire.exchange.interim(status)


@pytest.mark.ledger("P-14")
@pytest.mark.parametrize(
    "data",
    [b"", GET[:9], GET, GET * 3, GET + post(b"hello"), post(b"hello")[:-1], upload(b"5\r\nhe")],
)
@pytest.mark.parametrize("application", [later, when_read, at_once])
def test_a_lost_connection_hands_back_what_was_unfinished(data: bytes, application: object) -> None:
    wire = run(data, application)  # type: ignore[arg-type]
    unfinished = [exchange for exchange in wire.exchanges if not exchange.over]
    assert wire.core.lost() == unfinished
    assert all(exchange.over for exchange in wire.exchanges)
    assert (wire.core.busy, wire.core.held_bytes, wire.core.lost()) == (False, 0, [])
    for exchange in unfinished:
        with pytest.raises(LocalProtocolError):
            wire.answer(exchange)
        exchange.abort()
    assert wire.core.next_event() is None
    events = len(wire.events)
    wire.send(GET)
    assert len(wire.events) == events


@pytest.mark.ledger("U-04", "U-06")
def test_a_switch_waits_for_earlier_responses_and_gets_all_bytes_behind_its_request() -> None:
    offer = get("/", "Upgrade: chat", "Connection: upgrade")
    for pieces in ([GET + offer + b"chatter"], [GET, offer, b"chat", b"ter"]):
        wire = Wire(later).send(*pieces)
        assert numbers(wire) == [1]
        wire.answer().turn()
        assert wire.exchange.switch(b"chat") == b"chatter"
        wire.turn()
        assert wire.statuses == [200, 101]
        assert (wire.core.state, wire.core.deadline, wire.core.busy) == ("switched", None, False)


@pytest.mark.ledger("U-06", "U-01")
def test_when_nothing_is_switched_to_what_follows_is_the_next_request() -> None:
    wire = run(get("/", "Upgrade: chat", "Connection: upgrade") + GET, later)
    wire.answer().turn()
    assert numbers(wire) == [1, 2]
    with pytest.raises(LocalProtocolError):
        wire.exchanges[0].switch(b"chat")


def test_the_state_is_told_in_a_word_or_three() -> None:
    wire = Wire(later)
    seen = [wire.core.state]
    for piece in (GET[:5], GET[5:], b"", post(b"hello")[:-1], b"o"):
        wire.send(piece)
        seen.append(wire.core.state)
        if wire.core.state == "responding":
            wire.answer().turn()
            seen.append(wire.core.state)
    assert seen[:6] == ["unused", "reading a head", "responding", "idle", "idle", "reading a body"]
    assert run(get("/", "Connection: close")).core.state == "closing"


@pytest.mark.ledger("N-02", "P-01")
def test_two_thousand_requests_in_one_segment_and_a_byte_at_a_time() -> None:
    data = b"".join(get(f"/{number}") if number % 3 else GET for number in range(1, 2001))
    answers = set()
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))], cut_at_random(data, random.Random(7))):
        wire = Wire(tagged).send(*pieces)
        answers.add(wire.data)
        assert [reply.get("X-Number") for reply in wire.replies] == [str(number) for number in range(1, 2001)]
    assert len(answers) == 1
