"""HTTP/1.1 over the package's own double."""

from __future__ import annotations

from typing import Any

from ka_twisted.testing import MemoryClient, MemoryServer, MemoryTransport
from tests.streams.http1 import Http1Client
from tests.streams.providers import ConnectedClient, Observer, Server


class ForeignTransport(MemoryTransport):
    """Sent to by ``write`` alone, as any transport is that is not known to be Twisted's own."""

    def write(self, data: bytes) -> None:
        super().write(data)


class ForeignServer(MemoryServer):
    transportClass = ForeignTransport


class MemoryService(Server):
    kind = MemoryServer

    def __init__(self, handler: Any, *, observers: tuple[Any, ...] = (), **settings: Any) -> None:
        self.observer = Observer()
        self._server = self.kind(handler, observers=(self.observer, *observers), **settings)
        self.factory = self._server.factory
        self.clock = self._server.clock

    def connect(self) -> ConnectedClient:
        return _Client(self._server.connect())

    def settle(self) -> None:
        self._server.settle()

    def advance(self, seconds: float) -> None:
        self._server.advance(seconds)

    def close(self) -> None:
        """There is nothing outside of it."""


class ForeignService(MemoryService):
    """The same, over another kind of transport."""

    kind = ForeignServer


class _Client(Http1Client):
    def __init__(self, client: MemoryClient) -> None:
        super().__init__()
        self._client = client

    def sendBytes(self, data: bytes) -> None:
        self._client.send(data)

    @property
    def received(self) -> bytes:
        return self._client.received

    def stall(self) -> None:
        self._client.stall()

    def resume(self) -> None:
        self._client.resume()

    def finishSending(self) -> None:
        self._client.halfClose()

    def leave(self) -> None:
        self._client.disconnect()

    def reset(self) -> None:
        self._client.reset()

    @property
    def ended(self) -> bool:
        return self._client.ended
