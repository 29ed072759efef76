"""The client of a request behind proxies that are trusted: in handlers, in the access log, through the command."""

from __future__ import annotations

import json
import signal
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from ka_twisted import KeepAliveFactory, Request
from ka_twisted.observe import linefile
from ka_twisted.observe.accesslog import AccessLog
from ka_twisted.testing import MemoryServer
from tests.service.twistd import run, serving

APPLICATION = """
def handler(request):
    return request.client.host if hasattr(request.client, "host") else "?"
"""


def head(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: a", *fields, "", "")).encode()


class Logged:
    """A server in memory that trusts 10.0.0.0/8, with the access log of a format."""

    def __init__(self, path: Path, form: str, networks: tuple[str, ...] = ("10.0.0.0/8",)) -> None:
        self.path = path
        self.seen: list[Any] = []
        self.requests: list[Request] = []
        self._form, self._networks = form, networks
        self.server = MemoryServer(factory=self._factory)
        self.log.start()

    def _factory(self, clock: Any) -> KeepAliveFactory:
        self.log = AccessLog(self.path, self._form, clock)
        networks = [ip_network(text) for text in self._networks]
        return KeepAliveFactory(self._answer, reactor=clock, observers=[self.log], trustedProxies=networks)

    def _answer(self, request: Request) -> bytes:
        self.seen.append(request.client)
        self.requests.append(request)
        return b"hello"

    def lines(self) -> list[str]:
        self.server.advance(linefile.DELAY)
        return self.path.read_text().splitlines()


def test_the_client_changes_from_request_to_request_on_one_connection(tmp_path: Path) -> None:
    logged = Logged(tmp_path / "log", "%h %a %(peer)s %(client)s %U")
    client = logged.server.connect(peer="10.0.0.1")
    client.send(head("/1", "X-Forwarded-For: 192.0.2.1"))
    client.send(head("/2", 'Forwarded: for="[2001:db8::1]:99"'))
    client.send(head("/3"))
    client.send(head("/4", "X-Forwarded-For: unknown"))
    peer = logged.requests[0].connection.peer
    assert logged.seen == [
        IPv4Address("TCP", "192.0.2.1", 0),
        IPv6Address("TCP", "2001:db8::1", 99),
        peer,
        peer,
    ]
    assert logged.requests[0].client == logged.seen[0], "it is the same after the response"
    assert logged.lines() == [
        "192.0.2.1 192.0.2.1 10.0.0.1 192.0.2.1 /1",
        "2001:db8::1 2001:db8::1 10.0.0.1 2001:db8::1 /2",
        "10.0.0.1 10.0.0.1 10.0.0.1 10.0.0.1 /3",
        "10.0.0.1 10.0.0.1 10.0.0.1 10.0.0.1 /4",
    ]


@pytest.mark.parametrize("form", ["combined", "json"])
def test_the_formats_name_the_client(tmp_path: Path, form: str) -> None:
    logged = Logged(tmp_path / "log", form)
    client = logged.server.connect(peer="10.0.0.1")
    for _ in range(2):  # what is remembered of a head does not outlive its client
        client.send(head("/", "X-Forwarded-For: 192.0.2.1") * 2)
        client.send(head("/", "X-Forwarded-For: 192.0.2.2"))
        client.send(head("/"))
    expected = ["192.0.2.1", "192.0.2.1", "192.0.2.2", None] * 2
    if form == "combined":
        assert [line.split()[0] for line in logged.lines()] == [host or "10.0.0.1" for host in expected]
    else:
        values = [json.loads(line) for line in logged.lines()]
        assert [value.get("client") for value in values] == expected
        assert {value["peer"] for value in values} == {"10.0.0.1"}


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",)])
def test_a_peer_that_is_not_trusted_is_not_believed(tmp_path: Path, networks: tuple[str, ...]) -> None:
    logged = Logged(tmp_path / "log", "%h", networks)
    logged.server.connect(peer="192.0.2.9").send(head("/", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1"))
    assert logged.seen == [logged.requests[0].connection.peer]
    assert logged.lines() == ["192.0.2.9"]


# -- through the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APPLICATION)
    return tmp_path


def answer(connection: socket.socket, *fields: str) -> str:
    with connection:
        connection.sendall(head("/", "Connection: close", *fields))
        data = b""
        while piece := connection.recv(4096):
            data += piece
    return data.rpartition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("networks", ["10.0.0.0/8,127.0.0.0/8", "10.0.0.0/8", ""])
def test_the_command_believes_those_that_it_is_told_to(shop: Path, workers: int, networks: str) -> None:
    options = ["--app", "shop:handler", "--access-log", "log", "--log-format", "%h", "--workers", str(workers)]
    if networks:
        options += ["--trusted-proxies", networks]
    with serving(shop, *options) as server:
        said = answer(server.connect(), "X-Forwarded-For: 203.0.113.1, 192.0.2.1, 10.1.1.1")
        assert server.end(signal.SIGTERM) == 0
    expected = "192.0.2.1" if "127" in networks else "127.0.0.1"
    assert said == expected
    assert (shop / "log").read_text().split() == [expected]


def test_peers_on_a_unix_socket_are_trusted(shop: Path) -> None:
    (shop / "k.toml").write_text(
        'trusted-proxies = ["192.0.2.128/32"]\n'
        '[[listen]]\nendpoint = "tcp:0:interface=127.0.0.1"\n[[listen]]\nendpoint = "unix:s"\n'
    )
    with serving(shop, "--app", "shop:handler", "--config", "k.toml", listen="") as server:
        local = socket.socket(socket.AF_UNIX)
        local.connect(str(shop / "s"))
        assert answer(local, "Forwarded: for=192.0.2.1") == "192.0.2.1"
        assert answer(server.connect(), "Forwarded: for=192.0.2.1") == "127.0.0.1"
        assert server.end(signal.SIGTERM) == 0


def test_what_is_no_network_is_refused(shop: Path) -> None:
    done = run(shop, "-n", "keepalive", "--trusted-proxies", "10.0.0.1/8")
    assert done.returncode == 1
    assert done.stderr.startswith("keepalive: --trusted-proxies wants networks such as 10.0.0.0/8: ")
    assert done.stderr.count("\n") == 1
