"""
A load of large messages: how many bytes a second go through.

Each of a few connections asks again when it has the whole response; a request with a body has been sent whole by then.
What is counted are bytes of messages, heads included, while the clock runs.
Prints its figures as JSON: ``python -m benchmarks.transfer PORT PID PATH --upload SIZE --connections C --seconds S``.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import sys
import time
from collections.abc import Callable

from .processes import PeerFailed, Server

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BUFFER = 1 << 20
#: Seconds of the same load before it counts.
_WARM = 1.0


class Refused(Exception):
    """The server closed a connection, or answered something else than 200 with a length."""


class Exchange:
    """One connection, with one request after another."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._request = request
        self._begin()

    def _begin(self) -> None:
        self._unsent = memoryview(self._request)
        self._head = b""
        self._awaited: int | None = None  # bytes of the response's body; None: its head is not whole

    @property
    def sending(self) -> bool:
        """Whether a part of the request is unsent."""
        return bool(self._unsent)

    def send(self) -> int:
        """Send what can be sent; returns how many bytes."""
        try:
            sent = self.socket.send(self._unsent)
        except BlockingIOError:
            return 0
        self._unsent = self._unsent[sent:]
        self._next()
        return sent

    def receive(self, buffer: bytearray) -> int:
        """
        Receive what has arrived; returns how many bytes.

        :raises Refused: when that is no good.
        """
        try:
            size = self.socket.recv_into(buffer)
        except BlockingIOError:
            return 0
        if not size:
            raise Refused("the server closed a connection")
        if self._awaited is None:
            self._begun(bytes(buffer[:size]))
        else:
            self._awaited -= size
        self._next()
        return size

    def _begun(self, data: bytes) -> None:
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head + b"\r\n")
        if length is None or not head.startswith(b"HTTP/1.1 200 "):
            raise Refused(f"the server answered {head[:100]!r}")
        self._awaited = int(length[1]) - len(body)

    def _next(self) -> None:
        """Go on to the next request when this one is over."""
        if self._awaited == 0 and not self._unsent:
            self._begin()


class Transfers:
    """Exchanges side by side."""

    def __init__(
        self, port: int, request: bytes, connections: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._buffer = bytearray(_BUFFER)
        self._poll = select.epoll()
        self._exchanges = {}
        for _ in range(connections):
            exchange = Exchange(port, request)
            self._exchanges[exchange.socket.fileno()] = exchange
            self._poll.register(exchange.socket, select.EPOLLIN | select.EPOLLOUT)

    def run(self, seconds: float) -> tuple[int, int, float]:
        """
        Go on for so long.

        :return: bytes sent, bytes received, and in how many seconds.
        :raises Refused: when the server does not play along.
        """
        sent = received = 0
        begun = now = self._clock()
        while now < begun + seconds:
            for number, events in self._poll.poll(1.0):
                exchange = self._exchanges[number]
                was = exchange.sending
                if events & ~select.EPOLLOUT:
                    received += exchange.receive(self._buffer)
                if exchange.sending:
                    sent += exchange.send()
                if exchange.sending != was:
                    self._poll.modify(number, select.EPOLLIN | (select.EPOLLOUT if exchange.sending else 0))
            now = self._clock()
        return sent, received, now - begun

    def close(self) -> None:
        """Close all connections."""
        for exchange in self._exchanges.values():
            exchange.socket.close()
        self._poll.close()


def request(path: str, upload: int) -> bytes:
    """A request for a path; with a body of so many bytes, or without when that is 0."""
    if not upload:
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: {upload}\r\n\r\n"
    return head.encode() + b"x" * upload


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer")
    parser.add_argument("port", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("path")
    parser.add_argument("--upload", type=int, default=0)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    server = Server(options.port, options.pid)
    try:
        transfers = Transfers(options.port, request(options.path, options.upload), options.connections)
        transfers.run(_WARM)
        computed = server.processor_time()
        sent, received, seconds = transfers.run(options.seconds)
        busy = (server.processor_time() - computed) / seconds
        transfers.close()
    except (OSError, Refused, PeerFailed) as error:
        sys.exit(f"{error}")
    print(json.dumps({"rate": (sent if options.upload else received) / seconds / 1e6, "busy": busy}))


if __name__ == "__main__":
    main()
