"""
The end of a listening port: of whatever kind it is, nothing is lost that has come to it.

A connection that was made, and is not accepted yet, waits in the queue of its socket. The kernel resets it when the
socket is closed, and with it goes the request that may have come on it already. However fast the last ones are
accepted, others come between that and the closing. Therefore the way in is closed first, then the queue is emptied,
then the port is closed: that is what `PortEnd` and `closePorts` are for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort

from .private import boundPath, neverShutDown

#: Seconds in which connections that have begun are made, and come to the queue, after others can begin no more.
QUEUED = 0.25
#: Connections that are accepted from one queue at most while it is emptied: it may be one that others go on filling.
_ACCEPTED = 8192
#: asm-generic/socket.h; Python has no names for them.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
#: A classic BPF program about a TCP segment, as (code, true, false, value): without SYN in its flags it passes whole.
_PROGRAM = (
    (0x30, 0, 0, 13),  # the byte of the flags
    (0x45, 0, 1, 0x02),  # SYN
    (0x06, 0, 0, 0),  # nothing of it passes
    (0x06, 0, 0, 0xFFFFFFFF),
)


class PortEnd:
    """
    How a port ends. It is made as soon as the port listens, and from then on takes the place of ``stopListening``.

    :param port: any; those of Twisted's TCP and UNIX sockets, and of the uvloop reactor, end without a loss.
    :param accepts: whether this process accepts connections; False for one that has the socket for others.
    :ivar shared: whether the socket stays open in a process that this one does not know, or whose connections are to
        wait there for another: then neither the socket nor its path is touched, and only our own queue is served.
    """

    def __init__(self, port: IListeningPort, *, shared: bool = False, accepts: bool = True) -> None:
        self._port: Any = port
        self._accepts = accepts
        self.shared = shared
        self._refusing = False
        self._path: _SocketPath | None = None
        if isinstance(port, tcp.Port):
            neverShutDown(port)  # that would end it for other processes, too
            if isinstance(port, unix.Port) and not shared:
                self._path = _SocketPath(port)

    def refuseNew(self) -> bool:
        """
        Let no more connections begin. Their clients are refused, which is safe to try elsewhere.

        :return: whether some that have begun may still come to the queue, for `QUEUED` seconds.
        """
        if self.shared or self._refusing or not isinstance(self._port, tcp.Port) or not self._port.connected:
            return False
        self._refusing = True
        if self._path is not None:
            self._path.remove()
            return True
        return refuseSegments(self._port.socket)

    def close(self) -> Deferred[Any]:
        """Accept what is in the queue, and listen no more; fires when that is so. See `closePorts`."""
        port = self._port
        if isinstance(port, tcp.Port) and port.connected:
            port.stopReading()
            if self._accepts:
                if self._path is not None and self._refusing:
                    port.socket.shutdown(socket.SHUT_RD)  # a UNIX socket still gives what is in its queue
                _empty(port)
                _emptyAtLast(port)
        return maybeDeferred(port.stopListening)


async def closePorts(ends: Sequence[PortEnd], wait: Callable[[float], Awaitable[object]]) -> None:
    """
    Close ports, none before all that has come to it was accepted.

    :param wait: waits for so many seconds, in which the ports go on to accept.
    """
    if sum(end.refuseNew() for end in ends):
        await wait(QUEUED)
    await DeferredList([end.close() for end in ends])


# -- TCP ---------------------------------------------------------------------------------------------------------------


def refuseSegments(sock: socket.socket) -> bool:
    """
    Have no more connections begin on a TCP socket that listens; those that have begun are accepted as before.

    Their clients' first segments are dropped, sent anew a second later, and then refused.

    :return: whether that could be done: on Linux.
    """
    if not sys.platform.startswith("linux") or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _PROGRAM))
    pointer = struct.pack("HP", len(_PROGRAM), ctypes.addressof(program))  # struct sock_fprog
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
    except OSError:
        return False
    return True


def welcomeSegments(sock: socket.socket) -> None:
    """Take back what `refuseSegments` did, on a socket that another process has handed over."""
    if sys.platform.startswith("linux") and sock.family in (socket.AF_INET, socket.AF_INET6):
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        except OSError:
            pass  # it has no filter


# -- UNIX --------------------------------------------------------------------------------------------------------------


class _SocketPath:
    """
    The path of a UNIX socket, which its port would remove when it is closed, also where another has a socket there.

    :param port: has just bound it.
    """

    def __init__(self, port: unix.Port) -> None:
        self._port: Any = port
        self._path = boundPath(port)
        self._file = self._identity()
        port.connectionLost = self._connectionLost  # type: ignore[method-assign]

    def remove(self) -> None:
        """Let others have the path: nothing is found there any more, or theirs."""
        if self._path is not None and self._file is not None and self._identity() == self._file:
            os.unlink(self._path)
        self._file = None
        lock, self._port.lockFile = self._port.lockFile, None
        if lock is not None:
            try:
                lock.unlock()
            except (OSError, ValueError):
                pass  # it was removed, or another process has it by now

    def _identity(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _connectionLost(self, reason: Any) -> None:
        self.remove()
        tcp.Port.connectionLost(self._port, reason)


# -- the queue ---------------------------------------------------------------------------------------------------------


class _Queue:
    """The socket of a port while its queue is emptied: it tells when that is so."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.left = _ACCEPTED

    def accept(self) -> tuple[socket.socket, Any]:
        self.left -= 1
        try:
            return self._sock.accept()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ECONNABORTED):
                self.left = 0
            if error.errno == errno.EINVAL:  # it was shut down, and is empty
                raise BlockingIOError(errno.EAGAIN, "nothing more to accept") from error
            raise


def _emptyAtLast(port: Any) -> None:
    """
    Have a port accept once more immediately before its socket is closed: Twisted closes it in a later turn.

    The way in to a socket that others have too cannot be closed. If they are gone, no other serves what has come.
    """
    connectionLost = port.connectionLost

    def closed(reason: Any) -> None:
        port.disconnecting = False  # while it is set, a port accepts nothing
        try:
            _empty(port)
            port.socket.close()  # at once: Twisted writes to the log before it does
        finally:
            port.disconnecting = True
            connectionLost(reason)

    port.connectionLost = closed


def _empty(port: Any) -> None:
    """Accept all that waits, as the port does it: also where it shares its queue, and leaves others their part."""
    sock = port.socket
    port.socket = queue = _Queue(sock)
    try:
        while queue.left > 0:
            port.numberAccepts = max(queue.left, 1)
            type(port).doRead(port)
    finally:
        port.socket = sock
