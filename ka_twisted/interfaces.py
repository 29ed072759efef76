"""
The extension points that need no implementation, not even for types: what a connection shows, who is told about it, and
what a graceful shutdown asks.
"""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from zope.interface import Attribute, Interface

from .core.exchange import Exchange
from .core.persistence import Persistence
from .core.reasons import CloseReason


class IConnection(Interface):
    """A connection of a server, as applications, observers and operators see it: whatever version it speaks."""

    id: int = Attribute("Its number on its server, from 1.")
    peer: IAddress = Attribute("Where the client is.")
    host: IAddress = Attribute("Where the client reached us.")
    secure: bool = Attribute("Whether it runs on TLS.")
    version: str = Attribute('``"1"`` or ``"2"``: the major version of HTTP that it speaks.')
    opened: float = Attribute("When it was accepted, in seconds by the clock of its registry.")
    age: float = Attribute("Seconds since it was accepted.")
    state: str = Attribute("What it is doing, in a word or three; see `core.reasons.CloseReason.state`.")
    requestCount: int = Attribute("Requests taken up so far.")
    bytesReceived: int = Attribute("Bytes of HTTP that have come so far, heads and framing included.")
    bytesSent: int = Attribute("Bytes of HTTP that were sent, or are kept to be sent, heads and framing included.")
    lateBytes: int = Attribute("Bytes that arrived after our side was closed, and were thrown away.")
    lastDecision: Persistence | None = Attribute("What was decided with the latest response; None before the first.")
    closeReason: CloseReason | None = Attribute("Why it ends or has ended; None while it does not.")
    exchanges: tuple[Exchange, ...] = Attribute("The exchanges in service, oldest first.")
    clock: IReactorTime = Attribute("The reactor, or whatever keeps the time in its place.")
    registry: IConnectionRegistry = Attribute("The connections that it is one of.")

    def drain() -> None:
        """Serve what has been taken up, then close."""

    def abort(reason: CloseReason = CloseReason.APPLICATION_ABORT) -> None:
        """Close now, whatever is under way, and by a reset."""


class IConnectionRegistry(Interface):
    """The connections of one server."""

    connections: Collection[IConnection] = Attribute("Those that are open, in the order in which they were accepted.")

    def seconds() -> float:
        """The present, by the clock that the times of connections and exchanges are told by."""


class IConnectionObserver(Interface):
    """
    Is told what happens on the connections of a factory: access logs, metrics, pages for operators.

    Every method is called on the reactor's thread in the middle of serving, so it has to be quick and must not raise;
    what it raises is logged and changes nothing.
    """

    def connectionOpened(connection: IConnection) -> None:
        """A connection was accepted."""

    def exchangeFinished(connection: IConnection, exchange: Exchange) -> None:
        """
        Nothing more will be written for this request.

        ``exchange.status`` is None when it ended without a response, ``exchange.error`` tells why the connection
        answered by itself, ``exchange.persistence`` what became of the connection and by which clause, and
        ``exchange.started``, ``responded`` and ``ended`` when, by the clock of the connection's registry.
        """

    def connectionClosed(connection: IConnection, reason: CloseReason) -> None:
        """A connection is gone; told exactly once for each that was opened."""


class IDrainable(Interface):
    """
    What a graceful shutdown asks: factories, connection pools, connections that were handed over, and applications
    with a life of their own.
    """

    def retire() -> None:
        """
        A shutdown is announced: finish what comes, and let go of each connection with its next response.

        Nothing is cut, and new connections are still served.
        """

    def drain(seconds: float | None = None) -> Deferred[None]:
        """
        Finish what is in service, and begin nothing new.

        :param seconds: after which what is left is cut off; 0: never; None: the default of what is asked.
        :return: fires when nothing is left.
        """
