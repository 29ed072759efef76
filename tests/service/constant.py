"""Constant load by keep-alive connections, from a thread of its own: each sends its next request once answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REQUEST = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"


class Load:
    """
    The clients, and what they have seen.

    :ivar answered: requests that got 200.
    :ivar failed: a word on each that did not, or that got nothing.
    :ivar connected: connections that were made.
    """

    def __init__(self, port: int, connections: int) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self.connected = 0
        self._port = port
        self._connections = connections
        self._stopping = False
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once what is under way is answered."""
        self._stopping = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def waitFor(self, more: int, patience: float = 60) -> None:
        """Wait until so many more requests have been answered."""
        wanted = self.answered + more
        with self._progress:
            assert self._progress.wait_for(lambda: self.answered >= wanted, patience), self.failed[:5]

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._connections)))

    async def _client(self) -> None:
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self.failed.append(f"connecting: {error}")
                await asyncio.sleep(0.1)  # no storm on a port that is closed
                continue
            self.connected += 1
            try:
                while not self._stopping and await self._request(reader, writer):
                    pass
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed.append(f"{type(error).__name__}: {error}")
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one; whether the connection can have another."""
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        if not head.startswith(b"HTTP/1.1 200 "):
            self.failed.append(head.decode("latin-1"))
        with self._progress:
            self.answered += 1
            self._progress.notify_all()
        return b"connection: close" not in head.lower()


@contextmanager
def load(port: int, connections: int) -> Iterator[Load]:
    """Constant load on a port of this machine, from the first answers on."""
    clients = Load(port, connections)
    clients.start()
    clients.waitFor(connections)
    try:
        yield clients
    finally:
        clients.stop()
