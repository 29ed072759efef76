"""Connections that are open and do nothing."""

from __future__ import annotations

import select
import socket
from types import TracebackType

from .peers import EXPECTED, REQUEST
from .processes import PeerFailed


class Crowd:
    """
    Holds connections to a server, on each of which one request was answered.

    Raises PeerFailed where the server does not hold as many as it should.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._held: list[socket.socket] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._held:
            connection.close()

    def grow(self, count: int) -> None:
        """Open more, until there are so many."""
        try:
            while len(self._held) < count:
                self._held.append(_answered(self._port))
        except OSError as error:
            raise PeerFailed(f"{error} (with {len(self._held)} connections open)") from None

    def check(self) -> None:
        """See that all are still open."""
        poll = select.poll()
        for connection in self._held:
            poll.register(connection, select.POLLIN)
        if ended := len(poll.poll(0)):
            raise PeerFailed(f"closed {ended} of {len(self._held)} idle connections meanwhile")


def _answered(port: int) -> socket.socket:
    """A connection with one request answered."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"\r\n\r\n" + EXPECTED):
            data = connection.recv(65536)
            if not data:
                raise PeerFailed(f"closed the connection after {answer[:40]!r}")
            answer += data
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise PeerFailed(f"answered {answer[:40]!r}")
    except BaseException:
        connection.close()
        raise
    return connection
