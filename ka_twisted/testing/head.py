"""The head of a request in memory, and how its body ends."""

from __future__ import annotations

from ..core.exchange import RequestHead
from ..core.expectation import ABSENT, Expected
from ..core.framing import NO_BODY, Delimiter, Framing
from ..core.headers import Headers

#: A body whose length is not known beforehand.
UNKNOWN = Framing(Delimiter.CHUNKED, None, "", "the body ends with its stream")


class MemoryHead(RequestHead):
    """The head of a request that was never written out."""

    __slots__ = ("_authority", "_expected", "_headers", "_upgrades", "_wants_trailers")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        *,
        authority: bytes,
        upgrades: tuple[bytes, ...],
        expects: bool,
        wants_trailers: bool,
    ) -> None:
        super().__init__(method, target)
        self._headers = headers
        self._authority = authority
        self._upgrades = upgrades
        self._expected = Expected(True, "", "RFC 9110 10.1.1") if expects else ABSENT
        self._wants_trailers = wants_trailers

    @property
    def version(self) -> str:
        """As if it came over HTTP/1.1: nothing may depend on it."""
        return "1.1"

    @property
    def headers(self) -> Headers:
        """See `RequestHead.headers`."""
        return self._headers

    @property
    def authority(self) -> bytes:
        """See `RequestHead.authority`."""
        return self._authority

    @property
    def upgrades(self) -> tuple[bytes, ...]:
        """See `RequestHead.upgrades`."""
        return self._upgrades

    @property
    def expected(self) -> Expected:
        """See `RequestHead.expected`."""
        return self._expected

    @property
    def wants_trailers(self) -> bool:
        """See `RequestHead.wants_trailers`."""
        return self._wants_trailers


def bodyFraming(length: int | None) -> Framing:
    """How a request's body ends; None: not known beforehand."""
    if length == 0:
        return NO_BODY
    return UNKNOWN if length is None else Framing(Delimiter.LENGTH, length, "", "RFC 9110 8.6")
