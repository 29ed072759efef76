"""The extension points: what others may implement and hand to a `KeepAliveFactory`, or to the operator's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from .core.reasons import CloseReason
    from .http1.pipeline import Exchange
    from .observe.counts import Counts
    from .server.protocol import KeepAliveProtocol


class IConnectionObserver(Interface):
    """
    Is told what happens on the connections of a factory: access logs, metrics, pages for operators.

    Every method is called on the reactor's thread in the middle of serving, so it has to be quick and must not raise;
    what it raises is logged and changes nothing.
    """

    def connectionOpened(connection: KeepAliveProtocol) -> None:
        """A connection was accepted."""

    def exchangeFinished(connection: KeepAliveProtocol, exchange: Exchange) -> None:
        """
        Nothing more will be written for this request.

        ``exchange.status`` is None when it ended without a response, ``exchange.error`` tells why the connection
        answered by itself, ``exchange.persistence`` what became of the connection and by which clause, and
        ``exchange.started``, ``responded`` and ``ended`` when, by the factory's clock.
        """

    def connectionClosed(connection: KeepAliveProtocol, reason: CloseReason) -> None:
        """A connection is gone; told exactly once for each that was opened."""


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
