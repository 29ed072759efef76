"""Twisted's own TCP transport on a socket in memory, polled by a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..net.private import bufferedBytes
from .sockets import MemorySocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.address import IPv4Address, IPv6Address
    from twisted.internet.interfaces import IDelayedCall

_log = Logger()


class _Poller:
    """
    Just so much of a reactor that one transport of Twisted's runs on it.

    What is ready is done in the next turn of the clock, as by Twisted's reactors on ``poll`` and ``epoll``.
    """

    def __init__(self, clock: Clock, socket: MemorySocket) -> None:
        self._clock = clock
        self._socket = socket
        self._transport: MemoryTransport | None = None
        self._scheduled = self._busy = False
        self.reading = self.writing = False
        #: Whether the server has read the end of the client's side.
        self.readEnd = False

    def callLater(self, delay: float, call: Callable[..., object], *arguments: object) -> IDelayedCall:
        """See `IReactorTime.callLater`."""
        return self._clock.callLater(delay, call, *arguments)

    def addReader(self, transport: MemoryTransport) -> None:
        """See `IReactorFDSet.addReader`."""
        self._add(transport)
        self.reading = True
        self.look()

    def _add(self, transport: MemoryTransport) -> None:
        if transport.disconnected:
            raise ValueError("the connection is lost: there is no descriptor to poll")
        self._transport = transport

    def removeReader(self, transport: MemoryTransport) -> None:
        """See `IReactorFDSet.removeReader`."""
        self.reading = False

    def addWriter(self, transport: MemoryTransport) -> None:
        """See `IReactorFDSet.addWriter`."""
        self._add(transport)
        self.writing = True
        self.look()

    def removeWriter(self, transport: MemoryTransport) -> None:
        """See `IReactorFDSet.removeWriter`."""
        self.writing = False

    @property
    def _readable(self) -> bool:
        return self.reading and self._socket.readable

    def look(self) -> None:
        """See whether there is something to do in the next turn."""
        if not self._scheduled and (self._readable or (self.writing and self._socket.writable)):
            self._scheduled = True
            self._clock.callLater(0, self._turn)

    def read(self) -> None:
        """Read what can be read, now; in the next turn where this is within another."""
        while self._readable and not self._busy:
            self._do(self._read)
        self.look()

    def _turn(self) -> None:
        self._scheduled = False
        if self._readable:
            self._do(self._read)
        elif self.writing and self._socket.broken:
            self._end(ConnectionLost(), read=False)
        if self.writing and self._socket.writable:
            self._do(self._write)
        self.look()

    def _read(self) -> None:
        assert self._transport is not None
        self._end(self._transport.doRead(), read=True)

    def _write(self) -> None:
        assert self._transport is not None
        self._end(self._transport.doWrite(), read=False)

    def _do(self, act: Callable[[], None]) -> None:
        self._busy = True
        try:
            act()
        except Exception as error:
            _log.failure("the protocol or producer of {transport!r} failed", transport=self._transport)
            self._end(error, read=False)
        finally:
            self._busy = False

    def _end(self, why: BaseException | None, *, read: bool) -> None:
        """End the connection, or the peer's side of it, when there is a reason to."""
        transport = self._transport
        if why is None or transport is None:
            return
        self.reading = False
        if read and isinstance(why, ConnectionDone):
            self.readEnd = True
            transport.readConnectionLost(Failure(why))
            return
        self.writing = False
        transport.connectionLost(Failure(why))


class MemoryTransport(tcp.Server):
    """
    The server's end of a connection in memory: Twisted's own transport of accepted connections, with all that it does.

    :param clock: it reads and writes in the turns of this clock; `arrive` has bytes read at once.
    :param peer: the client's address.
    :param host: the server's.
    """

    protocol: Any

    def __init__(self, clock: Clock, peer: IPv4Address | IPv6Address, host: IPv4Address | IPv6Address) -> None:
        self._wire = MemorySocket(host)
        self._poller = _Poller(clock, self._wire)
        #: Whether the server has ended the connection by a reset.
        self.aborted = False
        client = (getattr(peer, "host", ""), getattr(peer, "port", 0))
        self.repstr = f"<{type(self).__name__} of {client[0]}:{client[1]}>"
        self._peer = peer
        memory: Any = (self._wire, None, client, None, 0, self._poller)
        super().__init__(*memory)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getPeer`."""
        return self._peer

    def getHost(self) -> IPv4Address | IPv6Address:
        """See `ITransport.getHost`."""
        own: Any = self.socket  # gone with the connection, as Twisted's is
        host: IPv4Address | IPv6Address = own.host
        return host

    def abortConnection(self) -> None:
        """See `ITCPTransport.abortConnection`."""
        self.aborted = self.aborted or bool(self.connected)
        super().abortConnection()

    def unsentBytes(self) -> int:
        """Bytes that were written, and that the client has not taken."""
        return len(self._wire.buffered) + (bufferedBytes(self) if self.connected else 0)

    # What the client does and sees.

    @property
    def delivered(self) -> bytearray:
        """Bytes that have reached the client."""
        return self._wire.delivered

    @property
    def inbound(self) -> list[bytes]:
        """Segments from the client that wait until the server reads."""
        return list(self._wire.inbound)

    @property
    def window(self) -> int | None:
        """Bytes that the client takes without reading; None: all of them."""
        return self._wire.window

    @window.setter
    def window(self, size: int | None) -> None:
        self._wire.window = size

    @property
    def reading(self) -> bool:
        """Whether the server reads."""
        return self._poller.reading

    @property
    def holdsBack(self) -> bool:
        """Whether the server does not read, although it may."""
        return not (self.reading or self.disconnecting or self.aborted or self._poller.readEnd) and bool(self.connected)

    @property
    def ended(self) -> bool:
        """Whether the server has ended its side, or the whole."""
        return self._wire.sentEnd

    @property
    def wasReset(self) -> bool:
        """Whether the server has ended the whole by a reset."""
        return self.aborted or self._wire.sentReset

    def give(self, size: int | None) -> None:
        """Let so many more bytes through to the client; None: all that will ever come."""
        self._wire.open(size)
        self._poller.look()

    def arrive(self, data: bytes | None) -> None:
        """Bytes from the client, or None for its end; they wait while the server does not read."""
        if data is None:
            self._wire.arriveEnd()
        else:
            self._wire.arrive(data)
        self._poller.read()

    def leave(self, *, reset: bool = False) -> None:
        """The client is gone: its side has ended, and what is sent to it is answered by a reset."""
        if reset:
            self._wire.arriveReset()
        else:
            self._wire.leave()
        self._poller.read()
