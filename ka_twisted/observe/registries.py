"""The open connections, as an observer finds them."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakSet

from ..interfaces import IConnection, IConnectionRegistry


class Registries:
    """
    The registries of the connections that an observer was told of, for as long as their servers exist.

    Open connections are looked up there when they are asked for: an idle connection costs an observer nothing.
    """

    def __init__(self) -> None:
        self._known: WeakSet[IConnectionRegistry] = WeakSet()

    def add(self, registry: IConnectionRegistry) -> None:
        """A connection of this registry was opened."""
        self._known.add(registry)

    def __iter__(self) -> Iterator[IConnectionRegistry]:
        return iter(list(self._known))

    def connections(self) -> Iterator[IConnection]:
        """The open connections of all of them."""
        for registry in self:
            yield from registry.connections
