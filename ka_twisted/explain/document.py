"""What an explanation is, as a value that `json.dumps` takes."""

from __future__ import annotations

from typing import TypedDict


class ClauseRule(TypedDict):
    """The rule behind a decision: the row of the ledger, and the clause of the RFC."""

    row: str
    clause: str


class FramingJson(ClauseRule):
    """How a body ends."""

    delimiter: str
    length: int | None


class PersistenceJson(ClauseRule):
    """What becomes of the connection."""

    keep: bool
    reason: str
    text: str


class _Error(TypedDict):
    status: int
    sentence: str
    clause: str
    row: str | None
    closeReason: str


class ErrorJson(_Error, total=False):
    """An error that the connection answers by itself, and perhaps what may have been meant."""

    hint: str


# "continue" is a word of Python's.
HandshakeJson = TypedDict("HandshakeJson", {"continue": bool, "text": str, "row": str})


class _Expectation(ClauseRule):
    awaits: bool
    met: bool


class ExpectationJson(_Expectation, total=False):
    """What the client expects before it sends the body, and what it gets."""

    answer: HandshakeJson


class OverlapJson(ClauseRule):
    """Whether a request may be in service beside its neighbours."""

    allowed: bool
    why: str


class _Body(TypedDict):
    bytes: int
    complete: bool


class BodyJson(_Body, total=False):
    """A body; what would follow if nothing more came of it."""

    ifThisIsAll: ErrorJson


class ResponseJson(TypedDict):
    """A response: the one that was given, or the one that is assumed."""

    status: int
    length: int | None
    assumed: bool
    framing: FramingJson


class _Request(TypedDict):
    number: int
    line: str | None


class RequestJson(_Request, total=False):
    """A request, as far as it could be read, and what follows from it."""

    bytes: str
    host: str
    connection: list[str]
    upgrades: list[str]
    framing: FramingJson
    expectation: ExpectationJson
    overlap: OverlapJson
    body: BodyJson
    refused: ErrorJson
    response: ResponseJson
    persistence: PersistenceJson
    ifLeftUnread: PersistenceJson
    #: Lines about the connection in the response.
    carries: list[str]


class ExplanationJson(TypedDict):
    """The requests of one connection, and the bytes at the end that are not looked at."""

    requests: list[RequestJson]
    unread: int
