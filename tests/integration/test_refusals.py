"""A 413 reaches a client that is still sending megabytes: whole, and with no reset behind it."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from ka_twisted import CloseReason, Limits, Request, Response, playground
from tests.http1.driving import get
from tests.integration.driving import Client, Served, reactor, served, together, until
from tests.server.driving import Held, read

pytestmark = pytest.mark.ledger("P-11", "L-32", "D2-16")

SIZE = 24 << 20
LIMITED: dict[str, Any] = {"limits": Limits(maxBodyBytes=1 << 20)}


def counted(target: str) -> tuple[bytes, bytes]:
    """An upload that states its length: head, body."""
    return get(target, f"Content-Length: {SIZE}", method="PUT"), b"x" * SIZE


def in_chunks(target: str) -> tuple[bytes, bytes]:
    """An upload that does not."""
    chunk = b"10000\r\n%b\r\n" % (b"x" * 65536)
    return get(target, "Transfer-Encoding: chunked", method="PUT"), chunk * (SIZE // 65536) + b"0\r\n\r\n"


async def refused(server: Served, client: Client, size: int) -> None:
    """See that the client got its 413, whole, that nothing it sent was in vain, and how it ended."""
    (reply,) = await client.replies("PUT")
    assert reply.status == 413
    assert reply.complete
    assert reply.body
    assert reply.connection == ["Connection: close"]
    connection = await server.accepted(client)
    await until(lambda: connection.lateBytes >= size - (2 << 20))  # it is read on, to its end
    client.close()


UPLOADS = pytest.mark.parametrize("upload", [counted, in_chunks])
SERVERS = pytest.mark.parametrize(
    ("handler", "target", "settings"),
    [(read, "/", LIMITED), (playground.application, "/upload?limit=1048576", {})],
    ids=["maxBodyBytes", "playground"],
)


def reasons(upload: Any, settings: Any) -> list[CloseReason]:
    """The protocol layer's limit has its own reason; where the application refuses, too much is left unread."""
    return [CloseReason.BODY_TOO_LARGE if settings else CloseReason.BODY_UNREAD]


@SERVERS
@UPLOADS
@ensureDeferred
async def test_it_reaches_a_client_that_writes_and_reads(
    upload: Any, handler: Any, target: str, settings: dict[str, Any]
) -> None:
    head, body = upload(target)
    async with served(handler, **settings) as server:
        client = await server.connect()
        await together([client.send(head + body), refused(server, client, len(body))])
        assert await server.ended() == reasons(upload, settings)


@SERVERS
@UPLOADS
@ensureDeferred
async def test_it_reaches_a_client_that_reads_only_when_it_has_written_everything(
    upload: Any, handler: Any, target: str, settings: dict[str, Any]
) -> None:
    head, body = upload(target)
    async with served(handler, **settings) as server:
        client = await server.connect()
        await client.send(head)
        await client.send(body)
        await refused(server, client, len(body))
        assert await server.ended() == reasons(upload, settings)


@pytest.mark.ledger("P-16")
@ensureDeferred
async def test_it_reaches_a_client_that_was_held_back_meanwhile() -> None:
    held = Held()
    head, body = counted("/")
    async with served(held) as server:
        client = await server.connect()
        await client.send(head)
        connection = await server.accepted(client)
        sent = client.sendWhatFits(body)
        await until(lambda: not _reads(connection))
        while more := client.sendWhatFits(body[sent:]):  # until the kernel holds its fill on both sides
            sent += more
        assert sent < SIZE
        held.answer(1, Response.text("too much\n", 413))
        await together([client.send(body[sent:]), refused(server, client, len(body))])
        assert await server.ended() == [CloseReason.BODY_UNREAD]


def _reads(connection: Any) -> bool:
    """Whether the server reads it."""
    return connection.transport in reactor.getReaders()


@ensureDeferred
async def test_a_client_that_never_stops_is_reset() -> None:
    head, body = counted("/")
    async with served(read, limits=Limits(maxBodyBytes=1 << 20, lingerBytes=1 << 20)) as server:
        client = await server.connect()
        with pytest.raises(ConnectionError):
            await client.send(head + body)
        assert await server.ended() == [CloseReason.BODY_TOO_LARGE]


@ensureDeferred
async def test_a_client_that_waits_for_100_sends_nothing_in_vain() -> None:
    async with served(playground.application) as server:
        client = await server.connect()
        head = get("/upload?limit=1000", "Content-Length: 1001", "Expect: 100-continue", method="PUT")
        await client.send(head)
        (reply,) = await client.replies("PUT")
        assert reply.status == 413
        client.close()
        assert await server.ended() == [CloseReason.EXPECTATION_REFUSED]


@ensureDeferred
async def test_what_is_small_enough_is_read_away_and_the_connection_kept() -> None:
    async def refuse(request: Request) -> Response:
        return Response.text("not that\n", 413)

    async with served(refuse) as server:
        client = await server.connect()
        for _ in range(3):
            await client.send(get("/", "Content-Length: 60000", method="PUT"))
            await client.send(b"x" * 60000)
            assert (await client.reply()).status == 413
        client.close()
        assert await server.ended() == [CloseReason.PEER_CLOSED_IDLE]
    assert len(server.observer.exchanges) == 3
