"""
Status lines, and checked fields, as HTTP/1 writes them (RFC 9112 4, 5). `core.headers` has checked them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..core.headers import ResponseFields
from ..core.semantics import REASON_PHRASES

#: RFC 9112 4: the blank behind the code stands there even without a phrase (ledger H-27).
STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, REASON_PHRASES.get(status, b"")) for status in range(100, 600)}


def field_lines(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The lines of checked pairs, each with its CRLF."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def block(fields: ResponseFields) -> bytes:
    """The lines of an application's fields; made once for each set."""
    lines = fields.http1_block
    if lines is None:
        lines = fields.http1_block = field_lines(fields.pairs)
    return lines
