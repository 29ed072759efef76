"""What a request target names (RFC 9110 7.1), and how an authority is written."""

from __future__ import annotations

from . import grammar


def split_target(target: bytes) -> tuple[str, str]:
    """The path and the query of a target, still percent-encoded; ``*`` is a path of its own."""
    if target[:1] != b"/" and (match := grammar.absolute_uri.fullmatch(target)) is not None:
        target = match[2] or b"/"
        if target[:1] == b"?":
            target = b"/" + target
    path, _, query = target.partition(b"?")
    return path.decode("ascii"), query.decode("ascii")


def authority(host: str, port: int) -> str:
    """A host, or its address, with a port; an address of IPv6 is in brackets (RFC 3986 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def canonical_authority(authority: str) -> str:
    """
    A host with or without a port in the one form in which names are compared.

    Case does not count (RFC 3986 3.2.2), and neither does the dot at the end of a name, which says that it is whole
    (RFC 3986 3.2.2, RFC 1034 3.1): TLS leaves it out of what a client sends for its SNI (RFC 6066 3).
    """
    name, colon, port = authority.lower().partition(":")
    return f"{name.removesuffix('.')}{colon}{port}"
