"""
Where a message ends: decision tables D2 (request bodies) and D4 (responses) of the ledger.

Both are pure functions that return values with the row and the clause they rest on.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core import grammar
from ..core.errors import BodyTooLarge, RemoteProtocolError
from ..core.framing import NO_BODY, Delimiter, Framing


def _bad(row: str, message: str, clause: str, status: int = 400) -> RemoteProtocolError:
    return RemoteProtocolError(status, message, clause, row=row)


_LENGTH_ZERO = Framing(Delimiter.NONE, 0, "D2-19", "RFC 9112 6.3 (6)")
_REQUEST_CHUNKED = Framing(Delimiter.CHUNKED, None, "D2-11", "RFC 9112 6.3 (4)")

#: Methods whose requests have no body (ledger L-18).
BODILESS = frozenset((b"TRACE", b"CONNECT"))


def decide_request(
    http11: bool,
    transfer_encoding: Sequence[bytes],
    content_length: Sequence[bytes],
    method: bytes = b"",
    *,
    max_body: int = 0,
    length_required: bool = False,
    retry_after: int = 0,
) -> Framing:
    """
    The framing of a request body: table D2.

    :param transfer_encoding: the lines of that field, in order.
    :param content_length: likewise.
    :param max_body: largest body accepted, in bytes; 0: any.
    :raises RemoteProtocolError: 400, 411, 413 or 501; its ``row`` says which rule.
    """
    if transfer_encoding:
        return _coded_request(http11, transfer_encoding, bool(content_length), method, length_required)
    if not content_length:
        return NO_BODY
    values = [value.strip(b" \t") for line in content_length for value in line.split(b",")]
    if not all(grammar.content_length.fullmatch(value) for value in values):
        raise _bad("D2-12", "Content-Length is not a decimal number", "RFC 9112 6.3 (5)")
    if len(values) > 1:
        row = "D2-14" if len(set(values)) == 1 else "D2-13"
        raise _bad(row, "Content-Length is repeated", "RFC 9112 6.3 (5)")
    (value,) = values
    if len(value) > 19:
        raise _bad("D2-15", "Content-Length has more than 19 digits", "RFC 9110 8.6", 413)
    length = int(value)
    if max_body and length > max_body:
        raise BodyTooLarge(max_body, retry_after=retry_after)
    if length and method in BODILESS:
        raise _bad("D2-17", "this method does not allow a body", "RFC 9110 9.3.6, 9.3.8")
    if not length:
        return _LENGTH_ZERO
    row = "D2-18" if value[:1] == b"0" else "D2-20"
    return Framing(Delimiter.LENGTH, length, row, "RFC 9112 6.3 (6)")


def _coded_request(
    http11: bool, lines: Sequence[bytes], with_length: bool, method: bytes, length_required: bool
) -> Framing:
    clause = "RFC 9112 6.3 (4)"
    if not http11:
        raise _bad("D2-01", "Transfer-Encoding in an HTTP/1.0 request", "RFC 9112 6.1")
    if with_length:
        raise _bad("D2-02", "both Transfer-Encoding and Content-Length", "RFC 9112 6.3 (3)")
    codings = [coding.strip(b" \t").lower() for line in lines for coding in line.split(b",")]
    if b"" in codings:
        raise _bad("D2-03", "Transfer-Encoding has an empty member", "RFC 9112 6.1")
    names = [coding.partition(b";")[0].rstrip(b" \t") for coding in codings]
    if not all(grammar.token.fullmatch(name) for name in names):
        raise _bad("D2-04", "Transfer-Encoding is not a list of codings", "RFC 9112 7")
    if any(name == b"chunked" and name != coding for name, coding in zip(names, codings, strict=True)):
        raise _bad("D2-05", "chunked does not have parameters", "RFC 9112 7.1")
    if names.count(b"chunked") > 1:
        raise _bad("D2-06", "chunked is applied more than once", "RFC 9112 6.1")
    if names[-1] != b"chunked":
        raise _bad("D2-07", "the last transfer coding of a request is not chunked", clause)
    if len(names) > 1:
        raise _bad("D2-08", "a transfer coding that is not understood", "RFC 9112 6.1", 501)
    if method in BODILESS:
        raise _bad("D2-09", "this method does not allow a body", "RFC 9110 9.3.6, 9.3.8")
    if length_required:
        raise _bad("D2-10", "this server needs a Content-Length", "RFC 9110 15.5.12", 411)
    return _REQUEST_CHUNKED


_INTERIM = Framing(Delimiter.NONE, None, "D4-01", "RFC 9112 6.3 (1)")
_SWITCH = Framing(Delimiter.NONE, None, "D4-03", "RFC 9110 7.8")
_TUNNEL = Framing(Delimiter.NONE, None, "D4-04", "RFC 9112 6.3 (2)")
_HEAD_UNKNOWN = Framing(Delimiter.NONE, None, "D4-06", "RFC 9112 6.3 (1)")
_NO_CONTENT = Framing(Delimiter.NONE, None, "D4-07", "RFC 9112 6.3 (1)")
_RESET_CONTENT = Framing(Delimiter.NONE, 0, "D4-08", "RFC 9110 15.3.6")
_NOT_MODIFIED = Framing(Delimiter.NONE, None, "D4-09", "RFC 9112 6.3 (1)")
_CHUNKED_KEPT = Framing(Delimiter.CHUNKED, None, "D4-11", "RFC 9112 6.3 (4)")
_CHUNKED_CLOSED = Framing(Delimiter.CHUNKED, None, "D4-12", "RFC 9112 6.3 (4)")
_UNFRAMED_11 = Framing(Delimiter.CLOSE, None, "D4-13", "RFC 9112 6.3 (8)")
_UNFRAMED_10 = Framing(Delimiter.CLOSE, None, "D4-15", "RFC 9112 6.3 (8)")


def decide_response(
    method: bytes,
    status: int,
    http11: bool,
    length: int | None,
    *,
    stated: int | None = None,
    closing: bool = False,
    chunked: bool = True,
) -> Framing:
    """
    The framing of a response: table D4.

    :param length: bytes of the body: stated by the application, or counted; None: not known.
    :param stated: the length that the application itself stated; all that counts for a 304.
    :param closing: whether the connection closes after it for another reason.
    :param chunked: whether chunked may be used at all.
    """
    if status < 200:
        return _SWITCH if status == 101 else _INTERIM
    if method == b"CONNECT" and status < 300:
        return _TUNNEL
    if status == 204:
        return _NO_CONTENT
    if status == 205:
        return _RESET_CONTENT
    if status == 304:
        return _NOT_MODIFIED if stated is None else Framing(Delimiter.NONE, stated, "D4-09", "RFC 9110 8.6")
    if method == b"HEAD":
        return _HEAD_UNKNOWN if length is None else Framing(Delimiter.NONE, length, "D4-05", "RFC 9110 8.6")
    if length is not None:
        return Framing(Delimiter.LENGTH, length, "D4-10" if http11 else "D4-14", "RFC 9112 6.3 (6)")
    if not http11:
        return _UNFRAMED_10
    if not chunked:
        return _UNFRAMED_11
    return _CHUNKED_CLOSED if closing else _CHUNKED_KEPT
