"""A service that is replaced under load: connections wait for the next process, and no request fails."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.service.manager import Manager
from tests.service.twistd import PATIENCE, readAll

#: What a test runs a service with: the manager, and the port.
ValueType = Callable[..., AbstractContextManager[tuple[Manager, int]]]
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"


class Load:
    """
    Clients with kept connections, each of which has one request after the other, until told to stop.

    :ivar served: requests that were answered with 200, as a whole.
    :ivar failures: what happened to the others.
    """

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._clients = clients
        self._stopped = False
        self._wanted = 0
        self._reached = threading.Event()
        self.served = 0
        self.failures: list[str] = []

    @contextmanager
    def running(self) -> Iterator[Load]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield self
        finally:
            self._stopped = True
            thread.join(PATIENCE)
        assert not thread.is_alive()

    def waitForMore(self, requests: int) -> None:
        """Until so many requests more were served, or one has failed."""
        self._reached.clear()
        self._wanted = self.served + requests
        assert self._reached.wait(PATIENCE), f"the load has come to a stand at {self.served} requests"

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._clients)))

    async def _client(self) -> None:
        try:
            while not self._stopped:
                await self._connection()
        except (OSError, EOFError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            self._reached.set()

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while not self._stopped and await self._exchange(reader, writer):
                # Some think, so that their connections are idle when the server stops.
                await asyncio.sleep(0.002 * (self.served % 3))
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection is kept."""
        writer.write(REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise OSError(head.decode())
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        self.served += 1
        if self.served >= self._wanted:
            self._reached.set()
        return b"connection: close" not in head


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("import os\ndef handler(request): return str(os.getpid())\n")
    return tmp_path


@contextmanager
def managed(directory: Path, *arguments: str, reactor: str = "default", **sockets: socket.socket) -> Iterator[Manager]:
    arguments = ("--app", "shop:handler", *arguments)
    manager = Manager(directory, arguments, sockets, reactor=reactor)
    try:
        manager.start()
        yield manager
    finally:
        manager.close()


def replaceUnderLoad(manager: Manager, port: int, *, clients: int = 20, times: int = 2, between: int = 400) -> Load:
    """Stop the service and start it anew, several times, with so many requests before each and after the last."""
    with Load(port, clients).running() as load:
        for _ in range(times):
            load.waitForMore(between)
            before = manager.pid
            assert manager.stop() == 0, manager.said()
            manager.start()
            assert manager.pid != before
        load.waitForMore(between)
    return load


@contextmanager
def activated(directory: Path, *arguments: str, reactor: str = "default") -> Iterator[tuple[Manager, int]]:
    """A service on a socket of the manager's."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
        managed(
            directory, "--listen", "systemd:domain=INET:name=web", *arguments, reactor=reactor, web=listener
        ) as manager,
    ):
        yield manager, listener.getsockname()[1]


@contextmanager
def storing(directory: Path, *arguments: str, reactor: str = "default") -> Iterator[tuple[Manager, int]]:
    """A service on a socket of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with managed(directory, "--listen", f"tcp:{port}:interface=127.0.0.1", *arguments, reactor=reactor) as manager:
        yield manager, port


def test_a_socket_of_the_managers_outlives_its_servers(shop: Path) -> None:
    with activated(shop) as (manager, port):
        assert replaceUnderLoad(manager, port).failures == [], manager.said()
        assert manager.stored == []


def test_a_stored_socket_outlives_its_servers(shop: Path) -> None:
    with storing(shop) as (manager, port):
        [(name, fd)] = manager.stored
        assert str(port) in name
        assert replaceUnderLoad(manager, port).failures == [], manager.said()
        assert manager.stored == [(name, fd)]
        told = [field for field in manager.heard if field in ("READY=1", "STOPPING=1")]
        assert told == ["READY=1", "STOPPING=1"] * 2 + ["READY=1"]


@pytest.mark.parametrize("kind", [activated, storing])
def test_workers_are_replaced_with_their_supervisor(shop: Path, kind: ValueType) -> None:
    with kind(shop, "--workers", "2") as (manager, port):
        assert replaceUnderLoad(manager, port, times=1).failures == [], manager.said()


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
@pytest.mark.parametrize("kind", [activated, storing])
def test_sockets_outlive_servers_on_uvloop(shop: Path, kind: ValueType) -> None:
    with kind(shop, reactor="uvloop") as (manager, port):
        assert replaceUnderLoad(manager, port, times=1).failures == [], manager.said()


@pytest.mark.parametrize("kind", [activated, storing])
def test_connections_wait_for_the_successor_of_one_that_was_killed(shop: Path, kind: ValueType) -> None:
    with kind(shop) as (manager, port):
        manager.kill()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            manager.start()
            assert readAll(connection).endswith(b"\r\n\r\n%d" % manager.pid)


@pytest.mark.soak
@pytest.mark.parametrize("kind", [activated, storing])
def test_none_of_many_requests_fails(shop: Path, kind: ValueType) -> None:
    with kind(shop) as (manager, port):
        load = replaceUnderLoad(manager, port, clients=200, times=5, between=9_000)
        assert load.failures == [], manager.said()
        assert load.served >= 50_000


def test_a_socket_that_is_not_listened_on_any_more_is_given_up(shop: Path) -> None:
    with storing(shop) as (manager, port):
        assert manager.stop() == 0
        manager.arguments = ["--app", "shop:handler", "--listen", "tcp:0:interface=127.0.0.1"]
        manager.start()
        assert [name for name, _ in manager.stored if str(port) in name] == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_reload_that_fails_is_told_as_one_that_is_over(shop: Path) -> None:
    (shop / "shop.toml").write_text("")
    with storing(shop, "--config", "shop.toml") as (manager, _):
        (shop / "shop.toml").write_text("colour = 1\n")
        os.kill(manager.pid, signal.SIGHUP)
        manager.waitFor("RELOADING=1")
        manager.waitFor("READY=1")
        assert "the configuration was not reloaded" in manager.said()
