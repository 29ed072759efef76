"""
The names of the deadlines. The core says which one is running; the Twisted side owns the clock.
"""

from __future__ import annotations

from enum import Enum

from .reasons import CloseReason


class Deadline(Enum):
    """What a connection can be late with, and the reason for its close when it is."""

    FIRST_REQUEST = ("the first request", CloseReason.FIRST_REQUEST_TIMEOUT)
    IDLE = ("the next request", CloseReason.IDLE_TIMEOUT)
    HEADER = ("the end of a request head", CloseReason.HEADER_TIMEOUT)
    BODY = ("more of a request body", CloseReason.BODY_TIMEOUT)
    UNREAD = ("the rest of an unread body", CloseReason.UNREAD_TIMEOUT)
    EXPECTATION = ("the application's answer to an expectation", None)
    WRITE = ("progress in sending", CloseReason.WRITE_TIMEOUT)
    HALF_CLOSED = ("the response to a client that has ended its side", CloseReason.HALF_CLOSED_TIMEOUT)
    HANDLER = ("the application's response", CloseReason.HANDLER_TIMEOUT)
    AGE = ("the age past which the next response closes", None)
    SWITCHED_IDLE = ("anything on a connection that left HTTP", None)
    REFUSED = ("the request that is answered with 503", None)
    LINGER = ("the peer's close", None)

    __hash__ = object.__hash__

    def __init__(self, awaited: str, reason: CloseReason | None) -> None:
        #: What is awaited.
        self.awaited = awaited
        #: Why the connection ends when it does not come; None where it does not end by it.
        self.reason = reason
