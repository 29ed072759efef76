"""Every kind of listener: IPv4, IPv6, UNIX and TLS; through `serve` and through an endpoint of Twisted's."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread

from ka_twisted import CloseReason, KeepAliveFactory, Limits, Request, Response, Timeouts, serve
from tests.http1.driving import GET, get, replies
from tests.integration.driving import PATIENCE, Client, reactor, served, until
from tests.server.driving import BIG, Observer, numbered, read


def has_ipv6() -> bool:
    """Whether ::1 can be listened on."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def exchange(client: Client) -> None:
    """Three requests on one connection, the last says so."""
    await client.send(GET)
    assert (await client.reply()).body == b"1\n"
    await client.send(GET + get("/", "Connection: close"))
    assert [reply.body for reply in replies(await client.rest(), ["GET", "GET"], ended=True)] == [b"2\n", b"3\n"]
    client.close()


@ensureDeferred
async def test_ipv4() -> None:
    async with served(numbered, "tcp:0:interface=127.0.0.1") as server:
        await exchange(await server.connect())
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
@ensureDeferred
async def test_ipv6() -> None:
    peers: list[str] = []

    def handler(request: Request) -> str:
        peer: Any = request.connection.peer
        peers.append(peer.host)
        return numbered(request)

    async with served(handler, r"tcp6:0:interface=\:\:1") as server:
        await exchange(await server.connect())
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]
    assert peers == ["::1"] * 3


@ensureDeferred
async def test_unix(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with served(numbered, f"unix:{path}") as server:
        await exchange(await server.connect(str(path)))
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]
    assert not path.exists()


@ensureDeferred
async def test_large_bodies_pass_a_unix_socket_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with served(read, f"unix:{path}") as server:
        client = await server.connect(str(path))
        await client.send(get("/", f"Content-Length: {len(BIG)}", "Connection: close", method="POST", body=BIG))
        (reply,) = await client.replies("POST")
        assert reply.body == BIG
        client.close()
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]


@ensureDeferred
async def test_several_at_once_and_they_share_a_factory(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with served(numbered, "tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1", f"unix:{path}") as server:
        hosts = [port.getHost() for port in server.ports[:2]]
        for address in ((hosts[0].host, hosts[0].port), (hosts[1].host, hosts[1].port), str(path)):
            await exchange(await server.connect(address))
        assert await server.ended(3) == [CloseReason.CLOSE_REQUESTED] * 3


@ensureDeferred
async def test_any_endpoint_of_twisted_listens_with_a_factory() -> None:
    observer = Observer()
    factory = KeepAliveFactory(numbered, observers=[observer])
    port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
    host = port.getHost()
    await exchange(await Client((host.host, host.port)).connect())
    await port.stopListening()
    await factory.drain(PATIENCE)
    assert observer.reasons == [CloseReason.CLOSE_REQUESTED]


@ensureDeferred
async def test_when_one_cannot_listen_none_does(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListenError):
            await serve(numbered, f"unix:{path}", f"tcp:{port}:interface=127.0.0.1", reactor=reactor)
    assert not path.exists()


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key, and a certificate for 127.0.0.1 that it has signed itself."""
    pytest.importorskip("OpenSSL", reason="pyOpenSSL, of the extra tls, is not installed")
    pytest.importorskip("cryptography", reason="cryptography, of the extra tls, is not installed")
    from tests.net.certificates import self_signed

    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem", "127.0.0.1")


def secured(address: Any, certificate: Path) -> ssl.SSLSocket:
    """A connection of a client that trusts the certificate. It blocks, hence for a thread."""
    context = ssl.create_default_context(cafile=str(certificate))
    plain = socket.create_connection(address, timeout=PATIENCE)
    return context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


def everything(connection: ssl.SSLSocket) -> bytes:
    """All up to the closure alert; without one it raises."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.ledger("P-11")
@ensureDeferred
async def test_tls(certificate: Path) -> None:
    async with served(numbered, f"ssl:0:interface=127.0.0.1:privateKey={certificate}") as server:

        def client() -> bytes:
            with secured(server.address, certificate) as connection:
                connection.sendall(GET + GET + get("/", "Connection: close"))
                return everything(connection)

        found = replies(await deferToThread(client), ["GET"] * 3, ended=True)
        assert [reply.body for reply in found] == [b"1\n", b"2\n", b"3\n"]
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]


@pytest.mark.ledger("P-11")
@ensureDeferred
async def test_large_bodies_pass_tls_both_ways(certificate: Path) -> None:
    async with served(read, f"ssl:0:interface=127.0.0.1:privateKey={certificate}") as server:

        def client() -> bytes:
            with secured(server.address, certificate) as connection:
                connection.sendall(
                    get("/", f"Content-Length: {len(BIG)}", "Connection: close", method="POST", body=BIG)
                )
                return everything(connection)

        (reply,) = replies(await deferToThread(client), ["POST"], ended=True)
        assert reply.body == BIG
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]


@pytest.mark.ledger("P-11", "P-12")
@ensureDeferred
async def test_an_idle_close_on_tls_is_a_closure_alert(certificate: Path) -> None:
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}"
    async with served(lambda request: Response(200, BIG), endpoint, timeouts=Timeouts(idle=0.3)) as server:

        def client() -> bytes:
            with secured(server.address, certificate) as connection:
                connection.sendall(GET)
                return everything(connection)

        (reply,) = replies(await deferToThread(client), ["GET"], ended=True)
        assert reply.body == BIG
        assert reply.connection == []
        assert await server.ended() == [CloseReason.IDLE_TIMEOUT]


@pytest.mark.ledger("P-14")
@ensureDeferred
async def test_a_client_that_vanishes_without_a_closure_alert_is_noticed(certificate: Path) -> None:
    async with served(numbered, f"ssl:0:interface=127.0.0.1:privateKey={certificate}") as server:

        def client() -> None:
            with secured(server.address, certificate) as connection:
                connection.sendall(GET)
                assert connection.recv(65536)

        await deferToThread(client)
        assert len(await server.ended()) == 1


@pytest.mark.ledger("P-11", "L-32", "D2-16")
@ensureDeferred
async def test_a_413_on_tls_reaches_a_client_that_reads_only_when_it_has_written_everything(certificate: Path) -> None:
    size = 24 << 20
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}"
    async with served(read, endpoint, limits=Limits(maxBodyBytes=1 << 20)) as server:

        def client() -> bytes:
            with secured(server.address, certificate) as connection:
                connection.sendall(get("/", f"Content-Length: {size}", method="PUT"))
                connection.sendall(b"x" * size)
                return everything(connection)

        (reply,) = replies(await deferToThread(client), ["PUT"], ended=True)
        assert reply.status == 413
        assert reply.complete
        assert await server.ended() == [CloseReason.BODY_TOO_LARGE]


@pytest.mark.parametrize("fields", [(), ("Connection: close",)], ids=["kept", "last"])
@pytest.mark.parametrize("size", [10_000, 1_000_000, 20_000_000])
@pytest.mark.ledger("P-15")
@ensureDeferred
async def test_a_client_on_tls_that_takes_nothing_is_let_go_of(
    certificate: Path, size: int, fields: tuple[str, ...]
) -> None:
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}"
    brief = Timeouts(write=0.3, linger=0.3, idle=0.3)
    async with served(lambda request: Response(200, b"x" * size), endpoint, timeouts=brief) as server:
        connection = await deferToThread(secured, server.address, certificate)
        with connection:
            await deferToThread(connection.sendall, get("/", *fields))
            (reason,) = await server.ended()
    assert reason in (CloseReason.WRITE_TIMEOUT, CloseReason.CLOSE_REQUESTED if fields else CloseReason.IDLE_TIMEOUT)


@ensureDeferred
async def test_what_is_not_tls_is_left_alone(certificate: Path) -> None:
    async with served(numbered, f"ssl:0:interface=127.0.0.1:privateKey={certificate}") as server:
        client = await server.connect()
        await client.send(GET)
        await client.rest()
        await until(lambda: server.observer.reasons)
        assert not server.observer.exchanges
