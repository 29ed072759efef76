"""What observers look at of connections and factories, and the connections that are open now."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol
from weakref import WeakSet

from twisted.internet.interfaces import IAddress

from ..http1.server import ServerConnection


class Factory(Protocol):
    """Of a `KeepAliveFactory`."""

    @property
    def connections(self) -> Collection[Connection]: ...

    def now(self) -> float: ...


class Connection(Protocol):
    """Of a `KeepAliveProtocol`."""

    id: int
    core: ServerConnection
    bytesReceived: int

    @property
    def factory(self) -> Factory: ...

    @property
    def peer(self) -> IAddress: ...

    @property
    def requestCount(self) -> int: ...

    @property
    def age(self) -> float: ...

    @property
    def state(self) -> str: ...

    @property
    def bytesSent(self) -> int: ...

    @property
    def lateBytes(self) -> int: ...


class OpenConnections:
    """
    The open connections of the factories that an observer has heard of.

    They are looked up when somebody asks: a connection that is idle costs an observer nothing.
    """

    def __init__(self) -> None:
        self._factories: WeakSet[Factory] = WeakSet()

    def watch(self, connection: Connection) -> None:
        """A connection was opened."""
        self._factories.add(connection.factory)

    @property
    def factories(self) -> list[Factory]:
        """Those that are still there."""
        return list(self._factories)

    def __iter__(self) -> Iterator[Connection]:
        for factory in self._factories:
            yield from factory.connections
