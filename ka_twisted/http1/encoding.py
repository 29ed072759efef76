"""Checked fields as HTTP/1 writes them (RFC 9112 5). Nothing is checked here: `core.headers` has done it."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.headers import ResponseFields


def field_lines(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The lines of checked pairs, each with its CRLF."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def block(fields: ResponseFields) -> bytes:
    """The lines of an application's fields; made once for each set."""
    lines = fields.http1_block
    if lines is None:
        lines = fields.http1_block = field_lines(fields.pairs)
    return lines
