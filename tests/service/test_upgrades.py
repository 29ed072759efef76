"""Upgrades through the command: any handler of any site may answer with a `Switch`."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.service.twistd import readAll, serving

ECHO = """
from twisted.internet.protocol import Protocol
from ka_twisted import Response, Switch

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data.upper())

def handler(request):
    if "echo" in request.upgrades:
        return Switch(Echo())
    return Response.text("echo only", 426, {"Upgrade": "echo"})

async def later(request):
    return handler(request)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(ECHO)
    (tmp_path / "k.toml").write_text(
        'app = "shop:later"\n'
        '[[site]]\napp = "shop:handler"\nprefix = "/echo"\n'
        '[[site]]\napp = "shop:later"\nhost = "b"\n'
    )
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_handler_of_any_site_switches_its_connection(shop: Path, workers: str) -> None:
    with serving(shop, "--config", "k.toml", "--workers", workers) as server:
        if workers != "0":
            server.waitFor("is ready")
        for target, host in ((b"/", b"a"), (b"/echo", b"a"), (b"/", b"b")):
            with server.connect() as connection:
                connection.sendall(
                    b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello" % (target, host)
                )
                received = b""
                while not received.endswith(b"HELLO"):
                    data = connection.recv(1000)
                    assert data, received
                    received += data
                assert received.startswith(b"HTTP/1.1 101 ")
            with server.connect() as connection:
                connection.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, host))
                assert readAll(connection).startswith(b"HTTP/1.1 426 ")
        assert server.end(signal.SIGTERM) == 0
