"""The constant load sees every request that is not answered, and says how that was."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.load import Result, load
from tests.service.twistd import Server, serving

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwell\n"
LAST = WELL.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

#: Gets a connection, and how many there were before.
Behaviour = Callable[[socket.socket, int], None]


@contextmanager
def answering(behave: Behaviour) -> Iterator[int]:
    """A server that does what a test says with each connection, in a thread; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            number = 0
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection, number), daemon=True).start()
                number += 1

        def serve(connection: socket.socket, number: int) -> None:
            with connection:
                try:
                    behave(connection, number)
                except OSError:
                    pass  # the client has left

        threading.Thread(target=run, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def asked(connection: socket.socket) -> bool:
    """Read one request; False: there is none any more."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        data = connection.recv(65536)
        if not data:
            return False
        received += data
    return True


def well(connection: socket.socket, number: int = 0) -> None:
    while asked(connection):
        connection.sendall(WELL)


def once(then: Behaviour, connection: socket.socket, number: int) -> None:
    """Serve well, except for the third request of the first connection."""
    if number:
        well(connection)
        return
    for _ in range(2):
        assert asked(connection)
        connection.sendall(WELL)
    assert asked(connection)
    then(connection, number)


def reset(connection: socket.socket, number: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def nothing(connection: socket.socket, number: int) -> None:
    pass


def saying(data: bytes) -> Behaviour:
    return lambda connection, number: connection.sendall(data)


def silent(connection: socket.socket, number: int) -> None:
    asked(connection)


@pytest.mark.parametrize(
    ("behaviour", "kind", "detail"),
    [
        (reset, "reset", "ECONNRESET"),
        (nothing, "closed", ""),
        (saying(WELL[:30]), "closed", WELL[:30].decode()),
        (saying(WELL[:-1]), "closed", WELL[:-1].decode()),
        (saying(WELL.replace(b"200", b"503")), "status", "HTTP/1.1 503"),
        (saying(WELL.replace(b"well", b"what")), "body", "what"),
        (saying(WELL.replace(b"Content-Length: 5\r\n", b"")), "body", "well"),
        (saying(WELL + b"more"), "body", "more"),
        (silent, "timeout", "after 0 bytes"),
    ],
)
def test_a_request_that_is_not_answered_has_failed_and_is_not_repeated(
    behaviour: Behaviour, kind: str, detail: str
) -> None:
    begin = time.time()
    served: list[int] = []

    def counting(connection: socket.socket, number: int) -> None:
        once(behaviour, connection, number)

    with answering(counting) as port, load("127.0.0.1", port, connections=1, body=b"well\n", timeout=0.3) as running:
        running.waitFor(20)
        served.append(running.result.requests)
    [failure] = running.result.failures
    assert failure.kind == kind
    assert detail in failure.detail
    assert begin < failure.sent <= failure.at < time.time()
    assert failure.number == 3
    assert running.result.kinds == {kind: 1}
    assert running.result.answered == running.result.requests - 1 >= 20
    assert running.result.connections == 2


def test_a_port_that_is_closed_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with load("127.0.0.1", port, connections=2) as running:
        running.waitFor(4)
    assert set(running.result.kinds) == {"refused"}
    assert {failure.number for failure in running.result.failures} == {0}
    assert running.result.connections == 0


def test_a_connection_that_the_server_announces_to_close_is_replaced() -> None:
    def behave(connection: socket.socket, number: int) -> None:
        for answer in (WELL, WELL, LAST):
            asked(connection)
            connection.sendall(answer)

    with answering(behave) as port, load("127.0.0.1", port, connections=3, body=b"well\n") as running:
        running.waitFor(300)
    assert not running.result.failures
    assert running.result.connections >= 100
    assert not running.result.closedIdle


@pytest.mark.parametrize("end", [nothing, reset])
def test_a_connection_that_is_closed_while_idle_is_no_failure(end: Behaviour) -> None:
    """Each carries one request, and is closed unannounced before its next is due."""

    def behave(connection: socket.socket, number: int) -> None:
        asked(connection)
        connection.sendall(WELL)
        end(connection, number)

    with answering(behave) as port, load("127.0.0.1", port, connections=3, pace=0.1) as running:
        running.waitFor(12)
    result: Result = running.result
    assert not result.failures
    assert result.closedIdle >= 9
    assert result.connections == result.requests


def test_pace_is_kept() -> None:
    with answering(well) as port, load("127.0.0.1", port, connections=10, pace=0.1) as running:
        begin, before = time.time(), running.result.requests
        running.waitFor(50)
        rate = (running.result.requests - before) / (time.time() - begin)
    assert rate < 150
    assert running.result.connections == 10
    assert not running.result.failures


def test_our_own_server_answers(tmp_path: Path) -> None:
    server: Server
    with serving(tmp_path, "--max-requests", "7") as server:
        with server.connect() as connection:
            port = connection.getpeername()[1]
        with load("127.0.0.1", port, connections=20, body=b"200 OK\n") as running:
            running.waitFor(700)
        assert not running.result.failures
        assert running.result.connections >= 100
        with load(
            "127.0.0.1", port, connections=2, path="/echo", method="POST", content=b"abc", body=b"abc"
        ) as running:
            running.waitFor(20)
        assert not running.result.failures


def test_a_load_that_stands_still_is_not_waited_for_in_vain() -> None:
    with (
        answering(partial(once, silent)) as port,
        pytest.raises(AssertionError, match="come to a stand"),
        load("127.0.0.1", port, connections=1) as running,
    ):
        running.waitFor(10, patience=0.2)
