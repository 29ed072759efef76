"""A connection as applications see and subclass it. What speaks HTTP on it is a driver of its own."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IReactorTime, ISSLTransport, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import TcpKeepAlive
from ..core.exchange import Exchange
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..interfaces import IConnection, IConnectionRegistry
from ..net.tcp import isTcp, peerOf, setTcpKeepAlive
from .driver import Driver
from .hooks import Verdict
from .request import Request
from .settings import ServerSettings

_log = Logger()


@implementer(IHalfCloseableProtocol, IConnection)
class KeepAliveProtocol(Protocol):
    """
    A connection. Subclass it to see its decisions and to change them; give the class to `KeepAliveFactory`.

    A subclass may define any name without a leading underscore: what is not documented here is not used.

    :ivar factory: the `KeepAliveFactory` that made it.
    """

    factory: ServerSettings
    _driver: Driver

    # -- hooks: what a subclass may override ---------------------------------------------------------------------------

    def requestReceived(self, request: Request) -> None:
        """
        A request's head is complete. The default has the factory's handler answer.

        Answer with `Request.respond`, or push with `Request.start`, now or later; what is raised is answered with 500.
        """
        request.respond(self.factory.handler(request))

    def continueExpected(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """
        The client withholds the body until it is invited (RFC 9110 10.1.1).

        :return: True to invite it, False to refuse (417), a `Response` to refuse with, None to leave it to the handler
            (its first read invites, its response refuses); or a Deferred or coroutine of one of them. Anything else is
            an error of the application, answered with 500. After ``Timeouts.expectation`` without an answer the body
            is invited.
        """
        return None

    def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
        """
        What becomes of the connection after this response, before it is said and done.

        :return: the decision, or ``decision.close("why")``. A decision to close stands.
        """
        return decision

    def connectionClosed(self, reason: CloseReason) -> None:
        """The connection is gone; called once."""

    # -- views: what can be seen, see `interfaces.IConnection` ---------------------------------------------------------

    @property
    def id(self) -> int:
        """Its number in its factory, from 1."""
        return self._driver.id

    @property
    def version(self) -> str:
        """The major version of HTTP that it speaks: ``"1"``."""
        return self._driver.version

    @property
    def opened(self) -> float:
        """When it was accepted, in seconds by the reactor's clock."""
        return self._driver.opened

    @property
    def requestCount(self) -> int:
        """Requests taken up so far."""
        return self._driver.requestCount

    @property
    def lastDecision(self) -> Persistence | None:
        """What was decided with the latest response; None before the first."""
        return self._driver.lastDecision

    @property
    def peer(self) -> IAddress:
        """Where the client is."""
        return peerOf(self._driver.transport)

    @property
    def host(self) -> IAddress:
        """Where the client reached us."""
        return self._driver.host

    @property
    def secure(self) -> bool:
        """Whether the connection runs on TLS."""
        return bool(ISSLTransport.providedBy(self._driver.transport))

    @property
    def age(self) -> float:
        """Seconds since it was accepted."""
        return self._driver.settings.now() - self._driver.opened

    @property
    def state(self) -> str:
        """What it is doing, in a word or three."""
        return self._driver.state

    @property
    def closeReason(self) -> CloseReason | None:
        """Why it ends or has ended; None while it does not."""
        return self._driver.closeReason

    @property
    def bytesReceived(self) -> int:
        """Bytes that have come so far, heads and framing included."""
        return self._driver.bytesReceived

    @property
    def bytesSent(self) -> int:
        """Bytes that were sent so far, or are kept to be sent, heads and framing included."""
        return self._driver.bytesSent

    @property
    def lateBytes(self) -> int:
        """Bytes that arrived after our side was closed, and were thrown away."""
        return self._driver.lateBytes

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The exchanges in service, oldest first."""
        return self._driver.exchanges

    @property
    def clock(self) -> IReactorTime:
        """The reactor, or whatever keeps the time in its place."""
        return self._driver.settings.clock

    @property
    def registry(self) -> IConnectionRegistry:
        """The connections that it is one of."""
        return self._driver.settings

    def setTcpKeepAlive(self, setting: TcpKeepAlive | None) -> None:
        """Switch the kernel's keep-alive probes of this connection on, with these figures, or off (ledger T-02)."""
        if isTcp(self._driver.transport):
            setTcpKeepAlive(self._driver.transport, setting)

    # -- what the transport tells --------------------------------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """
        See `IProtocol.makeConnection`.

        :raises RuntimeError: where an override of ``connectionMade`` does not call that of its base class.
        """
        super().makeConnection(transport)
        if not hasattr(self._driver, "output"):
            transport.loseConnection()
            raise RuntimeError(f"{type(self).__name__}.connectionMade has to call super().connectionMade()")

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        self._driver.connected(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self._driver.received(data)

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol.readConnectionLost`."""
        self._driver.readLost()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol.writeConnectionLost`."""
        self._driver.writeLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        driver = self._driver
        closed = driver.lost(reason)
        if closed is None:
            return
        try:
            self.connectionClosed(closed)
        except BaseException:
            _log.failure("connectionClosed failed on connection {id}", id=driver.id)
        driver.gone()

    def drain(self) -> None:
        """Serve what has been taken up, then close (ledger P-18)."""
        self._driver.drain()

    def abort(self, reason: CloseReason = CloseReason.APPLICATION_ABORT) -> None:
        """Close now, whatever is under way, and by a reset."""
        self._driver.abort(reason)
