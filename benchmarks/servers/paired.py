"""
The server of ``benchmarks paired``: ``PORT REACTOR``, run as a file by the Python of each environment.

It uses only names that every commit of ka_twisted exports, and nothing else of this package: the other environment has
its own ka_twisted, and none of this folder.
"""

import sys
from typing import Any

from twisted.application.reactors import installReactor

from ka_twisted import KeepAliveFactory, Limits, Request, Response

_TEXT = {"Content-Type": "text/plain"}
_BODIES = {"/": b"hello world\n", "/download": b"x" * 65536}


async def upload(request: Request) -> Response:
    """Read a body, and answer with its length."""
    return Response(200, f"{len(await request.read())}\n", _TEXT)


def answer(request: Request) -> Any:
    """A response, or a coroutine that gives one."""
    if request.method == "POST":
        return upload(request)
    return Response(200, _BODIES[request.path], _TEXT)


def main(port: str, name: str) -> None:
    """Listen, and run."""
    installReactor(name)
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    factory = KeepAliveFactory(answer, limits=Limits(maxConnections=20000))
    serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1:backlog=1024").listen(factory)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
