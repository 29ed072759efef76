"""What can go wrong, and whose fault it is."""

from __future__ import annotations

from typing import TypeVar

from .reasons import CloseReason

E = TypeVar("E", bound="RemoteProtocolError")


class ProtocolError(Exception):
    """HTTP was broken, by the peer (`RemoteProtocolError`) or by this side's caller (`LocalProtocolError`)."""


class LocalProtocolError(ProtocolError, ValueError):
    """The caller asked for something that HTTP does not allow in this state. A bug on this side."""


class RemoteProtocolError(ProtocolError):
    """
    The peer sent something that is not HTTP within the limits.

    :ivar status: the status that answers it, 400 to 599.
    :ivar clause: the rule that was broken, by RFC and section.
    :ivar reason: the `CloseReason` of the connection if it ends by this.
    :ivar row: the ledger row, for people: nothing depends on it; empty where there is none.
    :ivar retry_after: seconds for a Retry-After field; 0: none.
    :ivar breaks_response: a response that has begun cannot go on. False where only the rest of the body is lost: the
        peer fell silent or left inside it, or its trailers are no fields.
    """

    def __init__(
        self,
        status: int,
        message: str,
        clause: str,
        *,
        row: str = "",
        reason: CloseReason = CloseReason.BAD_REQUEST,
        retry_after: int = 0,
        breaks_response: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.clause = clause
        self.reason = reason
        self.row = row
        self.retry_after = retry_after
        self.breaks_response = breaks_response

    def fact(self: E) -> E:
        """The same, to be kept: without where it was raised, and all that is alive there."""
        fact = type(self).__new__(type(self), *self.args)
        fact.__dict__.update(self.__dict__)
        return fact


class BodyTooLarge(RemoteProtocolError):
    """A request body exceeds a limit: 413."""

    def __init__(self, limit: int, *, row: str = "D2-16", retry_after: int = 0) -> None:
        super().__init__(
            413,
            f"the request body is larger than {limit} bytes",
            "RFC 9110 15.5.14",
            row=row,
            reason=CloseReason.BODY_TOO_LARGE,
            retry_after=retry_after,
        )
        self.limit = limit


class IncompleteBody(RemoteProtocolError):
    """
    The peer closed, or fell silent, inside a body (RFC 9112 8).

    :ivar received: bytes of it that had been delivered.
    :ivar remaining: bytes that were still to come; None where they were not known.
    """

    received: int = 0
    remaining: int | None = None
