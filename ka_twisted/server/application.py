"""
What a server serves, with a beginning and an end of its own: it is started before the first request and stopped after
the last. What runs a server calls these; a handler alone is an application without either.
"""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface, implementer

from .hooks import Handler
from .request import Request
from .response import Result

__all__ = ["HandlerApplication", "IApplication"]


class IApplication(Interface):
    """
    An application with a life of its own: connections to a database, tasks in the background, a lifespan.

    ``twistd keepalive`` starts each application once, however many sites it has, in the process that serves it. One
    that also provides `IDrainable` is asked to retire and to drain before it is stopped.
    """

    def start() -> Awaitable[None] | None:
        """
        Get ready; no request comes before this is over.

        :return: None, or a Deferred or a coroutine that is over when requests may come. Its failure keeps the server
            from starting, or a reload from taking effect; the text of the exception is what the log says.
        """

    def handle(request: Request) -> Result:
        """
        Answer a request, as a handler does.

        :return: what a handler returns.
        """

    def stop() -> Awaitable[None] | None:
        """
        Give up what `start` has acquired; no request comes any more.

        :return: None, or a Deferred or a coroutine that is over when that is done. Its failure is logged.
        """


@implementer(IApplication)
class HandlerApplication:
    """
    A handler as an application that has nothing to start or to stop.

    :param handle: the handler. It is called as it is: an application costs a request no further call.
    """

    def __init__(self, handle: Handler) -> None:
        self.handle = handle

    def start(self) -> None:
        """See `IApplication`."""

    def stop(self) -> None:
        """See `IApplication`."""
