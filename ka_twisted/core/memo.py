"""A memo of a pure function, bounded by bytes. Nothing is evicted by time: the core has no clock."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Hashes of keys that a memo has been offered once: some 64 KiB, enough for what repeats within a few hundred others.
_SEEN = 1024
#: No single entry may take more than this part of a budget: one large value must not displace all that is common.
_SHARE = 8


class Memo(dict[K, V]):
    """
    Results by argument, looked up as in any ``dict``; entered by `offer` or `keep` alone.

    :ivar budget: bytes that the entries may take together; 0 keeps none.
    :ivar held: bytes that they take, by their callers' estimates.
    """

    __slots__ = ("_seen", "budget", "held")

    def __init__(self, budget: int) -> None:
        super().__init__()
        self.budget = budget
        self.held = 0
        self._seen: set[int] = set()

    def repeats(self, key: K) -> bool:
        """Whether this has been asked for the key before: what does not repeat is not worth keeping."""
        seen = self._seen
        mark = hash(key)
        if mark in seen:
            return True
        if len(seen) >= _SEEN:
            seen.clear()
        seen.add(mark)
        return False

    def offer(self, key: K, value: V, size: int) -> None:
        """Keep a result, if its key `repeats`."""
        if self.repeats(key):
            self.keep(key, value, size)

    def keep(self, key: K, value: V, size: int) -> None:
        """
        Keep a result; where there is no room, all others go.

        :param size: bytes that the entry takes: key, value and what only they refer to.
        """
        if size * _SHARE > self.budget or key in self:
            return
        if self.held + size > self.budget:
            self.clear()
        self.held += size
        self[key] = value

    def clear(self) -> None:
        """Forget every entry."""
        super().clear()
        self.held = 0
