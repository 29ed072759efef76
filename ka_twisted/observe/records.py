"""
What is remembered of a request, and how it is told: small tuples, which become dictionaries when they are read.

Nothing here grows with what a client sends: texts are cut at `LENGTH`, and no fields and bodies are kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, TypedDict

from ..core.exchange import Exchange, RequestHead
from ..core.expectation import ABSENT
from ..core.framing import Delimiter
from ..core.persistence import Persistence

#: Characters that are kept of a target, a method or a detail.
LENGTH = 256


#: What is kept of a request's head: method, target, version, and the ledger rows that say how the body ends and what
#: was expected, where there was such a thing. A plain tuple: one is made for every head that differs from the last.
RequestLine = tuple[bytes, bytes, str, str | None, str | None]


class ResponseDetails(NamedTuple):
    """
    What is kept of a response beyond its status and size, where there is more.

    :ivar framing: the ledger row that says how it ends, unless a Content-Length does.
    :ivar error: why the connection answered by itself, and the row of that.
    """

    framing: str | None
    error: str | None
    row: str | None


#: Number, request line, status, bytes of the response's body, seconds, decision, details.
RequestRecord = tuple[int, RequestLine, int | None, int, float, Persistence | None, ResponseDetails | None]


class ConnectionRecord:
    """
    What is remembered of one connection.

    :ivar head: the latest head, where its connection keeps it too.
    :ivar line: what is kept of that, shared by the requests of a client that repeats itself.
    :ivar requests: its latest requests, in the order in which they ended.
    """

    __slots__ = ("head", "line", "requests")

    def __init__(self) -> None:
        self.head: RequestHead | None = None
        self.line: RequestLine | None = None
        self.requests: list[RequestRecord] = []


# -- the values that `json.dumps` takes --------------------------------------------------------------------------------


class _Decision(TypedDict):
    keep: bool
    reason: str
    clause: str
    row: str


class DecisionJson(_Decision, total=False):
    """What became of a connection after a response, and why."""

    detail: str


class ErrorJson(TypedDict):
    """Why a connection answered by itself."""

    text: str
    row: str | None


class _Request(TypedDict):
    request: int
    method: str | None
    target: str | None
    version: str | None
    status: int | None
    bytes: int
    duration: float
    persistence: DecisionJson | None


class RequestJson(_Request, total=False):
    """A request: ``bytes`` are those of the response's body, ``duration`` is in seconds."""

    framing: str
    expectation: str
    responseFraming: str
    error: ErrorJson


class EndedJson(TypedDict):
    """Why a connection ended."""

    reason: str
    by: str
    state: str
    clause: str
    text: str


class AboutConnectionJson(TypedDict):
    """A connection: when it was ``opened`` (ISO 8601), and its ``age`` in seconds."""

    connection: int
    peer: str | None
    opened: str
    age: float
    requests: int


class _Connection(AboutConnectionJson):
    latest: list[RequestJson]


class ConnectionJson(_Connection, total=False):
    """
    A connection with its latest requests.

    Open ones have a ``state`` and what is ``inService``, closed ones how they ``ended``; where a whole server is shown
    ``pid`` is that of the process.
    """

    state: str
    inService: list[RequestJson]
    ended: EndedJson
    pid: int


def requestLine(exchange: Exchange) -> RequestLine:
    """What is to be kept of the head of a request."""
    head, framing = exchange.head, exchange.framing
    expected = head.expected
    return (
        head.method[:LENGTH],
        head.target[: LENGTH + 1],
        head.version,
        None if framing.delimiter is Delimiter.NONE else framing.row,
        None if expected is ABSENT else expected.row,
    )


def decisionAndDetails(exchange: Exchange) -> tuple[Persistence | None, ResponseDetails | None]:
    """What is to be kept of a response of which more is to be told than its status."""
    decision, error, framing = exchange.persistence, exchange.error, exchange.response_framing
    if decision is not None and len(decision.detail) > LENGTH:
        decision = replace(decision, detail=_cut(decision.detail))
    row = None if framing is None or framing.delimiter is Delimiter.LENGTH else framing.row
    if error is not None:
        return decision, ResponseDetails(row, _cut(str(error)), error.row)
    return decision, None if row is None else ResponseDetails(row, None, None)


def soFar(exchange: Exchange, now: float) -> RequestRecord:
    """A request in service, with the seconds that it has taken until now."""
    line, seconds = requestLine(exchange), now - exchange.started
    return exchange.number, line, exchange.status, exchange.bytes_sent, seconds, exchange.persistence, None


def requestsJson(records: list[RequestRecord], limit: int | None = None) -> list[RequestJson]:
    """The last of some requests, as values that `json.dumps` takes; None: all of them."""
    return [requestJson(record) for record in records[0 if limit is None else max(0, len(records) - limit) :]]


def requestJson(record: RequestRecord) -> RequestJson:
    """A request with the keys of a JSON access log, and more where there is more to tell."""
    number, line, status, size, seconds, decision, details = record
    method, target, version, framing, expectation = line
    value: RequestJson = {
        "request": number,
        "method": method.decode("ascii") or None,
        "target": _cut(target.decode("ascii")) or None,
        "version": version if method else None,
        "status": status,
        "bytes": size,
        "duration": round(seconds, 6),
        "persistence": None if decision is None else decisionJson(decision),
    }
    if framing is not None:
        value["framing"] = framing
    if expectation is not None:
        value["expectation"] = expectation
    if details is not None and details.framing is not None:
        value["responseFraming"] = details.framing
    if details is not None and details.error is not None:
        value["error"] = {"text": details.error, "row": details.row}
    return value


def decisionJson(decision: Persistence) -> DecisionJson:
    """What became of a connection after a response, and why."""
    value: DecisionJson = {
        "keep": decision.keep,
        "reason": decision.reason.name,
        "clause": decision.clause,
        "row": decision.row,
    }
    if decision.detail:
        value["detail"] = decision.detail
    return value


def _cut(text: str) -> str:
    """Of a long text, the beginning."""
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
