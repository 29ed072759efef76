"""The same answer for ASGI, RSGI and WSGI servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

_BODY = b"hello world\n"
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"12")],
}
_REST = {"type": "http.response.body", "body": _BODY}


async def asgi(scope: dict[str, Any], receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """An ASGI application."""
    await send(_START)
    await send(_REST)


async def rsgi(scope: Any, protocol: Any) -> None:
    """An RSGI application."""
    protocol.response_bytes(200, [("content-type", "text/plain")], _BODY)


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    """A WSGI application."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "12")])
    return [_BODY]
