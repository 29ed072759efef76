"""
Whether something is wrong: what an operator is told first.

A list of remarks, the worst first, each one sentence. What is ordinary is not remarked upon.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..core.reasons import CloseReason
from ..observe.counts import Counts
from ..observe.families import (
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
)
from .history import errors

#: How bad it is, the worst first.
BAD, WARNING, NOTE = "bad", "warning", "note"
#: Kinds of reasons: how the life of a connection is meant to end; what our way to answer costs; what clients and
#: networks do; what is our fault.
ORDINARY, COSTLY, CLIENTS, OURS = "ordinary", "costly", "clients", "ours"
_KINDS = {
    COSTLY: ("RESPONSE_UNFRAMED", "BODY_UNREAD", "BODY_TOO_LARGE", "EXPECTATION_REFUSED", "MAX_REQUESTS", "MAX_AGE"),
    CLIENTS: (
        "HEADER_TIMEOUT",
        "BODY_TIMEOUT",
        "UNREAD_TIMEOUT",
        "WRITE_TIMEOUT",
        "PEER_CLOSED_MID_REQUEST",
        "PEER_CLOSED_MID_RESPONSE",
        "BAD_REQUEST",
        "TRANSPORT_ERROR",
    ),
    OURS: ("TOO_MANY_CONNECTIONS", "APPLICATION_ABORT"),
}
KINDS = {reason.name: ORDINARY for reason in CloseReason.all()} | {
    name: kind for kind, names in _KINDS.items() for name in names
}
#: The share of responses that are errors of the server, from which it is bad; of connections that ended in the same
#: way that is not ordinary, and how many there have to be, from which it is remarked upon.
_ERRORS, _SHARE, _FEW = 0.01, 0.05, 5
#: The share of the allowed connections from which there are nearly too many.
_CROWDED = 0.9


class Remark(NamedTuple):
    """
    :ivar level: `BAD`, `WARNING` or `NOTE`.
    :ivar text: one sentence.
    """

    level: str
    text: str


def verdict(
    about: dict[str, Any], state: str, ready: bool, now: Counts, recent: Counts, reloadFailed: bool = False
) -> list[Remark]:
    """
    What there is to remark upon, the worst first.

    :param about: see `IServerView.about`.
    :param now: all that was counted.
    :param recent: what happened in the last minute.
    :param reloadFailed: whether the last reload did, of those that are remembered.
    """
    remarks = [
        *_service(about, state, ready, now, reloadFailed),
        *_deaths(recent),
        *_responses(recent),
        *_crowding(about, now, recent),
        *_closes(recent),
        *_lost(about, state, recent),
        *_logs(recent),
    ]
    order = (BAD, WARNING, NOTE)
    return sorted(remarks, key=lambda remark: order.index(remark.level))


def _service(about: dict[str, Any], state: str, ready: bool, now: Counts, reloadFailed: bool) -> Iterator[Remark]:
    # Those that leave are there as well, and those that have died are not.
    there = sum(worker["ready"] for worker in about["workers"])
    if state == "draining":
        left = now.total(CONNECTIONS)
        yield Remark(NOTE, f"The server drains: it takes no new connections, and {_connections(left)} left.")
    elif not ready:
        yield Remark(BAD, "The server is not ready: it serves nobody.")
    elif there < about["wanted"]:
        yield Remark(BAD, f"{there} of {about['wanted']} workers {'is' if there == 1 else 'are'} ready.")
    if state == "reloading":
        yield Remark(NOTE, "The server reloads its configuration.")
    if reloadFailed:
        yield Remark(WARNING, "A reload has failed: the former configuration is in force. The log says why.")


def _deaths(recent: Counts) -> Iterator[Remark]:
    deaths = recent.total(WORKER_DEATHS)
    if deaths:
        who = "A worker has" if deaths == 1 else f"{deaths:,.0f} workers have"
        yield Remark(BAD, f"{who} died in the last minute, with the requests under way there. The log says how.")


def _responses(recent: Counts) -> Iterator[Remark]:
    failed, requests = errors(recent), recent.total(REQUESTS)
    if failed:
        level = BAD if failed > requests * _ERRORS else WARNING
        yield Remark(level, f"{failed:,.0f} of {requests:,.0f} requests in the last minute were answered with 5xx.")
    aborted = _closed(recent).get("APPLICATION_ABORT", 0)
    if aborted:
        yield Remark(BAD, f"{_responses_(aborted)} broken off in the last minute: the application failed inside.")


def _crowding(about: dict[str, Any], now: Counts, recent: Counts) -> Iterator[Remark]:
    limit = about["limits"]["maxConnections"] * max(1, about["wanted"])
    refused = _closed(recent).get("TOO_MANY_CONNECTIONS", 0) + recent.total(CONNECTIONS_REFUSED)
    if refused:
        yield Remark(BAD, f"{refused:,.0f} connections were turned away in the last minute: there were too many.")
    elif limit and now.total(CONNECTIONS) >= limit * _CROWDED:
        yield Remark(WARNING, f"{now.total(CONNECTIONS):,.0f} connections are open, of {limit:,} that are allowed.")


def _closes(recent: Counts) -> Iterator[Remark]:
    closed = _closed(recent)
    total = sum(closed.values())
    for name, count in sorted(closed.items(), key=lambda item: -item[1]):
        if KINDS.get(name) == CLIENTS and count >= _FEW and count >= total * _SHARE:
            (reason,) = (reason for reason in CloseReason.all() if reason.name == name)
            yield Remark(
                WARNING,
                f"{name} has ended {count:,.0f} connections in the last minute, {100 * count / total:.0f} % of all: "
                f"{reason.text}.",
            )


def _lost(about: dict[str, Any], state: str, recent: Counts) -> Iterator[Remark]:
    races = recent.total(IDLE_CLOSE_RACES)
    if races:
        lost = f"{races:,.0f} requests of the last minute were most likely lost: they came while their connection was"
        if state == "draining":
            yield Remark(WARNING, f"{lost} closed for the drain. Announce a drain for longer (drain delay).")
        else:
            idle = about["timers"]["idle"]
            yield Remark(WARNING, f"{lost} closed as idle. Clients should drop theirs before we do, after {idle:g} s.")
    failed = recent.by(HANDSHAKE_FAILURES, "reason")
    count = sum(failed.values())
    if count >= _FEW and count >= _SHARE * (count + recent.total(CONNECTIONS_OPENED)):
        reason = max(failed, key=lambda name: failed[name])
        yield Remark(WARNING, f"{count:,.0f} handshakes failed in the last minute, most of them for: {reason}.")


def _logs(recent: Counts) -> Iterator[Remark]:
    for family, log in ((ACCESS_LOG_DROPPED, "the access log"), (WORKER_LOG_DROPPED, "workers' logs")):
        lines = recent.total(family)
        if lines:
            lost = "1 line" if lines == 1 else f"{lines:,.0f} lines"
            yield Remark(WARNING, f"{lost} of {log} were lost in the last minute: what reads it is too slow, or gone.")


def _closed(counts: Counts) -> dict[str, float]:
    """How many connections ended for which reason, whichever side ended them."""
    return counts.by(CONNECTIONS_CLOSED, "reason")


def _connections(count: float) -> str:
    return "1 connection is" if count == 1 else f"{count:,.0f} connections are"


def _responses_(count: float) -> str:
    return "1 response was" if count == 1 else f"{count:,.0f} responses were"
