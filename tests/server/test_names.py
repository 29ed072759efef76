"""A subclass of the protocol may define any name without a leading underscore."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

import ka_twisted.server
from ka_twisted import KeepAliveProtocol, Limits, Request, Response
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET, get, post
from tests.net.polling import Served

HOOKS = {"requestReceived", "continueExpected", "persistenceDecided", "connectionClosed"}
#: What Twisted calls, and sets.
TWISTED = {
    "connected", "connectionLost", "connectionMade", "dataReceived", "factory", "logPrefix", "makeConnection",
    "readConnectionLost", "transport", "writeConnectionLost",
}  # fmt: skip


def used_in_the_package() -> set[str]:
    """Every attribute that a module of `server` names."""
    (folder,) = ka_twisted.server.__path__
    trees = [ast.parse(path.read_text("utf-8")) for path in Path(folder).glob("*.py")]
    return {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr[0] != "_"
    }


async def sizes(request: Request) -> Any:
    if request.path == "/stream":
        return Response.stream([b"a", b"b"])
    return b"%d" % len(await request.read())


def test_a_subclass_may_define_any_name() -> None:
    """Documented views among them: nothing of the server's asks for one."""
    names = used_in_the_package() - HOOKS - TWISTED
    assert {"answer", "core", "id", "output", "over", "peer", "pump", "state", "switch", "watch"} <= names | {"switch"}
    crowded = type("Crowded", (KeepAliveProtocol,), dict.fromkeys([*names, "switch", "turn"], 7))
    served = Served(sizes, protocol=crowded, limits=Limits(maxRequests=100))
    served.send(GET * 3 + post(b"12345") + get("/stream"))
    served.send(get("/", "Expect: 100-continue", "Content-Length: 2", method="POST"))
    served.send(b"xy")
    while served.received.count(b"HTTP/1.1 200 OK") < 6:
        served.receive(1)
    assert b"HTTP/1.1 100 Continue" in served.received
    served.factory.drain()
    served.client.close()
    while served.factory.connectionCount:
        served.reactor.poll()


@pytest.mark.parametrize("name", sorted(name for name in vars(KeepAliveProtocol) if not name.startswith("_")))
def test_every_public_name_is_documented(name: str) -> None:
    if name not in ("factory",):
        assert inspect.getdoc(getattr(KeepAliveProtocol, name))


def test_its_own_state_is_one_private_attribute() -> None:
    protocol = MemoryServer().connect().protocol
    assert {name for name in vars(protocol) if name.startswith("_")} == {"_driver"}
