"""
The way out of a connection on uvloop: what is written is held, sent, and waited for.

uvloop sends at once. What is written while data are being received, and small writes within one turn of the loop, are
therefore held and leave together: a system call costs more than all the rest of a write, and of several small segments
in a row the second would wait for the acknowledgement of the first (RFC 896).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from .opening import LogContext, Opening

if TYPE_CHECKING:
    from .loop import TransportReactor

#: Bytes of small writes that are held to leave together. What exceeds this is sent, so that backpressure is felt.
_HELD = 16384
#: Unsent bytes above which a push producer is paused (Twisted's ``FileDescriptor.bufferSize``).
_FULL = 65536

DONE = Failure(ConnectionDone())

_log = Logger()


class WritingTransport:
    """
    What a transport writes, and how it ends once that is sent; `UvloopTransport` adds reading.

    :param sock: connected; the transport owns it from now on.
    :ivar reactor: that it belongs to.
    """

    # A dictionary is made only where something is added, as startTLS does.
    __slots__ = (
        "TLS",
        "__dict__",
        "__weakref__",
        "_clogged",
        "_corked",
        "_draining",
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
        "socket",
        "streamingProducer",
    )

    def __init__(self, sock: socket.socket, protocol: Any, reactor: TransportReactor) -> None:
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
        self._writeDisconnecting = self._writeDisconnected = False
        self._logContext = LogContext(self)
        self._uv: Any = Opening()

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

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport.writeSequence`."""
        self.write(joined(data))

    def _flush(self) -> None:
        if self._held:
            held = self._held
            self._held = b""
            self._uv.write(held)

    def unsentBytes(self) -> int:
        """Bytes written that the socket has not taken yet."""
        return len(self._held) + int(self._uv.get_write_buffer_size())

    # Producers.

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

    def stopConsuming(self) -> None:
        """Who produces has lost what it produces from."""
        self.unregisterProducer()
        self.loseConnection()

    def _maybePauseProducer(self) -> None:
        if (
            self.producer is not None
            and self.streamingProducer
            and not self.producerPaused
            and self._uv.get_write_buffer_size() > _FULL
        ):
            self.producerPaused = True
            self.producer.pauseProducing()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol.pause_writing`."""
        self._clogged = True
        self._plain = False
        self._maybePauseProducer()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol.resume_writing`."""
        self._clogged = False
        self._run(self._drained)

    # What waits until everything is sent.

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
            self.connectionLost(DONE)
            return
        self.disconnecting = 1
        self._plain = False
        self._drain()

    def loseWriteConnection(self) -> None:
        """See `IHalfCloseableDescriptor.loseWriteConnection`."""
        self._writeDisconnecting = True
        self._plain = False
        self._drain()

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

    # What application code does to us.

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
        _log.failure("{transport!r}: its protocol or producer failed", reason, transport=self)
        self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over."""
        raise NotImplementedError

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        raise NotImplementedError

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        raise NotImplementedError


def joined(data: Iterable[bytes]) -> bytes:
    try:
        return b"".join(data)
    except TypeError:
        raise TypeError("Data must be bytes") from None
