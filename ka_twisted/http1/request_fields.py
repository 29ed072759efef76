"""
The header section of a request, and what it means for the connection and for the body.

`read_fields` is a pure function of the section. A kept-alive client repeats its section byte for byte, so what it means
is remembered (`request_buffer`, `caches`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Limits, Policy
from ..core.errors import RemoteProtocolError
from ..core.expectation import Expected
from ..core.framing import Framing
from ..core.grammar import is_authority, split_list, token
from ..core.headers import Headers, index_fields
from ..core.persistence import Persistence
from . import expectation, framing, persistence

#: Fields that a Connection line cannot take away from the application (ledger K-08).
_PROTECTED = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))
#: One-hop fields that have no effect without their Connection token (ledger K-05, K-10).
_HOP_ONLY = frozenset((b"keep-alive", b"proxy-connection"))
#: Fields that have the secrets of one client.
_PERSONAL = frozenset((b"authorization", b"cookie", b"proxy-authorization"))


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
    hop_only = ((options | _HOP_ONLY) - _PROTECTED) & lines.keys()
    return Headers(pairs) if not hop_only else Headers(pair for pair in pairs if pair[0].lower() not in hop_only)


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
