"""
Established connections: Twisted's transports over uvloop's.

A `UvloopTransport` is both the transport that a Twisted protocol sees and the protocol that a uvloop transport calls:
one Python frame lies between the two in each direction. It behaves as ``twisted.internet.tcp.Connection`` does, and
Twisted's own tests are run against it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements, implementer

from ..net.private import startTLS
from .writing import DONE, WritingTransport, joined

if TYPE_CHECKING:
    from .loop import TransportReactor

_LOST = Failure(ConnectionLost())
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_log = Logger()


@implementer(ITCPTransport, ISystemHandle, IPushProducer, IConsumer, IHalfCloseableDescriptor, ILoggingContext)
class UvloopTransport(WritingTransport):
    """
    A connection: Twisted's transport, and asyncio's protocol.

    :param sock: connected; the transport owns it from now on.
    :ivar reactor: the `UvloopReactor` that it belongs to.
    :ivar reading: whether bytes are wanted from the peer, and can come.
    """

    __slots__ = ("_aborting", "_contexts", "_ended", "reading")

    #: Whether ``startTLS`` makes it a TLS client.
    _tlsClientDefault = False

    def __init__(self, sock: socket.socket, protocol: Any, reactor: TransportReactor) -> None:
        super().__init__(sock, protocol, reactor)
        self.reading = True
        self._ended = False
        self._aborting = False
        self._open()

    # What uvloop calls.

    def _open(self) -> None:
        """
        Give the socket to uvloop.

        That is a coroutine's work, which waits for one turn of the loop; no task is needed to drive it.
        """
        sock = self.socket
        sock.setblocking(False)
        loop = self.reactor.eventLoop
        delays = sock.family != socket.AF_UNIX and not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        opening: Any = loop.connect_accepted_socket(lambda: cast(asyncio.Protocol, self), sock)
        opening.send(None)
        if delays:  # uvloop has switched that off
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, False)
        # Runs directly after connection_made, before anything can be read.
        loop.call_soon(self._opened, opening)
        self.reactor.transports.add(self)

    def connection_made(self, transport: object) -> None:
        """See `asyncio.BaseProtocol.connection_made`. Reading begins only after this; hence `_opened`."""

    def _opened(self, opening: Coroutine[object, None, tuple[Any, object]]) -> None:
        """uvloop's transport is there: go on with it."""
        try:
            opening.send(None)
        except StopIteration as opened:
            uv = opened.value[0]
        parts = self._uv.parts
        self._uv = uv
        self._contexts = self.reactor.contexts
        if self.disconnected or self._aborting:
            uv.abort()
            return
        # Any byte that the socket does not take clogs us, and we hear when the last one has gone.
        uv.set_write_buffer_limits(0, 0)
        if not self.reading:
            uv.pause_reading()
        self._clogged = False
        if parts:
            uv.writelines(parts)
        if not self._clogged:
            self._run(self._drained)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        self._corked = True
        self._contexts.append(self._logContext)
        try:
            self.protocol.dataReceived(data)
        except Exception:
            self._failed()
        finally:
            self._contexts.pop()
            self._corked = False
        if not self.reading:
            self._uv.pause_reading()
        if self._held:
            held = self._held
            self._held = b""
            self._uv.write(held)

    def eof_received(self) -> bool:
        """See `asyncio.Protocol.eof_received`."""
        self._ended = True
        self.reading = False
        self._run(self._readEnded)
        return True  # whether the connection is closed now has been decided

    def _readEnded(self) -> None:
        protocol = IHalfCloseableProtocol(self.protocol, None)
        if protocol is None:
            self.connectionLost(DONE)
        else:
            protocol.readConnectionLost()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.BaseProtocol.connection_lost`."""
        if self._aborting:
            reason = Failure(ConnectionAborted())
        else:
            reason = DONE if error is None else _LOST
        self._run(self.connectionLost, reason)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over: let go of the socket, and tell the producer and the protocol."""
        if self.disconnected:
            return
        self.disconnected = 1
        self.connected = 0
        self._plain = False
        self._held = b""
        self.reactor.transports.discard(self)
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        try:
            if not self._aborting:
                self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # the peer was first
            pass
        self._uv.abort()  # closes the socket in the next turn of the loop
        try:
            self.protocol.connectionLost(reason)
        except Exception:
            _log.failure("{transport!r}: connectionLost failed", transport=self)
        del self.protocol, self.socket  # they refer to us

    def abortConnection(self) -> None:
        """See `ITCPTransport.abortConnection`."""
        if self.disconnected or self._aborting:
            return
        self._aborting = True
        self._held = b""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:  # the peer was first
            pass
        self._uv.abort()

    # What Twisted's side calls.

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        self.reading = False
        if not self._corked:  # else pausing for the time of one request costs no system call
            self._uv.pause_reading()

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        if self.connected and not self.disconnecting and not self._ended:
            self.reading = True
            if not self._corked:
                self._uv.resume_reading()

    # As descriptors have it; what watches timeouts or memory calls these rather than the producer's.
    stopReading = pauseProducing
    startReading = resumeProducing

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`."""
        self.loseConnection()

    def readConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor.readConnectionLost`."""
        self._run(self._readEnded)

    def writeConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor.writeConnectionLost`."""
        self.connectionLost(reason)

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """See `ITLSTransport.startTLS`."""
        self._flush()
        startTLS(self, contextFactory, normal, _Below)
        self._replan()

    def fileno(self) -> int:
        """The number of the socket; -1 when the connection is over."""
        return self.socket.fileno() if self.connected else -1

    def getHandle(self) -> Any:
        """See `ISystemHandle.getHandle`."""
        return self.socket

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport.getTcpNoDelay`."""
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport.setTcpNoDelay`."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport.getTcpKeepAlive`."""
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport.setTcpKeepAlive`."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def getHost(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getHost`."""
        raise NotImplementedError

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getPeer`."""
        raise NotImplementedError

    @property
    def logstr(self) -> str:
        """As Twisted's transports have it."""
        return self.logPrefix()

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        if ILoggingContext.providedBy(self.protocol):
            return str(self.protocol.logPrefix())
        return type(self.protocol).__name__


class _Below:
    """How the TLS layer reaches the transport that it lies upon."""

    write = staticmethod(UvloopTransport._writeBelow)
    loseConnection = staticmethod(UvloopTransport._loseBelow)
    registerProducer = staticmethod(UvloopTransport._registerBelow)
    unregisterProducer = staticmethod(UvloopTransport._unregisterBelow)

    @staticmethod
    def writeSequence(transport: UvloopTransport, data: Iterable[bytes]) -> None:
        transport._writeBelow(joined(data))


if startTLS is not None:
    classImplements(UvloopTransport, ITLSTransport)
