"""A client that ends its side after its last request still gets every response."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from ka_twisted import CloseReason, Response
from tests.http1.driving import GET, get, post, upload
from tests.integration.driving import served, until
from tests.server.driving import BIG, Held, endless, read, stream_echo

pytestmark = pytest.mark.ledger("P-13", "D1-28")


#: Why a connection ends whose client may have been answered before its half-close was seen, or not.
LEFT = {CloseReason.PEER_HALF_CLOSED, CloseReason.PEER_CLOSED_IDLE}


@ensureDeferred
async def test_requests_before_a_half_close_are_all_answered() -> None:
    async with served(read) as server:
        client = await server.connect()
        await client.send(GET * 5 + post(b"six") + GET)
        client.halfClose()
        replies = await client.replies(*["GET"] * 5, "POST", "GET")
        assert [reply.status for reply in replies] == [200] * 7
        assert replies[5].body == b"six"
        assert set(await server.ended()) <= LEFT


@ensureDeferred
async def test_also_those_that_are_answered_later_and_in_another_order() -> None:
    held = Held()
    async with served(held) as server:
        client = await server.connect()
        await client.send(GET * 4)
        client.halfClose()
        connection = await server.accepted(client)
        await until(lambda: connection._driver.eof and len(held.requests) == 4)
        for number in (3, 1, 4, 2):
            held.answer(number, b"%d" % number)
        replies = await client.replies(*["GET"] * 4)
        assert [reply.body for reply in replies] == [b"1", b"2", b"3", b"4"]
        assert [reply.connection for reply in replies] == [[], [], [], ["Connection: close"]]
        assert await server.ended() == [CloseReason.PEER_HALF_CLOSED]


@ensureDeferred
async def test_requests_that_wait_their_turn_are_answered_too() -> None:
    held = Held()
    async with served(held) as server:
        client = await server.connect()
        await client.send(b"".join(post(b"%d" % number) for number in range(30)))
        client.halfClose()
        for number in range(1, 31):
            await until(partial(held.requests.get, number))
            held.answer(number, b"%d" % number)
        replies = await client.replies(*["POST"] * 30)
        assert [int(reply.body) for reply in replies] == list(range(1, 31))
        assert await server.ended() == [CloseReason.PEER_HALF_CLOSED]


@ensureDeferred
async def test_a_response_that_streams_goes_on_after_the_half_close() -> None:
    pieces: list[Deferred[bytes]] = [Deferred() for _ in range(3)]

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield await piece

    async with served(lambda request: Response.stream(body())) as server:
        client = await server.connect()
        await client.send(GET)
        pieces[0].callback(b"a")
        while b"a\r\n" not in client.received:
            await client.some()
        client.halfClose()
        connection = await server.accepted(client)
        await until(lambda: connection._driver.eof)
        pieces[1].callback(b"b")
        pieces[2].callback(b"c")
        (reply,) = await client.replies("GET")
        assert reply.body == b"abc"
        assert reply.complete
        assert await server.ended() == [CloseReason.PEER_HALF_CLOSED]


@ensureDeferred
async def test_a_large_response_reaches_a_slow_client_that_has_half_closed() -> None:
    async with served(lambda request: Response(200, BIG)) as server:
        client = await server.connect(taking=4096)
        await client.send(GET * 2)
        client.halfClose()
        first, second = await client.replies("GET", "GET")
        assert first.body == second.body == BIG
        assert set(await server.ended()) <= LEFT


@ensureDeferred
async def test_an_echo_ends_with_the_body_and_the_half_close() -> None:
    async with served(stream_echo) as server:
        client = await server.connect()
        await client.send(upload(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"))
        client.halfClose()
        (reply,) = await client.replies("POST")
        assert reply.body == b"hello world"
        assert set(await server.ended()) <= LEFT


@pytest.mark.ledger("L-31", "D2-29")
@ensureDeferred
async def test_a_half_close_inside_a_body_is_answered_400() -> None:
    async with served(read) as server:
        client = await server.connect()
        await client.send(get("/", "Content-Length: 10", method="POST", body=b"half"))
        client.halfClose()
        (reply,) = await client.replies("POST")
        assert reply.status == 400
        assert await server.ended() == [CloseReason.PEER_CLOSED_MID_REQUEST]


@ensureDeferred
async def test_a_client_that_half_closes_and_then_vanishes_is_noticed() -> None:
    """The half-close is no loss of interest, the reset behind it is."""
    async with served(lambda request: Response.stream(endless())) as server:
        client = await server.connect()
        await client.send(GET)
        client.halfClose()
        connection = await server.accepted(client)
        await until(lambda: connection._driver.eof)
        await client.take(1 << 20)
        client.reset()
        assert await server.ended() == [CloseReason.PEER_CLOSED_MID_RESPONSE]
