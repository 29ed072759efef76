"""What an operator is told first: that something is wrong, when it is, and nothing when it is not."""

from __future__ import annotations

from typing import Any

import pytest

from ka_twisted import CloseReason
from ka_twisted.admin.verdict import KINDS, verdict
from ka_twisted.observe.counts import Counts
from ka_twisted.observe.families import (
    ACCESS_LOG_DROPPED,
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    CONNECTIONS_OPENED,
    CONNECTIONS_REFUSED,
    HANDSHAKE_FAILURES,
    IDLE_CLOSE_RACES,
    REQUESTS,
    WORKER_DEATHS,
    WORKER_LOG_DROPPED,
    Family,
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
            "bad: 1 response was aborted in the last minute: the application failed while sending.",
        ),
        (
            closes(APPLICATION_ABORT=3),
            "bad: 3 responses were aborted in the last minute: the application failed while sending.",
        ),
        (
            closes(TOO_MANY_CONNECTIONS=12),
            "bad: 12 connections were refused in the last minute: a limit was reached.",
        ),
        (
            closes(PEER_CLOSED_IDLE=90, HEADER_TIMEOUT=10),
            "warning: HEADER_TIMEOUT closed 10 connections in the last minute, 10 % of all: "
            "a request head was not complete in time.",
        ),
        (
            Counts({WORKER_DEATHS: {(): 1}}),
            "bad: 1 worker died in the last minute; requests in service there were lost. See the log.",
        ),
        (
            Counts({WORKER_DEATHS: {(): 3}}),
            "bad: 3 workers died in the last minute; requests in service there were lost. See the log.",
        ),
        (
            Counts({IDLE_CLOSE_RACES: {(): 2}}),
            "warning: 2 requests were probably lost in the last minute, arriving on connections that had just been "
            "closed as idle. Clients should close idle connections earlier: within 75 s.",
        ),
        (
            Counts({HANDSHAKE_FAILURES: {("timeout",): 2, ("not TLS",): 8}, CONNECTIONS_OPENED: {(): 20}}),
            "warning: 10 handshakes failed in the last minute. The most frequent reason: not TLS.",
        ),
    ],
)
def test_what_is_not_is_said_in_a_sentence(recent: Counts, remark: str) -> None:
    assert told(recent) == [remark]


@pytest.mark.parametrize(
    ("family", "lines", "remark"),
    [
        (ACCESS_LOG_DROPPED, 1, "1 line of the access log was lost"),
        (WORKER_LOG_DROPPED, 1200, "1,200 lines of workers' logs were lost"),
    ],
)
def test_lost_lines_of_logs_are_shown(family: Family, lines: int, remark: str) -> None:
    assert told(Counts({family: {(): lines}})) == [
        f"warning: {remark} in the last minute: writing failed, or was too slow."
    ]


def test_one_is_singular() -> None:
    one = Counts({IDLE_CLOSE_RACES: {(): 1}}) + closes(TOO_MANY_CONNECTIONS=1) + answered(_2=999, _5=1)
    assert [remark.partition(": ")[2].partition(" in the last")[0] for remark in told(one)] == [
        "1 connection was refused",
        "1 of 1,000 requests",
        "1 request was probably lost",
    ]


def test_connections_refused_at_admission_count_as_refused() -> None:
    assert told(Counts({CONNECTIONS_REFUSED: {("limit",): 3}}) + closes(TOO_MANY_CONNECTIONS=2)) == [
        "bad: 5 connections were refused in the last minute: a limit was reached."
    ]


def test_a_crowd_is_seen_before_it_is_turned_away() -> None:
    assert told(now=opened(899)) == []
    assert told(now=opened(900)) == ["warning: 900 of at most 1,000 connections are open."]
    assert told(now=opened(1700), about=workers(2, True, True)) == []
    assert told(now=opened(1900), about=workers(2, True, True)) == [
        "warning: 1,900 of at most 2,000 connections are open."
    ]
    assert told(now=opened(10**6), about={"limits": {"maxConnections": 0}}) == []


def test_the_state_is_said() -> None:
    assert told(state="draining", ready=False, now=opened(1)) == [
        "note: The server is draining: it accepts no new connections, and 1 connection is still open."
    ]
    assert told(state="reloading") == ["note: The server is reloading its configuration."]
    assert told(ready=False) == ["bad: The server is not ready: it accepts no connections."]
    assert told(reloadFailed=True) == [
        "warning: The last reload failed: the previous configuration is still in force. See the log."
    ]


def test_requests_can_be_lost_to_a_drain() -> None:
    lost, _ = told(Counts({IDLE_CLOSE_RACES: {(): 2}}), state="draining", ready=False)
    assert lost == (
        "warning: 2 requests were probably lost in the last minute, arriving on connections that had just been closed "
        "for the drain. Use a longer drain delay."
    )


def test_workers_are_missed() -> None:
    assert told(about=workers(2, True, True)) == []
    assert told(about=workers(2, True, True, False)) == []  # one that leaves
    assert told(about=workers(3, True, False, True)) == ["bad: 2 of 3 workers are ready."]
    assert told(about=workers(2, True)) == ["bad: 1 of 2 workers is ready."]
    assert told(about=workers(1, False), ready=False) == ["bad: The server is not ready: it accepts no connections."]


def test_the_worst_comes_first() -> None:
    recent = closes(PEER_CLOSED_IDLE=10, BAD_REQUEST=90) + answered(_5=10)
    levels = [remark.partition(":")[0] for remark in told(recent, opened(2), state="reloading")]
    assert levels == ["bad", "warning", "note"]


def test_every_reason_is_of_a_kind() -> None:
    assert set(KINDS) == {reason.name for reason in CloseReason.all()}
