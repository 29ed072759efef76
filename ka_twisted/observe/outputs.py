"""
What an access log is written to: regular files, pipes, sockets and terminals, none of which holds up its writer.

A regular file always takes what is written. The others may have no room, because nothing reads them: a write to them
takes what there is room for. Standard output is shared with other writers, which must not find it non-blocking all of a
sudden: it is opened once more where the kernel lets us, else asked for room before each write.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
import struct
import termios
import time
from typing import Protocol

#: Bytes that a pipe takes as a whole or not at all (PIPE_BUF): what several processes write to it does not mix.
ATOMIC = select.PIPE_BUF
STANDARD_OUTPUT = 1
#: Bytes of a pipe that is the standard output, where the kernel allows it; and seconds between two looks at it.
_PIPE_SIZE, _LOOK = 1 << 20, 0.01
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Output(Protocol):
    """
    Takes bytes.

    :ivar mayBeFull: whether there may be no room.
    :ivar piece: bytes to write at once, at most.
    :ivar identity: of what is behind it: the device and the number of the inode.
    """

    mayBeFull: bool
    piece: int
    identity: tuple[int, int]

    def write(self, data: bytes | bytearray) -> int:
        """
        Write some of it.

        :return: how many bytes were taken; 0: there is no room.
        :raises OSError: when it cannot be written.
        """

    def wait(self, seconds: float) -> bool:
        """Wait until there may be room; whether there may be."""

    def close(self) -> None:
        """Close what was opened for it."""


class _Descriptor:
    """An output that is a descriptor, closed with it unless it is borrowed."""

    mayBeFull = True
    piece = ATOMIC

    def __init__(self, descriptor: int, *, borrowed: bool = False) -> None:
        self._descriptor = descriptor
        self._borrowed = borrowed
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)

    def wait(self, seconds: float) -> bool:
        """See `Output`."""
        return hasRoom(self._descriptor, seconds)

    def close(self) -> None:
        """See `Output`."""
        if not self._borrowed:
            os.close(self._descriptor)


class RegularFile(_Descriptor):
    """Takes everything, or fails."""

    mayBeFull = False
    piece = 1 << 30

    def write(self, data: bytes | bytearray) -> int:
        """See `Output`."""
        return os.write(self._descriptor, data)


class NonBlocking(_Descriptor):
    """
    A pipe or a terminal that was opened for this writer.

    :param piece: bytes to write at once; more than `ATOMIC` only where there is no other writer.
    """

    def __init__(self, descriptor: int, *, piece: int = ATOMIC) -> None:
        super().__init__(descriptor)
        self.piece = piece
        os.set_blocking(descriptor, False)

    def write(self, data: bytes | bytearray) -> int:
        """See `Output`."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0


class SharedPipe(NonBlocking):
    """
    A pipe that is the standard output, where the log of the process goes as well.

    Half of it is left to that log, which would wait for a reader: the access log must not be what fills the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:
            pass  # it stays as it is
        self._ours = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) // 2

    def write(self, data: bytes | bytearray) -> int:
        """See `Output`."""
        return super().write(data) if self._unread() + len(data) <= self._ours or not self._unread() else 0

    def wait(self, seconds: float) -> bool:
        """See `Output`."""
        end = time.monotonic() + seconds
        while self._unread() + ATOMIC > self._ours:
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK)
        return True

    def _unread(self) -> int:
        """Bytes in the pipe."""
        number: int = struct.unpack("i", fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0" * 4))[0]
        return number


class Polled(_Descriptor):
    """A descriptor that others share, and that has to stay as it is: there is room for one piece, or it is not used."""

    def write(self, data: bytes | bytearray) -> int:
        """See `Output`."""
        return os.write(self._descriptor, data[:ATOMIC]) if hasRoom(self._descriptor) else 0


class StreamSocket(_Descriptor):
    """A connected socket, such as the one that leads from standard output to systemd's journal."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._socket = socket.socket(fileno=descriptor)

    def write(self, data: bytes | bytearray) -> int:
        """See `Output`."""
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """See `Output`."""
        self._socket.close()


def hasRoom(descriptor: int, seconds: float = 0) -> bool:
    """Whether a write of `ATOMIC` bytes would not block, or fail at once; within so many seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def openOutput(path: str) -> Output | None:
    """
    Open what a path leads to, without waiting for anything.

    :param path: ``-`` is standard output.
    :return: None for a FIFO that no process reads.
    :raises OSError: when it cannot be opened for writing.
    """
    if path == "-":
        return _standardOutput()
    try:
        descriptor = os.open(path, _FLAGS, 0o644)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(path).st_mode):
            return None
        raise
    return RegularFile(descriptor) if _isRegular(descriptor) else NonBlocking(descriptor)


def _standardOutput() -> Output:
    if _isRegular(STANDARD_OUTPUT):
        return RegularFile(STANDARD_OUTPUT, borrowed=True)
    if stat.S_ISSOCK(os.fstat(STANDARD_OUTPUT).st_mode):
        return StreamSocket(os.dup(STANDARD_OUTPUT))
    try:
        descriptor = os.open(f"/proc/self/fd/{STANDARD_OUTPUT}", _FLAGS & ~os.O_CREAT)
    except OSError:  # another account's, or no such directory
        return Polled(STANDARD_OUTPUT, borrowed=True)
    return SharedPipe(descriptor) if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else NonBlocking(descriptor)


def _isRegular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def wantsOneWriter(path: str) -> bool:
    """Whether the lines of several processes could mix where a path leads to: in a pipe, a socket, a terminal."""
    try:
        mode = (os.fstat(STANDARD_OUTPUT) if path == "-" else os.stat(path)).st_mode
    except OSError:  # not there yet: it becomes a regular file
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (path == "-" and os.isatty(STANDARD_OUTPUT))
