"""
The way out of a connection: octets are sent, flushed, and the transport is ended in stages.

On a plain TCP or UNIX stream of Twisted's own, octets go to the socket at once as long as nothing is queued: Twisted's
deferred write costs two system calls and a turn of the reactor more. What the socket does not take, and every other
kind of transport, goes through ``transport.write``.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet import abstract, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
    ITransport,
)
from zope.interface import implementer

from ..config import TcpKeepAlive

try:
    import fcntl
    import termios
except ImportError:  # no POSIX: what the kernel still holds cannot be told
    _QUEUED = None
else:
    _QUEUED = termios.TIOCOUTQ

#: Pieces that add up to more than this are not joined before they are sent.
_GATHER = 32768


class Sender(Protocol):
    """What sends through an `Outlet`."""

    def flushed(self) -> None:
        """The transport has sent what it held."""


@implementer(IPushProducer)
class Outlet:
    """
    Sends through any transport by its ``write``.

    :ivar pending: whether the transport holds more than it wants to: whoever produces should wait for ``flushed``.
    :param owner: is told when that is over.
    """

    __slots__ = ("_owner", "_written", "pending", "transport")

    def __init__(self, transport: Any, owner: Sender) -> None:
        self.transport = transport
        self.pending = False
        self._owner = owner
        self._written = 0
        self._begin()

    def _begin(self) -> None:
        self.transport.registerProducer(self, True)

    def write(self, parts: Sequence[bytes]) -> None:
        """Send octets, in order, sooner or later."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._written += len(data)
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
        self.pending = True  # nothing is sent any more: who produces waits, and hears that the connection is lost
        abort = getattr(self.transport, "abortConnection", None) or self.transport.loseConnection
        abort()

    def unsent(self) -> int:
        """Octets that the peer has not acknowledged yet, as far as can be told."""
        return unsent(self.transport)

    def taken(self) -> int:
        """Octets that the peer has acknowledged, as far as can be told."""
        return self._written - self.unsent()

    def pauseProducing(self) -> None:
        """The transport holds enough."""
        self.pending = True

    def resumeProducing(self) -> None:
        """The transport has sent what it held."""
        self.pending = False
        self._owner.flushed()

    def stopProducing(self) -> None:
        """The connection is being lost; its protocol will hear of it."""


class DirectOutlet(Outlet):
    """
    Sends through Twisted's own stream sockets, at once where possible.

    While the transport holds octets of ours, we are its pull producer: that is how it tells that it has sent them all.
    """

    __slots__ = ()

    def _begin(self) -> None:
        pass

    def write(self, parts: Sequence[bytes]) -> None:
        """See `Outlet.write`."""
        if len(parts) == 1:
            data = parts[0]
        else:
            data = b"".join(parts) if sum(map(len, parts)) <= _GATHER else b""
        transport = self.transport
        if self.pending or not transport.connected:
            self._written += sum(map(len, parts))
            transport.writeSequence(parts)
            return
        try:
            if data:
                size = len(data)
                sent = transport.socket.send(data)
            else:
                size = sum(map(len, parts))
                sent = transport.socket.sendmsg(parts)
        except OSError:
            sent = 0  # would block; or is lost, which the transport finds out by itself and reports as always
        self._written += size
        if sent < size:
            self._queue(_after(parts, sent))

    def _queue(self, parts: list[bytes]) -> None:
        transport = self.transport
        transport.writeSequence(parts)
        transport.registerProducer(self, False)  # calls resumeProducing once, before we are pending
        self.pending = True

    def resumeProducing(self) -> None:
        """See `Outlet.resumeProducing`."""
        if self.pending:
            self.pending = False
            self.transport.unregisterProducer()
            self._owner.flushed()

    def release(self) -> None:
        """See `Outlet.release`."""
        if self.pending:
            self.pending = False
            self.transport.unregisterProducer()


def outlet(transport: ITransport, owner: Sender) -> Outlet:
    """The fastest outlet that is safe for this transport."""
    direct = isinstance(transport, tcp.Connection) and not getattr(transport, "TLS", False)
    return (DirectOutlet if direct else Outlet)(transport, owner)


def _after(parts: Sequence[bytes], sent: int) -> list[bytes]:
    """What is left of the parts once so many octets were sent."""
    rest: list[bytes] = []
    for part in parts:
        if sent < len(part):
            rest.append(part[sent:])
        sent = max(0, sent - len(part))
    return rest


def unsent(transport: Any) -> int:
    """
    Octets written to a transport that the peer has not acknowledged, as far as can be told.

    Counts what Twisted's transport below all wrappers holds, and what the kernel does (TIOCOUTQ). A test's transport
    may count for itself in a method ``unsentOctets``.
    """
    while (lower := getattr(transport, "transport", None)) is not None and lower is not transport:
        transport = lower
    own = getattr(transport, "unsentOctets", None)
    if own is not None:
        return int(own())
    held = 0
    if isinstance(transport, abstract.FileDescriptor):
        held = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    handle = getattr(transport, "socket", None)
    if _QUEUED is None or not isinstance(handle, socket.socket):
        return held
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(handle.fileno(), _QUEUED, b"\0\0\0\0"))
    except (OSError, ValueError):  # it is closed
        return held
    return held + int(queued)


def isTcp(transport: Any) -> bool:
    """Whether there is TCP below, and its options can be set. A UNIX stream has the methods, and no use for them."""
    return ITCPTransport.providedBy(transport) and isinstance(transport.getHost(), (IPv4Address, IPv6Address))


def setTcpKeepAlive(transport: Any, setting: TcpKeepAlive | None) -> None:
    """Switch the kernel's keep-alive probes of one TCP connection on or off (RFC 1122 4.2.3.6)."""
    transport.setTcpKeepAlive(setting is not None)
    if setting is None:
        return
    while not isinstance(handle := getattr(transport, "socket", None), socket.socket):
        if (transport := getattr(transport, "transport", None)) is None:
            return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, setting.idle)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, setting.interval)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, setting.count)


def checkTcpKeepAlive(setting: TcpKeepAlive | None) -> None:
    """
    See that the platform can do what the setting asks.

    :raises ValueError: when it cannot (ledger T-01).
    """
    needed = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    if setting is not None and not all(hasattr(socket, name) for name in needed):
        raise ValueError("this platform cannot set the intervals of TCP keep-alive")
