"""
Established connections: Twisted's transports over uvloop's.

A `Stream` is both the transport that a Twisted protocol sees and the protocol that a uvloop transport calls: one Python
frame lies between the two in each direction. It behaves as ``twisted.internet.tcp.Connection`` does, and Twisted's own
tests are run against it.

uvloop sends at once. What is written while data are being received, and small writes within one turn of the loop, are
therefore held and leave together: a system call costs more than all the rest of a write, and of several small segments
in a row the second would wait for the acknowledgement of the first (RFC 896).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
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
from twisted.python.context import defaultContextDict
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import classImplements, implementer

from ..net.private import acceptedOn, startTLS

if TYPE_CHECKING:
    from .uvloop import UvloopReactor

#: Bytes of small writes that are held to leave together. What exceeds this is sent, so that backpressure is felt.
_HELD = 16384
#: Unsent bytes above which a push producer is paused (Twisted's ``FileDescriptor.bufferSize``).
_FULL = 65536

_DONE = Failure(ConnectionDone())
_LOST = Failure(ConnectionLost())
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_log = Logger()


class _LogContext:
    """What an event that is logged on behalf of a connection is marked with. Made up only when one is."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getitem__(self, key: object) -> dict[str, object]:
        if key is not ILogContext:
            raise KeyError(key)
        try:
            prefix = self._stream.logPrefix()
        except Exception:
            prefix = "(buggy logPrefix method)"
        return {**defaultContextDict[ILogContext], "system": prefix}


class _Opening:
    """Takes the place of uvloop's transport until the loop has made one: keeps what is written meanwhile."""

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)

    def get_write_buffer_size(self) -> int:
        return self.size

    def pause_reading(self) -> None:
        """Nothing is read yet."""

    resume_reading = abort = pause_reading


@implementer(ITCPTransport, ISystemHandle, IPushProducer, IConsumer, IHalfCloseableDescriptor, ILoggingContext)
class Stream:
    """
    A connection: Twisted's transport, and asyncio's protocol.

    :param sock: connected; the stream owns it from now on.
    :ivar reactor: the `UvloopReactor` that it belongs to.
    :ivar reading: whether bytes are wanted from the peer, and can come.
    """

    # A dictionary is made only where somebody adds something, as startTLS does.
    __slots__ = (
        "TLS",
        "__dict__",
        "__weakref__",
        "_aborting",
        "_clogged",
        "_contexts",
        "_corked",
        "_draining",
        "_ended",
        "_held",
        "_logContext",
        "_plain",
        "_uv",
        "_writeDisconnected",
        "_writeDisconnecting",
        "connected",
        "disconnected",
        "disconnecting",
        "producer",
        "producerPaused",
        "protocol",
        "reactor",
        "reading",
        "socket",
        "streamingProducer",
    )

    #: Whether ``startTLS`` makes it a TLS client.
    _tlsClientDefault = False

    def __init__(self, sock: socket.socket, protocol: Any, reactor: UvloopReactor) -> None:
        self.socket = sock
        self.protocol = protocol
        self.reactor = reactor
        self.connected = 1
        self.disconnected = self.disconnecting = 0
        self.TLS = False
        self.producer: Any = None
        self.producerPaused = self.streamingProducer = False
        #: Written, and not yet handed to uvloop.
        self._held = b""
        #: Whether data are being received: what is held, and whether reading goes on, is looked at when that is over.
        self._corked = False
        #: Whether a write needs no more than to be held or handed over. Follows from everything below; see `_replan`.
        self._plain = False
        #: Whether uvloop holds bytes that the socket did not take; it will call `resume_writing`.
        self._clogged = True
        #: Whether `_drained` is to be called in the next turn of the loop.
        self._draining = False
        self.reading = True
        self._ended = False
        self._aborting = False
        self._writeDisconnecting = self._writeDisconnected = False
        self._logContext = _LogContext(self)
        self._uv: Any = _Opening()
        self._open()

    # ---- uvloop's side

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
        self.reactor.streams.add(self)

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
            self.connectionLost(_DONE)
        else:
            protocol.readConnectionLost()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol.pause_writing`."""
        self._clogged = True
        self._plain = False
        self._maybePauseProducer()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol.resume_writing`."""
        self._clogged = False
        self._run(self._drained)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.BaseProtocol.connection_lost`."""
        if self._aborting:
            reason = Failure(ConnectionAborted())
        else:
            reason = _DONE if error is None else _LOST
        self._run(self.connectionLost, reason)

    # ---- what both sides come to

    def _run(self, call: Callable[..., object], *args: object) -> None:
        """Call application code as Twisted's reactors do: within our logging context, and to fail is to be closed."""
        contexts = self.reactor.contexts
        contexts.append(self._logContext)
        try:
            call(*args)
        except Exception:
            self._failed()
        finally:
            contexts.pop()

    def _failed(self) -> None:
        reason = Failure()
        _log.failure("{stream!r}: its protocol or producer failed", reason, stream=self)
        self.connectionLost(reason)

    def _replan(self) -> None:
        """Find out how the next writes are to go."""
        self._plain = not (
            self.TLS
            or self._clogged
            or self.disconnecting
            or self.disconnected
            or self._writeDisconnecting
            or (self.producer is not None and not self.streamingProducer)
        )

    def _flush(self) -> None:
        if self._held:
            held = self._held
            self._held = b""
            self._uv.write(held)

    def _drain(self) -> None:
        """Have `_drained` called, when everything has been sent or in the next turn of the loop."""
        self._flush()
        if not self._clogged and not self._draining:
            self._draining = True
            self.reactor.eventLoop.call_soon(self._run, self._drained)

    def _drained(self) -> None:
        """Everything has been sent: go on with what waits for that."""
        self._draining = False
        if self._clogged or self.disconnected:
            return
        if self.producer is not None and (self.producerPaused or not self.streamingProducer):
            self.producerPaused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self._uv.close()
        elif self._writeDisconnecting and not self._writeDisconnected:
            self._writeDisconnected = True
            self._endWriting()
        self._replan()

    def _endWriting(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has gone; reading will tell
            pass
        protocol = IHalfCloseableProtocol(self.protocol, None)
        if protocol is not None:
            protocol.writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over: let go of the socket, and tell the producer and the protocol."""
        if self.disconnected:
            return
        self.disconnected = 1
        self.connected = 0
        self._plain = False
        self._held = b""
        self.reactor.streams.discard(self)
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
            _log.failure("{stream!r}: connectionLost failed", stream=self)
        del self.protocol, self.socket  # they refer to us

    # ---- Twisted's side: writing

    def write(self, data: bytes) -> None:
        """See `ITransport.write`."""
        if not self._plain or data.__class__ is not bytes:
            self._writeOtherwise(data)
        elif self._held or len(data) > _HELD:
            self._writeMore(data)
        else:
            self._held = data
            if not self._corked:
                self.reactor.eventLoop.call_soon(self._flush)

    def _writeMore(self, data: bytes) -> None:
        """Write what is large, or has more before it."""
        held = self._held
        if len(held) + len(data) <= _HELD:
            self._held = held + data
        else:
            self._held = b""
            self._uv.writelines((held, data)) if held else self._uv.write(data)
            self._drain()

    def _writeOtherwise(self, data: bytes) -> None:
        """Write where more is to be minded than the bytes."""
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if self.TLS:
            if self.connected:
                self.protocol.write(data)
        else:
            self._writeBelow(data)

    def _writeBelow(self, data: bytes) -> None:
        """Write to the socket itself, in whatever state it is."""
        if self.disconnected or self._writeDisconnected or not data:
            return
        self._flush()
        self._uv.write(data)
        if self._clogged:
            self._maybePauseProducer()
        elif not self._plain:
            self._drain()

    def _maybePauseProducer(self) -> None:
        if (
            self.producer is not None
            and self.streamingProducer
            and not self.producerPaused
            and self._uv.get_write_buffer_size() > _FULL
        ):
            self.producerPaused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport.writeSequence`."""
        self.write(_joined(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer.registerProducer`."""
        if self.TLS:
            self.protocol.registerProducer(producer, streaming)
        else:
            self._registerBelow(producer, streaming)

    def _registerBelow(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(f"Cannot register {producer}, because {self.producer} was never unregistered.")
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = streaming
        self.producerPaused = False
        if not streaming:
            self._replan()
            if self._held:
                self._drain()
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer.unregisterProducer`."""
        if self.TLS:
            self.protocol.unregisterProducer()
        else:
            self._unregisterBelow()

    def _unregisterBelow(self) -> None:
        self.producer = None
        self._replan()
        if self.connected and self.disconnecting:
            self._drain()

    def loseConnection(self) -> None:
        """See `ITransport.loseConnection`."""
        if not self.TLS:
            self._loseBelow()
        elif self.connected and not self.disconnecting:
            self.protocol.loseConnection()

    def _loseBelow(self) -> None:
        if self.disconnected or self.disconnecting:
            return
        self.pauseProducing()
        if self._writeDisconnected:
            self.connectionLost(_DONE)
            return
        self.disconnecting = 1
        self._plain = False
        self._drain()

    def loseWriteConnection(self) -> None:
        """See `IHalfCloseableDescriptor.loseWriteConnection`."""
        self._writeDisconnecting = True
        self._plain = False
        self._drain()

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

    def unsentBytes(self) -> int:
        """Bytes written that the socket has not taken yet."""
        return len(self._held) + int(self._uv.get_write_buffer_size())

    # ---- Twisted's side: reading

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        self.reading = False
        if not self._corked:  # else who pauses for the time of one request costs no system call
            self._uv.pause_reading()

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        if self.connected and not self.disconnecting and not self._ended:
            self.reading = True
            if not self._corked:
                self._uv.resume_reading()

    # As descriptors have it; who looks after timeouts or memory calls these rather than the producer's.
    stopReading = pauseProducing
    startReading = resumeProducing

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`."""
        self.loseConnection()

    def stopConsuming(self) -> None:
        """Who produces has lost what it produces from."""
        self.unregisterProducer()
        self.loseConnection()

    # ---- Twisted's side: the rest

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

    def getHost(self) -> Any:
        """See `ITransport.getHost`."""
        return tcpAddress(self.socket.getsockname())

    def getPeer(self) -> Any:
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
    """How the TLS layer reaches the stream that it lies upon."""

    write = staticmethod(Stream._writeBelow)
    loseConnection = staticmethod(Stream._loseBelow)
    registerProducer = staticmethod(Stream._registerBelow)
    unregisterProducer = staticmethod(Stream._unregisterBelow)

    @staticmethod
    def writeSequence(stream: Stream, data: Iterable[bytes]) -> None:
        stream._writeBelow(_joined(data))


def _joined(data: Iterable[bytes]) -> bytes:
    try:
        return b"".join(data)
    except TypeError:
        raise TypeError("Data must be bytes") from None


def tcpAddress(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """The address of one end of a connection, as the socket names it."""
    if len(name) == 2:
        return IPv4Address("TCP", *name)
    # Python leaves the zone of a link-local address out of its text.
    host, _ = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return IPv6Address("TCP", host, *name[1:])


class ServerStream(Stream):
    """
    A connection that was accepted, or adopted.

    :param client: its peer, as the socket names it.
    :param server: the port that has accepted it, if any.
    :param sessionno: tells the connections of a port apart in the log.
    """

    __slots__ = ("client", "hostname", "server", "sessionno")

    def __init__(
        self, sock: socket.socket, protocol: Any, client: Any, server: Any, sessionno: int, reactor: UvloopReactor
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

    def getPeer(self) -> Any:
        """See `ITransport.getPeer`."""
        return (IPv4Address if len(self.client) == 2 else IPv6Address)("TCP", *self.client)


class ClientStream(Stream):
    """
    A connection that was asked for.

    :param connector: is told when it is lost.
    :param peer: the address that it is connected to.
    :param addr: what was asked for, as the socket names it.
    """

    __slots__ = ("_peer", "addr", "connector")

    _tlsClientDefault = True

    def __init__(
        self, sock: socket.socket, protocol: Any, connector: Any, peer: object, addr: object, reactor: UvloopReactor
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

    def getPeer(self) -> Any:
        """See `ITransport.getPeer`."""
        return self._peer

    def connectionLost(self, reason: Failure) -> None:
        """See `Stream.connectionLost`."""
        if not self.disconnected:
            super().connectionLost(reason)
            self.connector.connectionLost(reason)


class UNIXServerStream(ServerStream):
    """An accepted or adopted connection on a UNIX socket."""

    __slots__ = ()

    def __init__(
        self, sock: socket.socket, protocol: Any, client: Any, server: Any, sessionno: int, reactor: UvloopReactor
    ) -> None:
        super().__init__(sock, protocol, (client, None), server, sessionno, reactor)

    def _localName(self) -> object:
        return self.socket.getsockname()

    def _logName(self) -> object:
        return self._localName() if self.server is None else self.hostname

    def getHost(self) -> UNIXAddress:
        """See `ITransport.getHost`."""
        return UNIXAddress(self.socket.getsockname())

    def getPeer(self) -> UNIXAddress:
        """See `ITransport.getPeer`."""
        return UNIXAddress(self.hostname or None)

    def getTcpNoDelay(self) -> bool:
        """There is no such thing here."""
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no such thing here."""


class UNIXClientStream(ClientStream):
    """A connection to a UNIX socket."""

    __slots__ = ()

    getTcpNoDelay = UNIXServerStream.getTcpNoDelay
    setTcpNoDelay = UNIXServerStream.setTcpNoDelay

    def getHost(self) -> UNIXAddress:
        """See `ITransport.getHost`."""
        return UNIXAddress(None)


if startTLS is not None:
    classImplements(Stream, ITLSTransport)
