"""The request line: what is none, and the forms of its target (RFC 9112 3)."""

from __future__ import annotations

import re

from ..config import Limits
from ..core.errors import RemoteProtocolError
from ..core.grammar import absolute_uri, authority, is_authority, token
from . import grammar


def refuse_request_line(line: bytes, limits: Limits) -> None:
    """
    Judge the beginning of a request line that `grammar.request_line` did not match.

    Byte by byte in effect: the first byte that cannot be part of an acceptable line decides, so that the verdict
    does not depend on how much has arrived.

    :raises RemoteProtocolError: when no continuation can make it acceptable; returns when more bytes are needed.
    """
    end = _run(token, line, 0)
    if end > limits.maxMethod:
        raise RemoteProtocolError(501, "the method is too long to be any known one", "RFC 9112 3", row="H-10")
    if end == len(line):
        return
    if not end or line[end] != _SP:
        raise RemoteProtocolError(400, "the request line has no method", "RFC 9112 3", row="H-09")
    start, end = end + 1, _run(grammar.request_target, line, end + 1)
    if end + len(" HTTP/1.1") > limits.maxLine:
        raise RemoteProtocolError(414, "the request line is too long", "RFC 9112 3", row="H-10")
    if end == len(line):
        return
    if end == start or line[end] != _SP:
        raise RemoteProtocolError(400, "the request target is malformed", "RFC 9112 3.2", row="H-14")
    version = line[end + 1 : end + 11]
    for byte, wanted in zip(version, b"HTTP/0.0\r\n", strict=False):
        if byte != wanted and not (wanted == _ZERO and _ZERO <= byte <= _ZERO + 9):
            raise RemoteProtocolError(
                400, "the request line does not end in an HTTP version", "RFC 9112 2.3", row="H-01"
            )
    if len(version) == 10 and version[5:6] != b"1":
        raise RemoteProtocolError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here", "RFC 9110 15.6.6", row="H-02")


_SP, _ZERO = 0x20, 0x30


def _run(pattern: re.Pattern[bytes], line: bytes, start: int) -> int:
    """Where the run of bytes that begins at `start` and matches the pattern ends."""
    match = pattern.match(line, start)
    return match.end() if match else start


def check_target(method: bytes, target: bytes) -> bytes | None:
    """
    Check a target that is not a plain path: ``*``, an absolute URI, an authority (RFC 9112 3.2).

    :return: the authority that the target names, None where it names none.
    :raises RemoteProtocolError: 400 for a form that does not go with the method; 501 for CONNECT, which only a
        forward proxy serves (ledger V-16).
    """
    if method == b"CONNECT":
        match = authority.fullmatch(target)
        if match is None or not match[2] or not is_authority(target):
            raise RemoteProtocolError(400, "CONNECT names no host and port", "RFC 9112 3.2.3", row="H-11")
        raise RemoteProtocolError(501, "CONNECT is not served here", "RFC 9110 9.3.6", row="V-16")
    if target[:1] == b"/":
        return None
    if target == b"*":
        if method == b"OPTIONS":
            return None
        raise RemoteProtocolError(400, "the target * goes with OPTIONS only", "RFC 9112 3.2.4", row="H-11")
    match = absolute_uri.fullmatch(target)
    if match is None or not is_authority(match[1]):
        raise RemoteProtocolError(
            400, "the request target is neither a path nor an absolute URI", "RFC 9112 3.2", row="H-11"
        )
    return match[1]
