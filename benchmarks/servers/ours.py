"""ka_twisted, with all its timers at their defaults."""

from __future__ import annotations

from pathlib import Path

from ka_twisted import KeepAliveFactory, Limits, Request, Response

_TEXT = {"Content-Type": "text/plain"}


def answer(request: Request) -> Response:
    """Answers every request."""
    return Response(200, b"hello world\n", _TEXT)


def hello() -> KeepAliveFactory:
    """The same; more connections than the default limit are open in one of the experiments."""
    return KeepAliveFactory(answer, limits=Limits(maxConnections=20000))


def bodies(folder: Path) -> KeepAliveFactory:
    """Large bodies, both ways."""
    from .bodies import MEMORY

    async def upload(request: Request) -> Response:
        count = 0
        async for piece in request.body:
            count += len(piece)
        return Response(200, f"{count}\n", _TEXT)

    async def body(request: Request) -> Response:
        path = request.path
        if path == "/upload":
            return await upload(request)
        if path.startswith("/file/"):
            return Response.file(folder / path.removeprefix("/file/"), headers=_TEXT)
        return Response(200, MEMORY.get(path, b"hello world\n"), _TEXT)

    return KeepAliveFactory(body)
