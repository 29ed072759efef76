"""The private names of Twisted that we use are there, mean what they did, and are used in one module only."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.python.reflect import namedAny

import ka_twisted
from ka_twisted.net import private
from tests.net.polling import Poller

PACKAGE = Path(ka_twisted.__file__).parent
#: A private module of Twisted's, or a private attribute of something that is not `self` or `cls`, that Twisted has.
MODULES = re.compile(r"\btwisted(?:\.\w+)*\._\w+")
ATTRIBUTES = re.compile(r"(?<!self)(?<!cls)\._(?:tempDataLen|shouldShutdown|realPortNumber|fromListeningDescriptor)\b")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_are_used_in_one_module(path: Path) -> None:
    if path == Path(private.__file__):
        return
    text = path.read_text("utf-8")
    assert not MODULES.findall(text)
    assert not ATTRIBUTES.findall(text)


@pytest.mark.parametrize("name", private.INHERITED)
def test_what_subclasses_inherit_is_there(name: str) -> None:
    kind = namedAny(name)
    sources = "".join(
        Path(namedAny(base.__module__).__file__).read_text("utf-8")
        for base in kind.__mro__
        if base.__module__.startswith("twisted.")
    )
    missing = [
        attribute
        for attribute in private.INHERITED[name]
        if not hasattr(kind, attribute)
        and f"self.{attribute} = " not in sources
        and f"self.{attribute}: " not in sources
    ]
    assert not missing


def test_bytes_that_a_transport_holds_are_counted() -> None:
    one, other = socket.socketpair()
    with one, other:
        reactor: Any = Poller()
        one.setblocking(False)
        transport = tcp.Connection(one, Protocol(), reactor)
        transport.connected = True
        assert private.bufferedBytes(transport) == 0
        transport.write(b"x" * 1000)
        assert private.bufferedBytes(transport) == 1000
        transport.write(b"x" * 24)
        assert private.bufferedBytes(transport) == 1024
        reactor.poll()
        assert private.bufferedBytes(transport) == 0


def test_a_port_is_adopted_and_not_shut_down() -> None:
    reactor: Any = Poller()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: Any = private.adoptedPort(tcp.Port, reactor, listening.fileno(), socket.AF_INET, Factory())
        port.startListening()
        private.neverShutDown(port)
        assert private.acceptedOn(port) == listening.getsockname()[1]
        port.connectionLost(None)
        with socket.create_connection(listening.getsockname()):
            listening.accept()[0].close()


def test_the_parsers_of_the_proxy_header_are_fed() -> None:
    info, rest = private.V1Parser().feed(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nrest")
    assert info is not None
    assert rest == b"rest"
    assert private.V2Parser.PREFIX == b"\r\n\r\n\x00\r\nQUIT\n"
    info, rest = private.V2Parser().feed(private.V2Parser.PREFIX + b"\x20\x00\x00\x00")
    assert info is not None
    assert info.source is None
    assert not rest


def test_tls_is_started_by_a_function_of_four_arguments() -> None:
    pytest.importorskip("OpenSSL")
    assert private.startTLS is not None
    assert private.startTLS.__code__.co_varnames[:4] == ("transport", "contextFactory", "normal", "bypass")
