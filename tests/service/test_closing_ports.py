"""No connection is lost that has come to a port before it closes: whatever the port, and whatever closes it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.load import REFUSED, Result, Running, load
from tests.service.manager import Manager
from tests.service.twistd import PATIENCE, Server, serving

REACTORS = [
    "default",
    pytest.param("uvloop", marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")),
]
#: Clients that connect anew for each request.
CLIENTS = 6


def freePort() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def losses(result: Result) -> list[str]:
    """What has failed, but for clients that were refused: they know that nothing has happened."""
    return [f"{failure.kind}: {failure.detail}" for failure in result.failures if failure.kind != REFUSED]


@contextmanager
def anew(host: str, port: int = 0) -> Iterator[Running]:
    """Clients that connect anew for each request, until no server listens any more."""
    with load(host, port, connections=CLIENTS, renew=True, path="/whoami") as running:
        yield running


def stopped(server: Server) -> None:
    """Stop a server, which has to end well."""
    assert server.end(signal.SIGTERM) == 0, "".join(server.said)


@pytest.mark.parametrize("reactor", REACTORS)
@pytest.mark.parametrize("more", [(), ("--drain-delay", "0.5"), ("--workers", "2")], ids=["", "delay", "workers"])
def test_a_stop_loses_nothing_on_a_unix_socket(tmp_path: Path, reactor: str, more: tuple[str, ...]) -> None:
    path = str(tmp_path / "s.sock")

    def started() -> AbstractContextManager[Server]:
        return serving(tmp_path, *more, listen=f"unix:{path}", reactor=reactor)

    with ExitStack() as servers:
        server = servers.enter_context(started())
        with anew(path) as running:
            for _ in range(3):
                running.waitFor(200)
                stopped(server)
                assert not os.path.exists(path)
                server = servers.enter_context(started())
            running.waitFor(200)
        stopped(server)
    assert losses(running.result) == []
    assert running.result.answered > 500


@pytest.mark.parametrize("keeps", [False, True], ids=["not kept", "kept"])
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["", "workers"])
def test_a_stop_under_systemd_loses_nothing(tmp_path: Path, more: tuple[str, ...], keeps: bool) -> None:
    port = freePort()
    arguments = ("--listen", f"tcp:{port}:interface=127.0.0.1", *more)
    manager = Manager(tmp_path, arguments, {}, keeps=keeps)
    try:
        manager.start()
        with anew("127.0.0.1", port) as running:
            for _ in range(3):
                running.waitFor(300)
                assert manager.stop() == 0, manager.said()
                manager.start()
            running.waitFor(300)
    finally:
        manager.close()
    assert losses(running.result) == []
    if keeps:
        assert running.result.failures == []


@pytest.mark.parametrize("more", [0, 2], ids=["", "workers"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_listener_that_is_removed_loses_nothing(tmp_path: Path, kind: str, more: int) -> None:
    path = tmp_path / "s.sock"
    port = freePort()
    busy = f"unix:{path}" if kind == "unix" else f"tcp:{port}:interface=127.0.0.1"
    file = tmp_path / "shop.toml"
    stays = f'workers = {more}\n[[listen]]\nendpoint = "tcp:{freePort()}:interface=127.0.0.1"\n'
    goes = f'[[listen]]\nendpoint = "{busy}"\n'
    file.write_text(stays)
    with serving(tmp_path, "--config", "shop.toml", listen="") as server:

        def reload(text: str) -> None:
            file.write_text(text)
            server.process.send_signal(signal.SIGHUP)
            server.waitFor("the configuration was reloaded")

        reload(stays + goes)
        with anew(str(path) if kind == "unix" else "127.0.0.1", port) as running:
            for _ in range(3):
                running.waitFor(200)
                reload(stays)
                reload(stays + goes)
            running.waitFor(200)
        stopped(server)
    assert losses(running.result) == [], "".join(server.said)


#: Once there is a folder "wrong", the second process from then on cannot import this.
HALF = """
import os
if os.path.exists("wrong"):
    try:
        os.mkdir("wrong/first")
    except FileExistsError:
        os.rename("wrong", "over")
        raise RuntimeError("the second")
def handler(request):
    return "here"
"""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_listener_of_a_reload_that_fails_halfway_loses_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.sock"
    port = freePort()
    busy = f"unix:{path}" if kind == "unix" else f"tcp:{port}:interface=127.0.0.1"
    file = tmp_path / "shop.toml"
    stays = f'app = "shop:handler"\nworkers = 2\n[[listen]]\nendpoint = "tcp:{freePort()}:interface=127.0.0.1"\n'
    file.write_text(stays)
    (tmp_path / "shop.py").write_text(HALF)
    with serving(tmp_path, "--config", "shop.toml", listen="") as server:
        for _ in range(2):
            server.waitFor("is ready")
        file.write_text(stays + f'[[listen]]\nendpoint = "{busy}"\n')
        with anew(str(path) if kind == "unix" else "127.0.0.1", port) as running:
            for _ in range(3):
                (tmp_path / "wrong").mkdir()
                server.process.send_signal(signal.SIGHUP)
                server.waitFor("the configuration was not reloaded")
                (tmp_path / "over/first").rmdir()
                (tmp_path / "over").rmdir()
        assert losses(running.result) == [], "".join(server.said)
        assert running.result.answered > 100
        server.process.kill()


def test_a_successor_keeps_its_path(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with serving(tmp_path, listen=f"unix:{path}") as server:
        with socket.socket(socket.AF_UNIX) as client:  # it serves, and knows what signals mean
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"GET /status/204 HTTP/1.1\r\nHost: here\r\n\r\n")
            assert client.recv(100)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
            stopped(server)
            assert path.exists()
