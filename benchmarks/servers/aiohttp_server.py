"""aiohttp on uvloop, without an access log."""

import sys

import uvloop
from aiohttp import web


async def hello(request: web.Request) -> web.Response:
    """Answer."""
    return web.Response(body=b"hello world\n", content_type="text/plain")


if __name__ == "__main__":
    application = web.Application()
    application.router.add_get("/", hello)
    web.run_app(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=lambda *_: None,
        loop=uvloop.new_event_loop(),
    )
