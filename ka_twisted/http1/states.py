"""
Every state of a connection and every transition between them. There are no others.

Each machine is an Enum and a table ``{event: {state: next state}}``. What is not in a table is illegal: `step` raises
`LocalProtocolError`. The tests iterate these tables and the diagrams in the documentation are drawn from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from ..core.errors import LocalProtocolError


class _State(Enum):
    __hash__ = object.__hash__  # the members are singletons; Enum's own hash is Python code on the hot path


class Reading(_State):
    """What the next byte from the peer is taken for."""

    UNUSED = "no request yet"
    IDLE = "between requests"
    HEAD = "inside a request head"
    BODY = "inside a request body"
    DISCARD = "nothing more is parsed"
    SWITCHED = "another protocol's"


class Input(_State):
    """What happens to `Reading`."""

    PART = "part of a head came"
    HEAD_END = "a head is complete, no body follows"
    BODY_STARTS = "a head is complete, a body follows"
    BODY_END = "the body is complete"
    LAST = "no further request will be served"
    SWITCH = "101 was sent"


class Answer(_State):
    """How far the response of one exchange is."""

    AWAITED = "the application has not answered"
    STREAMING = "the head has been written, the body has not ended"
    COMPLETE = "the whole response has been written"
    ABORTED = "the response ends unfinished, or is not wanted any more"
    SWITCHED = "101 was the last word of HTTP"


class Output(_State):
    """What happens to `Answer`."""

    INTERIM = "an interim response is written"
    START = "the head is written, the body follows"
    WHOLE = "head and body are written at once"
    FINISH = "the end of the body is written"
    ABORT = "the rest will not come"
    SWITCH = "101 is written"


class Body(_State):
    """Who takes the bytes of a request body."""

    ABSENT = "there is none"
    HELD = "not asked for yet"
    WANTED = "the application is reading"
    DISCARDED = "read away: it will not be asked for any more"
    READ = "complete"
    CUT = "ended before its end"


class BodyEvent(_State):
    """What happens to `Body`."""

    READ = "the application reads"
    TAKE = "the application takes the whole of it, which is in hand"
    ABANDON = "the application has answered without, or stopped reading"
    END = "the last byte was consumed"
    CUT = "the peer closed, stalled or broke the framing"


class Expectation(_State):
    """The 100-continue handshake of one request (RFC 9110 10.1.1)."""

    NONE = "nothing is expected"
    HELD = "the client waits for a decision"
    INVITED = "100 was sent"
    WAIVED = "the body came by itself"
    REFUSED = "a final response was given instead of 100"


class Handshake(_State):
    """What happens to `Expectation`."""

    ACCEPT = "the application wants the body, or time decided for it"
    ARRIVE = "bytes of the body came"
    FINAL = "the final response is decided"


_S = TypeVar("_S", bound=_State)
_E = TypeVar("_E", bound=_State)

_R, _I = Reading, Input
READING: Mapping[Input, Mapping[Reading, Reading]] = {
    _I.PART: {_R.UNUSED: _R.HEAD, _R.IDLE: _R.HEAD, _R.HEAD: _R.HEAD},
    _I.HEAD_END: {_R.UNUSED: _R.IDLE, _R.IDLE: _R.IDLE, _R.HEAD: _R.IDLE},
    _I.BODY_STARTS: {_R.UNUSED: _R.BODY, _R.IDLE: _R.BODY, _R.HEAD: _R.BODY},
    _I.BODY_END: {_R.BODY: _R.IDLE, _R.DISCARD: _R.DISCARD},
    _I.LAST: dict.fromkeys((_R.UNUSED, _R.IDLE, _R.HEAD, _R.BODY, _R.DISCARD), _R.DISCARD),
    _I.SWITCH: {_R.IDLE: _R.SWITCHED, _R.DISCARD: _R.SWITCHED},
}

_A, _O = Answer, Output
ANSWER: Mapping[Output, Mapping[Answer, Answer]] = {
    _O.INTERIM: {_A.AWAITED: _A.AWAITED},
    _O.START: {_A.AWAITED: _A.STREAMING},
    _O.WHOLE: {_A.AWAITED: _A.COMPLETE},
    _O.FINISH: {_A.STREAMING: _A.COMPLETE},
    _O.ABORT: {_A.AWAITED: _A.ABORTED, _A.STREAMING: _A.ABORTED},
    _O.SWITCH: {_A.AWAITED: _A.SWITCHED},
}

_B, _V = Body, BodyEvent
BODY: Mapping[BodyEvent, Mapping[Body, Body]] = {
    _V.READ: {_B.HELD: _B.WANTED, _B.WANTED: _B.WANTED},
    _V.TAKE: {_B.HELD: _B.READ},
    _V.ABANDON: {_B.HELD: _B.DISCARDED, _B.WANTED: _B.DISCARDED, _B.DISCARDED: _B.DISCARDED},
    _V.END: {_B.WANTED: _B.READ, _B.DISCARDED: _B.DISCARDED},
    _V.CUT: {_B.HELD: _B.CUT, _B.WANTED: _B.CUT, _B.DISCARDED: _B.CUT},
}

_X, _H = Expectation, Handshake
EXPECTATION: Mapping[Handshake, Mapping[Expectation, Expectation]] = {
    _H.ACCEPT: {_X.NONE: _X.NONE, _X.HELD: _X.INVITED, _X.INVITED: _X.INVITED, _X.WAIVED: _X.WAIVED},
    _H.ARRIVE: {
        _X.NONE: _X.NONE,
        _X.HELD: _X.WAIVED,
        _X.INVITED: _X.INVITED,
        _X.WAIVED: _X.WAIVED,
        _X.REFUSED: _X.REFUSED,
    },
    _H.FINAL: {
        _X.NONE: _X.NONE,
        _X.HELD: _X.REFUSED,
        _X.INVITED: _X.INVITED,
        _X.WAIVED: _X.WAIVED,
        _X.REFUSED: _X.REFUSED,
    },
}

#: Every machine by name, for the tests and the diagrams.
MACHINES: Mapping[str, Mapping[_State, Mapping[_State, _State]]] = {
    "Reading": READING,  # type: ignore[dict-item]
    "Answer": ANSWER,  # type: ignore[dict-item]
    "Body": BODY,  # type: ignore[dict-item]
    "Expectation": EXPECTATION,  # type: ignore[dict-item]
}


def step(table: Mapping[_E, Mapping[_S, _S]], event: _E, state: _S) -> _S:
    """
    The next state.

    :raises LocalProtocolError: when the table has no such transition.
    """
    try:
        return table[event][state]
    except KeyError:
        raise LocalProtocolError(f"{event.value}: not possible when {state.value}") from None
