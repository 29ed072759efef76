"""The extension points: what others may implement and hand to a `KeepAliveFactory`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from .core.pipeline import Exchange
    from .core.reasons import CloseReason
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
        answered by itself, ``exchange.persistence`` what became of the connection and by which clause.
        """

    def connectionClosed(connection: KeepAliveProtocol, reason: CloseReason) -> None:
        """A connection is gone; told exactly once for each that was opened."""
