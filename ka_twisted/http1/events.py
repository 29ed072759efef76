"""
What a connection tells its owner. A request itself is told as the `exchange.Exchange` that it opens.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import RemoteProtocolError
from ..core.reasons import CloseReason
from .exchange import Exchange


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The connection has answered a request by itself: the application never sees it."""

    exchange: Exchange
    error: RemoteProtocolError


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """Decoded bytes of a request body, at least one."""

    exchange: Exchange
    data: bytes


@dataclass(frozen=True, slots=True)
class BodyComplete:
    """A request body that the application reads has come to its end; its trailers are in ``exchange.trailers``."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class BodyFailed:
    """
    A request body will never be complete.

    If the application had not answered, the connection has, unless the client left while it waited for an invitation.
    """

    exchange: Exchange
    error: RemoteProtocolError


@dataclass(frozen=True, slots=True)
class ExchangeCancelled:
    """This response is not waited for any more: the connection ends before it."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class ResponseDue:
    """The responses before this one are over: what was held back of it has left, and more may follow."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Ending:
    """
    The connection is over once its output is flushed.

    :ivar reset: end it by a reset: a clean end would make an unfinished response look whole (ledger D4-20).
    """

    reason: CloseReason
    reset: bool = False


Event = RequestRefused | BodyReceived | BodyComplete | BodyFailed | ExchangeCancelled | ResponseDue
