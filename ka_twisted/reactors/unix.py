"""Connections of UNIX sockets on uvloop."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.address import UNIXAddress

from .tcp import TcpClientTransport, TcpServerTransport

if TYPE_CHECKING:
    from .loop import TransportReactor


class UnixServerTransport(TcpServerTransport):
    """An accepted or adopted connection on a UNIX socket."""

    __slots__ = ()

    def __init__(
        self, sock: socket.socket, protocol: Any, client: Any, server: Any, sessionno: int, reactor: TransportReactor
    ) -> None:
        super().__init__(sock, protocol, (client, None), server, sessionno, reactor)

    def _localName(self) -> object:
        return self.socket.getsockname()

    def _logName(self) -> object:
        return self._localName() if self.server is None else self.hostname

    def getHost(self) -> UNIXAddress:  # type: ignore[override]
        """See `ITransport.getHost`."""
        return UNIXAddress(self.socket.getsockname())

    def getPeer(self) -> UNIXAddress:  # type: ignore[override]
        """See `ITransport.getPeer`."""
        return UNIXAddress(self.hostname or None)

    def getTcpNoDelay(self) -> bool:
        """There is no such thing here."""
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no such thing here."""


class UnixClientTransport(TcpClientTransport):
    """A connection to a UNIX socket."""

    __slots__ = ()

    getTcpNoDelay = UnixServerTransport.getTcpNoDelay
    setTcpNoDelay = UnixServerTransport.setTcpNoDelay

    def getHost(self) -> UNIXAddress:  # type: ignore[override]
        """See `ITransport.getHost`."""
        return UNIXAddress(None)
