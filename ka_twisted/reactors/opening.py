"""What stands in for something else of a transport: before uvloop's own is there, and for an event's context."""

from __future__ import annotations

from typing import Protocol

from twisted.python.context import defaultContextDict
from twisted.python.log import ILogContext


class _Logged(Protocol):
    """What an event is logged on behalf of."""

    def logPrefix(self) -> str: ...


class LogContext:
    """What an event that is logged on behalf of a connection is marked with. Made up only when one is."""

    __slots__ = ("_transport",)

    def __init__(self, transport: _Logged) -> None:
        self._transport = transport

    def __getitem__(self, key: object) -> dict[str, object]:
        if key is not ILogContext:
            raise KeyError(key)
        try:
            prefix = self._transport.logPrefix()
        except Exception:
            prefix = "(buggy logPrefix method)"
        return {**defaultContextDict[ILogContext], "system": prefix}


class Opening:
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
