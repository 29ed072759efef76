"""
The output of a connection: bytes are sent, flushed, and the transport is ended in stages.

On a plain TCP or UNIX stream of Twisted's own, bytes go to the socket at once as long as nothing is queued: Twisted's
deferred write costs two system calls and a turn of the reactor more. What the socket does not take, and every other
kind of transport, goes through ``transport.write``.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Protocol

from twisted.internet import abstract, tcp
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IPushProducer,
    ISSLTransport,
)
from zope.interface import implementer

from .private import bufferedBytes

try:
    import fcntl
    import termios
except ImportError:  # no POSIX: what the kernel still holds cannot be told
    _QUEUED = None
else:
    _QUEUED = termios.TIOCOUTQ

#: Pieces that add up to more than this are not joined before they are sent.
_GATHER = 32768
#: Pieces that the kernel takes in one call (IOV_MAX where it is known).
_PARTS = 1024


class Sender(Protocol):
    """What sends through an `OutputStream`."""

    def flushed(self) -> None:
        """The transport has sent what it held."""


@implementer(IPushProducer)
class OutputStream:
    """
    Sends through any transport by its ``write``.

    :ivar pending: whether the transport holds more than it wants to: a producer should wait for ``flushed``.
    :ivar written: bytes sent, or kept to be sent, so far.
    :param owner: its ``flushed`` is called when that is over.
    """

    __slots__ = ("_owner", "pending", "transport", "written")

    def __init__(self, transport: Any, owner: Sender) -> None:
        self.transport = transport
        self.pending = False
        self._owner = owner
        self.written = 0
        self._begin()

    def _begin(self) -> None:
        self.transport.registerProducer(self, True)

    def write(self, parts: Sequence[bytes]) -> None:
        """Send bytes, in order: now, or once the transport takes them."""
        if len(parts) == 1:
            self.written += len(parts[0])
            self.transport.write(parts[0])
            return
        size = sum(map(len, parts))
        self.written += size
        if size <= _GATHER:
            parts = (b"".join(parts),)
        for data in parts:
            self.transport.write(data)

    def release(self) -> None:
        """Let go of the transport; what was written is still sent."""
        self.transport.unregisterProducer()

    @property
    def halfCloses(self) -> bool:
        """Whether our side can be ended while the peer's goes on; on TLS the closure alert ends both in turn."""
        return not ISSLTransport.providedBy(self.transport) and IHalfCloseableDescriptor.providedBy(self.transport)

    def close(self, *, half: bool = False) -> None:
        """End the connection once everything is sent: our side of it only, or the whole."""
        self.release()
        if half:
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection now, by a reset where the transport has such a thing."""
        self.release()
        self.pending = True  # nothing is sent any more: a producer waits, and hears that the connection is lost
        abort = getattr(self.transport, "abortConnection", None) or self.transport.loseConnection
        abort()

    def unsent(self) -> int:
        """Bytes that the peer has not acknowledged yet, as far as can be told."""
        return unsent(self.transport)

    def taken(self) -> int:
        """Bytes that the peer has acknowledged, as far as can be told."""
        return self.written - self.unsent()

    def pauseProducing(self) -> None:
        """The transport holds enough."""
        self.pending = True

    def resumeProducing(self) -> None:
        """The transport has sent what it held."""
        self.pending = False
        self._owner.flushed()

    def stopProducing(self) -> None:
        """The connection is being lost; its protocol will hear of it."""


class SocketOutput(OutputStream):
    """
    Sends through Twisted's own stream sockets, at once where possible.

    What the socket does not take waits here, uncopied. Until it has all been sent we are the transport's pull producer:
    that is how we hear that the socket takes more, and how the transport knows that it has to wait before it closes.
    """

    __slots__ = ("_held", "_queue")

    def _begin(self) -> None:
        self._queue: deque[bytes | memoryview] | None = None
        self._held = 0

    def write(self, parts: Sequence[bytes]) -> None:
        """See `OutputStream.write`."""
        if len(parts) == 1:
            data = parts[0]
            size = len(data)
        else:
            size = sum(map(len, parts))
            data = b"".join(parts) if size <= _GATHER else b""
        if not self.transport.connected:
            return
        self.written += size
        if self.pending:
            self._keep(parts, size)
            return
        try:
            if data:
                sent = self.transport.socket.send(data)
            else:
                sent = self.transport.socket.sendmsg(parts[:_PARTS])
        except OSError:
            sent = 0  # would block; or is lost, which the transport finds out by itself and reports as always
        if sent < size:
            self._keep(parts, size)
            self._sent(sent)
            self._wait()

    def sendFile(self, file: int, offset: int, count: int) -> int:
        """
        Have the kernel send some of a file, when nothing is waiting to be sent before it.

        :param file: its descriptor.
        :return: how many bytes went, perhaps fewer; 0: none now, or the file has no more. `pending` tells them apart.
        :raises OSError: when this file cannot be sent in this way.
        """
        if self.pending or not self.transport.connected:
            return 0
        try:
            sent = os.sendfile(self.transport.socket.fileno(), file, offset, count)
        except (BlockingIOError, ConnectionError):
            self._wait()
            return 0
        self.written += sent
        return sent

    def _wait(self) -> None:
        """Hear when the socket takes more."""
        self.transport.registerProducer(self, False)  # calls resumeProducing once, before we are pending
        self.pending = True
        self.transport.startWriting()

    def resumeProducing(self) -> None:
        """See `OutputStream.resumeProducing`."""
        if not self.pending:
            return
        if queue := self._queue:
            try:
                self._sent(self.transport.socket.sendmsg(list(islice(queue, _PARTS))))
            except OSError:
                pass
            if queue:
                self.transport.startWriting()
                return
        self.pending = False
        self.transport.unregisterProducer()
        self._owner.flushed()

    def _keep(self, parts: Sequence[bytes], size: int) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.extend(parts)
        self._held += size

    def _sent(self, count: int) -> None:
        """The socket has taken so many bytes of the queue."""
        queue = self._queue
        assert queue is not None
        self._held -= count
        while queue and count >= len(queue[0]):
            count -= len(queue.popleft())
        if count:
            queue[0] = memoryview(queue[0])[count:]
        elif not queue:
            self._queue = None

    def unsent(self) -> int:
        """See `OutputStream.unsent`."""
        return self._held + super().unsent()

    def release(self) -> None:
        """See `OutputStream.release`."""
        if self.pending:
            self.pending = False
            self.transport.unregisterProducer()
            queue, self._queue, self._held = self._queue, None, 0
            if queue:
                self.transport.writeSequence([bytes(part) for part in queue])

    def abort(self) -> None:
        """See `OutputStream.abort`."""
        self._queue, self._held = None, 0
        super().abort()


def outputFor(transport: Any, owner: Sender) -> OutputStream:
    """The fastest stream that is safe for this transport: straight to the socket where it is Twisted's own."""
    plain = isinstance(transport, tcp.Connection) and type(transport).write is tcp.Connection.write
    return (SocketOutput if plain and not transport.TLS else OutputStream)(transport, owner)


def unsent(transport: Any) -> int:
    """
    Bytes written to a transport that the peer has not acknowledged, as far as can be told.

    Counts what the transport below all wrappers holds, and what the kernel does (TIOCOUTQ). One that is not
    Twisted's own may count for itself in a method ``unsentBytes``.
    """
    while (lower := getattr(transport, "transport", None)) is not None and lower is not transport:
        transport = lower
    held = 0
    if (own := getattr(transport, "unsentBytes", None)) is not None:
        held = int(own())
    elif isinstance(transport, abstract.FileDescriptor):
        held = bufferedBytes(transport)
    handle = getattr(transport, "socket", None)
    if _QUEUED is None or not isinstance(handle, socket.socket):
        return held
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(handle.fileno(), _QUEUED, b"\0\0\0\0"))
    except (OSError, ValueError):  # it is closed
        return held
    return held + int(queued)
