"""The Expect field: what a request expects, decided once its framing is known (ledger X-13, X-14, D3)."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import grammar
from ..core.expectation import ABSENT, Expected
from ..core.framing import Framing

IGNORED_10 = Expected(False, "D3-02", "RFC 9110 10.1.1")
OTHER_IGNORED_10 = Expected(False, "D3-03", "RFC 9110 10.1.1")
NO_BODY = Expected(False, "D3-07", "RFC 9110 10.1.1")
EXPECTS_CONTINUE = Expected(True, "D3-10", "RFC 2616 8.2.3; RFC 9110 10.1.1")
UNMET_NO_BODY = Expected(False, "D3-05", "RFC 2616 14.20; RFC 9110 10.1.1", supported=False)
UNMET = Expected(True, "D3-06", "RFC 2616 14.20; RFC 9110 10.1.1", supported=False)


def decide(http11: bool, lines: Sequence[bytes], framing: Framing) -> Expected:
    """What the Expect lines of a request ask for, given how its body is framed."""
    if not lines:
        return ABSENT
    members = {member.lower() for line in lines for member in grammar.split_list(line)}
    unknown = members - {b"100-continue"}
    if not http11:
        return OTHER_IGNORED_10 if unknown else IGNORED_10
    bodiless = framing.length == 0
    if unknown:
        return UNMET_NO_BODY if bodiless else UNMET
    if not members:
        return ABSENT
    return NO_BODY if bodiless else EXPECTS_CONTINUE
