"""
Frames on a pipe: how the log events of a worker reach its supervisor whole, from whatever thread they come.

A frame is a mark, the length of its payload in eight hexadecimal digits, the payload, and a line feed. Payloads are
ASCII, and the mark is a byte that is not: what was torn or did not come through here is skipped up to the next mark,
and costs no frame after it.
"""

from __future__ import annotations

import os
import re
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MARK = b"\xff"
_HEADER = re.compile(rb"\xff([0-9a-f]{8})")
_HEADER_LENGTH = 9
#: Bytes of one payload.
MAX_PAYLOAD = 1 << 24
#: Bytes that wait while the pipe is full: seconds of a log at its busiest. The frame that comes last may exceed it.
QUEUE = 1 << 24
#: Seconds that a thread waits for room in the queue. The reactor's does not: it has connections to serve.
PATIENCE = 1.0


def framed(payload: bytes) -> bytes:
    """A frame."""
    return b"%b%08x%b\n" % (MARK, len(payload), payload)


@dataclass(frozen=True)
class Damage:
    """
    Something in the place of a frame.

    :ivar skipped: bytes.
    """

    skipped: int


class FrameReader:
    """Takes frames out of what comes on a pipe."""

    def __init__(self) -> None:
        self._data = bytearray()
        #: Bytes that were skipped since the last whole frame.
        self._skipped = 0

    def feed(self, data: bytes) -> Iterator[bytes | Damage]:
        """
        Take up what has come.

        :return: the payloads of frames, and `Damage` before a frame that comes after something else.
        """
        self._data += data
        while self._data:
            payload = self._next()
            if payload is not None:
                yield from self._damage()
                yield payload
            elif not self._skipsDamage():
                return

    def close(self) -> Iterator[Damage]:
        """Nothing more comes: what is left is no frame."""
        self._skip(len(self._data))
        yield from self._damage()

    def _next(self) -> bytes | None:
        """The payload of the frame that the data begins with; None where it does not, or is not complete."""
        end = self._end()
        if end is None or len(self._data) < end or self._data[end - 1 : end] != b"\n":
            return None
        payload = bytes(self._data[_HEADER_LENGTH : end - 1])
        if MARK in payload:
            return None
        del self._data[:end]
        return payload

    def _end(self) -> int | None:
        header = _HEADER.match(self._data)
        length = int(header[1], 16) if header else MAX_PAYLOAD + 1
        return _HEADER_LENGTH + length + 1 if length <= MAX_PAYLOAD else None

    def _skipsDamage(self) -> bool:
        """Skip what cannot become a frame, up to the next mark; False where it still can."""
        end = self._end()
        following = self._data.find(MARK, 1)
        if end is None and self._data.startswith(MARK) and len(self._data) < _HEADER_LENGTH and following < 0:
            return False  # the header is not complete
        if end is not None and len(self._data) < end and following < 0:
            return False  # the payload is not complete
        self._skip(following if following > 0 else len(self._data))
        return True

    def _skip(self, count: int) -> None:
        self._skipped += count
        del self._data[:count]

    def _damage(self) -> Iterator[Damage]:
        if self._skipped:
            yield Damage(self._skipped)
            self._skipped = 0


class FrameWriter:
    """
    Writes frames to a pipe, from any thread, at once where there is room; it never waits for the reader.

    What finds no room is queued, and a thread of its own writes it as the reader goes on. When the queue is full as
    well, frames are dropped and counted; but for the main thread, which is the reactor's, a thread waits a moment
    before its frame is.

    :param descriptor: of the pipe; it is set to non-blocking.
    :param dropped: makes the payload that says how many frames were dropped; written once there is room again.
    :param limit: bytes in the queue.
    """

    def __init__(self, descriptor: int, dropped: Callable[[int], bytes], limit: int = QUEUE) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._droppedPayload = dropped
        self._limit = limit
        self._dropped = 0
        # Reentrant: a signal handler may log while its thread does.
        self._lock = threading.Condition(threading.RLock())
        self._writing = False
        #: Frames that wait, the first of them as far as it is not written yet.
        self._queue: deque[memoryview] = deque()
        self._size = 0
        self._thread: threading.Thread | None = None

    def write(self, payload: bytes) -> None:
        """
        Write a frame, or queue it.

        :param payload: ASCII.
        """
        with self._lock:
            if self._size >= self._limit and not self._waitForRoom():
                self._dropped += 1
                return
            frame = framed(payload)
            self._queue.append(memoryview(frame))
            self._size += len(frame)
            if self._thread is None and not self._writing:
                self._send()
                if self._queue:
                    self._thread = threading.Thread(target=self._sendLater, name="worker log", daemon=True)
                    self._thread.start()

    def _waitForRoom(self) -> bool:
        if self._dropped or threading.current_thread() is threading.main_thread():
            return False
        return self._lock.wait_for(lambda: self._size < self._limit, PATIENCE)

    def finish(self, seconds: float) -> None:
        """Wait for what is queued, so many seconds at most."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _send(self) -> None:
        """Write as much as there is room for; with the lock. What a reader that is gone does not get is dropped."""
        self._writing = True
        try:
            while self._queue:
                written = os.write(self._descriptor, self._queue[0])
                self._size -= written
                if written < len(self._queue[0]):
                    self._queue[0] = self._queue[0][written:]
                else:
                    self._queue.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._queue.clear()
            self._size = self._dropped = 0
        finally:
            self._writing = False
            self._lock.notify_all()

    def _sendLater(self) -> None:
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        while True:
            room.poll()
            with self._lock:
                self._send()
                if not self._queue and self._dropped:
                    payload, self._dropped = self._droppedPayload(self._dropped), 0
                    frame = framed(payload)
                    self._queue.append(memoryview(frame))
                    self._size += len(frame)
                elif not self._queue:
                    self._thread = None
                    return
