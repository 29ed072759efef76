"""Bodies of requests: nothing is read before the handler asks, and it reads what it wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from ka_twisted import Limits, Request, Response
from ka_twisted.core.errors import BodyTooLarge, IncompleteBody
from tests.logs import Logged
from tests.streams.providers import Asked, Client, Provider

#: Ways to send a body of these pieces: each states its length or does not.
PIECES = [b"one", b"twotwo", b"three" * 1000]
WHOLE = b"".join(PIECES)


async def read(request: Request) -> bytes:
    return await request.read()


def send(client: Client, way: str) -> Asked:
    if way == "whole":
        return client.ask("POST", "/", body=WHOLE)
    asked = client.ask("POST", "/", body=None, length=len(WHOLE) if way == "of a length" else None)
    for piece in PIECES:
        asked.send(piece)
    asked.end()
    return asked


WAYS = ["whole", "of a length", "of any length"]
ways = pytest.mark.parametrize("way", WAYS)


@ways
def test_it_is_read_whole(serve: Provider, way: str) -> None:
    client = serve(read).connect()
    assert send(client, way).body == WHOLE
    assert send(client, way).body == WHOLE


@ways
def test_it_is_read_piece_by_piece(serve: Provider, way: str) -> None:
    taken: list[bytes] = []

    async def handler(request: Request) -> bytes:
        async for data in request.body:
            taken.append(data)
        return b"%d" % sum(map(len, taken))

    assert send(serve(handler).connect(), way).body == b"%d" % len(WHOLE)
    assert b"".join(taken) == WHOLE
    assert all(taken)


@ways
def test_it_is_not_read(serve: Provider, way: str) -> None:
    service = serve(lambda request: b"unread")
    assert [send(service.connect(), way).body for _ in range(3)] == [b"unread"] * 3


@ways
def test_some_of_it_is_read(serve: Provider, way: str) -> None:
    async def handler(request: Request) -> bytes:
        return (await request.body.readChunk())[:3]

    service = serve(handler)
    assert [send(service.connect(), way).body for _ in range(3)] == [b"one"] * 3


@ways
def test_it_is_read_later(serve: Provider, way: str) -> None:
    async def handler(request: Request) -> bytes:
        await service.later(3)
        return await request.read()

    service = serve(handler)
    client = service.connect()
    asked = [send(client, way), send(client, way)]
    service.advance(3)
    assert asked[0].body == WHOLE
    service.advance(3)
    assert asked[1].body == WHOLE


@ways
def test_what_is_too_large_for_the_handler_is_refused(serve: Provider, way: str) -> None:
    errors: list[BaseException] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read(limit=100)
        except BodyTooLarge as error:
            errors.append(error)
            raise

    asked = send(serve(handler).connect(), way)
    assert asked.status == 413
    assert len(errors) == 1


@ways
def test_what_is_too_large_may_be_answered_otherwise(serve: Provider, way: str) -> None:
    async def handler(request: Request) -> Response:
        try:
            await request.read(limit=100)
        except BodyTooLarge:
            return Response.text("try less\n", 422)
        return Response(200)

    asked = send(serve(handler).connect(), way)
    assert (asked.status, asked.body) == (422, b"try less\n")


@ways
def test_the_server_has_a_limit(serve: Provider, way: str) -> None:
    async def handler(request: Request) -> bytes:
        return await request.read()

    asked = send(serve(handler, limits=Limits(maxBodyBytes=100)).connect(), way)
    assert asked.status == 413


def test_its_length_is_known_before(serve: Provider) -> None:
    client = serve(lambda request: str(request.contentLength)).connect()
    assert client.ask("POST", "/", body=b"12345").body == b"5"
    assert client.ask("GET", "/").body == b"0"
    unknown = client.ask("POST", "/", body=None)
    unknown.end()
    assert unknown.body == b"None"


def test_trailers_are_there_at_its_end(serve: Provider) -> None:
    async def handler(request: Request) -> str:
        before = len(request.body.trailers)
        await request.read()
        return f"{before} {request.body.trailers.get('checksum')} {request.headers.get('checksum')}"

    asked = serve(handler).ask("POST", "/", body=None)
    asked.send(b"data")
    asked.end([("Checksum", "1234")])
    assert asked.body == b"0 1234 None"


def test_an_echo_of_both_at_once(serve: Provider) -> None:
    def handler(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            async for data in request.body:
                yield data

        return Response.stream(pieces())

    client = serve(handler).connect()
    asked = client.ask("POST", "/", body=None)
    for count in range(1, 5):
        asked.send(b"ping")
        assert asked.answer is not None
        assert asked.answer.body == b"ping" * count
        assert not asked.answer.complete
    asked.end()
    assert asked.body == b"ping" * 4
    assert client.ask("POST", "/", body=b"again").body == b"again"


def test_a_body_that_breaks_off(serve: Provider) -> None:
    errors: list[type[BaseException]] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read()
        except Exception as error:
            errors.append(type(error))
            raise

    asked = serve(handler).ask("POST", "/", body=None, length=10)
    asked.send(b"part")
    asked.breakOff()
    assert errors == [IncompleteBody]
    assert asked.status == 400


def test_a_second_read_at_the_same_time_is_refused(serve: Provider) -> None:
    async def handler(request: Request) -> str:
        reading = request.body.readChunk()
        try:
            await request.body.readChunk()
        except ValueError:
            return (await reading).decode()
        return "both"

    asked = serve(handler).ask("POST", "/", body=None, length=5)
    asked.send(b"first")
    assert asked.body == b"first"


def test_a_read_may_be_cancelled_and_made_again(serve: Provider, logged: Logged) -> None:
    async def handler(request: Request) -> bytes:
        reading: Deferred[Any] = request.body.readChunk()
        reading.addTimeout(1, service.clock)
        try:
            await reading
        except Exception as error:
            return type(error).__name__.encode() + b" " + await request.read()
        return b"in time"

    service = serve(handler)
    asked = service.ask("POST", "/", body=None, length=4)
    service.advance(1)
    asked.send(b"late")
    assert asked.body == b"TimeoutError late"


@pytest.mark.parametrize("begun", [False, True])
def test_a_body_that_is_too_large_for_the_server_when_it_is_not_wanted_any_more(serve: Provider, begun: bool) -> None:
    """The handler is told that its response is not wanted, and so are observers."""
    cancelled: list[Any] = []
    ends: list[Any] = []

    async def handler(request: Request) -> None:
        request.finished.addErrback(lambda failure: ends.append(failure.type))
        if begun:
            request.start().write(b"begun")
        else:
            with pytest.raises(BodyTooLarge):
                await request.read(limit=3)
        await Deferred(cancelled.append)

    service = serve(handler, limits=Limits(maxBodyBytes=10))
    asked = service.connect().ask("POST", "/", body=None)
    asked.send(b"abcde")
    assert not cancelled
    asked.send(b"abcdef")
    service.settle()
    assert len(cancelled) == 1
    assert ends == [BodyTooLarge]
    assert asked.status == (200 if begun else 413)
    assert len(service.observer.exchanges) == 1
