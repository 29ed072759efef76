"""Transports of Twisted's on real sockets, polled by hand: what takes a kernel, and yet no reactor."""

from __future__ import annotations

import select
import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet import tcp
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ka_twisted import KeepAliveFactory, KeepAliveProtocol
from ka_twisted.testing import ParsedResponse, parseResponses


class Poller(Clock):
    """Just so much of a reactor that a transport of Twisted's runs on it: polled by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def poll(self) -> None:
        """One turn: what can write writes, what can read reads, then timed calls."""
        readable, writable, _ = select.select(list(self.readers), list(self.writers), [], 0)
        for writer in writable:
            if writer in self.writers and (why := writer.doWrite()):
                self._lose(writer, why)
        for reader in readable:
            if reader in self.readers and (why := reader.doRead()):
                self._lose(reader, why)
        self.advance(0)

    def _lose(self, transport: Any, why: Exception) -> None:
        self.removeReader(transport)
        self.removeWriter(transport)
        transport.connectionLost(Failure(why))


class Served:
    """
    A server's connection on loopback TCP with small buffers, and its client's socket in the hands of the test.

    :param handler: the server's.
    :ivar received: what has come to the client.
    """

    def __init__(self, handler: Any, **settings: Any) -> None:
        reactor: Any = Poller()
        self.reactor = reactor
        self.factory = KeepAliveFactory(handler, reactor=reactor, **settings)
        self.received = b""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.socket()
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4608)
            self.client.connect(listening.getsockname())
            accepted, address = listening.accept()
            port: Any = SimpleNamespace(_realPortNumber=listening.getsockname()[1])
        self.client.setblocking(False)
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        protocol = self.factory.buildProtocol(None)
        assert isinstance(protocol, KeepAliveProtocol)
        self.protocol = protocol
        self.transport: Any = tcp.Server(accepted, protocol, address, port, 1, reactor)
        protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes to the server."""
        self.client.sendall(data)
        self.reactor.poll()

    def receive(self, count: int) -> None:
        """Take so many bytes of what the server sends, one turn of the reactor each time."""
        enough = len(self.received) + count
        for _ in range(100_000):
            try:
                data = self.client.recv(min(65536, enough - len(self.received)))
            except BlockingIOError:
                data = b""
            self.received += data
            self.reactor.poll()
            if len(self.received) >= enough:
                return
        raise AssertionError(f"only {len(self.received)} bytes came")

    def responses(self, methods: list[bytes]) -> list[ParsedResponse]:
        """What has come, as responses to requests with these methods."""
        return parseResponses(self.received, methods)

    def close(self) -> None:
        """Have nothing left open."""
        self.client.close()
        while self.factory.connectionCount:
            self.protocol.abort()
            self.reactor.poll()
