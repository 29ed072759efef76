"""Every program in examples/ runs, does what it says, and stops when it is told to."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
ANY_PORT = "tcp:0:interface=127.0.0.1"
#: Seconds after which something is wrong; nothing here takes this long.
PATIENCE = 20


class Program:
    """A running example."""

    def __init__(self, *command: str, **environment: str) -> None:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self.port = int(self.sees(r"port=(\d+)|starting on (\d+)"))

    def sees(self, pattern: str) -> str:
        """Wait for a line; gives what the pattern's group has matched."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := re.search(pattern, line):
                return next(filter(None, found.groups()), "")
        raise AssertionError(f"it never said {pattern}, but: {self.said}")

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is opened by its first request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def terminate(self) -> None:
        """Ask it to stop, as an operator does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit status, once it has stopped."""
        self.said += self.process.communicate(timeout=PATIENCE)[0]
        assert "Traceback" not in self.said
        return self.process.returncode


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Starts an example; it does not outlive the test."""
    programs: list[Program] = []

    def started(*command: str, **environment: str) -> Program:
        programs.append(Program(*command, **environment))
        return programs[-1]

    yield started
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()


def test_hello(start: Callable[..., Program]) -> None:
    program = start(str(EXAMPLES / "hello.py"), ANY_PORT)
    connection = program.connect()
    for number in (1, 2):
        connection.request("GET", "/")
        response = connection.getresponse()
        assert response.status == 200
        assert response.read() == b"Hello! This is request %d on connection 1.\n" % number
    connection.close()
    program.terminate()
    assert program.wait() in (0, -signal.SIGTERM)


def test_rationed(start: Callable[..., Program]) -> None:
    program = start(str(EXAMPLES / "rationed.py"), ANY_PORT)
    connection = program.connect()
    for number in (1, 2, 3):
        connection.request("POST", "/", b"x" * number)
        response = connection.getresponse()
        assert response.read() == b"request %d: %d bytes\n" % (number, number)
        assert response.headers["Connection"] == ("close" if number == 3 else None)
    assert "ended after 3 requests: CLOSE_REQUESTED (by us" in program.sees("(connection 1 .*)")

    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    for length, answer in ((10, b"HTTP/1.1 100 Continue\r\n"), (2_000_000, b"HTTP/1.1 413 ")):
        with socket.create_connection(("127.0.0.1", program.port), PATIENCE) as client:
            client.sendall(head % length)
            assert client.recv(65536).startswith(answer)
    connection.request("POST", "/", iter([b"x" * 600_000] * 2), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    program.terminate()
    program.wait()


def test_upload(start: Callable[..., Program], tmp_path: Path) -> None:
    program = start(str(EXAMPLES / "upload.py"), str(tmp_path), ANY_PORT)
    connection = program.connect()
    data = os.urandom(3_000_000)

    def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()

    assert ask("PUT", "/data.bin", data) == (201, b"3000000 bytes\n")
    assert (tmp_path / "data.bin").read_bytes() == data
    assert ask("GET", "/data.bin") == (200, data)
    assert ask("GET", "/other")[0] == 404
    assert ask("GET", "/../etc")[0] == 404
    assert ask("DELETE", "/data.bin")[0] == 405

    head = b"PUT /cut HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", program.port), PATIENCE) as client:
        client.sendall(head % 1_000_000_000)
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", program.port), PATIENCE) as client:
        client.sendall(head % 10)
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"12345")
    connection.close()
    program.terminate()
    program.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_service(start: Callable[..., Program], tmp_path: Path) -> None:
    program = start(
        "-c", "from twisted.scripts.twistd import run; run()",
        "-n", "--pidfile=", "-d", str(tmp_path), "-y", str(EXAMPLES / "service.tac"),
        ENDPOINT=ANY_PORT,
    )  # fmt: skip
    connection = program.connect()
    connection.request("GET", "/")
    program.sees("thinking about <Request 1 ")
    program.terminate()
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers["Connection"] == "close"
    assert response.read() == b"That took a second.\n"
    assert program.wait() in (0, -signal.SIGTERM)
    with pytest.raises(ConnectionRefusedError):
        program.connect().request("GET", "/")
