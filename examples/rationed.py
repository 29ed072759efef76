"""
A subclass that has its say about its connections: three requests on each, no large bodies, and a line
about every end.

    python examples/rationed.py
    curl -v http://127.0.0.1:8080/ http://127.0.0.1:8080/ http://127.0.0.1:8080/
    curl -v -T large.file -H 'Expect: 100-continue' http://127.0.0.1:8080/
"""

import sys
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred

from ka_twisted import CloseReason, KeepAliveProtocol, Persistence, Request, Response, Timeouts, serve

REQUESTS = 3
MAX_BYTES = 1_000_000


class Rationed(KeepAliveProtocol):
    """A connection for a few small requests."""

    def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
        """Say `close` in the last response that the connection is good for."""
        if decision.keep and request.number >= REQUESTS:
            return decision.close(f"{REQUESTS} requests are enough")
        return decision

    def continueExpected(self, request: Request) -> bool | Response | None:
        """Invite a withheld body, refuse it, or leave that to the handler."""
        length = request.contentLength
        if length is None:
            return None  # the handler counts
        if length > MAX_BYTES:
            return Response.text(f"{length} bytes are too many\n", 413)
        return True

    def connectionClosed(self, reason: CloseReason) -> None:
        """Say why it ended."""
        print(f"connection {self.id} ended after {self.requestCount} requests: {reason}", flush=True)


async def size(request: Request) -> Response:
    body = await request.read(limit=MAX_BYTES)  # a larger one is answered 413
    return Response.text(f"request {request.number}: {len(body)} bytes\n")


async def main(reactor: Any, *endpoints: str) -> None:
    serving = await serve(size, *endpoints, reactor=reactor, protocol=Rationed, timeouts=Timeouts(idle=15))
    for port in serving.ports:
        print(f"listening on {port.getHost()}", flush=True)
    reactor.addSystemEventTrigger("before", "shutdown", serving.stop)
    await Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:] or ["tcp:8080:interface=127.0.0.1"])
