"""What methods and status codes mean, whichever version carries them (RFC 9110 9, 15)."""

from __future__ import annotations

from http import HTTPStatus

#: RFC 9110 9.2.1
SAFE_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))

#: Statuses whose responses never have a body (ledger L-01, L-02).
BODILESS_STATUSES = frozenset((204, 205, 304))

REASON_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus} | {
    413: b"Content Too Large",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    422: b"Unprocessable Content",
}
