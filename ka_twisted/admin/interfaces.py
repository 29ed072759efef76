"""What the operator's page shows of a server, however that is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ..observe.counts import Counts
from ..observe.records import ConnectionJson


class WorkerJson(TypedDict):
    """A worker: how many connections are ``open`` on it."""

    pid: int | None
    ready: bool
    open: int


class AboutJson(TypedDict):
    """What a server is; see `IServerView.about`."""

    version: str
    pid: int
    started: str
    listeners: list[str]
    timers: dict[str, float]
    limits: dict[str, float]
    wanted: int
    workers: list[WorkerJson]


class ConnectionsJson(TypedDict):
    """Connections of a server."""

    open: Sequence[ConnectionJson]
    closed: Sequence[ConnectionJson]


class IServerView(Interface):
    """
    A server as its operator sees it: what `admin.AdminHandler` shows, of one process or of several.

    Every method is called on the reactor's thread, some once a second.
    """

    ready: bool = Attribute("Whether it takes new connections.")
    state: str = Attribute("What it is doing: ``serving``, ``reloading`` or ``draining``.")

    def about() -> AboutJson:
        """
        What it is, as a value that `json.dumps` takes.

        ``version``, ``pid``, ``started`` (ISO 8601), ``listeners`` (descriptions of endpoints), ``timers`` and
        ``limits`` (by the names of `Timeouts` and `Limits`), ``wanted`` (how many workers there should be; 0 where one
        process serves by itself), and ``workers``: for each that exists its ``pid``, whether it is ``ready``, and how
        many connections are ``open``.
        """

    def counts() -> Deferred[Counts]:
        """What it has counted, workers that have ended included."""

    def connections(limit: int, requests: int = 50) -> Deferred[ConnectionsJson]:
        """
        ``{"open": [...], "closed": [...]}``, as `ConnectionLog` returns them; each with the ``pid`` of its process.

        :param limit: at most so many of each; 0: all there are. Of the open ones those whose latest request takes or
            took longest, and the oldest; of the closed ones the last.
        :param requests: so many of the latest requests of each.
        """

    def connection(number: int, pid: int) -> Deferred[ConnectionJson | None]:
        """One of them with all of its requests that are remembered; None where it is not."""

    def drain() -> None:
        """Go out of service without losing a request, and stay to answer the operator."""
