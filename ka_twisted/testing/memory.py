"""
Doubles for tests of what is built with this package: a server in memory, with a clock that only moves when it is told.

`MemoryServer` runs real connections of a real `KeepAliveFactory`; only the transport and the time are made up.
Clients send in pieces, stall as readers, half-close and vanish; what they receive can be read as bytes or as parsed
responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import Limits
from ..core.exchange import Exchange
from ..core.framing import Delimiter, Framing
from ..core.headers import NO_HEADERS as NO_TRAILERS
from ..core.headers import Headers
from ..core.reasons import CloseReason
from ..http1.buffer import ReceiveBuffer
from ..http1.incoming import body_reader
from ..http1.messages import ResponseHead, parse_response_head
from ..interfaces import IConnection, IConnectionObserver
from ..server.factory import Handler, KeepAliveFactory
from ..server.protocol import KeepAliveProtocol

#: Bytes that a transport accepts before it pauses its producer, as Twisted's own do.
_HIGH_WATER = 65536


@dataclass(frozen=True)
class ParsedResponse:
    """
    A response as a client reads it.

    :ivar body: decoded.
    :ivar complete: False when the connection ended, or the bytes so far end, inside the body.
    """

    status: int
    headers: Headers
    body: bytes
    trailers: Headers = NO_TRAILERS
    minor: int = 1
    complete: bool = True


@implementer(ITCPTransport, IHalfCloseableDescriptor)
class MemoryTransport:
    """
    The server's end of a connection in memory, with the semantics of Twisted's TCP transport.

    :param window: bytes that the peer takes without reading; None: all of them.
    """

    connected = True
    disconnecting = False

    def __init__(self, clock: Clock, peer: IPv4Address, host: IPv4Address) -> None:
        self._clock = clock
        self._peer, self._host = peer, host
        self.protocol: Any = None
        #: Bytes that have reached the client.
        self.delivered = bytearray()
        #: Bytes that have not.
        self.queued = bytearray()
        self.window: int | None = None
        self.ended = False
        self.aborted = False
        self.reading = True
        self.inbound: list[bytes | None] = []
        self.noDelay = False
        self.keepAlive = False
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._halfClosing = False
        self._scheduled = False

    # What the protocol calls.

    def write(self, data: bytes) -> None:
        """See `ITransport.write`."""
        if not self.connected or self.ended or self.aborted:
            return
        self.queued += data
        self._move()
        if self._producer is not None and self._streaming and len(self.queued) > _HIGH_WATER and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport.writeSequence`."""
        self.write(b"".join(data))

    def registerProducer(self, producer: IPushProducer | IPullProducer, streaming: bool) -> None:
        """See `IConsumer.registerProducer`."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        self._producer, self._streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer.unregisterProducer`."""
        self._producer = None
        self._paused = False
        self._move()

    def loseConnection(self) -> None:
        """See `ITransport.loseConnection`: everything written is delivered first."""
        self.disconnecting = True
        self._move()

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport.loseWriteConnection`."""
        self._halfClosing = True
        self._move()

    def abortConnection(self) -> None:
        """See `ITCPTransport.abortConnection`."""
        if self.connected:
            self.aborted = True
            self.queued.clear()
            self._clock.callLater(0, self.lose, ConnectionAborted())

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        self.reading = False

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        self.reading = True
        self._schedule()

    def stopProducing(self) -> None:
        """See `IPushProducer.stopProducing`."""
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        """See `ITransport.getPeer`."""
        return self._peer

    def getHost(self) -> IPv4Address:
        """See `ITransport.getHost`."""
        return self._host

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport.getTcpNoDelay`."""
        return self.noDelay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport.setTcpNoDelay`."""
        self.noDelay = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport.getTcpKeepAlive`."""
        return self.keepAlive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport.setTcpKeepAlive`."""
        self.keepAlive = bool(enabled)

    def readConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor.readConnectionLost`."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.lose(ConnectionDone())

    def writeConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor.writeConnectionLost`."""

    def unsentBytes(self) -> int:
        """Bytes that the client has not taken; see `server.transport.unsent`."""
        return len(self.queued)

    # What the client does.

    def give(self, size: int | None) -> None:
        """Let so many more bytes through to the client; None: all that will ever come."""
        self.window = None if size is None else (self.window or 0) + size
        self._move()

    def arrive(self, data: bytes | None) -> None:
        """Bytes from the client, or None for its end; they wait while reading is paused."""
        self.inbound.append(data)
        self._read()

    def lose(self, reason: BaseException) -> None:
        """The connection is gone."""
        if self.connected:
            self.connected = False
            self.ended = True
            self.inbound.clear()
            self._producer = None
            self.protocol.connectionLost(Failure(reason))

    def _move(self) -> None:
        """Deliver what may be delivered, then do what had to wait for it."""
        count = len(self.queued) if self.window is None else min(self.window, len(self.queued))
        if count:
            self.delivered += self.queued[:count]
            del self.queued[:count]
            if self.window is not None:
                self.window -= count
        if not self.queued:
            self._emptied()

    def _emptied(self) -> None:
        producer = self._producer
        if producer is not None:
            if not self._streaming or self._paused:
                self._paused = False
                if not self._scheduled:
                    self._scheduled = True
                    self._clock.callLater(0, self._resumeProducer)
        elif self.disconnecting and self.connected:
            self._clock.callLater(0, self.lose, ConnectionDone())
        elif self._halfClosing and not self.ended:
            self.ended = True
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()

    def _resumeProducer(self) -> None:
        self._scheduled = False
        if self._producer is not None and not self.queued:
            self._producer.resumeProducing()

    def _schedule(self) -> None:
        if self.inbound:
            self._clock.callLater(0, self._read)

    def _read(self) -> None:
        while self.inbound and self.reading and self.connected and not (self.disconnecting or self.aborted):
            data = self.inbound.pop(0)
            if data is None:
                self.readConnectionLost(Failure(ConnectionDone()))
            else:
                self.protocol.dataReceived(data)


class MemoryClient:
    """
    A client of a `MemoryServer`.

    :ivar protocol: the server's protocol of this connection.
    """

    def __init__(self, server: MemoryServer, protocol: KeepAliveProtocol, transport: MemoryTransport) -> None:
        self._server = server
        self._transport = transport
        self.protocol = protocol

    def send(self, data: bytes, pieces: int | None = None) -> None:
        """
        Send bytes.

        :param pieces: size of the segments in which they arrive; None: one segment.
        """
        step = pieces or len(data) or 1
        for start in range(0, len(data), step):
            self._transport.arrive(data[start : start + step])
        self._server.settle()

    def halfClose(self) -> None:
        """End our side; go on receiving."""
        self._transport.arrive(None)
        self._server.settle()

    def disconnect(self) -> None:
        """Be gone, with the connection closed in order."""
        self._transport.lose(ConnectionDone())
        self._server.settle()

    def reset(self) -> None:
        """Be gone, with a reset."""
        self._transport.lose(ConnectionLost())
        self._server.settle()

    def stall(self, window: int = 0) -> None:
        """Stop reading, once so many more bytes have come."""
        self._transport.window = window

    def resume(self, size: int | None = None) -> None:
        """Read so many more bytes; None: whatever comes."""
        self._transport.give(size)
        self._server.settle()

    @property
    def received(self) -> bytes:
        """All that has come."""
        return bytes(self._transport.delivered)

    def take(self) -> bytes:
        """All that has come since the last `take`."""
        data = bytes(self._transport.delivered)
        self._transport.delivered.clear()
        return data

    @property
    def responses(self) -> list[ParsedResponse]:
        """What has come, as final responses; see `parseResponses`."""
        return [response for response in self.allResponses if response.status >= 200]

    @property
    def allResponses(self) -> list[ParsedResponse]:
        """The same, interim responses included."""
        methods = self._server.methods.get(self.protocol.id, {})
        known = [methods.get(number, b"GET") for number in range(1, max(methods, default=0) + 1)]
        return parseResponses(self.received, known, ended=self.ended)

    @property
    def transport(self) -> MemoryTransport:
        """The server's end of the connection."""
        return self._transport

    @property
    def ended(self) -> bool:
        """Whether the server has ended its side, or the whole."""
        return self._transport.ended

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return not self._transport.connected

    @property
    def wasReset(self) -> bool:
        """Whether the server ended it by a reset."""
        return self._transport.aborted

    @property
    def paused(self) -> bool:
        """Whether the server holds us back by flow control."""
        return not self._transport.reading

    @property
    def closeReason(self) -> CloseReason | None:
        """Why the connection ends or has ended; None while it does not."""
        return self.protocol.closeReason


@implementer(IConnectionObserver)
class _Witness:
    """Keeps, by connection, why it ended and which methods were answered on it."""

    def __init__(self) -> None:
        self.reasons: dict[int, CloseReason] = {}
        self.methods: dict[int, dict[int, bytes]] = {}

    def connectionOpened(self, connection: IConnection) -> None:
        """See `IConnectionObserver`."""

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        """See `IConnectionObserver`."""
        self.methods.setdefault(connection.id, {})[exchange.number] = exchange.method

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        self.reasons[connection.id] = reason


class MemoryServer:
    """
    A server in memory.

    :param handler: answers requests, as for `KeepAliveFactory`; or a function that makes a factory from a clock.
    :param settings: further arguments of `KeepAliveFactory`.

    ::

        server = MemoryServer(lambda request: b"hello", timeouts=Timeouts(idle=15))
        client = server.connect()
        client.send(b"GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n")
        assert client.responses[0].body == b"hello"
        server.advance(15)
        assert client.closeReason == CloseReason.IDLE_TIMEOUT
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        factory: Callable[[Clock], KeepAliveFactory] | None = None,
        **settings: Any,
    ) -> None:
        #: Moves when `advance` is called.
        self.clock = Clock()
        if factory is not None:
            self.factory = factory(self.clock)
        else:
            settings.setdefault("wallClock", lambda: _EPOCH + self.clock.seconds())
            self.factory = KeepAliveFactory(handler or _hello, reactor=self.clock, **settings)
        witness = _Witness()
        self.closeReasons = witness.reasons
        self.methods = witness.methods
        self.factory.observers = (*self.factory.observers, witness)
        self._ports = 40000

    def connect(self, peer: str = "127.0.0.1") -> MemoryClient:
        """Open a connection from an address."""
        self._ports += 1
        address = IPv4Address("TCP", peer, self._ports)
        transport = MemoryTransport(self.clock, address, IPv4Address("TCP", "127.0.0.1", 8080))
        protocol = self.factory.buildProtocol(address)
        transport.protocol = protocol
        client = MemoryClient(self, protocol, transport)
        protocol.makeConnection(transport)
        self.settle()
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way is called when it is due."""
        target = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and (due := min(call.getTime() for call in calls)) <= target:
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        self.clock.advance(max(0.0, target - self.clock.seconds()))
        self.settle()

    def settle(self) -> None:
        """Let the reactor turn until nothing is left to be done now."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)


#: Sun, 01 Nov 2026 00:00:00 GMT: the wall clock of a `MemoryServer` at its start.
_EPOCH = 1793491200.0


def _hello(request: object) -> bytes:
    return b"hello\n"


def parseResponses(data: bytes, methods: Iterable[bytes] = (), *, ended: bool = False) -> list[ParsedResponse]:
    """
    Read bytes as the sequence of responses that they are, interim ones included.

    :param methods: of the requests, in order, where some were HEAD.
    :param ended: whether the connection has ended, which ends a response without other framing.
    :raises RemoteProtocolError: when they are none.
    """
    buffer = ReceiveBuffer()
    buffer.append(data)
    responses: list[ParsedResponse] = []
    pending = iter(methods)
    method: bytes | None = None
    while (end := buffer.data.find(b"\r\n\r\n", buffer.position)) >= 0:
        head = parse_response_head(buffer.data[buffer.position : end + 4])
        buffer.position = end + 4
        if method is None:
            method = next(pending, b"GET")
        framing = _framing(head, method)
        if head.status >= 200:
            method = None
        responses.append(_readBody(head, framing, buffer, ended))
        if not responses[-1].complete or head.status == 101:
            break
    return responses


def _framing(head: ResponseHead, method: bytes) -> Framing | None:
    """How the body of a response ends; None where there is none."""
    if head.status < 200 or head.status in (204, 304) or method == b"HEAD":
        return None
    if b"transfer-encoding" in head.headers:
        return Framing(Delimiter.CHUNKED, None, "", "")
    lengths = head.headers.values(b"content-length")
    if lengths:
        return Framing(Delimiter.LENGTH, int(lengths[0]), "", "")
    return Framing(Delimiter.CLOSE, None, "", "")


def _readBody(head: ResponseHead, framing: Framing | None, buffer: ReceiveBuffer, ended: bool) -> ParsedResponse:
    if framing is None or framing.length == 0:
        return ParsedResponse(head.status, head.headers, b"", minor=head.minor)
    reader = body_reader(framing, _UNLIMITED)
    pieces = []
    while piece := reader.read(buffer):
        pieces.append(piece)
    complete = ended if framing.delimiter is Delimiter.CLOSE else reader.complete
    return ParsedResponse(head.status, head.headers, b"".join(pieces), reader.trailers, head.minor, complete)


_UNLIMITED = Limits(maxChunkLine=1 << 20, maxChunkExtensions=0, maxTrailerBytes=1 << 20, maxTrailerFields=0)
