"""ka_twisted on Twisted's default reactor, with all its timers and limits at their defaults."""

import sys

from twisted.internet import reactor

from ka_twisted import KeepAliveFactory, Request, Response


def hello(request: Request) -> Response:
    """Answer."""
    return Response(200, b"hello world\n", {"Content-Type": "text/plain"})


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), KeepAliveFactory(hello), backlog=1024, interface="127.0.0.1")  # type: ignore[arg-type]
    reactor.run()
