"""Listening, time and asyncio on the reactor, and our server on it."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionRefusedError, UnsupportedAddressFamily
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ka_twisted import KeepAliveFactory, KeepAliveProtocol, Request, Response
from ka_twisted.net.output import SocketOutput
from ka_twisted.reactors.uvloop import UvloopReactor
from tests.reactors.driving import Recording, every, only, run


class Echo(Protocol):
    """Sends back what it gets."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


async def echoed(reactor: UvloopReactor, address: Any) -> bytes:
    """What a server sends back, and then the end."""
    client = Recording()
    reactor.connectTCP(address.host, address.port, only(client))
    await client.made
    client.transport.write(b"hello")
    data = await client.until(5)
    client.transport.loseConnection()
    await client.lost
    return data


# ---- listening


def test_a_port_that_was_stopped_listens_again(reactor: UvloopReactor) -> None:
    async def test() -> None:
        port = reactor.listenTCP(0, every(Echo), interface="127.0.0.1")
        address = port.getHost()
        await port.stopListening()
        client = Recording()
        with pytest.raises(ConnectionRefusedError):
            await clientFromString(reactor, f"tcp:127.0.0.1:{address.port}").connect(only(client))
        port.startListening()
        assert await echoed(reactor, port.getHost()) == b"hello"
        await port.stopListening()

    run(reactor, test)


def test_a_port_can_be_stopped_before_the_reactor_runs(reactor: UvloopReactor) -> None:
    port = reactor.listenTCP(0, every(Echo), interface="127.0.0.1")
    number = port.getHost().port
    with pytest.raises(CannotListenError):
        reactor.listenTCP(number, every(Echo), interface="127.0.0.1")
    stopped = port.stopListening()

    async def test() -> None:
        await stopped
        await reactor.listenTCP(number, every(Echo), interface="127.0.0.1").stopListening()

    run(reactor, test)


def test_a_listening_socket_is_adopted(reactor: UvloopReactor) -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            port = reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, every(Echo))
        assert await echoed(reactor, port.getHost()) == b"hello"
        await port.stopListening()

    run(reactor, test)


def test_a_listening_unix_socket_is_adopted(reactor: UvloopReactor, tmp_path: Path) -> None:
    async def test() -> None:
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.setblocking(False)
            listening.bind(path)
            listening.listen()
            port = reactor.adoptStreamPort(listening.fileno(), socket.AF_UNIX, every(Echo))
        client = Recording()
        reactor.connectUNIX(path, only(client))
        await client.made
        client.transport.write(b"hello")
        assert await client.until(5) == b"hello"
        await port.stopListening()

    run(reactor, test)


@pytest.mark.parametrize("adopt", ["adoptStreamPort", "adoptStreamConnection"])
def test_other_families_are_not_adopted(reactor: UvloopReactor, adopt: str) -> None:
    with pytest.raises(UnsupportedAddressFamily):
        getattr(reactor, adopt)(0, 0, every(Echo))


def test_a_unix_socket_has_its_mode_its_lock_and_goes_away(reactor: UvloopReactor, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def test() -> None:
        port = reactor.listenUNIX(str(path), every(Echo), mode=0o600, wantPID=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.readlink(f"{path}.lock") == str(os.getpid())
        with pytest.raises(CannotListenError):
            reactor.listenUNIX(str(path), every(Echo), wantPID=True)
        client = Recording()
        reactor.connectUNIX(str(path), only(client), checkPID=True)
        await client.made
        client.transport.loseConnection()
        await client.lost
        await port.stopListening()
        assert list(tmp_path.iterdir()) == []

    run(reactor, test)


@contextmanager
def noFileDescriptors() -> Iterator[None]:
    """There are no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 20, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_without_file_descriptors_connections_are_refused_and_then_served_again(reactor: UvloopReactor) -> None:
    async def test() -> None:
        port = reactor.listenTCP(0, every(Echo), interface="127.0.0.1")
        turns: list[None] = []
        doRead = port.doRead
        port.doRead = lambda: turns.append(None) or doRead()  # type: ignore[method-assign]
        address = port.getHost()
        peers = [socket.socket() for _ in range(5)]
        with noFileDescriptors():
            for peer in peers:
                peer.setblocking(False)
                peer.connect_ex((address.host, address.port))
                closed: Deferred[None] = Deferred()
                reactor.eventLoop.add_reader(peer, closed.callback, None)
                await closed
                reactor.eventLoop.remove_reader(peer)
        for peer in peers:
            peer.close()
        assert len(turns) <= 2 * len(peers)
        assert await echoed(reactor, address) == b"hello"
        await port.stopListening()

    run(reactor, test)


# ---- time


def test_the_loop_wakes_up_once_for_a_call(reactor: UvloopReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[float] = []
    runUntilCurrent = reactor.runUntilCurrent
    monkeypatch.setattr(reactor, "runUntilCurrent", lambda: woken.append(time.time()) or runUntilCurrent())

    async def test() -> None:
        await deferLater(reactor, 0)
        for delay in (0.0104, 0.0207, 0.0301):
            del woken[:]
            due = reactor.seconds() + delay
            await deferLater(reactor, delay)
            assert len(woken) == 1
            assert woken[0] >= due

    run(reactor, test)


def test_a_call_moved_sooner_is_made_sooner(reactor: UvloopReactor) -> None:
    async def test() -> None:
        made: Deferred[None] = Deferred()
        call = reactor.callLater(1000, made.callback, None)
        await deferLater(reactor, 0)
        call.reset(0.001)
        await made
        later = reactor.callLater(0.001, made.errback)
        later.cancel()
        await deferLater(reactor, 0.002)
        assert [each for each in reactor.getDelayedCalls() if each.getTime() > reactor.seconds() + 100] == []

    run(reactor, test)


def test_one_turn_runs_what_is_due(reactor: UvloopReactor) -> None:
    made: list[str] = []
    reactor.startRunning(False)
    reactor.callLater(0, made.append, "now")
    reactor.callLater(1000, made.append, "much later")
    reactor.iterate()
    reactor.iterate()
    assert made == ["now"]
    reactor.callLater(0.001, made.append, "soon")
    reactor.iterate(0.01)
    assert made == ["now", "soon"]


# ---- asyncio


def test_asyncio_code_runs_in_it(reactor: UvloopReactor) -> None:
    async def slept() -> object:
        await asyncio.sleep(0.001)
        return asyncio.get_running_loop()

    async def test() -> object:
        return await Deferred.fromFuture(asyncio.ensure_future(slept(), loop=reactor.eventLoop))

    assert run(reactor, test) is reactor.eventLoop


def test_without_a_loop_it_makes_one_of_uvloops() -> None:
    reactor = UvloopReactor()
    try:
        assert isinstance(reactor.eventLoop, uvloop.Loop)
        assert asyncio.get_event_loop() is reactor.eventLoop
    finally:
        for reader in reactor._internalReaders:
            reader.connectionLost(None)
        reactor.eventLoop.close()
        asyncio.set_event_loop(None)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="without pidfd_open, asyncio's subprocesses take SIGCHLD")
def test_processes_of_both_kinds_are_heard_of(reactor: UvloopReactor) -> None:
    class Spawned(ProcessProtocol):
        def __init__(self) -> None:
            self.ended: Deferred[None] = Deferred()

        def processEnded(self, reason: Failure) -> None:
            self.ended.callback(None)

    async def asyncios() -> int:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
        return await child.wait()

    async def test() -> None:
        for _ in range(2):
            protocol = Spawned()
            reactor.spawnProcess(protocol, sys.executable, [sys.executable, "-c", ""], env=os.environ)
            await protocol.ended
            assert await Deferred.fromFuture(asyncio.ensure_future(asyncios(), loop=reactor.eventLoop)) == 3

    run(reactor, test)


# ---- our server


def test_pipelined_requests_are_answered_in_order(reactor: UvloopReactor) -> None:
    async def handler(request: Request) -> Response:
        body = await request.read(limit=1000000)
        return Response(200, f"{request.number} {request.path} {len(body)};")

    async def test() -> None:
        factory = KeepAliveFactory(handler, reactor=reactor)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        client = Recording()
        reactor.connectTCP("127.0.0.1", port.getHost().port, only(client))
        await client.made
        (protocol,) = factory.connections
        assert not isinstance(cast(KeepAliveProtocol, protocol)._driver.output, SocketOutput)
        for number in range(1, 51):
            client.transport.write(b"GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n" % number)
        client.transport.write(
            b"POST /last HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000
        )
        assert isinstance(await client.lost, ConnectionDone)
        answers = [part.rpartition(b"\r\n\r\n")[2] for part in client.data.split(b";")[:-1]]
        assert answers == [b"%d /%d 0" % (number, number) for number in range(1, 51)] + [b"51 /last 300000"]
        await port.stopListening()

    run(reactor, test)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate that it has signed itself."""
    pytest.importorskip("OpenSSL", reason="pyOpenSSL, of the extra tls, is not installed")
    pytest.importorskip("cryptography", reason="cryptography, of the extra tls, is not installed")
    from tests.net.certificates import self_signed

    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem", "shop")


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
def test_tls_endpoints_serve(reactor: UvloopReactor, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.internet.ssl import CertificateOptions

    monkeypatch.setattr("twisted.internet.reactor", reactor, raising=False)  # which sends TLS' small writes

    async def test() -> None:
        factory = KeepAliveFactory(lambda request: Response(200, b"x" * 3000000), reactor=reactor)
        port = await serverFromString(reactor, f"ssl:0:interface=127.0.0.1:privateKey={certificate}").listen(factory)
        client = Recording()
        reactor.connectSSL("127.0.0.1", port.getHost().port, only(client), CertificateOptions())
        await client.made
        client.transport.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n" * 2)
        client.transport.write(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        assert isinstance(await client.lost, ConnectionDone)
        assert client.data.count(b"x" * 3000000) == 3
        await port.stopListening()

    run(reactor, test)
