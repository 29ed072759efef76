"""
Keep or close: the value of that decision. Each version decides by its own rules; the log, the metrics, the operator's
page and the tests show the same value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .reasons import CloseReason, KeepReason


class ConnectionField(Enum):
    """What the response says about the connection."""

    NOTHING = ""
    CLOSE = "Connection: close"
    KEEP_ALIVE = "Connection: keep-alive"
    UPGRADE = "Connection: upgrade"


@dataclass(frozen=True, slots=True)
class Persistence:
    """
    A decision about the connection.

    :ivar keep: whether it stays open after this exchange.
    :ivar reason: a `KeepReason` or a `CloseReason`.
    :ivar clause: the rule, by RFC and section.
    :ivar row: the ledger row that decided, for people: nothing depends on it.
    :ivar signal: what the response says.
    :ivar detail: in whose words, where a hook changed the decision.
    :ivar fault: the peer broke a rule or a time limit: what follows cannot change the reason any more.
    """

    keep: bool
    reason: KeepReason | CloseReason
    clause: str
    row: str
    signal: ConnectionField = ConnectionField.NOTHING
    detail: str = ""
    fault: bool = False

    def close(self, detail: str = "") -> Persistence:
        """The decision to close instead, because this side asks for it (ledger D1-06)."""
        return replace(ASKED_BY_US, detail=detail)

    def __str__(self) -> str:
        verdict = "keep" if self.keep else "close"
        text = f"{verdict}: {self.reason.name} ({self.clause}; {self.row})"
        return f"{text}: {self.detail}" if self.detail else text


#: This side asks for the close.
ASKED_BY_US = Persistence(False, CloseReason.CLOSE_REQUESTED.by_us(), "RFC 9112 9.6", "D1-06", ConnectionField.CLOSE)
