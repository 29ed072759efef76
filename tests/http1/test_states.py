"""The state tables: every state can be reached, and nothing happens outside them."""

from __future__ import annotations

from typing import Any

import pytest

from ka_twisted.core.deadlines import Deadline
from ka_twisted.core.errors import LocalProtocolError
from ka_twisted.core.reasons import CloseReason
from ka_twisted.http1.states import (
    ANSWER,
    BODY,
    EXPECTATION,
    MACHINES,
    READING,
    Answer,
    Body,
    BodyEvent,
    Expectation,
    Handshake,
    Input,
    Output,
    Reading,
    step,
)

#: Table, states, events, the states that one can begin in.
MACHINERY: dict[str, tuple[Any, Any, Any, set[Any]]] = {
    "Reading": (READING, Reading, Input, {Reading.UNUSED}),
    "Answer": (ANSWER, Answer, Output, {Answer.AWAITED}),
    "Body": (BODY, Body, BodyEvent, {Body.ABSENT, Body.HELD}),
    "Expectation": (EXPECTATION, Expectation, Handshake, {Expectation.NONE, Expectation.HELD, Expectation.WAIVED}),
}
#: States that nothing leaves.
FINAL = {Reading.SWITCHED, Answer.COMPLETE, Answer.ABORTED, Answer.SWITCHED, Body.ABSENT, Body.READ, Body.CUT}

machines = pytest.mark.parametrize("name", MACHINERY)


def test_every_machine_is_listed() -> None:
    assert set(MACHINES) == set(MACHINERY)
    for name, (table, *_) in MACHINERY.items():
        assert MACHINES[name] is table


@machines
def test_every_state_can_be_reached(name: str) -> None:
    table, kinds, _, begins = MACHINERY[name]
    reached = set(begins)
    moves = [move for moves in table.values() for move in moves.items()]
    while grown := {after for before, after in moves if before in reached} - reached:
        reached |= grown
    assert reached == set(kinds)


@machines
def test_every_event_is_in_the_table_and_nothing_else_is(name: str) -> None:
    table, kinds, events, _ = MACHINERY[name]
    assert set(table) == set(events)
    for moves in table.values():
        assert moves
        assert set(moves) | set(moves.values()) <= set(kinds)


@machines
def test_a_step_follows_the_table_and_what_is_not_in_it_raises(name: str) -> None:
    table, kinds, events, _ = MACHINERY[name]
    for event in events:
        for state in kinds:
            if state in table[event]:
                assert step(table, event, state) is table[event][state]
            else:
                with pytest.raises(LocalProtocolError, match="not possible when"):
                    step(table, event, state)


@machines
def test_what_is_final_stays(name: str) -> None:
    table, kinds, _, _ = MACHINERY[name]
    final = {state for state in kinds if not any(moves.get(state, state) is not state for moves in table.values())}
    expected = {state for state in kinds if state in FINAL}
    if name == "Reading":
        expected.add(Reading.SWITCHED)
    if name == "Expectation":
        expected = set(kinds) - {Expectation.HELD}
    assert final == expected


@machines
def test_states_and_events_say_what_they_are(name: str) -> None:
    _, kinds, events, _ = MACHINERY[name]
    for kind in (kinds, events):
        assert len({member.value for member in kind}) == len(kind)
        assert all(member.value for member in kind)


def test_the_ends_have_no_way_back() -> None:
    assert {state for moves in READING.values() for state in moves if state is Reading.DISCARD} == {Reading.DISCARD}
    assert {moves.get(Reading.DISCARD) for moves in READING.values()} == {None, Reading.DISCARD, Reading.SWITCHED}


def test_a_100_is_due_only_from_one_state() -> None:
    assert [state for state, after in EXPECTATION[Handshake.ACCEPT].items() if after is not state] == [Expectation.HELD]


# -- the names of what can be late -------------------------------------------------------------------------------------


@pytest.mark.ledger("P-17")
def test_a_deadline_that_ends_the_connection_has_its_own_reason() -> None:
    reasons = [deadline.reason for deadline in Deadline if deadline.reason is not None]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.name.endswith("_TIMEOUT") and reason.by == "us" for reason in reasons)
    assert {deadline.name for deadline in Deadline if deadline.reason is None} == {
        "AGE",
        "EXPECTATION",
        "LINGER",
        "REFUSED",
        "SWITCHED_IDLE",
    }
    assert all(deadline.awaited for deadline in Deadline)


def test_every_time_out_among_the_reasons_has_its_deadline() -> None:
    named = {deadline.reason.name for deadline in Deadline if deadline.reason is not None}
    assert named == {reason.name for reason in CloseReason.all() if reason.name.endswith("_TIMEOUT")}
