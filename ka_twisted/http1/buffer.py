"""Bytes received and not yet consumed."""

from __future__ import annotations


class ReceiveBuffer:
    """
    A window on received bytes: `data` from `position` on.

    A segment that arrives when nothing is left over is kept as it is, so that large bodies pass without a copy. Parsers
    read the two attributes and move `position`.
    """

    __slots__ = ("data", "position")

    def __init__(self) -> None:
        self.data = b""
        self.position = 0

    def __len__(self) -> int:
        return len(self.data) - self.position

    def append(self, data: bytes) -> None:
        """Add a segment behind what is left."""
        if self.position == len(self.data):
            self.data = data
        else:
            self.data = self.data[self.position :] + data
        self.position = 0

    def move_to(self, position: int) -> None:
        """Everything before this position is consumed; nothing is kept of a segment that is consumed whole."""
        if position == len(self.data):
            self.data = b""
            position = 0
        self.position = position

    def take(self, count: int) -> bytes:
        """Up to so many bytes, consumed; the very segment where it is wanted whole."""
        start = self.position
        if start == 0 and count >= len(self.data):
            taken, self.data = self.data, b""
            return taken
        taken = self.data[start : start + count]
        self.move_to(start + len(taken))
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self.data = b""
        self.position = 0
