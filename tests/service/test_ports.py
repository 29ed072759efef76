"""What is listened on: sockets that are had, taken over, inherited, kept for others."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as globalReactor
from twisted.internet.protocol import Factory, Protocol

from ka_twisted.service.errors import ListenError
from ka_twisted.service.listening.binding import adopt, storeName
from ka_twisted.service.listening.ports import BACKLOG, FactorySwitch, Ports

reactor: Any = globalReactor


@pytest.fixture
def ports() -> Iterator[list[Ports]]:
    """Those that a test makes are closed after it."""
    made: list[Ports] = []
    yield made
    for each in made:
        each.closeNow()


def opened(ports: list[Ports], *texts: str, **settings: Any) -> Ports:
    ports.append(Ports(reactor, **settings))
    ports[-1].settle(ports[-1].prepare(texts))
    return ports[-1]


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    os.chmod(path, 0o600)
    sock.listen()
    return sock


def test_a_door_leads_to_what_is_behind_it_now() -> None:
    switch = FactorySwitch()
    assert switch.buildProtocol(None) is None
    for _ in range(2):
        switch.current = inner = Factory.forProtocol(Protocol)
        protocol: Any = switch.buildProtocol(None)
        assert protocol.factory is inner


def test_the_same_endpoint_can_be_open_twice_and_stays_so(ports: list[Ports]) -> None:
    both = opened(ports, "tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1")
    numbers = [openPort.port.getHost().port for openPort in both]  # type: ignore[union-attr]
    assert both.settle(both.prepare(["tcp:0:interface=127.0.0.1"] * 2)) == []
    assert [openPort.port.getHost().port for openPort in both] == numbers  # type: ignore[union-attr]


def test_an_inherited_socket_is_taken_over_in_place_of_a_bind(ports: list[Ports]) -> None:
    text = "tcp:1:interface=127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = sock.getsockname()[1]
        inherited = {storeName(text): [sock.detach()]}
    taken = opened(ports, text, inherited=inherited)
    assert [openPort.port.getHost().port for openPort in taken] == [number]  # type: ignore[union-attr]
    assert inherited == {storeName(text): []}


def test_a_lent_unix_socket_keeps_its_mode_and_its_path(ports: list[Ports], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    text = f"unix:{path}"
    with listening(path) as sock:
        taken = opened(ports, text, inherited={storeName(text): [os.dup(sock.fileno())]})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        taken.closeNow()
        assert path.exists()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # the queue is still there
            sock.accept()[0].close()


def test_a_closed_port_leaves_the_socket_to_others_who_have_it(ports: list[Ports]) -> None:
    mine = opened(ports, "tcp:0:interface=127.0.0.1")
    (openPort,) = mine
    port: Any = openPort.port
    with socket.socket(fileno=os.dup(port.fileno())) as other:
        mine.closeNow()
        with socket.create_connection(other.getsockname()) as client:
            connection, address = other.accept()
            connection.close()
            assert address == client.getsockname()


def test_who_is_silent_accepts_nothing(ports: list[Ports]) -> None:
    passive = opened(ports, "tcp:0:interface=127.0.0.1", passive=True)
    (openPort,) = passive
    port: Any = openPort.port
    assert port not in reactor.getReaders()
    with socket.create_connection(("127.0.0.1", port.getHost().port)):
        reactor.iterate(0)
        accepted, _ = port.socket.accept()
        accepted.close()


def test_many_can_wait_unless_the_endpoint_says_how_many(ports: list[Ports]) -> None:
    def waiting(text: str) -> int:
        (openPort,) = opened(ports, text)
        port: Any = openPort.port
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        assert any(int(line.split()[1].rpartition(":")[2], 16) == port.getHost().port for line in table)
        clients: list[socket.socket] = []
        try:
            for _ in range(60):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(port.socket.getsockname())
                clients.append(client)
            count = 0
            while True:
                try:
                    port.socket.accept()[0].close()
                except BlockingIOError:
                    return count
                count += 1
        finally:
            for client in clients:
                client.close()

    assert BACKLOG > 60
    assert waiting("tcp:0:interface=127.0.0.1") == 60
    assert waiting("tcp:0:interface=127.0.0.1:backlog=5") < 60


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel is not Linux")
@pytest.mark.parametrize("interface", ["127.0.0.1", r"\:\:1"])
def test_who_is_turned_away_has_not_begun_and_who_has_begun_is_accepted(ports: list[Ports], interface: str) -> None:
    mine = opened(ports, f"tcp:0:interface={interface}")
    (openPort,) = mine
    made: list[Protocol] = []

    class Counting(Protocol):
        def connectionMade(self) -> None:
            made.append(self)

    openPort.switch.current = Factory.forProtocol(Counting)
    port: Any = openPort.port
    address = (interface.replace("\\", ""), port.getHost().port)
    with socket.create_connection(address) as early:
        assert mine.refuseNew()
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.05)
        reactor.iterate(0.1)
        (protocol,) = made
        early.sendall(b"still heard")
        protocol.transport.write(b"welcome")  # type: ignore[union-attr]
        reactor.iterate(0)
        early.settimeout(5)
        assert early.recv(100) == b"welcome"
        protocol.transport.abortConnection()  # type: ignore[union-attr]
        reactor.iterate(0)


def test_a_socket_that_others_listen_on_is_left_alone(ports: list[Ports]) -> None:
    mine = opened(ports, "tcp:0:interface=127.0.0.1")
    (openPort,) = mine
    assert openPort.end is not None
    openPort.end.shared = True
    assert not mine.refuseNew()
    port: Any = openPort.port
    with socket.create_connection(("127.0.0.1", port.getHost().port), timeout=5):
        pass


def test_prepared_in_vain_is_closed_and_what_was_open_stays(ports: list[Ports], tmp_path: Path) -> None:
    mine = opened(ports, f"unix:{tmp_path}/one")
    with pytest.raises(ListenError, match=r"cannot listen on unix:/nowhere/socket: No such file"):
        mine.prepare([f"unix:{tmp_path}/one", f"unix:{tmp_path}/two", "unix:/nowhere/socket"])
    reactor.iterate(0)  # where it runs, the next turn closes them
    assert (tmp_path / "one").exists()
    assert not (tmp_path / "two").exists()
    wanted = mine.prepare([f"unix:{tmp_path}/two"])
    mine.forget(wanted)
    reactor.iterate(0)
    assert (tmp_path / "one").exists()
    assert not (tmp_path / "two").exists()


def test_the_name_of_a_stored_socket_is_plain_and_no_other_endpoint_has_it() -> None:
    texts = ["tcp:80", "tcp-80", "tcp:80:interface=::1", f"unix:{'x' * 300}", "unix:/run/\N{SNOWMAN}"]
    names = [storeName(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(name.isascii() and name.isprintable() and ":" not in name and len(name) <= 255 for name in names)
    assert storeName("tcp:80").startswith("tcp-80-")


def test_an_adopted_unix_socket_serves(tmp_path: Path) -> None:
    made: list[Any] = []

    class Keeping(Protocol):
        def connectionMade(self) -> None:
            made.append(self.transport)

    with listening(tmp_path / "socket") as sock:
        port: Any = adopt(reactor, sock.fileno(), Factory.forProtocol(Keeping))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
            port.doRead()
        (transport,) = made
        transport.abortConnection()
        closed = port.stopListening()
        while not closed.called:
            reactor.iterate(0)
