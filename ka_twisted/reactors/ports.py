"""
Listening and connecting: Twisted's own ports and connectors, which make transports on uvloop.

All that happens before there is a connection is Twisted's: binding, accepting (also when there are no more file
descriptors), lock files, resolving, timing out, and the errors of each.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp, unix
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Protocol

from .tcp import TcpClientTransport, TcpServerTransport, tcpAddress
from .unix import UnixClientTransport, UnixServerTransport

if TYPE_CHECKING:
    from .loop import TransportReactor


class Port(tcp.Port):
    """Listens on a TCP port."""

    transport = TcpServerTransport  # type: ignore[assignment]


class UNIXPort(unix.Port):
    """Listens on a UNIX socket."""

    @staticmethod
    def transport(sock: socket.socket, protocol: Any, *details: Any) -> Any:  # type: ignore[override]
        """Make a transport for a connection."""
        return (unix.Server if _receivesDescriptors(protocol) else UnixServerTransport)(sock, protocol, *details)


def _receivesDescriptors(protocol: object) -> bool:
    """
    Whether file descriptors are to be passed, for which uvloop's transports have no way.

    Twisted's own transport, on this reactor, does it.
    """
    return bool(IFileDescriptorReceiver.providedBy(protocol))


def _handOver(client: Any, kind: type[TcpClientTransport], protocol: Any) -> None:
    """An attempt to connect has succeeded: go on with a transport in its place."""
    client.connected = True
    client.stopReading()
    client.stopWriting()
    connector = client.connector
    transport = kind(client.socket, protocol or Protocol(), connector, client.getPeer(), client.addr, client.reactor)
    del client.socket, client.fileno, client.connector
    connector.transport = transport
    if protocol is None:
        transport.loseConnection()
    else:
        protocol.makeConnection(transport)


class _Client(tcp.Client):
    def _connectDone(self) -> None:
        _handOver(self, TcpClientTransport, self.connector.buildProtocol(self.getPeer()))


class _UNIXClient(unix.Client):
    def _connectDone(self) -> None:
        protocol = self.connector.buildProtocol(self.getPeer())
        if not _receivesDescriptors(protocol):
            _handOver(self, UnixClientTransport, protocol)
            return
        self.protocol = protocol
        self.connected = True
        self.logstr = f"{self._getLogPrefix(protocol)},client"
        self.startReading()
        protocol.makeConnection(self)


class Connector(tcp.Connector):
    """Connects to a TCP port."""

    def _makeTransport(self) -> _Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)


class UNIXConnector(unix.Connector):
    """Connects to a UNIX socket."""

    def _makeTransport(self) -> _UNIXClient:  # type: ignore[override]
        return _UNIXClient(self.address, self, self.reactor, self.checkPID)


def adopted(descriptor: int, family: int, factory: Any, reactor: TransportReactor) -> Any:
    """
    Make a transport of a connection that another process has accepted.

    :param descriptor: of its socket; it is duplicated.
    :return: None when the factory builds no protocol for it.
    """
    sock = socket.fromfd(descriptor, family, socket.SOCK_STREAM)
    name = sock.getpeername()
    address: Any = UNIXAddress(sock.getsockname()) if family == socket.AF_UNIX else tcpAddress(name)
    protocol = factory.buildProtocol(address)
    if protocol is None:
        sock.close()
        return None
    if family == socket.AF_UNIX:
        transport = UNIXPort.transport(sock, protocol, name, None, 0, reactor)
    else:
        transport = TcpServerTransport(sock, protocol, (address.host, *name[1:]), None, name[1], reactor)
    protocol.makeConnection(transport)
    return transport
