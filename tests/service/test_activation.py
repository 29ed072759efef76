"""Sockets that are handed over by the real ``systemd-socket-activate``, and Twisted's endpoints for them."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import programs
from tests.service.twistd import PATIENCE, TWISTD, environment, readAll

ACTIVATE = programs.find("systemd-socket-activate")
pytestmark = pytest.mark.program("systemd-socket-activate")

REQUEST = b"GET /whoami HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"


def freePorts(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def activating(
    directory: Path, addresses: list[str], names: str | None, endpoints: list[str]
) -> Iterator[subprocess.Popen[str]]:
    """systemd-socket-activate, once it listens; it becomes twistd at the first connection."""
    listens = [word for address in addresses for word in ("--listen", address)]
    passed = [f"--setenv={name}" for name in ("PYTHONPATH", "PYTHONUNBUFFERED", "LC_ALL")]
    named = [f"--fdname={names}"] if names else []
    serves = [word for endpoint in endpoints for word in ("--listen", endpoint)]
    process = subprocess.Popen(
        [str(ACTIVATE), *listens, *named, *passed, *TWISTD, "-n", "--pidfile=", "keepalive", *serves],
        cwd=directory, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for _ in addresses:
            assert process.stdout.readline().startswith("Listening on ")
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(address: int | str) -> bytes:
    """The answer to one request."""
    with socket.socket(socket.AF_INET if isinstance(address, int) else socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", address) if isinstance(address, int) else address)
        connection.sendall(REQUEST)
        return readAll(connection)


@pytest.mark.parametrize("which", ["name=web", "index=0"])
def test_the_first_request_starts_the_server(tmp_path: Path, which: str) -> None:
    [port] = freePorts(1)
    with activating(tmp_path, [f"127.0.0.1:{port}"], "web", [f"systemd:domain=INET:{which}"]) as process:
        assert ask(port).startswith(b"HTTP/1.1 200 ")
        assert ask(port).startswith(b"HTTP/1.1 200 ")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0
    assert f"listening on 127.0.0.1:{port}" in said


def test_several_sockets_are_told_apart_by_name(tmp_path: Path) -> None:
    first, second = freePorts(2)
    path = str(tmp_path / "local")
    addresses = [f"127.0.0.1:{first}", f"127.0.0.1:{second}", path]
    endpoints = ["systemd:domain=UNIX:name=local", "systemd:domain=INET:name=other", "systemd:domain=INET:name=web"]
    with activating(tmp_path, addresses, "web:other:local", endpoints) as process:
        for address in (second, first, path):
            assert ask(address).startswith(b"HTTP/1.1 200 ")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0
    assert said.index(f"listening on unix:{path}") < said.index(f"listening on 127.0.0.1:{second}")
    assert Path(path).exists()  # it is systemd's


@pytest.mark.parametrize(
    ("names", "endpoint"),
    [
        ("web", "systemd:domain=INET:name=other"),
        ("web", "systemd:domain=INET:index=1"),
        # Twisted wants names, which systemd always gives; only systemd-socket-activate can leave them out.
        (None, "systemd:domain=INET:index=0"),
    ],
)
def test_a_socket_that_was_not_handed_over_is_refused_in_one_sentence(
    tmp_path: Path, names: str | None, endpoint: str
) -> None:
    [port] = freePorts(1)
    with activating(tmp_path, [f"127.0.0.1:{port}"], names, [endpoint]) as process:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1
    assert said.endswith(f"--listen {endpoint} is not an endpoint: systemd has not handed over such a socket\n"), said
