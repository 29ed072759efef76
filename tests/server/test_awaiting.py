"""Coroutines where an asyncio event loop runs the reactor: tasks, which await what asyncio has, and Deferreds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from ka_twisted import KeepAliveProtocol, Request, Response
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, get, post
from tests.logs import Logged
from tests.server.driving import statuses

Handler = Callable[[Request], Any]


def run(handler: Handler, drive: Callable[[MemoryClient], Awaitable[None]], **settings: Any) -> MemoryClient:
    """A client of a server within an event loop."""

    async def main() -> MemoryClient:
        client = MemoryServer(handler, **settings).connect()
        await drive(client)
        return client

    return asyncio.run(main())


async def turns(count: int = 10) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def asked(client: MemoryClient) -> None:
    client.send(GET)
    await turns()


def test_what_asyncio_has_is_awaited_and_deferreds_are() -> None:
    waits: Deferred[bytes] = Deferred()

    async def handler(request: Request) -> bytes:
        await asyncio.sleep(0)
        first = await asyncio.gather(asyncio.sleep(0, b"a"), asyncio.sleep(0, b"b"))
        return b"".join([*first, await succeed(b"c"), await waits])

    async def drive(client: MemoryClient) -> None:
        await asked(client)
        assert client.received == b""
        waits.callback(b"d")
        await turns()

    assert run(handler, drive).responses[0].body == b"abcd"


def test_a_handler_has_a_current_task_from_its_first_step_on() -> None:
    seen: list[object] = []

    async def handler(request: Request) -> bytes:
        seen.append(asyncio.current_task())
        await asyncio.wait_for(asyncio.sleep(0), 5)
        seen.append(asyncio.current_task())
        return b"ok"

    assert statuses(run(handler, asked)) == [200]
    assert seen[0] is seen[1] is not None


@pytest.mark.skipif(not hasattr(asyncio, "timeout"), reason="asyncio.timeout came with Python 3.11")
def test_a_timeout_of_asyncio_ends_the_wait_for_a_deferred() -> None:
    cancelled: list[Deferred[None]] = []

    async def handler(request: Request) -> Response:
        try:
            async with vars(asyncio)["timeout"](0.01):
                await Deferred(cancelled.append)
        except TimeoutError:
            return Response.text("too late", 504)
        return Response.text("never")

    async def drive(client: MemoryClient) -> None:
        client.send(GET)
        while not client.received:
            await asyncio.sleep(0.001)

    assert statuses(run(handler, drive)) == [504]
    assert len(cancelled) == 1


def test_failures_of_deferreds_are_raised_where_they_are_awaited() -> None:
    async def handler(request: Request) -> bytes:
        failing: Deferred[None] = Deferred()
        asyncio.get_running_loop().call_soon(failing.errback, ZeroDivisionError())
        try:
            await failing
        except ZeroDivisionError:
            return b"caught"
        return b"not caught"

    assert run(handler, asked).responses[0].body == b"caught"


@pytest.mark.parametrize("waits_for", ["a future", "a deferred"])
def test_when_the_client_goes_the_task_is_cancelled(waits_for: str) -> None:
    told: list[str] = []

    async def handler(request: Request) -> bytes:
        try:
            await (asyncio.sleep(60) if waits_for == "a future" else Deferred())
        except asyncio.CancelledError:
            told.append("cancelled")
            raise
        finally:
            told.append("cleaned up")
        return b"never"

    async def drive(client: MemoryClient) -> None:
        await asked(client)
        client.reset()
        await turns()

    run(handler, drive)
    assert told == ["cancelled", "cleaned up"]


def test_an_error_while_a_cancelled_task_cleans_up_is_logged(logged: Logged) -> None:
    async def handler(request: Request) -> bytes:
        try:
            await asyncio.sleep(60)
        finally:
            raise ZeroDivisionError

    async def drive(client: MemoryClient) -> None:
        await asked(client)
        client.reset()
        await turns()

    run(handler, drive)
    assert logged.entries(ZeroDivisionError) == ["the handler failed on GET / (connection 1, request 1)"]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, asyncio.CancelledError, GeneratorExit, SystemExit, KeyboardInterrupt]
)
@pytest.mark.parametrize("later", [False, True])
def test_what_a_task_raises_is_a_500(error: type[BaseException], later: bool, logged: Logged) -> None:
    async def handler(request: Request) -> bytes:
        if later:
            await asyncio.sleep(0)
        raise error

    client = run(handler, asked)
    assert statuses(client) == [500]
    assert len(logged.failures(error)) == 1


def test_pipelined_tasks_are_answered_in_order() -> None:
    async def handler(request: Request) -> str:
        for _ in range(5 - request.number):
            await asyncio.sleep(0)
        return request.path

    async def drive(client: MemoryClient) -> None:
        client.send(b"".join(get(f"/{number}") for number in range(1, 5)))
        await turns(20)

    client = run(handler, drive)
    assert [response.body for response in client.responses] == [b"/1", b"/2", b"/3", b"/4"]


def test_bodies_are_read_in_tasks() -> None:
    async def handler(request: Request) -> bytes:
        first = await request.body.readChunk()
        await asyncio.sleep(0)
        return first + b"|" + await request.read()

    async def drive(client: MemoryClient) -> None:
        client.send(post(b"0123456789")[:-5])
        await turns()
        client.send(b"56789")
        await turns()

    assert run(handler, drive).responses[0].body == b"01234|56789"


def test_an_expectation_is_decided_in_a_task() -> None:
    class Asked(KeepAliveProtocol):
        async def continueExpected(self, request: Request) -> bool:
            await asyncio.sleep(0)
            return True

    async def drive(client: MemoryClient) -> None:
        client.send(get("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        await turns()
        client.send(b"hello")
        await turns()

    client = run(lambda request: request.read(), drive, protocol=Asked)
    assert [response.status for response in client.allResponses] == [100, 200]


def test_an_async_body_awaits_what_asyncio_has_and_deferreds() -> None:
    waits: Deferred[bytes] = Deferred()

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        yield await asyncio.sleep(0, b"b")
        yield await waits

    async def drive(client: MemoryClient) -> None:
        await asked(client)
        waits.callback(b"c")
        await turns()

    [response] = run(lambda request: Response.stream(body()), drive).responses
    assert (response.body, response.complete) == (b"abc", True)


def test_an_async_body_is_closed_when_the_client_goes() -> None:
    closed: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    async def drive(client: MemoryClient) -> None:
        await asked(client)
        assert closed == []
        client.reset()
        await turns()

    run(lambda request: Response.stream(body()), drive)
    assert closed == ["closed"]


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_async_body_that_raises_ends_its_response_alone(error: type[BaseException], logged: Logged) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0)
        raise error

    client = run(lambda request: Response.stream(body()), asked)
    assert [(response.body, response.complete) for response in client.responses] == [(b"a", False)]
    assert logged.entries(error) == ["the handler failed on GET / (connection 1, request 1)"]


def test_a_failure_that_a_cancellation_overtakes_is_not_left_over() -> None:
    waits: Deferred[bytes] = Deferred()

    async def handler(request: Request) -> bytes:
        return await waits

    async def drive(client: MemoryClient) -> None:
        await asked(client)
        client.reset()
        waits.errback(ZeroDivisionError())
        await turns()

    run(handler, drive)
    assert waits.result is None
