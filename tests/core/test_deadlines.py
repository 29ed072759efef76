"""What the peer can be late with: named when it can, and only then, and never more than one thing."""

from __future__ import annotations

import pytest

from ka_twisted.config import Limits
from ka_twisted.core.deadlines import Deadline
from tests.http1.driving import GET, Wire, at_once, chunked, get, later, post, run, upload, when_read

WAITING = get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT")


@pytest.mark.ledger("P-12", "H-05")
def test_before_the_first_request() -> None:
    wire = Wire()
    assert wire.core.deadline is Deadline.FIRST_REQUEST
    assert wire.send(b"\r\n\r").core.deadline is Deadline.FIRST_REQUEST


@pytest.mark.ledger("P-17", "P-12", "H-05")
def test_from_the_first_byte_of_a_head_to_its_end() -> None:
    for data in (GET, post(b"hello")):
        wire = Wire(later)
        end = data.index(b"\r\n\r\n") + 3
        for index in range(end):
            wire.send(data[index : index + 1])
            assert wire.core.deadline is Deadline.HEADER
        wire.send(data[end : end + 1])
        assert wire.core.deadline is None


def test_also_behind_another_request() -> None:
    wire = run(GET + GET[:1], later)
    assert wire.core.deadline is Deadline.HEADER
    wire.answer().turn()
    assert wire.core.deadline is Deadline.HEADER
    wire.core.expire(Deadline.HEADER)
    wire.turn()
    assert (wire.statuses, wire.reason) == ([200, 408], "HEADER_TIMEOUT")


@pytest.mark.ledger("N-02", "P-17")
def test_a_head_that_came_too_late_waits_for_the_earlier_response_to_be_written() -> None:
    wire = run(GET + GET[:1], later)
    wire.core.expire(Deadline.HEADER)
    wire.turn()
    assert (wire.statuses, wire.reason) == ([], None)
    wire.answer().turn()
    assert (wire.statuses, wire.reason) == ([200, 408], "HEADER_TIMEOUT")


def test_a_head_that_is_not_read_because_enough_is_held_is_not_late() -> None:
    wire = Wire(later, limits=Limits(maxHeldBytes=10)).send(GET + GET + GET[:-1])
    assert wire.core.deadline is Deadline.HEADER
    wire.answer(wire.exchanges[1], body=b"x" * 20).turn()
    wire.send(GET[-1:])
    assert len(wire.exchanges) == 2
    assert wire.core.deadline is None
    wire.answer(wire.exchanges[0]).turn()
    assert len(wire.exchanges) == 3


@pytest.mark.ledger("P-12")
def test_between_requests_and_not_while_one_is_answered() -> None:
    wire = run(GET, later)
    assert wire.core.deadline is None
    wire.start()
    assert wire.core.deadline is None
    wire.exchange.finish()
    assert wire.core.deadline is Deadline.IDLE
    assert wire.send(b"\r\n").core.deadline is Deadline.IDLE


@pytest.mark.ledger("D2-30")
@pytest.mark.parametrize("data", [post(b"hello")[:-1], upload(b"5\r\n")])
def test_a_body_is_due_only_while_the_application_takes_it(data: bytes) -> None:
    wire = run(data, later)
    assert wire.core.deadline is None
    wire.exchange.begin_body()
    assert wire.core.deadline is None
    wire.exchange.flowing = True
    assert wire.core.deadline is Deadline.BODY
    wire.exchange.flowing = False
    assert wire.core.deadline is None


def test_a_whole_body_is_not_due() -> None:
    wire = Wire(when_read).send(post(b"hello"), upload(chunked(b"hello")))
    assert wire.core.deadline is Deadline.IDLE


@pytest.mark.ledger("D1-22", "D1-24")
def test_the_rest_of_a_body_is_due_behind_the_response() -> None:
    wire = run(post(b"hello")[:-1], at_once)
    assert wire.core.deadline is Deadline.UNREAD
    wire.send(b"o")
    assert wire.core.deadline is Deadline.IDLE
    wire = run(post(b"hello")[:-1], later).start()
    assert wire.core.deadline is None
    wire.exchange.finish()
    assert wire.core.deadline is Deadline.UNREAD
    wire.core.expire(Deadline.UNREAD)
    assert wire.reason == "UNREAD_TIMEOUT"


@pytest.mark.ledger("X-05", "D3-10")
def test_a_client_that_waits_for_us_owes_nothing() -> None:
    wire = run(WAITING, later)
    assert wire.core.deadline is None
    wire.core.expire(Deadline.EXPECTATION)
    assert wire.core.deadline is None
    assert wire.turn().statuses == [100]


@pytest.mark.parametrize(
    "wire",
    [
        run(get("/", "Connection: close")), run(b"nonsense\r\n"), run(get("/", "Connection: close"), later),
        Wire().eof(), run(GET).eof(),
        run(post(b"hello", "Connection: close"), when_read),
    ],
    ids=["closed", "refused", "last in service", "peer closed", "peer closed behind a request", "closed behind a body"],
)  # fmt: skip
def test_at_the_end_nothing_is_due(wire: Wire) -> None:
    assert wire.core.deadline is None


@pytest.mark.parametrize("deadline", Deadline)
@pytest.mark.parametrize("data", [b"", b"GET", GET, post(b"hello")[:-1], WAITING, get("/", "Connection: close")])
@pytest.mark.parametrize("application", [at_once, later, when_read])
def test_a_timer_that_fires_when_it_is_not_due_does_nothing(
    data: bytes,
    application: object,
    deadline: Deadline,
) -> None:
    wire = run(data, application)  # type: ignore[arg-type]
    if deadline is wire.core.deadline or (deadline is Deadline.EXPECTATION and wire.core.expecting()):
        return
    before = (wire.data, wire.reason, wire.core.reading, wire.core.deadline, len(wire.events))
    wire.core.expire(deadline)
    wire.turn()
    assert (wire.data, wire.reason, wire.core.reading, wire.core.deadline, len(wire.events)) == before
