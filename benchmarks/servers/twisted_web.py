"""
twisted.web, as its documentation has it: a Site with a Resource.

A Site makes a line for its access log from every request, also where no log is kept; with ``nolog`` it does not.
"""

import sys

from twisted.internet import reactor
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class Hello(Resource):
    """Answers."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """See `IResource.render`."""
        request.setHeader(b"content-type", b"text/plain")
        return b"hello world\n"


class SilentSite(Site):
    """Makes no log lines."""

    def log(self, request: http.Request) -> None:
        """See `HTTPFactory.log`."""


if __name__ == "__main__":
    site = SilentSite if "nolog" in sys.argv else Site
    reactor.listenTCP(int(sys.argv[1]), site(Hello()), backlog=1024, interface="127.0.0.1")  # type: ignore[arg-type]
    reactor.run()
