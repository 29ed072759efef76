"""The end of a port: what waits in its queue is accepted, and nothing of others is touched."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as globalReactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

from ka_twisted.net.ports import PortEnd, closePorts, refuseSegments, welcomeSegments

reactor: Any = globalReactor


class Counting(Factory):
    """Counts its connections."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Protocol] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.made.append(Protocol())
        return self.made[-1]


@pytest.fixture(params=["tcp:0:interface=127.0.0.1", "unix"])
def text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An endpoint, of each kind."""
    return f"unix:{tmp_path}/s.sock" if request.param == "unix" else str(request.param)


@pytest.fixture
def factory() -> Iterator[Counting]:
    """What is behind a port; its connections are ended after the test."""
    counting = Counting()
    yield counting
    for protocol in counting.made:
        if protocol.transport is not None:
            protocol.transport.abortConnection()  # type: ignore[attr-defined]
    turn()


def listening(text: str, factory: Factory) -> Any:
    ports: list[Any] = []
    serverFromString(reactor, text).listen(factory).addCallback(ports.append)
    return ports[0]


def turn() -> None:
    for _ in range(3):
        reactor.iterate(0)


def connected(port: Any) -> socket.socket:
    client = socket.socket(port.addressFamily)
    client.settimeout(5)
    client.connect(port.socket.getsockname())
    return client


def closed(*ends: PortEnd) -> None:
    outcome: list[Any] = []
    Deferred.fromCoroutine(closePorts(ends, lambda seconds: succeed(None))).addBoth(outcome.append)
    turn()
    assert outcome == [None]


def test_what_waits_is_accepted_before_a_port_closes(text: str, factory: Counting) -> None:
    port = listening(text, factory)
    end = PortEnd(port)
    clients = [connected(port) for _ in range(40)]
    closed(end)
    assert len(factory.made) == 40
    for protocol in factory.made:
        protocol.transport.write(b"here")  # type: ignore[union-attr]
    turn()
    for client in clients:
        assert client.recv(10) == b"here"
        client.close()


def test_a_port_that_shares_its_queue_accepts_all_of_it_in_the_end(text: str, factory: Counting) -> None:
    port = listening(text, factory)
    port.doRead = lambda: None  # it leaves them to others
    end = PortEnd(port)
    with connected(port), connected(port):
        turn()
        assert factory.made == []
        closed(end)
        assert len(factory.made) == 2


def test_who_has_the_socket_for_others_accepts_nothing(text: str, factory: Counting) -> None:
    port = listening(text, factory)
    port.stopReading()
    with socket.socket(fileno=os.dup(port.fileno())) as other, connected(port):
        closed(PortEnd(port, accepts=False))
        assert factory.made == []
        other.accept()[0].close()


def test_a_shared_socket_stays_open_for_others(text: str, factory: Counting) -> None:
    port = listening(text, factory)
    end = PortEnd(port, shared=True)
    assert not end.refuseNew()
    with socket.socket(fileno=os.dup(port.fileno())) as other:
        name = port.socket.getsockname()
        closed(end)
        if isinstance(name, tuple):  # the path of a UNIX socket is its port's, unless that was adopted
            with socket.create_connection(name, timeout=5):
                other.accept()[0].close()


def test_what_comes_to_a_shared_socket_before_it_is_really_closed_is_accepted(text: str, factory: Counting) -> None:
    port = listening(text, factory)
    closing = PortEnd(port, shared=True).close()
    with connected(port), connected(port):  # the port is stopped, and its socket open until the next turn
        turn()
        assert closing.called
        assert len(factory.made) == 2


def test_new_connections_are_refused_from_then_on(tmp_path: Path, factory: Counting) -> None:
    port = listening(f"unix:{tmp_path}/s.sock", factory)
    end = PortEnd(port)
    assert end.refuseNew()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
        client.connect(f"{tmp_path}/s.sock")
    assert not end.refuseNew()
    closed(end)


def test_the_path_and_the_lock_of_a_successor_are_left_alone(tmp_path: Path, factory: Counting) -> None:
    path = tmp_path / "s.sock"
    first = listening(f"unix:{path}:lockfile=1", factory)
    end = PortEnd(first)
    end.refuseNew()
    second = listening(f"unix:{path}:lockfile=1", factory)  # before the first is closed
    successor = PortEnd(second)
    closed(end)
    with connected(second):
        turn()
        assert len(factory.made) == 1
    assert os.path.islink(f"{path}.lock")
    closed(successor)
    assert not path.exists()
    assert not os.path.lexists(f"{path}.lock")


def test_an_abstract_socket_has_no_path(factory: Counting) -> None:
    port = listening(f"unix:\0ka_twisted test {os.getpid()}:lockfile=0", factory)
    end = PortEnd(port)
    with connected(port):
        closed(end)
        assert len(factory.made) == 1


def test_a_port_of_another_kind_is_stopped() -> None:
    class Other:
        stopped = 0

        def stopListening(self) -> None:
            self.stopped += 1

    other: Any = Other()
    closed(PortEnd(other))
    assert other.stopped == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel is not Linux")
def test_a_socket_that_was_handed_over_takes_new_connections_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert refuseSegments(sock)
        with pytest.raises(TimeoutError):
            socket.create_connection(sock.getsockname(), timeout=0.05)
        for _ in range(2):
            welcomeSegments(sock)  # also one that has no filter
        socket.create_connection(sock.getsockname(), timeout=5).close()
