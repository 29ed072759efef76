"""What the operator's page shows of a server, whoever runs it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ..observe.counts import Counts


class IServerView(Interface):
    """
    A server as its operator sees it: what `admin.AdminHandler` shows, of one process or of several.

    Every method is called on the reactor's thread, some once a second.
    """

    ready: bool = Attribute("Whether it wants new connections.")
    state: str = Attribute("What it does: ``serving``, ``reloading`` or ``draining``.")

    def about() -> dict[str, Any]:
        """
        What it is, as a value that `json.dumps` takes.

        ``version``, ``pid``, ``started`` (ISO 8601), ``listeners`` (descriptions of endpoints), ``timers`` and
        ``limits`` (by the names of `Timeouts` and `Limits`), ``wanted`` (how many workers there should be; 0 where one
        process serves by itself), and ``workers``: a list of what there is to say about each that there is, ``pid``,
        ``ready`` and ``open`` (connections).
        """

    def counts() -> Deferred[Counts]:
        """What it has counted, workers that are gone included."""

    def connections(limit: int, requests: int = 50) -> Deferred[dict[str, Any]]:
        """
        ``{"open": [...], "closed": [...]}``, as `ConnectionLog` tells them; each with the ``pid`` of its process.

        :param limit: at most so many of each; 0: all there are. Of the open ones those whose latest request takes or
            took longest, and the oldest; of the closed ones the last.
        :param requests: so many of the latest requests of each are told.
        """

    def connection(number: int, pid: int) -> Deferred[dict[str, Any] | None]:
        """One of them with all of its requests that are remembered; None where it is not."""

    def drain() -> None:
        """Go out of service without losing a request, and stay to answer the operator."""
