"""The bytes of response heads, and the responses that the protocol layer makes by itself."""

from __future__ import annotations

from ..core.errors import RemoteProtocolError
from ..core.framing import Delimiter, Framing
from ..core.headers import ResponseFields
from ..core.persistence import ConnectionField, Persistence
from ..core.semantics import REASON_PHRASES
from .caches import ServerCaches
from .encoding import STATUS_LINES, block

_CLOSE_LINE = b"Connection: close\r\n"
_ERROR_FIELDS: tuple[tuple[bytes, bytes], ...] = ((b"Content-Type", b"text/plain; charset=utf-8"),)


def head(
    caches: ServerCaches, number: int, status: int, fields: ResponseFields, lines: bytes, decision: Persistence
) -> bytes:
    """
    A whole response head.

    :param number: of the request on its connection, from 1.
    :param lines: what tells the recipient where the body ends; see `length_lines`.
    :param decision: about the connection: the head says it where the client has to know.
    """
    signal = decision.signal
    if signal is not ConnectionField.NOTHING:
        lines += _CLOSE_LINE if signal is ConnectionField.CLOSE else caches.promise(number)
    if status == 426 and fields.upgrade:
        lines += b"Upgrade: %b\r\nConnection: upgrade\r\n" % fields.upgrade
    preamble = b"" if fields.has_date else caches.preamble
    return b"%b%b%b%b\r\n" % (STATUS_LINES[status], preamble, block(fields), lines)


def length_lines(ending: Framing) -> bytes:
    """The field that tells a recipient where the body ends."""
    if ending.delimiter is Delimiter.CHUNKED:
        return b"Transfer-Encoding: chunked\r\n"
    if ending.delimiter is Delimiter.CLOSE or ending.length is None:
        return b""
    return b"Content-Length: %d\r\n" % ending.length


def error_response(error: RemoteProtocolError) -> tuple[ResponseFields, bytes]:
    """The fields and the body of the response to a protocol error: one line for a person."""
    phrase = REASON_PHRASES[error.status]
    text = b"%d %b: %b (%b)\n" % (error.status, phrase, str(error).encode(), error.clause.encode())
    pairs = _ERROR_FIELDS
    if error.retry_after:
        pairs += ((b"Retry-After", b"%d" % error.retry_after),)
    return ResponseFields(pairs), text
