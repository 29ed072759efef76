"""
twisted.web, as its documentation has it: a Site with a Resource.

A Site makes a line for its access log from every request, also where no log is kept; a silent one does not.
"""

from __future__ import annotations

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


class Bodies(Hello):
    """Large bodies, both ways."""

    def __init__(self, bodies: dict[str, bytes]) -> None:
        super().__init__()
        self._bodies = bodies

    def render_GET(self, request: Request) -> bytes:
        """A body from memory."""
        hello = super().render_GET(request)
        return self._bodies.get(request.path.decode(), hello)

    def render_POST(self, request: Request) -> bytes:
        """Count the bytes of a body, a piece at a time."""
        assert request.content is not None
        request.setHeader(b"content-type", b"text/plain")
        count = 0
        while piece := request.content.read(65536):
            count += len(piece)
        return b"%d\n" % count


class SilentSite(Site):
    """Makes no log lines."""

    def log(self, request: http.Request) -> None:
        """See `HTTPFactory.log`."""


def hello() -> Site:
    """Answers every request."""
    return Site(Hello())


def silent() -> Site:
    """The same without a log line."""
    return SilentSite(Hello())


def bodies() -> Site:
    """Large bodies, both ways, without a log line."""
    from .bodies import MEMORY

    return SilentSite(Bodies(MEMORY))
