"""The head of a request as a value: its line, and what its header section means."""

from __future__ import annotations

from ..core.exchange import RequestHead as NeutralHead
from ..core.expectation import ABSENT, Expected
from ..core.headers import NO_HEADERS, Headers
from ..core.persistence import ConnectionField
from ..core.semantics import SAFE_METHODS
from .request_fields import RequestFields
from .request_lines import check_target

#: Methods whose successful responses have no body (RFC 9112 6.3).
_BODILESS_ANSWERS = frozenset((b"HEAD", b"CONNECT"))


class RequestHead(NeutralHead):
    """
    A request line and the header section behind it.

    :ivar fields: what the section means; None where it could not be read.
    :ivar pipelinable: may run beside other such requests (ledger N-02).
    :ivar persistence: what becomes of the connection after an ordinary response; None where nothing can be said.
    :ivar fast_path: such a response, once the request's body is consumed, leaves it open and has a body itself.
    :ivar sends_keep_alive: it says so, because the client asked (ledger K-06).
    """

    __slots__ = ("fast_path", "fields", "http11", "persistence", "pipelinable", "sends_keep_alive")

    def __init__(self, method: bytes, target: bytes, http11: bool, fields: RequestFields | None) -> None:
        self.method = method
        self.target = target
        self.http11 = http11
        self.fields = fields
        self.pipelinable = fields is not None and fields.pipelinable and method in SAFE_METHODS
        self.persistence = decided = None if fields is None else fields.persistence
        self.fast_path = decided is not None and decided.keep and method not in _BODILESS_ANSWERS
        self.sends_keep_alive = decided is not None and decided.signal is ConnectionField.KEEP_ALIVE

    @property
    def version(self) -> str:
        """``"1.1"`` or ``"1.0"``; later minor versions are served, and shown, as 1.1 (ledger H-02)."""
        return "1.1" if self.http11 else "1.0"

    @property
    def headers(self) -> Headers:
        """See `core.exchange.RequestHead.headers`."""
        return NO_HEADERS if self.fields is None else self.fields.headers

    @property
    def authority(self) -> bytes:
        """The authority of the target where it has one, else that of the Host field (RFC 9112 3.3)."""
        named = None if self.target[:1] == b"/" or not self.target else check_target(self.method, self.target)
        if named is None:
            named = b"" if self.fields is None else self.fields.host
        return named

    @property
    def upgrades(self) -> tuple[bytes, ...]:
        """See `core.exchange.RequestHead.upgrades`."""
        return () if self.fields is None else self.fields.upgrades

    @property
    def expected(self) -> Expected:
        """See `core.exchange.RequestHead.expected`."""
        return ABSENT if self.fields is None else self.fields.expected

    @property
    def wants_trailers(self) -> bool:
        """See `core.exchange.RequestHead.wants_trailers`."""
        return self.fields is not None and self.fields.wants_trailers

    @property
    def retained(self) -> bool:
        """See `core.exchange.RequestHead.retained`: true of fields that came in one piece."""
        return self.fields is not None and self.fields.block != b""
