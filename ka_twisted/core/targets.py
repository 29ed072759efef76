"""What a request target names (RFC 9110 7.1)."""

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
