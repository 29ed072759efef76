"""Servers that are reloaded and replaced under load, whatever they listen on: no request is lost, nothing grows."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.load import REFUSED, Result, Running, load
from tests.net.certificates import Authority
from tests.service.manager import Manager
from tests.service.twistd import Server, serving

#: Requests on connections of their own, and as many on kept ones.
REQUESTS = 50_000
KINDS = ["tcp", "unix", "tls", "proxy"]
PROXY = b"PROXY TCP4 192.0.2.7 192.0.2.8 4444 80\r\n"
SHOP = """
import os

def first(request):
    return "first"

async def second(request):
    return "second"
"""


@dataclass
class Kind:
    """
    What is listened on.

    :ivar address: a path for a UNIX socket, else an IP address.
    """

    name: str
    folder: Path
    address: str
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"unix:{self.address}" if self.name == "unix" else f"tcp:{self.port}:interface={self.address}"

    def listener(self, endpoint: str = "") -> str:
        """Its part of a configuration."""
        text = f'[[listen]]\nendpoint = "{endpoint or self.endpoint}"\n'
        if self.name == "proxy":
            text += 'proxy-protocol = ["127.0.0.0/8"]\n'
        if self.name == "tls":
            text += '[[listen.tls.certificates]]\nchain = "shop.crt"\nkey = "shop.key"\n'
        return text

    @contextmanager
    def load(self, renew: bool) -> Iterator[Running]:
        """Six clients that connect anew for each request, or twenty that do not."""
        with load(
            self.address, self.port, connections=6 if renew else 20, renew=renew, path="/", tls=self.name == "tls",
            preface=PROXY if self.name == "proxy" else b"",
        ) as running:  # fmt: skip
            yield running

    @contextmanager
    def loads(self) -> Iterator[list[Running]]:
        """Clients of both sorts; afterwards none of them has lost a request."""
        with self.load(True) as anew, self.load(False) as kept:
            yield [anew, kept]
        for running in (anew, kept):
            assert losses(running.result) == []


def losses(result: Result) -> list[str]:
    """What has failed, but for clients that were refused: they know that nothing has happened."""
    return [f"{failure.kind}: {failure.detail}" for failure in result.failures if failure.kind != REFUSED]


def more(runnings: list[Running], requests: int) -> None:
    """Wait for so many requests of each sort."""
    for running in runnings:
        running.waitFor(requests)


def freePort() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """Each kind of listener."""
    (tmp_path / "shop.py").write_text(SHOP)
    Authority(tmp_path).certify("shop.example", file="shop")
    if request.param == "unix":
        return Kind("unix", tmp_path, str(tmp_path / "s.sock"))
    return Kind(request.param, tmp_path, "127.0.0.1", freePort())


class Reloads:
    """A server whose configuration is written anew."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._file = folder / "shop.toml"
        self._server = server

    def put(self, text: str, expected: str = "the configuration was reloaded") -> None:
        self._file.write_text(text)
        self._server.process.send_signal(signal.SIGHUP)
        self._server.waitFor(expected)


def done(runnings: list[Running], requests: int) -> bool:
    """Whether all sorts of clients have had so many requests."""
    return all(running.result.answered >= requests for running in runnings)


@contextmanager
def configured(folder: Path, text: str) -> Iterator[tuple[Server, Reloads]]:
    """A server with this configuration."""
    (folder / "shop.toml").write_text(text)
    with serving(folder, "--config", "shop.toml", listen="", patience=1200.0) as server:
        if "workers = 2" in text:
            for _ in range(2):
                server.waitFor("is ready")
        yield server, Reloads(folder, server)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.soak
def test_reloads_lose_nothing(kind: Kind, workers: int) -> None:
    def text(number: int) -> str:
        app = ("first", "second")[number % 2]
        return f'workers = {workers}\napp = "shop:{app}"\n{kind.listener()}[timeouts]\nidle = {50 + number}\n'

    with configured(kind.folder, text(0)) as (server, reloads):
        with kind.loads() as runnings:
            for number in count(1):
                reloads.put(text(number))
                more(runnings, REQUESTS // 25)
                if done(runnings, REQUESTS):
                    break
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.soak
def test_a_listener_that_comes_and_goes_loses_nothing(kind: Kind, workers: int) -> None:
    stays = f'workers = {workers}\napp = "shop:first"\n[[listen]]\nendpoint = "tcp:{freePort()}:interface=127.0.0.1"\n'
    both = stays + kind.listener()
    with configured(kind.folder, both) as (server, reloads):
        with kind.loads() as runnings:
            while not done(runnings, REQUESTS):
                reloads.put(stays)
                reloads.put(both)
                more(runnings, REQUESTS // 25)
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("requests", [pytest.param(REQUESTS, marks=pytest.mark.soak), 500])
def test_servers_that_follow_each_other_on_one_socket_lose_nothing(kind: Kind, workers: int, requests: int) -> None:
    """Each is started on the same socket while the one before it serves, which is stopped then."""
    if kind.name == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(kind.address)
        listening.listen(1024)
    else:
        listening = socket.create_server((kind.address, kind.port), backlog=1024)
    family = "UNIX" if kind.name == "unix" else "INET"
    listener = kind.listener(f"systemd:domain={family}:name=web")
    (kind.folder / "shop.toml").write_text(f'workers = {workers}\napp = "shop:first"\n{listener}')
    with listening, ExitStack() as managers:

        def started() -> Manager:
            folder = kind.folder / str(next(numbers))
            folder.mkdir()
            for file in ("shop.py", "shop.toml", "shop.crt", "shop.key"):
                (folder / file).symlink_to(kind.folder / file)
            manager = Manager(folder, ("--config", "shop.toml"), {"web": listening})
            managers.callback(manager.close)
            manager.start()
            return manager

        numbers = count()
        manager = started()
        with kind.loads() as runnings:
            while True:
                more(runnings, max(100, requests // 25))
                former, manager = manager, started()
                assert former.stop() == 0, former.said()
                if done(runnings, requests):
                    break
        assert all(running.result.failures == [] for running in runnings)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    [kilobytes] = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kilobytes) * 1024


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("times", [pytest.param(200, marks=pytest.mark.soak), 6])
def test_right_wrong_and_changed_configurations_by_turns_lose_nothing(tmp_path: Path, workers: int, times: int) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    kind = Kind("tcp", tmp_path, "127.0.0.1", freePort())
    begin = f"workers = {workers}\n{kind.listener()}"
    turns = [
        (f'app = "shop:first"\n{begin}', "the configuration was reloaded"),
        (f'app = "shop:nothing"\n{begin}', "the configuration was not reloaded"),
        (f'app = "shop:second"\n{begin}', "the configuration was reloaded"),
        (f'app = "shop:second"\n{begin}[[listen]]\nendpoint = "unix:/nowhere/s"\n', "the configuration was not"),
    ]
    with configured(tmp_path, turns[0][0]) as (server, reloads):
        pid = server.process.pid
        sizes: list[tuple[int, int]] = []
        with kind.loads() as runnings:
            for number in range(times):
                reloads.put(*turns[number % len(turns)])
                more(runnings, 20)
                sizes.append((len(os.listdir(f"/proc/{pid}/fd")), resident(pid)))
        assert all(running.result.failures == [] for running in runnings)
        assert server.end(signal.SIGTERM) == 0
    if times >= 100:
        middle, last = sizes[times // 4 : times // 2], sizes[-times // 4 :]
        assert max(each[0] for each in last) <= max(each[0] for each in middle) + 10, sizes
        assert min(each[1] for each in last) <= min(each[1] for each in middle) + 2_000_000, sizes
