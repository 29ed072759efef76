"""
Why a connection is kept, and why it ended: the vocabulary of every decision.

A reason is a value. The log, the metrics, the tests and ``explain`` all show the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar


class KeepReason(Enum):
    """Why a connection persists after a response."""

    HTTP11_DEFAULT = "HTTP/1.1 connections persist unless close is asked for"
    KEEP_ALIVE_REQUESTED = "the client asked for it with the keep-alive token"
    BODY_READ_AWAY = "the unread rest of the request body is small enough to read away"
    BODY_STILL_READ = "the application is still reading the request body"
    SWITCHED = "the connection leaves HTTP and belongs to its new protocol"


@dataclass(frozen=True, slots=True, eq=False)
class CloseReason:
    """
    Why a connection ended: who ended it, in which state, and by which rule.

    The constants below are the whole vocabulary. Two reasons are equal when their names are: the same reason can be
    met in different states, or be brought about by either side.
    """

    #: The constant's name, e.g. ``"IDLE_TIMEOUT"``.
    name: str
    #: ``"peer"``, ``"us"`` or ``"network"``.
    by: str
    #: What the connection was doing.
    state: str
    #: The rule, by RFC and section.
    clause: str
    #: One sentence for the operator.
    text: str = field(repr=False)

    IDLE_TIMEOUT: ClassVar[CloseReason]
    FIRST_REQUEST_TIMEOUT: ClassVar[CloseReason]
    HEADER_TIMEOUT: ClassVar[CloseReason]
    BODY_TIMEOUT: ClassVar[CloseReason]
    UNREAD_TIMEOUT: ClassVar[CloseReason]
    WRITE_TIMEOUT: ClassVar[CloseReason]
    HANDLER_TIMEOUT: ClassVar[CloseReason]
    HALF_CLOSED_TIMEOUT: ClassVar[CloseReason]
    PEER_CLOSED_IDLE: ClassVar[CloseReason]
    PEER_CLOSED_MID_REQUEST: ClassVar[CloseReason]
    PEER_CLOSED_MID_RESPONSE: ClassVar[CloseReason]
    PEER_HALF_CLOSED: ClassVar[CloseReason]
    CLOSE_REQUESTED: ClassVar[CloseReason]
    NOT_PERSISTENT: ClassVar[CloseReason]
    HTTP10_DEFAULT: ClassVar[CloseReason]
    RESPONSE_UNFRAMED: ClassVar[CloseReason]
    BODY_UNREAD: ClassVar[CloseReason]
    BODY_TOO_LARGE: ClassVar[CloseReason]
    EXPECTATION_REFUSED: ClassVar[CloseReason]
    BAD_REQUEST: ClassVar[CloseReason]
    MAX_REQUESTS: ClassVar[CloseReason]
    MAX_AGE: ClassVar[CloseReason]
    TOO_MANY_CONNECTIONS: ClassVar[CloseReason]
    DRAINING: ClassVar[CloseReason]
    APPLICATION_ABORT: ClassVar[CloseReason]
    SWITCHED: ClassVar[CloseReason]
    TRANSPORT_ERROR: ClassVar[CloseReason]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CloseReason) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return f"{self.name} (by {self.by}, {self.state}; {self.clause})"

    def at(self, state: str) -> CloseReason:
        """The same reason, met in another state."""
        return self if state == self.state else replace(self, state=state)

    def by_us(self) -> CloseReason:
        """The same reason, brought about by this side."""
        return self if self.by == "us" else replace(self, by="us")

    @classmethod
    def all(cls) -> tuple[CloseReason, ...]:
        """Every reason there is, in the order of their definition."""
        return tuple(getattr(cls, name) for name in _NAMES)


_REASONS = (
    ("IDLE_TIMEOUT", "us", "idle", "RFC 9112 9.5", "no request came within the idle time-out"),
    ("FIRST_REQUEST_TIMEOUT", "us", "unused", "RFC 9112 9.5", "no first request came in time"),
    ("HEADER_TIMEOUT", "us", "reading a head", "RFC 9110 15.5.9", "a request head was not complete in time"),
    ("BODY_TIMEOUT", "us", "reading a body", "RFC 9110 15.5.9", "a request body stopped coming or came too slowly"),
    ("UNREAD_TIMEOUT", "us", "reading a body", "RFC 9112 9.3", "the rest of a body was not read away in time"),
    ("WRITE_TIMEOUT", "us", "responding", "RFC 9112 9.5", "the peer stopped taking the response"),
    ("HANDLER_TIMEOUT", "us", "responding", "RFC 9110 15.6.4", "the application began no response in time"),
    ("HALF_CLOSED_TIMEOUT", "us", "responding", "RFC 9112 9.6", "no response began for a client that ended its side"),
    ("PEER_CLOSED_IDLE", "peer", "idle", "RFC 9112 9.5", "the peer closed between requests"),
    ("PEER_CLOSED_MID_REQUEST", "peer", "reading a head", "RFC 9112 8", "the peer closed inside a request"),
    ("PEER_CLOSED_MID_RESPONSE", "peer", "responding", "RFC 9112 9.5", "the peer left before its response was sent"),
    ("PEER_HALF_CLOSED", "peer", "responding", "RFC 9112 9.6", "the peer sent its last request and was answered"),
    ("CLOSE_REQUESTED", "peer", "responding", "RFC 2616 8.1.2.1; RFC 9112 9.6", "close was asked for"),
    ("NOT_PERSISTENT", "us", "responding", "RFC 2616 14.10; RFC 9112 9.3", "persistence is switched off"),
    ("HTTP10_DEFAULT", "us", "responding", "RFC 2616 8.1.2.1; RFC 9112 9.3", "HTTP/1.0 closes unless asked not to"),
    ("RESPONSE_UNFRAMED", "us", "responding", "RFC 9112 6.3 (8)", "only the close ends the response"),
    ("BODY_UNREAD", "us", "responding", "RFC 9112 9.3", "too much of the request body was left unread"),
    ("BODY_TOO_LARGE", "us", "reading a body", "RFC 9110 15.5.14", "the request body is larger than allowed"),
    ("EXPECTATION_REFUSED", "us", "responding", "RFC 9110 10.1.1", "the body was not invited, and may come or not"),
    ("BAD_REQUEST", "us", "reading a head", "RFC 9112 2.2, 6.3", "what came was not HTTP within the limits"),
    ("MAX_REQUESTS", "us", "responding", "RFC 9112 9.5", "the connection has served its number of requests"),
    ("MAX_AGE", "us", "responding", "RFC 9112 9.5", "the connection has reached its age"),
    ("TOO_MANY_CONNECTIONS", "us", "responding", "RFC 9110 15.6.4", "more connections than allowed"),
    ("DRAINING", "us", "idle", "RFC 9112 9.6", "the server is shutting down"),
    ("APPLICATION_ABORT", "us", "responding", "RFC 9112 8", "the application failed inside its response"),
    ("SWITCHED", "us", "switched", "RFC 9110 7.8", "the connection left HTTP"),
    ("TRANSPORT_ERROR", "network", "idle", "RFC 9112 9.5", "the connection was lost"),
)
_NAMES = tuple(row[0] for row in _REASONS)
for _row in _REASONS:
    setattr(CloseReason, _row[0], CloseReason(*_row))
