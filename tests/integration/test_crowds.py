"""Many connections at once, and clients that take their responses slowly, or not at all, or in small sips."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.task import deferLater

from ka_twisted import CloseReason, KeepAliveProtocol, Request, Response, Timeouts
from ka_twisted.testing import parseResponses
from tests.http1.driving import chunked, get
from tests.integration.driving import Client, Served, reactor, served, together, until
from tests.server.driving import BIG, endless

COUNT = 200


class Sips(KeepAliveProtocol):
    """A connection whose kernel holds little of what is sent."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        super().connectionMade()


def data(number: int, size: int) -> bytes:
    """A body in which no part is like another."""
    return random.Random(number).randbytes(size)


# -- a crowd -----------------------------------------------------------------------------------------------------------


async def mixed(request: Request) -> Any:
    """Echoes, streams, waits or fails, as the path says."""
    _, kind, number = request.path.split("/")
    if kind == "echo":
        return await request.read()
    if kind == "stream":

        async def pieces() -> AsyncIterator[bytes]:
            for part in range(10):
                yield data(int(number) + part, 3000)
                await deferLater(reactor, 0)

        return Response.stream(pieces())
    if kind == "late":
        await deferLater(reactor, int(number) % 7 / 1000)
    return Response(404 if kind == "missing" else 200, data(int(number), 2000))


def asked(number: int) -> tuple[str, bytes, bytes]:
    """A request: its method, its bytes, and the body of its answer."""
    chance = random.Random(number)
    kind = chance.choice(["echo", "echo", "stream", "late", "at-once", "missing"])
    target = f"/{kind}/{number}"
    if kind != "echo":
        streamed = b"".join(data(number + part, 3000) for part in range(10))
        return "GET", get(target), streamed if kind == "stream" else data(number, 2000)
    body = data(number, chance.choice([0, 10, 5000, 100_000]))
    if chance.random() < 0.5:
        return "POST", get(target, f"Content-Length: {len(body)}", method="POST", body=body), body
    pieces = [body[start : start + 7000] for start in range(0, len(body), 7000)]
    return "PUT", get(target, "Transfer-Encoding: chunked", method="PUT", body=chunked(*pieces)), body


async def answered(client: Client, methods: list[str], count: int) -> None:
    """Read until so many responses are there."""
    names = [method.encode() for method in methods]
    while sum(reply.complete for reply in parseResponses(client.received, names)) < count:
        assert await client.some()


async def converse(server: Served, number: int) -> None:
    """One client: a few requests one by one, then some in a row, then the end of its side."""
    client = await server.connect()
    requests = [asked(100 * number + each) for each in range(6)]
    methods = [method for method, _, _ in requests]
    for at in range(3):
        await client.send(requests[at][1])
        await answered(client, methods, at + 1)
    await together([client.send(b"".join(sent for _, sent, _ in requests[3:])), answered(client, methods, 6)])
    client.halfClose()
    found = await client.replies(*methods)
    client.close()
    assert [sha256(reply.body).digest() for reply in found] == [sha256(body).digest() for _, _, body in requests]


@pytest.mark.ledger("P-01", "P-02", "N-02")
@ensureDeferred
async def test_two_hundred_clients_at_once_each_get_what_they_asked_for() -> None:
    async with served(mixed) as server:
        await together(converse(server, number) for number in range(COUNT))
        assert await server.ended(COUNT) == [CloseReason.PEER_CLOSED_IDLE] * COUNT
    assert len(server.observer.exchanges) == 6 * COUNT


# -- slow clients ------------------------------------------------------------------------------------------------------

SIZE = 1 << 20


def whole(request: Request) -> Response:
    return Response(200, data(1, SIZE))


def streamed(request: Request) -> Response:
    return Response.stream(data(1, SIZE)[start : start + 10_000] for start in range(0, SIZE, 10_000))


RESPONSES = pytest.mark.parametrize("handler", [whole, streamed])


@RESPONSES
@pytest.mark.ledger("P-15")
@ensureDeferred
async def test_a_slow_download_outlives_the_write_timeout_many_times(handler: Any) -> None:
    async with served(handler, protocol=Sips, timeouts=Timeouts(write=0.6)) as server:
        client = await server.connect(taking=8192)
        begin = reactor.seconds()
        await client.send(get("/", "Connection: close"))
        while reactor.seconds() < begin + 4 * 0.6:
            assert await client.some(8192)
            await deferLater(reactor, 0.05)  # it is what slow means
        (reply,) = await client.replies("GET")
        assert reply.body == data(1, SIZE)
        client.close()
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]


@pytest.mark.parametrize("fields", [(), ("Connection: close",)], ids=["kept", "last"])
@pytest.mark.parametrize("handler", [whole, lambda request: Response.stream(endless())], ids=["whole", "endless"])
@pytest.mark.ledger("P-15")
@ensureDeferred
async def test_a_download_that_nobody_takes_is_cut(handler: Any, fields: tuple[str, ...]) -> None:
    async with served(handler, protocol=Sips, timeouts=Timeouts(write=0.3)) as server:
        client = await server.connect(taking=8192)
        await client.send(get("/", *fields))
        await client.take(1000)
        assert await server.ended() == [CloseReason.WRITE_TIMEOUT]
        with pytest.raises(ConnectionResetError):
            await client.rest()


class Bounded(KeepAliveProtocol):
    """A connection whose kernel holds so much of what is sent."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        super().connectionMade()


@pytest.mark.parametrize("linger", [0, 0.3])
@pytest.mark.parametrize("half", [True, False])
@pytest.mark.ledger("P-11", "P-14", "P-15")
@ensureDeferred
async def test_a_client_that_does_not_take_its_last_response_is_let_go_of_whatever_its_size(
    half: bool, linger: float
) -> None:
    """Also when the kernel has all of it: the transport cannot close before the client has taken some."""
    sizes = range(10_000, 200_000, 10_000)
    handler = lambda request: Response(200, b"x" * int(request.path[1:]))  # noqa: E731
    async with served(handler, protocol=Bounded, timeouts=Timeouts(write=0.3, linger=linger)) as server:
        for size in sizes:
            client = await server.connect(taking=4096)
            await client.send(get(f"/{size}", *([] if half else ["Connection: close"])))
            if half:
                client.halfClose()
        reasons = {reason.name for reason in await server.ended(len(sizes))}
        assert "WRITE_TIMEOUT" in reasons


@pytest.mark.ledger("P-15", "P-16")
@ensureDeferred
async def test_a_download_may_stall_for_less_than_the_timeout_again_and_again() -> None:
    """The clock begins anew with every byte that the client takes."""
    async with served(whole, protocol=Sips, timeouts=Timeouts(write=1)) as server:
        client = await server.connect(taking=8192)
        await client.send(get("/", "Connection: close"))
        for _ in range(3):
            await client.take(100_000)
            await deferLater(reactor, 0.5)
        (reply,) = await client.replies("GET")
        assert reply.body == data(1, SIZE)
        client.close()
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]


# -- small buffers -----------------------------------------------------------------------------------------------------


@pytest.mark.ledger("N-02", "P-08")
@ensureDeferred
async def test_large_responses_pass_small_buffers_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data(3, SIZE // 2))

    def handler(request: Request) -> Response:
        if request.path == "/file":
            return Response.file(path)
        if request.path == "/stream":
            return streamed(request)
        return Response(200, data(int(request.path[1:]), SIZE // 4))

    async with served(handler, protocol=Sips) as server:
        client = await server.connect(taking=4096)
        targets = ["/1", "/file", "/2", "/stream", "/4", "/file"]
        await client.send(b"".join(map(get, targets)) + get("/5", "Connection: close"))
        found = await client.replies(*["GET"] * 7)
        assert [reply.status for reply in found] == [200] * 7
        file, stream = data(3, SIZE // 2), data(1, SIZE)
        expected = [data(1, SIZE // 4), file, data(2, SIZE // 4), stream, data(4, SIZE // 4), file]
        assert [reply.body for reply in found] == [*expected, data(5, SIZE // 4)]
        client.close()
        assert await server.ended() == [CloseReason.CLOSE_REQUESTED]


class Leaving(Sips):
    """A connection that closes behind its first response, in Twisted's own way."""

    def requestReceived(self, request: Request) -> None:
        super().requestReceived(request)
        transport: Any = self.transport
        transport.loseConnection()


@pytest.mark.parametrize(
    ("protocol", "linger"), [(Sips, 5), (Sips, 0), (Leaving, 5)], ids=["in stages", "at once", "loseConnection"]
)
@pytest.mark.ledger("P-11")
@ensureDeferred
async def test_nothing_is_lost_when_the_connection_closes_right_after(
    protocol: type[KeepAliveProtocol], linger: float
) -> None:
    async with served(whole, protocol=protocol, timeouts=Timeouts(linger=linger)) as server:
        client = await server.connect(taking=4096)
        await client.send(get("/", "Connection: close"))
        (reply,) = await client.replies("GET")
        assert reply.body == data(1, SIZE)
        client.close()
        await server.ended()


@pytest.mark.ledger("P-16")
@ensureDeferred
async def test_a_client_that_takes_nothing_is_not_read_for_ever() -> None:
    """What it asks for is bounded by what it takes."""
    async with served(lambda request: Response.stream([BIG]), protocol=Sips) as server:
        client = await server.connect(taking=4096)
        connection = await server.accepted(client)
        requests = get("/") * 200_000
        sent = client.sendWhatFits(requests)
        await until(lambda: connection.transport not in reactor.getReaders())
        while more := client.sendWhatFits(requests[sent:]):
            sent += more
        assert sent < len(requests)
        assert connection.requestCount < 50
        client.reset()
        assert await server.ended() == [CloseReason.PEER_CLOSED_MID_RESPONSE]
