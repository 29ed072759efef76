"""
The smallest server: a function that answers, and one call that listens.

    python examples/hello.py
    curl -v http://127.0.0.1:8080/ http://127.0.0.1:8080/
"""

import sys
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred

from ka_twisted import Request, Response, serve


def hello(request: Request) -> Response:
    return Response.text(f"Hello! This is request {request.number} on connection {request.connection.id}.\n")


async def main(reactor: Any, *endpoints: str) -> None:
    serving = await serve(hello, *endpoints, reactor=reactor)
    for port in serving.ports:
        print(f"listening on {port.getHost()}", flush=True)
    # When the process is told to stop: listen no more, and let what is in service finish.
    reactor.addSystemEventTrigger("before", "shutdown", serving.stop)
    await Deferred()  # for ever


if __name__ == "__main__":
    task.react(main, sys.argv[1:] or ["tcp:8080:interface=127.0.0.1"])
