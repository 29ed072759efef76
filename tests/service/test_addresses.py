"""Addresses and sockets: what a connection runs on is seen from its socket, and an address has one form."""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.service.twistd import PATIENCE, readAll, serving

WHOAMI = b"GET /whoami HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.8 4444 80\r\n"
#: Version 2, PROXY, a UNIX stream: two paths of 108 bytes.
V2_UNIX = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x31" + (216).to_bytes(2, "big") + b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")
)
REACTORS = [
    "default",
    pytest.param("uvloop", marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")),
]


def asked(connection: socket.socket, data: bytes) -> bytes:
    with connection:
        connection.settimeout(PATIENCE)
        connection.sendall(data)
        return readAll(connection)


@pytest.mark.parametrize("reactor", REACTORS)
@pytest.mark.parametrize("more", [(), ("--tcp-keepalive", "60:10:3")], ids=["", "probes"])
def test_a_header_claims_addresses_and_no_kind_of_socket(tmp_path: Path, reactor: str, more: tuple[str, ...]) -> None:
    path = tmp_path / "s.sock"
    arguments = ("--listen", f"unix:{path}", "--proxy-protocol", "127.0.0.0/8", *more)
    with serving(tmp_path, *arguments, reactor=reactor) as server:
        for header in (V1, V2_UNIX):
            local = socket.socket(socket.AF_UNIX)
            local.connect(str(path))
            for connection in (local, server.connect()):
                answer = asked(connection, header + WHOAMI)
                assert answer.startswith(b"HTTP/1.1 200 "), (header, answer)
                assert (b"192.0.2.7" in answer) is (header is V1)


def test_a_client_of_ipv4_has_an_address_of_ipv4(tmp_path: Path) -> None:
    arguments = ("--access-log", "-", "--max-connections-per-peer", "100")
    with serving(tmp_path, *arguments, listen=r"tcp6:0:interface=\:\:") as server:
        (port,) = re.findall(r"listening on \[::\]:(\d+)", "".join(server.said))
        answer = asked(socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE), WHOAMI)
        assert b"127.0.0.1" in answer
        assert b"ffff" not in answer
        assert server.waitFor("GET /whoami").string.split()[0] == "127.0.0.1"
