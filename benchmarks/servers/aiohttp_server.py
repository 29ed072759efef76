"""aiohttp on uvloop, without an access log: ``PORT [FOLDER]``; large bodies where there is a folder with files."""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop
from aiohttp import web


async def hello(request: web.Request) -> web.Response:
    """Answer."""
    return web.Response(body=b"hello world\n", content_type="text/plain")


def add_bodies(application: web.Application, folder: Path) -> None:
    """Large bodies, both ways."""
    from .bodies import MEMORY

    async def memory(request: web.Request) -> web.Response:
        return web.Response(body=MEMORY[request.path], content_type="text/plain")

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / request.match_info["name"], headers={"Content-Type": "text/plain"})

    async def upload(request: web.Request) -> web.Response:
        count = 0
        async for piece in request.content.iter_any():
            count += len(piece)
        return web.Response(text=f"{count}\n")

    application.router.add_get("/memory/{name}", memory)
    application.router.add_get("/file/{name}", file)
    application.router.add_post("/upload", upload)


def main(port: str, *folder: str) -> None:
    """Listen, and run."""
    application = web.Application()
    application.router.add_get("/", hello)
    for name in folder:
        add_bodies(application, Path(name))
    web.run_app(
        application,
        host="127.0.0.1",
        port=int(port),
        access_log=None,
        print=lambda *_: None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
