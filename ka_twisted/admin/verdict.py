"""
Whether something is wrong: what an operator is shown first.

A list of remarks, the worst first, each one sentence. Normal operation gives none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

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
from .interfaces import AboutJson

#: How bad it is, the worst first.
BAD, WARNING, NOTE = "bad", "warning", "note"
#: Kinds of reasons for which connections are closed: normal; caused by the response; by clients or networks; a fault of
#: the server.
ORDINARY, COSTLY, CLIENTS, OURS = "ordinary", "costly", "clients", "ours"
_KINDS = {
    COSTLY: ("RESPONSE_UNFRAMED", "BODY_UNREAD", "BODY_TOO_LARGE", "EXPECTATION_REFUSED", "MAX_REQUESTS", "MAX_AGE"),
    CLIENTS: (
        "HEADER_TIMEOUT",
        "BODY_TIMEOUT",
        "UNREAD_TIMEOUT",
        "WRITE_TIMEOUT",
        "HALF_CLOSED_TIMEOUT",
        "PEER_CLOSED_MID_REQUEST",
        "PEER_CLOSED_MID_RESPONSE",
        "BAD_REQUEST",
        "TRANSPORT_ERROR",
    ),
    OURS: ("TOO_MANY_CONNECTIONS", "HANDLER_TIMEOUT", "APPLICATION_ABORT"),
}
KINDS = {reason.name: ORDINARY for reason in CloseReason.all()} | {
    name: kind for kind, names in _KINDS.items() for name in names
}
#: The share of responses with 5xx that is bad; the share of connections with the same abnormal end, and the least
#: number of them, that give a remark.
_ERRORS, _SHARE, _FEW = 0.01, 0.05, 5
#: The share of the allowed connections that gives a remark.
_CROWDED = 0.9


class Remark(NamedTuple):
    """
    :ivar level: `BAD`, `WARNING` or `NOTE`.
    :ivar text: one sentence.
    """

    level: str
    text: str


def verdict(
    about: AboutJson, state: str, ready: bool, now: Counts, recent: Counts, reloadFailed: bool = False
) -> list[Remark]:
    """
    The remarks, the worst first.

    :param about: see `IServerView.about`.
    :param now: all that was counted.
    :param recent: what happened in the last minute.
    :param reloadFailed: whether the last reload failed, of those that are remembered.
    """
    remarks = [
        *_service(about, state, ready, now, reloadFailed),
        *_deaths(recent),
        *_responses(recent),
        *_crowding(about, now, recent),
        *_closes(recent),
        *_races(about, state, recent),
        *_handshakes(recent),
        *_logs(recent),
    ]
    order = (BAD, WARNING, NOTE)
    return sorted(remarks, key=lambda remark: order.index(remark.level))


def _service(about: AboutJson, state: str, ready: bool, now: Counts, reloadFailed: bool) -> Iterator[Remark]:
    # Workers that are leaving are among them; workers that have died are not.
    there = sum(worker["ready"] for worker in about["workers"])
    if state == "draining":
        left = _quantity(now.total(CONNECTIONS), "connection", "is", "are")
        yield Remark(NOTE, f"The server is draining: it accepts no new connections, and {left} still open.")
    elif not ready:
        yield Remark(BAD, "The server is not ready: it accepts no connections.")
    elif there < about["wanted"]:
        yield Remark(BAD, f"{there} of {about['wanted']} workers {'is' if there == 1 else 'are'} ready.")
    if state == "reloading":
        yield Remark(NOTE, "The server is reloading its configuration.")
    if reloadFailed:
        yield Remark(WARNING, "The last reload failed: the previous configuration is still in force. See the log.")


def _deaths(recent: Counts) -> Iterator[Remark]:
    deaths = recent.total(WORKER_DEATHS)
    if deaths:
        workers = _quantity(deaths, "worker")
        yield Remark(BAD, f"{workers} died in the last minute; requests in service there were lost. See the log.")


def _responses(recent: Counts) -> Iterator[Remark]:
    failed, requests = errors(recent), recent.total(REQUESTS)
    if failed:
        level = BAD if failed > requests * _ERRORS else WARNING
        were = "was" if failed == 1 else "were"
        yield Remark(level, f"{failed:,.0f} of {requests:,.0f} requests in the last minute {were} answered with 5xx.")
    aborted = _closed(recent).get("APPLICATION_ABORT", 0)
    if aborted:
        responses = _quantity(aborted, "response", "was", "were")
        yield Remark(BAD, f"{responses} aborted in the last minute: the application failed while sending.")


def _crowding(about: AboutJson, now: Counts, recent: Counts) -> Iterator[Remark]:
    limit = about["limits"]["maxConnections"] * max(1, about["wanted"])
    refused = _closed(recent).get("TOO_MANY_CONNECTIONS", 0) + recent.total(CONNECTIONS_REFUSED)
    if refused:
        connections = _quantity(refused, "connection", "was", "were")
        yield Remark(BAD, f"{connections} refused in the last minute: a limit was reached.")
    elif limit and now.total(CONNECTIONS) >= limit * _CROWDED:
        yield Remark(WARNING, f"{now.total(CONNECTIONS):,.0f} of at most {limit:,} connections are open.")


def _closes(recent: Counts) -> Iterator[Remark]:
    closed = _closed(recent)
    total = sum(closed.values())
    for name, count in sorted(closed.items(), key=lambda item: -item[1]):
        if KINDS.get(name) == CLIENTS and count >= _FEW and count >= total * _SHARE:
            (reason,) = (reason for reason in CloseReason.all() if reason.name == name)
            yield Remark(
                WARNING,
                f"{name} closed {count:,.0f} connections in the last minute, {100 * count / total:.0f} % of all: "
                f"{reason.text}.",
            )


def _races(about: AboutJson, state: str, recent: Counts) -> Iterator[Remark]:
    races = recent.total(IDLE_CLOSE_RACES)
    if not races:
        return
    requests = _quantity(races, "request", "was", "were")
    lost = f"{requests} probably lost in the last minute, arriving on connections that had just been closed"
    if state == "draining":
        yield Remark(WARNING, f"{lost} for the drain. Use a longer drain delay.")
    else:
        idle = about["timers"]["idle"]
        yield Remark(WARNING, f"{lost} as idle. Clients should close idle connections earlier: within {idle:g} s.")


def _handshakes(recent: Counts) -> Iterator[Remark]:
    failed = recent.by(HANDSHAKE_FAILURES, "reason")
    count = sum(failed.values())
    if count >= _FEW and count >= _SHARE * (count + recent.total(CONNECTIONS_OPENED)):
        reason = max(failed, key=lambda name: failed[name])
        yield Remark(WARNING, f"{count:,.0f} handshakes failed in the last minute. The most frequent reason: {reason}.")


def _logs(recent: Counts) -> Iterator[Remark]:
    for family, log in ((ACCESS_LOG_DROPPED, "the access log"), (WORKER_LOG_DROPPED, "workers' logs")):
        lines = recent.total(family)
        if lines:
            lost = f"{_quantity(lines, 'line')} of {log} {'was' if lines == 1 else 'were'} lost"
            yield Remark(WARNING, f"{lost} in the last minute: writing failed, or was too slow.")


def _closed(counts: Counts) -> dict[str, float]:
    """How many connections ended for which reason, whichever side ended them."""
    return counts.by(CONNECTIONS_CLOSED, "reason")


def _quantity(count: float, noun: str, singular: str = "", plural: str = "") -> str:
    """A number of things, and a verb behind it where one is given."""
    return f"1 {noun} {singular}".rstrip() if count == 1 else f"{count:,.0f} {noun}s {plural}".rstrip()
