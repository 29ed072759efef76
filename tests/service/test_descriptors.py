"""Connections and the descriptors that there are for them."""

from __future__ import annotations

import resource
import signal
import socket
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from twisted.logger import LogLevel

from ka_twisted.config import Limits
from ka_twisted.service.running.descriptors import RESERVE, affordable
from tests.logs import logged
from tests.service.twistd import PATIENCE, TWISTD, readAll, serving

REACTORS = [
    "default",
    pytest.param("uvloop", marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")),
]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit of the process, in memory."""
    pair = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(pair))
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: pair.__setitem__(slice(None), new))
    return pair


def test_the_soft_limit_is_raised_as_far_as_is_needed(limit: list[int]) -> None:
    limits = Limits(maxConnections=3000)
    assert affordable(limits) == limits
    assert limit == [3000 + limits.maxRefused + RESERVE, 4096]
    assert affordable(Limits(maxConnections=100)) == Limits(maxConnections=100)
    assert limit[0] == 3000 + limits.maxRefused + RESERVE  # it is never lowered


def test_fewer_connections_are_accepted_where_it_cannot_be_and_the_log_says_so(limit: list[int]) -> None:
    with logged() as log:
        allowed = affordable(Limits())
        (said,) = log.messages(LogLevel.warn)
    assert allowed.maxConnections == 4096 - RESERVE - Limits().maxRefused
    assert limit == [4096, 4096]
    assert "10000 connections" in said
    assert "4096 file descriptors" in said


def test_without_a_limit_on_connections_there_is_one_all_the_same(limit: list[int]) -> None:
    assert affordable(Limits(maxConnections=0)).maxConnections == 4096 - RESERVE - Limits().maxRefused
    limit[:] = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    assert affordable(Limits(maxConnections=0)).maxConnections == 0


@pytest.mark.parametrize("size", [16, 64, 200])
def test_some_are_left_however_few_there_are(limit: list[int], size: int) -> None:
    limit[:] = [size, size]
    with logged() as log:
        allowed = affordable(Limits())
        assert len(log.messages(LogLevel.warn)) == 1
    assert allowed.maxConnections >= 1
    assert allowed.maxConnections + allowed.maxRefused < size


@pytest.mark.parametrize("reactor", REACTORS)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_operator_is_served_when_clients_have_all_the_rest(tmp_path: Path, reactor: str, kind: str) -> None:
    few = ("/bin/sh", "-c", 'ulimit -n 512; exec "$@"', "sh", *TWISTD, f"--reactor={reactor}")
    path, admin = tmp_path / "s.sock", tmp_path / "admin.sock"
    (tmp_path / "shop.toml").write_text(f'access-log = "a.log"\n[admin]\nendpoint = "unix:{admin}"\n')
    arguments = ("--config", "shop.toml", "--listen", f"unix:{path}")
    with serving(tmp_path, *arguments, command=few) as server, ExitStack() as clients:
        assert "512 file descriptors (ulimit -n)" in "".join(server.said)

        def connected() -> socket.socket:
            if kind == "tcp":
                return clients.enter_context(server.connect())
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE)
            client.connect(str(path))
            return client

        with connected() as first:  # it serves, and knows what signals mean
            first.sendall(b"GET /status/204 HTTP/1.1\r\nHost: here\r\n\r\n")
            assert first.recv(100)
        for _ in range(400):
            connected()

        def health() -> bytes:
            with socket.socket(socket.AF_UNIX) as operator:
                operator.settimeout(PATIENCE)
                operator.connect(str(admin))
                operator.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return readAll(operator)

        assert health().startswith(b"HTTP/1.1 200 ")
        (tmp_path / "shop.toml").write_text((tmp_path / "shop.toml").read_text() + "[timeouts]\nidle = 50\n")
        server.process.send_signal(signal.SIGHUP)
        server.waitFor("the configuration was reloaded")
        (tmp_path / "a.log").rename(tmp_path / "a.log.1")
        server.process.send_signal(signal.SIGUSR1)
        assert health().startswith(b"HTTP/1.1 200 ")
        assert (tmp_path / "a.log").exists()
        assert "Too many open files" not in "".join(server.said)
