"""What a request expects before its body is sent (RFC 9110 10.1.1): the value of that decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """
    What a request expects.

    :ivar expects_continue: the client waits for 100 or a final status before it sends the body.
    :ivar row: the ledger row that decided, for people: nothing depends on it.
    :ivar supported: False where it is not understood, which is answered 417.
    """

    expects_continue: bool
    row: str
    clause: str
    supported: bool = True


ABSENT = Expected(False, "D3-01", "RFC 9110 10.1.1")
