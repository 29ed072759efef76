"""TCP connections on uvloop: those that were accepted, and those that were asked for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.python.failure import Failure

from ..net.private import acceptedOn
from .transport import UvloopTransport

if TYPE_CHECKING:
    from .loop import TransportReactor


def tcpAddress(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """The address of one end of a connection, as the socket names it."""
    if len(name) == 2:
        return IPv4Address("TCP", *name)
    # Python leaves the zone of a link-local address out of its text.
    host, _ = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return IPv6Address("TCP", host, *name[1:])


class TcpServerTransport(UvloopTransport):
    """
    A connection that was accepted, or adopted.

    :param client: its peer, as the socket names it.
    :param server: the port that has accepted it, if any.
    :param sessionno: tells the connections of a port apart in the log.
    """

    __slots__ = ("client", "hostname", "server", "sessionno")

    def __init__(
        self, sock: socket.socket, protocol: Any, client: Any, server: Any, sessionno: int, reactor: TransportReactor
    ) -> None:
        self.client = client
        self.hostname = client[0]
        self.server = server
        self.sessionno = sessionno
        super().__init__(sock, protocol, reactor)

    def __repr__(self) -> str:
        if not self.connected:
            return f"<disconnected #{self.sessionno}>"
        port = self._localName() if self.server is None else acceptedOn(self.server)
        return f"<{type(self.protocol).__name__} #{self.sessionno} on {port}>"

    def _localName(self) -> object:
        """What tells an adopted connection apart."""
        return self.socket.getsockname()[1]

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        return f"{super().logPrefix()},{self.sessionno},{self._logName()}"

    def _logName(self) -> object:
        """The name in the log of the other end."""
        return self.hostname

    def getHost(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getHost`."""
        return tcpAddress(self.socket.getsockname())

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getPeer`."""
        return (IPv4Address if len(self.client) == 2 else IPv6Address)("TCP", *self.client)


class TcpClientTransport(UvloopTransport):
    """
    A connection that was asked for.

    :param connector: is told when it is lost.
    :param peer: the address that it is connected to.
    :param addr: what was asked for, as the socket names it.
    """

    __slots__ = ("_peer", "addr", "connector")

    _tlsClientDefault = True

    def __init__(
        self,
        sock: socket.socket,
        protocol: Any,
        connector: Any,
        peer: IPv4Address | IPv6Address,
        addr: object,
        reactor: TransportReactor,
    ) -> None:
        self.connector = connector
        self.addr = addr
        self._peer = peer
        super().__init__(sock, protocol, reactor)

    def __repr__(self) -> str:
        return f"<{type(self)} to {self.addr} at {id(self):x}>"

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        return f"{super().logPrefix()},client"

    def getHost(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getHost`."""
        return tcpAddress(self.socket.getsockname())

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getPeer`."""
        return self._peer

    def connectionLost(self, reason: Failure) -> None:
        """See `UvloopTransport.connectionLost`."""
        if not self.disconnected:
            super().connectionLost(reason)
            self.connector.connectionLost(reason)
