"""The same answers for ASGI, RSGI and WSGI servers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_BODY = b"hello world\n"
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"12")],
}
_REST = {"type": "http.response.body", "body": _BODY}


async def asgi(scope: dict[str, Any], receive: object, send: Send) -> None:
    """An ASGI application."""
    await send(_START)
    await send(_REST)


async def bodies(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """An ASGI application with large bodies, both ways."""
    from .bodies import MEMORY

    if scope["path"] == "/upload":
        body = b"%d\n" % await _count(receive)
    else:
        body = MEMORY.get(scope["path"], _BODY)
    length = (b"content-length", b"%d" % len(body))
    await send({**_START, "headers": [(b"content-type", b"text/plain"), length]})
    await send({"type": "http.response.body", "body": body})


async def _count(receive: Receive) -> int:
    """The bytes of a request's body."""
    count, more = 0, True
    while more:
        event = await receive()
        count += len(event.get("body", b""))
        more = event.get("more_body", False)
    return count


async def rsgi(scope: Any, protocol: Any) -> None:
    """An RSGI application."""
    protocol.response_bytes(200, [("content-type", "text/plain")], _BODY)


class _Date:
    """The field that servers send by themselves, but for one; made once a second, as they do."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


_date = _Date()


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    """A WSGI application, for a server that sends no Date of its own."""
    start_response("200 OK", [("Date", _date()), ("Content-Type", "text/plain"), ("Content-Length", "12")])
    return [_BODY]
