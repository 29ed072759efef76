"""A socket without a network: what the kernel does for one connection, as far as a server can tell."""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.address import IPv4Address, IPv6Address

#: Bytes that the kernel takes from the server before the client reads any of them (SO_SNDBUF).
SEND_BUFFER = 65536

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class MemorySocket:
    """
    The server's end of a connection: a connected, non-blocking stream socket.

    The methods of a `socket.socket` are what a transport calls; the others are what the client does, and sees.

    :ivar inbound: segments from the client that the server has not read.
    :ivar delivered: bytes that have reached the client.
    :ivar buffered: bytes that the server has sent, and the client has not taken.
    :ivar window: bytes that the client takes without reading; None: all of them.
    :ivar sentEnd: whether the server has ended its side, or the whole.
    :ivar sentReset: whether it has ended the whole by a reset.
    """

    def __init__(self, host: IPv4Address | IPv6Address) -> None:
        self.host = host
        self.inbound: deque[bytes] = deque()
        self.delivered = bytearray()
        self.buffered = bytearray()
        self.window: int | None = None
        self.sentEnd = False
        self.sentReset = False
        self._receivedEnd = False
        self._receivedReset = False
        #: Its socket is closed: the next bytes are answered by a reset (RFC 9293 3.10.7.1).
        self._unattended = False
        self._options: dict[tuple[int, int], object] = {}

    # What a transport calls.

    def setblocking(self, blocking: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        """There is no descriptor: ``sendfile`` and its like do not work here."""
        return -1

    def recv(self, size: int) -> bytes:
        """See `socket.socket.recv`."""
        if self.inbound:
            data = self.inbound.popleft()
            if len(data) > size:
                self.inbound.appendleft(data[size:])
            return data[:size]
        if self._receivedEnd:  # also when a reset has come behind it
            return b""
        if self._receivedReset:
            raise ConnectionResetError(errno.ECONNRESET, "the client has reset the connection")
        raise BlockingIOError(errno.EWOULDBLOCK, "nothing has come")

    def send(self, data: bytes | memoryview) -> int:
        """See `socket.socket.send`."""
        if self.sentEnd or self._receivedReset:
            raise BrokenPipeError(errno.EPIPE, "the connection is not there any more")
        view = memoryview(data)
        if self._unattended:
            self._receivedReset = True
            return len(view)
        count = len(view) if self.window is None else min(len(view), self.window + SEND_BUFFER - len(self.buffered))
        if count <= 0 < len(view):
            raise BlockingIOError(errno.EWOULDBLOCK, "the client does not read")
        self.buffered += view[:count]
        self._move()
        return count

    def sendmsg(self, buffers: Iterable[bytes | memoryview]) -> int:
        """See `socket.socket.sendmsg`."""
        return self.send(b"".join(buffers))

    def shutdown(self, how: int) -> None:
        """See `socket.socket.shutdown`."""
        if self._receivedReset:
            raise OSError(errno.ENOTCONN, "the connection is not there any more")
        if how != socket.SHUT_RD:
            self.sentEnd = True
        if how != socket.SHUT_WR:
            self._receivedEnd = True

    def close(self) -> None:
        """See `socket.socket.close`."""
        self.sentEnd = self._receivedEnd = True
        self.inbound.clear()
        if self._options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == _RESET_ON_CLOSE:
            self.sentReset = not self._receivedReset
            self.buffered.clear()

    def getsockopt(self, level: int, option: int) -> object:
        """See `socket.socket.getsockopt`."""
        return self._options.get((level, option), 0)

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """See `socket.socket.setsockopt`."""
        self._options[level, option] = value

    # What the client does, and what polling sees.

    @property
    def readable(self) -> bool:
        """Whether `recv` has something to say."""
        return bool(self.inbound) or self._receivedEnd or self._receivedReset

    @property
    def writable(self) -> bool:
        """Whether polling says that `send` would not block: as on Linux, once a third of the buffer is free."""
        return self.broken or self.sentEnd or len(self.buffered) * 3 <= SEND_BUFFER * 2

    @property
    def broken(self) -> bool:
        """Whether the connection is gone by a reset of the client's."""
        return self._receivedReset

    def arrive(self, data: bytes) -> None:
        """A segment comes from the client."""
        if data and not (self._receivedEnd or self._receivedReset):
            self.inbound.append(data)

    def arriveEnd(self) -> None:
        """The client has ended its side."""
        self._receivedEnd = True

    def arriveReset(self) -> None:
        """The client has reset the connection: what it had not taken is lost."""
        self._receivedReset = True
        self.buffered.clear()

    def leave(self) -> None:
        """The client has closed its socket; with bytes in it that it had not read, that is a reset."""
        self._unattended = True
        if self.buffered:
            self.arriveReset()
        else:
            self.arriveEnd()

    def open(self, size: int | None) -> None:
        """The client takes so many more bytes; None: all that will ever come."""
        self.window = None if size is None else (self.window or 0) + size
        self._move()

    def _move(self) -> None:
        count = len(self.buffered) if self.window is None else min(self.window, len(self.buffered))
        self.delivered += self.buffered[:count]
        del self.buffered[:count]
        if self.window is not None:
            self.window -= count
