"""The idle close on a real socket: a FIN, no reset; and a request that crosses it is answered whole or not at all."""

from __future__ import annotations

import random

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.task import deferLater

from ka_twisted import CloseReason, Timeouts
from tests.http1.driving import GET, replies
from tests.integration.driving import Client, Served, reactor, served, together, until
from tests.server.driving import numbered

pytestmark = pytest.mark.ledger("P-12")

IDLE = 0.3
BRIEF = Timeouts(idle=IDLE)


@pytest.mark.ledger("P-11")
@ensureDeferred
async def test_it_is_an_end_and_no_reset_before_and_after_a_request() -> None:
    async with served(numbered, timeouts=BRIEF) as server:
        unused, used = await server.connect(), await server.connect()
        await used.send(GET)
        assert (await used.reply()).body == b"1\n"
        for client in (unused, used):
            assert await client.rest() == b""
            connection = await server.accepted(client)  # it listens on, for what may be under way
            assert connection.state == "closing"
            client.close()
        await server.ended(2)
        assert {reason.name for reason in server.observer.reasons} == {"FIRST_REQUEST_TIMEOUT", "IDLE_TIMEOUT"}


@ensureDeferred
async def test_it_never_comes_early_and_starts_anew_with_every_request() -> None:
    async with served(numbered, timeouts=BRIEF) as server:
        client = await server.connect()
        for number in range(1, 4):
            await client.send(GET)
            assert (await client.reply()).body == b"%d\n" % number
            answered = reactor.seconds()
            await deferLater(reactor, IDLE / 3)
        assert await client.rest() == b""
        assert reactor.seconds() - answered >= IDLE * 0.99
        client.close()
        assert await server.ended() == [CloseReason.IDLE_TIMEOUT]


@ensureDeferred
async def test_a_request_that_has_come_when_time_is_up_is_served() -> None:
    """The timer fires in a turn of the reactor that has yet to read the request."""
    async with served(numbered, timeouts=BRIEF) as server:
        client = await server.connect()
        await client.send(GET)
        await client.reply()
        due = reactor.seconds() + IDLE
        while reactor.seconds() <= due:  # nothing else has a turn
            pass
        assert client.sendWhatFits(GET) == len(GET)
        assert (await client.reply()).body == b"2\n"
        assert await client.rest() == b""
        client.close()
        assert await server.ended() == [CloseReason.IDLE_TIMEOUT]


@pytest.mark.ledger("P-11")
@ensureDeferred
async def test_a_request_behind_the_close_is_not_answered_and_not_reset() -> None:
    async with served(numbered, timeouts=BRIEF) as server:
        client = await server.connect()
        await client.send(GET)
        await client.reply()
        assert await client.rest() == b""
        await client.send(GET)
        connection = await server.accepted(client)
        await until(lambda: connection.lateBytes == len(GET))
        assert await client.rest() == b""
        client.close()
        assert await server.ended() == [CloseReason.IDLE_TIMEOUT]
    assert len(server.observer.exchanges) == 1


async def crossing(server: Served, chance: random.Random) -> int:
    """Ask again about when the server stops waiting; how often an answer came."""
    client = await server.connect()
    await client.send(GET)
    await client.reply()
    await deferLater(reactor, IDLE + chance.uniform(-0.03, 0.01))
    await client.send(GET)
    return 1 + len(await whole(client))


async def whole(client: Client) -> list[object]:
    data = await client.rest()
    found = replies(data, ["GET"], ended=True)
    assert all(reply.complete and reply.body == b"2\n" for reply in found)
    client.close()
    return [*found]


@ensureDeferred
async def test_requests_that_cross_the_close_are_answered_whole_or_not_at_all() -> None:
    chance = random.Random(9112)
    async with served(numbered, timeouts=BRIEF) as server:
        answers = await together(crossing(server, chance) for _ in range(60))
        assert await server.ended(60) == [CloseReason.IDLE_TIMEOUT] * 60
    assert len(server.observer.exchanges) == sum(answers)
