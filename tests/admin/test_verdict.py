"""What an operator is told first: that something is wrong, when it is, and nothing when it is not."""

from __future__ import annotations

from typing import Any

import pytest

from ka_twisted import CloseReason
from ka_twisted.admin.verdict import KINDS, verdict
from ka_twisted.observe.counts import Counts
from ka_twisted.observe.families import (
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    CONNECTIONS_OPENED,
    HANDSHAKE_FAILURES,
    IDLE_CLOSE_RACES,
    REQUESTS,
    WORKER_DEATHS,
)

ABOUT: dict[str, Any] = {"wanted": 0, "workers": [], "limits": {"maxConnections": 1000}, "timers": {"idle": 75.0}}
NOTHING = Counts()


def told(
    recent: Counts = NOTHING, now: Counts = NOTHING, state: str = "serving", ready: bool = True, **more: Any
) -> list[str]:
    """Levels and texts."""
    about = ABOUT | more.pop("about", {})
    return [f"{level}: {text}" for level, text in verdict(about, state, ready, now, recent, **more)]


def closes(**counts: int) -> Counts:
    return Counts({CONNECTIONS_CLOSED: {(reason, "us"): count for reason, count in counts.items()}})


def answered(**counts: int) -> Counts:
    return Counts({REQUESTS: {("GET", f"{name[1:]}xx"): count for name, count in counts.items()}})


def opened(count: int) -> Counts:
    return Counts({CONNECTIONS: {("idle",): count}})


def workers(wanted: int, *ready: bool) -> dict[str, Any]:
    there = [{"pid": number, "ready": each, "open": 0} for number, each in enumerate(ready)]
    return {"wanted": wanted, "workers": there}


@pytest.mark.parametrize(
    "recent",
    [
        NOTHING,
        answered(_2=1000, _3=10, _4=500),
        closes(IDLE_TIMEOUT=100, PEER_CLOSED_IDLE=900, CLOSE_REQUESTED=50, HTTP10_DEFAULT=10, MAX_REQUESTS=5),
        closes(HEADER_TIMEOUT=4),
        closes(PEER_CLOSED_IDLE=1000, TRANSPORT_ERROR=40),
        Counts({HANDSHAKE_FAILURES: {("timeout",): 4}}),
        Counts({HANDSHAKE_FAILURES: {("timeout",): 10}, CONNECTIONS_OPENED: {(): 1000}}),
    ],
)
def test_the_ordinary_is_not_remarked_upon(recent: Counts) -> None:
    assert told(recent, opened(500)) == []


@pytest.mark.parametrize(
    ("recent", "remark"),
    [
        (answered(_2=990, _5=10), "warning: 10 of 1,000 requests in the last minute were answered with 5xx."),
        (answered(_2=980, _5=20), "bad: 20 of 1,000 requests in the last minute were answered with 5xx."),
        (
            closes(APPLICATION_ABORT=1),
            "bad: 1 response was broken off in the last minute: the application failed inside.",
        ),
        (
            closes(APPLICATION_ABORT=3),
            "bad: 3 responses were broken off in the last minute: the application failed inside.",
        ),
        (
            closes(TOO_MANY_CONNECTIONS=12),
            "bad: 12 connections were turned away in the last minute: there were too many.",
        ),
        (
            closes(PEER_CLOSED_IDLE=90, HEADER_TIMEOUT=10),
            "warning: HEADER_TIMEOUT has ended 10 connections in the last minute, 10 % of all: "
            "a request head was not complete in time.",
        ),
        (
            Counts({WORKER_DEATHS: {(): 1}}),
            "bad: A worker has died in the last minute, with the requests under way there. The log says how.",
        ),
        (
            Counts({WORKER_DEATHS: {(): 3}}),
            "bad: 3 workers have died in the last minute, with the requests under way there. The log says how.",
        ),
        (
            Counts({IDLE_CLOSE_RACES: {(): 2}}),
            "warning: 2 requests of the last minute were most likely lost: they came while their connection was closed "
            "as idle. Clients should drop theirs before we do, after 75 s.",
        ),
        (
            Counts({HANDSHAKE_FAILURES: {("timeout",): 2, ("not TLS",): 8}, CONNECTIONS_OPENED: {(): 20}}),
            "warning: 10 handshakes failed in the last minute, most of them for: not TLS.",
        ),
    ],
)
def test_what_is_not_is_said_in_a_sentence(recent: Counts, remark: str) -> None:
    assert told(recent) == [remark]


def test_a_crowd_is_seen_before_it_is_turned_away() -> None:
    assert told(now=opened(899)) == []
    assert told(now=opened(900)) == ["warning: 900 connections are open, of 1,000 that are allowed."]
    assert told(now=opened(1700), about=workers(2, True, True)) == []
    assert told(now=opened(1900), about=workers(2, True, True)) == [
        "warning: 1,900 connections are open, of 2,000 that are allowed."
    ]
    assert told(now=opened(10**6), about={"limits": {"maxConnections": 0}}) == []


def test_the_state_is_said() -> None:
    assert told(state="draining", ready=False, now=opened(1)) == [
        "note: The server drains: it takes no new connections, and 1 connection is left."
    ]
    assert told(state="reloading") == ["note: The server reloads its configuration."]
    assert told(ready=False) == ["bad: The server is not ready: it serves nobody."]
    assert told(reloadFailed=True) == [
        "warning: A reload has failed: the former configuration is in force. The log says why."
    ]


def test_requests_can_be_lost_to_a_drain() -> None:
    lost, _ = told(Counts({IDLE_CLOSE_RACES: {(): 2}}), state="draining", ready=False)
    assert lost == (
        "warning: 2 requests of the last minute were most likely lost: they came while their connection was "
        "closed for the drain. Announce a drain for longer (drain delay)."
    )


def test_workers_are_missed() -> None:
    assert told(about=workers(2, True, True)) == []
    assert told(about=workers(2, True, True, False)) == []  # one that leaves
    assert told(about=workers(3, True, False, True)) == ["bad: 2 of 3 workers are ready."]
    assert told(about=workers(2, True)) == ["bad: 1 of 2 workers is ready."]
    assert told(about=workers(1, False), ready=False) == ["bad: The server is not ready: it serves nobody."]


def test_the_worst_comes_first() -> None:
    recent = closes(PEER_CLOSED_IDLE=10, BAD_REQUEST=90) + answered(_5=10)
    levels = [remark.partition(":")[0] for remark in told(recent, opened(2), state="reloading")]
    assert levels == ["bad", "warning", "note"]


def test_every_reason_is_of_a_kind() -> None:
    assert set(KINDS) == {reason.name for reason in CloseReason.all()}
