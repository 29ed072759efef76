"""Servers in a thread that do what a test wants of them, and processes that have to end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread

import pytest

Listen = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Serves every connection with a function, in a thread; gives the port."""
    with ExitStack() as over:

        def start(serve: Callable[[socket.socket], None]) -> int:
            listening = socket.create_server(("127.0.0.1", 0))
            thread = Thread(target=accept, args=(listening, serve))
            thread.start()
            over.callback(thread.join)
            over.callback(listening.close)
            over.callback(listening.shutdown, socket.SHUT_RDWR)
            return int(listening.getsockname()[1])

        yield start


def accept(listening: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    threads = []
    with suppress(OSError):  # it listens no longer
        while True:
            thread = Thread(target=quietly, args=(listening.accept()[0], serve))
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join()


def quietly(connection: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, suppress(OSError):  # the load has closed it
        serve(connection)


@pytest.fixture
def gone() -> Callable[[list[int]], None]:
    """Waits for the end of processes, and fails where it does not come."""

    def wait(pids: list[int]) -> None:
        deadline = time.monotonic() + 10
        while alive := list(filter(runs, pids)):
            assert time.monotonic() < deadline, alive

    return wait


def runs(pid: int) -> bool:
    """Whether there is such a process, and not only an entry for its parent to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
