"""Signals to real servers: every way to stop one is graceful, and logs go on in new files."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.twistd import PATIENCE, TWISTD, environment, readAll, serving

GET = b"GET /slow?seconds=0.5 HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_request_in_service_is_answered_and_the_status_is_0(tmp_path: Path, number: int, workers: str) -> None:
    with serving(tmp_path, "--workers", workers) as server, server.connect() as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(GET.replace(b"0.5", b"0"))  # it serves, and knows what signals mean
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(GET)
        assert server.end(number) == 0, "".join(server.said)
        assert readAll(connection).startswith(b"HTTP/1.1 200 ")


@contextmanager
def logging(log: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A server that logs into a file, and a connection on which it has answered: it knows what signals mean."""
    process = subprocess.Popen(
        [*TWISTD, "-n", "--logfile", str(log), "keepalive", "--listen", "tcp:0:interface=127.0.0.1", *options],
        cwd=log.parent,
        env=environment(),
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text() if log.exists() else "")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=PATIENCE) as connection:
            asked(connection)
            yield process, connection
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def asked(connection: socket.socket) -> None:
    """Have a request answered, which takes a turn of the reactor."""
    connection.sendall(b"GET /status/204 HTTP/1.1\r\nHost: here\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize("options", [(), ("--log-json",)], ids=["text", "json"])
@pytest.mark.parametrize("create", [False, True], ids=["gone", "created anew"])
def test_the_log_of_twistd_is_opened_anew_where_it_was_moved(
    tmp_path: Path, create: bool, options: tuple[str, ...]
) -> None:
    log, moved = tmp_path / "server.log", tmp_path / "server.log.old"
    with logging(log, *options) as (process, connection):
        os.rename(log, moved)
        if create:
            log.touch()
        process.send_signal(signal.SIGUSR1)
        asked(connection)
    assert "Server Shut Down." in log.read_text()
    assert "listening on " in moved.read_text()
    assert not list(tmp_path.glob("server.log.[0-9]*"))


@pytest.mark.parametrize("options", [(), ("--log-json",)], ids=["text", "json"])
def test_the_log_of_twistd_is_rotated_where_it_was_not(tmp_path: Path, options: tuple[str, ...]) -> None:
    log = tmp_path / "server.log"
    with logging(log, *options) as (process, connection):
        process.send_signal(signal.SIGUSR1)
        asked(connection)
    assert "Server Shut Down." in log.read_text()
    assert "listening on " in (tmp_path / "server.log.1").read_text()
