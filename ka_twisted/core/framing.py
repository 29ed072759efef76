"""How the body of a message ends: the values of that decision. Each version decides by its own rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Delimiter(Enum):
    """What ends a body."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Framing:
    """
    How one message ends.

    :ivar length: bytes of the body where they are known, else None.
    :ivar row: the ledger row that decided, for people: nothing depends on it.
    """

    delimiter: Delimiter
    length: int | None
    row: str
    clause: str

    @property
    def bodiless(self) -> bool:
        """Whether there is no body by nature, whatever the length says (RFC 9112 6.3 (1))."""
        return self.delimiter is Delimiter.NONE

    @property
    def framed(self) -> bool:
        """Whether the end can be told without a close."""
        return self.delimiter is not Delimiter.CLOSE


#: There is no body, and nothing said that there would be one.
NO_BODY = Framing(Delimiter.NONE, 0, "D2-21", "RFC 9112 6.3 (7)")
