"""A graceful shutdown under load: what is in flight is answered, and it is told when the last connection has gone."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from ka_twisted import CloseReason, Request, Response, Timeouts
from tests.http1.driving import GET, Reply, get, replies
from tests.integration.driving import PATIENCE, Client, Served, served, together, until
from tests.server.driving import endless

pytestmark = pytest.mark.ledger("P-18", "D1-04")

COUNT = 50


class Bell:
    """A handler that answers all requests at once, when the test says so. ``/now`` is answered at once."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[bytes]] = []
        self.cancelled = 0

    def __call__(self, request: Request) -> Any:
        if request.path == "/now":
            return b"now\n"
        waiting: Deferred[bytes] = Deferred(self._cancelled)
        self.waiting.append(waiting)
        return waiting

    def ring(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(b"answered\n")

    def _cancelled(self, waiting: Deferred[bytes]) -> None:
        self.cancelled += 1


async def kept(server: Served) -> Client:
    """A connection on which one request was answered."""
    client = await server.connect()
    await client.send(get("/now"))
    assert (await client.reply()).body == b"now\n"
    return client


async def last(client: Client, *methods: str) -> list[Reply]:
    """All that comes until the server ends, after which the client does too."""
    found = replies(await client.rest(), list(methods), ended=True)
    client.close()
    return found


@ensureDeferred
async def test_what_is_in_flight_is_answered_and_then_it_is_told() -> None:
    bell = Bell()
    async with served(bell) as server:
        clients = await together(kept(server) for _ in range(COUNT))
        idle = await together(kept(server) for _ in range(10))
        for client in clients:
            await client.send(GET)
        await until(lambda: len(bell.waiting) == COUNT)
        drained = server.factory.drain(PATIENCE)
        assert await together(last(client) for client in idle) == [[]] * 10
        await until(lambda: server.factory.connectionCount == COUNT)
        assert not drained.called
        bell.ring()
        for (reply,) in await together(last(client, "GET") for client in clients):
            assert reply.body == b"answered\n"
            assert reply.connection == ["Connection: close"]
        await drained
        assert server.factory.connectionCount == 0
        assert await server.ended(COUNT + 10) == [CloseReason.DRAINING] * (COUNT + 10)
    assert len(server.observer.exchanges) == 2 * COUNT + 10


@ensureDeferred
async def test_also_what_was_pipelined() -> None:
    bell = Bell()
    async with served(bell) as server:
        clients = await together(kept(server) for _ in range(COUNT))
        for client in clients:
            await client.send(GET * 4)
        await until(lambda: len(bell.waiting) == 4 * COUNT)
        drained = server.factory.drain(PATIENCE)
        for client in clients:
            await client.send(get("/never"))
        bell.ring()
        for found in await together(last(client, *["GET"] * 4) for client in clients):
            assert [reply.body for reply in found] == [b"answered\n"] * 4
            assert [reply.connection for reply in found] == [[], [], [], ["Connection: close"]]
        await drained
        assert {reason.name for reason in await server.ended(COUNT)} == {"DRAINING"}
    assert not bell.waiting


@ensureDeferred
async def test_clients_that_never_stop_asking_get_whole_answers_or_none() -> None:
    """Each asks again as soon as it is answered, while the server shuts down."""
    answered: list[int] = []

    async def ask(server: Served, client: Client) -> None:
        count = 0
        try:
            while True:
                await client.send(get("/now"))
                head = await client.some()
                if not head:
                    break
                (reply,) = replies(head, ["GET"])
                assert reply.complete
                assert reply.body == b"now\n"
                count += 1
                if reply.connection:
                    assert not await client.rest()
                    break
        finally:
            answered.append(count)
            client.close()

    async with served(Bell()) as server:
        clients = [await kept(server) for _ in range(COUNT)]
        asking = together(ask(server, client) for client in clients)
        running = Deferred.fromCoroutine(asking)
        await until(lambda: len(server.observer.exchanges) > 20 * COUNT)
        drained = server.factory.drain(PATIENCE)
        await running
        await drained
        assert await server.ended(COUNT) == [CloseReason.DRAINING] * COUNT
    assert sum(answered) == len(server.observer.exchanges) - COUNT


@pytest.mark.ledger("D1-29")
@ensureDeferred
async def test_the_deadline_cuts_off_what_is_left() -> None:
    bell = Bell()

    def handler(request: Request) -> Any:
        return Response.stream(endless()) if request.path == "/endless" else bell(request)

    async with served(handler) as server:
        clients = await together(kept(server) for _ in range(COUNT))
        for number, client in enumerate(clients):
            await client.send(get("/endless") if number % 5 == 0 else GET)
        await until(lambda: len(bell.waiting) == COUNT - COUNT // 5)
        await server.factory.drain(0.3)
        assert server.factory.connectionCount == 0
        reasons = await server.ended(COUNT)
        assert reasons == [CloseReason.DRAINING] * COUNT
        assert {reason.by for reason in reasons} == {"us"}
        for client in clients:
            with pytest.raises(ConnectionResetError):
                await client.rest()
    assert bell.cancelled == COUNT - COUNT // 5


@ensureDeferred
async def test_stopping_listens_no_more_and_drains() -> None:
    bell = Bell()
    async with served(bell) as server:
        client = await kept(server)
        await client.send(GET)
        await until(lambda: bell.waiting)
        address, stopped = server.address, server.stop(PATIENCE)
        await until(lambda: not server.ports[0].connected)
        with pytest.raises(ConnectionRefusedError):
            await server.connect(address)
        assert not stopped.called
        bell.ring()
        (reply,) = await last(client, "GET")
        assert reply.body == b"answered\n"
        await stopped
        assert server.factory.connectionCount == 0


@ensureDeferred
async def test_clients_that_stay_after_their_last_answer_are_left_to_linger_and_then_go() -> None:
    async with served(Bell(), timeouts=Timeouts(linger=0.2)) as server:
        clients = await together(kept(server) for _ in range(COUNT))
        drained = server.factory.drain(PATIENCE)
        for client in clients:
            assert await client.rest() == b""
        await drained  # none of them has closed
        assert await server.ended(COUNT) == [CloseReason.DRAINING] * COUNT
