"""What an earlier process has left behind is in no server's way, and what a live one has is left alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ka_twisted.service import leftovers
from tests.service.twistd import PATIENCE, TWISTD, environment, run, serving


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def stranger() -> Iterator[int]:
    """The id of a process that is no server."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def test_only_a_live_server_that_is_another_counts(gone: int, stranger: int) -> None:
    assert not leftovers.isAnotherServer(os.getpid())
    assert not leftovers.isAnotherServer(gone)
    assert not leftovers.isAnotherServer(stranger)


def test_a_pid_file_of_ourselves_or_of_a_stranger_is_removed(tmp_path: Path, gone: int, stranger: int) -> None:
    path = tmp_path / "twistd.pid"
    for pid in (os.getpid(), gone, stranger):
        path.write_text(f"{pid}\n")
        leftovers.removePidFile(str(path))
        assert not path.exists()
    path.write_text("no number")
    leftovers.removePidFile(str(path))
    assert path.exists()
    leftovers.removePidFile(str(tmp_path / "none"))


def test_a_socket_is_removed_unless_it_is_listened_on(tmp_path: Path, gone: int) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.symlink(str(gone), f"{path}.lock")
        leftovers.removeSocket(str(path))
        assert path.exists()
    for pid in (gone, os.getpid()):
        leftovers.removeSocket(str(path))
        assert not path.exists()
        assert not os.path.lexists(f"{path}.lock")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
        os.symlink(str(pid), f"{path}.lock")
    path.unlink()
    path.write_text("a file")
    leftovers.removeSocket(str(path))
    assert path.exists()


@pytest.mark.parametrize("lock", ["", ":lockfile=0", ":lockfile=1"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_server_that_was_killed_is_no_obstacle_to_the_next(tmp_path: Path, lock: str, workers: str) -> None:
    path = tmp_path / "s.sock"
    arguments = ("--workers", workers)
    with serving(tmp_path, *arguments, listen=f"unix:{path}{lock}") as server:
        server.process.kill()
        server.process.wait(PATIENCE)
    assert path.exists()
    with serving(tmp_path, *arguments, listen=f"unix:{path}{lock}"), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(b"GET /status/204 HTTP/1.1\r\nHost: here\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 204 ")


def test_a_container_that_is_restarted_has_the_same_process_id(tmp_path: Path) -> None:
    """The shell writes its own id, and becomes the server: as in a container whose first process it is."""
    script = 'echo $$ > twistd.pid; exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", *TWISTD, "-n", "keepalive", "--listen", "tcp:0:interface=127.0.0.1"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = iter(process.stdout.readline, "")
        assert any("TCP keep-alive: " in line for line in said)
    finally:
        process.kill()
        process.communicate()


def test_a_live_server_is_named_and_left_alone(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        refused = run(tmp_path, "-n", "keepalive", "--listen", "tcp:0:interface=127.0.0.1")
        assert refused.returncode == 1
        assert "Another twistd server is running" in refused.stderr
        with server.connect() as connection:
            connection.sendall(b"GET /status/204 HTTP/1.1\r\nHost: here\r\n\r\n")
            connection.settimeout(PATIENCE)
            assert connection.recv(100)
        assert server.end(signal.SIGTERM) == 0
