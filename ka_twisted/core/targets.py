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
