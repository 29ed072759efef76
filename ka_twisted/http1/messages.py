"""
Heads: a request line and its fields as values, and the bytes of a response head.

`read_fields` is a pure function of a field block. A kept-alive client repeats its block byte for byte, so a
connection remembers the last one and what it meant (`server.ServerConnection`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..config import Limits, Policy
from ..core.errors import RemoteProtocolError
from ..core.exchange import RequestHead as NeutralHead
from ..core.expectation import ABSENT, Expected
from ..core.framing import Framing
from ..core.grammar import absolute_uri, authority, is_authority, split_list, token
from ..core.headers import NO_HEADERS, Headers, index_fields
from ..core.persistence import ConnectionField, Persistence
from ..core.semantics import REASON_PHRASES, SAFE_METHODS
from . import expectation, framing, grammar, persistence

#: Fields that a Connection line cannot take away from the application (ledger K-08).
_PROTECTED = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))
#: One-hop fields that have no effect without their Connection token (ledger K-05, K-10).
_HOP_ONLY = frozenset((b"keep-alive", b"proxy-connection"))
#: Fields that have the secrets of one client.
_PERSONAL = frozenset((b"authorization", b"cookie", b"proxy-authorization"))

#: Methods whose successful responses have no body (RFC 9112 6.3).
_ODDLY_ANSWERED = frozenset((b"HEAD", b"CONNECT"))


@dataclass(frozen=True, slots=True, eq=False)
class RequestFields:
    """
    One header section, and what it means for the connection.

    :ivar block: its bytes, where they came in one piece.
    :ivar http11: whether it was read for HTTP/1.1, not 1.0.
    :ivar headers: what the application sees: less the fields that Connection names (ledger K-08).
    :ivar host: the Host value, empty where there is none.
    :ivar options: the Connection tokens, in lower case.
    :ivar framing: how the body ends, for any method but those of `framing.BODILESS`.
    :ivar expected: what the client expects before it sends the body.
    :ivar persistence: what becomes of the connection after an ordinary, framed response to a consumed request.
    :ivar upgrades: the protocols offered, as received, with their Connection token present (ledger U-03, U-05).
    :ivar wants_trailers: ``TE: trailers``, with its Connection token (ledger L-29).
    :ivar pipelinable: no body follows and nothing is offered: may run beside other safe requests (ledger N-02).
    :ivar personal: it has the secrets of one client: never kept for the connections of others.
    """

    block: bytes
    http11: bool
    headers: Headers
    host: bytes
    options: frozenset[bytes]
    transfer_encoding: list[bytes]
    content_length: list[bytes]
    keep_alive_field: bool
    framing: Framing
    expected: Expected
    persistence: Persistence
    upgrades: tuple[bytes, ...]
    wants_trailers: bool
    pipelinable: bool
    personal: bool


class RequestHead(NeutralHead):
    """
    A request line and the header section behind it.

    :ivar fields: what the section means; None where it could not be read.
    :ivar pipelinable: may run beside other light requests (ledger N-02).
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
        self.persistence = kept = None if fields is None else fields.persistence
        self.fast_path = kept is not None and kept.keep and method not in _ODDLY_ANSWERED
        self.sends_keep_alive = kept is not None and kept.signal is ConnectionField.KEEP_ALIVE

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


def read_fields(
    pairs: list[tuple[bytes, bytes]],
    http11: bool,
    limits: Limits,
    policy: Policy,
    method: bytes = b"",
    block: bytes = b"",
) -> RequestFields:
    """
    Read the meaning of a request's header section.

    :raises RemoteProtocolError: for a section that leaves host, connection options or framing in doubt.
    """
    lines = index_fields(pairs)
    host = _host(lines.get(b"host", _NONE), http11, policy.emptyHost)
    options = _options(lines.get(b"connection", _NONE))
    coding, length = lines.get(b"transfer-encoding", _NONE), lines.get(b"content-length", _NONE)
    body = framing.decide_request(
        http11,
        coding,
        length,
        method,
        max_body=limits.maxBodyBytes,
        length_required=policy.lengthRequired,
        retry_after=limits.bodyRetryAfter,
    )
    expected = expectation.decide(http11, lines.get(b"expect", _NONE), body)
    upgrades = _upgrades(lines.get(b"upgrade", _NONE), options) if http11 else ()
    keep_alive_field = b"keep-alive" in lines
    return RequestFields(
        block=block,
        http11=http11,
        headers=_visible(pairs, lines, options),
        host=host,
        options=options,
        transfer_encoding=coding,
        content_length=length,
        keep_alive_field=keep_alive_field,
        framing=body,
        expected=expected,
        persistence=persistence.decide(
            http11,
            options,
            keep_alive_field=keep_alive_field,
            keep_alive_10=policy.keepAlive10,
            persistent=policy.persistent,
        ),
        upgrades=upgrades,
        wants_trailers=b"te" in options and _accepts_trailers(lines.get(b"te", _NONE)),
        pipelinable=body.length == 0 and not upgrades and expected.supported,
        personal=not _PERSONAL.isdisjoint(lines),
    )


def _visible(pairs: list[tuple[bytes, bytes]], lines: dict[bytes, list[bytes]], options: frozenset[bytes]) -> Headers:
    """What the application sees: less the fields that are for this connection only."""
    doomed = ((options | _HOP_ONLY) - _PROTECTED) & lines.keys()
    return Headers(pairs) if not doomed else Headers(pair for pair in pairs if pair[0].lower() not in doomed)


def _host(lines: list[bytes], http11: bool, empty_allowed: bool) -> bytes:
    if not lines:
        if http11:
            raise RemoteProtocolError(400, "the Host field is missing", "RFC 9112 3.2", row="H-19")
        return b""
    if len(lines) > 1:
        raise RemoteProtocolError(400, "the Host field is repeated", "RFC 9112 3.2", row="H-20")
    (host,) = lines
    if not (is_authority(host) if host else empty_allowed):
        raise RemoteProtocolError(400, "the Host field names no host", "RFC 9112 3.2", row="H-20")
    return host


def _options(lines: list[bytes]) -> frozenset[bytes]:
    if not lines:
        return _NO_OPTIONS
    options = [member.lower() for line in lines for member in split_list(line)]
    if not all(token.fullmatch(option) for option in options):
        raise RemoteProtocolError(400, "the Connection field is no list of tokens", "RFC 9110 7.6.1", row="K-09")
    return frozenset(options)


_NO_OPTIONS: frozenset[bytes] = frozenset()
_NONE: list[bytes] = []


def _upgrades(lines: list[bytes], options: frozenset[bytes]) -> tuple[bytes, ...]:
    """The protocols offered; ``h2c`` is obsolete and never among them (ledger U-07)."""
    if b"upgrade" not in options:
        return ()
    offered = (member for line in lines for member in split_list(line))
    return tuple(member for member in offered if member.lower() != b"h2c")


def _accepts_trailers(lines: list[bytes]) -> bool:
    return any(member.lower() == b"trailers" for line in lines for member in split_list(line))


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


#: RFC 9112 4: the blank behind the code stands there even without a phrase (ledger H-27).
STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, REASON_PHRASES.get(status, b"")) for status in range(100, 600)}
