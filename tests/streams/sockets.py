"""HTTP/1.1 over sockets of the kernel, on reactors that are turned by hand and whose time is the test's."""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from ka_twisted import KeepAliveFactory
from tests.streams.http1 import Http1Client
from tests.streams.providers import ConnectedClient, Observer, Server

#: Bytes of a socket's buffers: so few that a client that does not read is soon felt, and more than a segment.
BUFFER = 65536
#: Turns of a reactor in which nothing happens, after which nothing will; and seconds that the last of them wait, for a
#: kernel that has other things to do.
QUIET, LAST, WAIT = 6, 2, 0.001


class EpollStepped(EPollReactor):
    """Twisted's reactor, with a time that only moves when it is told."""

    now = 0.0

    def seconds(self) -> float:
        return self.now

    def turn(self, wait: float) -> None:
        """Do what is ready, or will be within so many seconds."""
        self.iterate(wait)

    def due(self) -> float | None:
        """When the next delayed call is due."""
        return min((call.getTime() for call in self.getDelayedCalls()), default=None)


class SocketService(Server):
    """
    :param reactor: an `EpollStepped`, or one like it.
    """

    def __init__(self, reactor: Any, handler: Any, *, observers: tuple[Any, ...] = (), **settings: Any) -> None:
        self._reactor = self.clock = reactor
        self.observer = Observer()
        settings.setdefault("wallClock", lambda: 1793491200.0 + reactor.seconds())
        self.factory = KeepAliveFactory(handler, reactor=reactor, observers=(self.observer, *observers), **settings)
        self._port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self._port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._clients: list[_Client] = []

    def connect(self) -> ConnectedClient:
        connecting = socket.socket()
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        connecting.connect(("127.0.0.1", self._port.getHost().port))
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connecting.setblocking(False)
        client = _Client(self, connecting)
        self._clients.append(client)
        self.settle()
        return client

    def settle(self) -> None:
        quiet = 0
        while quiet < QUIET:
            before = [client.progress for client in self._clients]
            self._reactor.turn(WAIT if quiet >= QUIET - LAST else 0)
            for client in self._clients:
                client.turn()
            due = self._reactor.due()
            moved = before != [client.progress for client in self._clients]
            quiet = 0 if moved or (due is not None and due <= self._reactor.now) else quiet + 1

    def advance(self, seconds: float) -> None:
        target = self._reactor.now + seconds
        self.settle()
        while (due := self._reactor.due()) is not None and due <= target:
            self._reactor.now = max(due, self._reactor.now)
            self.settle()
        self._reactor.now = target
        self.settle()

    def close(self) -> None:
        for client in self._clients:
            client.reset()
        protocols: list[Any] = list(self.factory.connections)
        for protocol in protocols:
            protocol.abort()
        self._port.stopListening()
        self.settle()
        for call in self._reactor.getDelayedCalls():
            call.cancel()


class _Client(Http1Client):
    """
    A client's socket.

    :ivar progress: changes whenever anything has been sent or received.
    """

    def __init__(self, service: SocketService, connected: socket.socket) -> None:
        super().__init__()
        self._service = service
        self._socket = connected
        self._unsent = b""
        self._received = bytearray()
        self._stalled = self._ended = self._finishes = self._gone = False
        self.progress = 0

    @property
    def received(self) -> bytes:
        return bytes(self._received)

    @property
    def ended(self) -> bool:
        return self._ended

    def sendBytes(self, data: bytes) -> None:
        self._unsent += data
        self._service.settle()

    def turn(self) -> None:
        """Send and receive what can be."""
        if self._gone:
            return
        if self._unsent:
            self._send()
        if self._finishes and not self._unsent:
            self._finishes = False
            self.progress += 1
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:  # the server was first
                pass
        if not (self._stalled or self._ended):
            self._receive()

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)  # the server takes no more
        self._unsent = self._unsent[sent:]
        self.progress += 1

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        # The kernel's time is not the test's: it is not to wait before it acknowledges.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, True)
        self._received += data
        self._ended = not data
        self.progress += 1

    def stall(self) -> None:
        self._stalled = True

    def resume(self) -> None:
        self._stalled = False
        self._service.settle()

    def finishSending(self) -> None:
        self._finishes = True
        self._service.settle()

    def leave(self) -> None:
        self._gone = True
        self._socket.close()
        self._service.settle()

    def reset(self) -> None:
        if not self._gone:
            self._gone = True
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()
            self._service.settle()
