"""A client that vanishes by a reset, in every state: one reason, the application is told, nothing is logged or kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from ka_twisted import CloseReason, Limits, Request, Response
from tests.http1.driving import GET, get, post, upload
from tests.integration.driving import Client, reactor, served, until
from tests.server.driving import BIG, Recorded

pytestmark = pytest.mark.ledger("P-13", "P-14")


class Application:
    """
    Makes its response as the test says, and keeps what became of it.

    :ivar begun: how often it was called.
    :ivar told: by which exception each call learned that its client does not wait for it any more.
    """

    def __init__(self, answer: Callable[[Application, Request], Any]) -> None:
        self._answer = answer
        self.begun = 0
        self.told: list[str] = []

    async def __call__(self, request: Request) -> Any:
        self.begun += 1
        try:
            return await self._answer(self, request)
        except BaseException as error:
            self.told.append(type(error).__name__)
            raise

    async def pieces(self, first: bytes, *, more: bytes = b"") -> AsyncIterator[bytes]:
        """A body that goes on for ever: with something, or with waiting."""
        try:
            yield first
            while more:
                yield more
            await Deferred[None]()
        except BaseException as error:
            self.told.append(type(error).__name__)
            raise


async def wait(application: Application, request: Request) -> Any:
    return await Deferred[Any]()


async def read(application: Application, request: Request) -> Any:
    return await request.read()


async def answer(application: Application, request: Request) -> Any:
    return b"hello\n"


async def large(application: Application, request: Request) -> Any:
    return BIG * 8


async def trickle(application: Application, request: Request) -> Any:
    return Response.stream(application.pieces(b"first"))


async def flood(application: Application, request: Request) -> Any:
    return Response.stream(application.pieces(b"first", more=b"x" * 65536))


async def exchange(client: Client) -> None:
    await client.send(GET)
    await client.reply()


@dataclass(frozen=True)
class State:
    """
    What a connection is doing when its client vanishes.

    :ivar bytes: what the client has sent.
    :ivar state: what the connection says of itself then.
    :ivar calls: of the application.
    :ivar told: how many of them learn of the loss.
    :ivar taken: bytes that the client reads before.
    :ivar waiting: whether the server's transport holds bytes that the client does not take.
    """

    data: bytes
    answer: Callable[[Application, Request], Any]
    state: str
    reason: str
    calls: int = 0
    told: int = 0
    taken: int = 0
    waiting: bool = False
    by: str = "peer"
    settings: dict[str, Any] = field(default_factory=dict)


MANY = get("/", "Content-Length: 1000000", method="POST", body=b"x" * 100)
SMALL = {"limits": Limits(maxBodyBytes=1000)}
STATES = {
    "unused": State(b"", answer, "unused", "TRANSPORT_ERROR", by="network"),
    "idle": State(GET, answer, "idle", "TRANSPORT_ERROR", calls=1, taken=1, by="network"),
    "in the first head": State(GET[:9], answer, "reading a head", "PEER_CLOSED_MID_REQUEST"),
    "in a later head": State(GET + GET[:9], answer, "reading a head", "PEER_CLOSED_MID_REQUEST", calls=1, taken=1),
    "in a body that is read": State(MANY, read, "reading a body", "PEER_CLOSED_MID_REQUEST", calls=1, told=1),
    "in a body that is not": State(MANY, wait, "reading a body", "PEER_CLOSED_MID_REQUEST", calls=1, told=1),
    "in a chunk": State(upload(b"ff\r\nxx"), read, "reading a body", "PEER_CLOSED_MID_REQUEST", calls=1, told=1),
    "before an invited body": State(
        get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"), read, "reading a body",
        "PEER_CLOSED_MID_REQUEST", calls=1, told=1, taken=10,
    ),
    "before its response": State(GET, wait, "responding", "PEER_CLOSED_MID_RESPONSE", calls=1, told=1),
    "before many responses": State(GET * 5, wait, "responding", "PEER_CLOSED_MID_RESPONSE", calls=5, told=5),
    "before the response to a body": State(
        post(b"hello") + GET, wait, "reading a body", "PEER_CLOSED_MID_REQUEST", calls=1, told=1
    ),
    "in a response that waits": State(
        GET, trickle, "responding", "PEER_CLOSED_MID_RESPONSE", calls=1, told=1, taken=10
    ),
    "in a response that is taken": State(
        GET, flood, "responding", "PEER_CLOSED_MID_RESPONSE", calls=1, told=1, taken=10_000_000
    ),
    "in a response that is not": State(
        GET, flood, "responding", "PEER_CLOSED_MID_RESPONSE", calls=1, told=1, waiting=True
    ),
    "in a response that is not, with more requests behind it": State(
        GET + post(b"hello") * 5, flood, "responding", "PEER_CLOSED_MID_RESPONSE", calls=1, told=1, waiting=True
    ),
    "behind a large last response": State(
        get("/", "Connection: close"), large, "closing", "CLOSE_REQUESTED", calls=1, waiting=True
    ),
    "behind the last response": State(
        get("/", "Connection: close"), answer, "closing", "CLOSE_REQUESTED", calls=1, taken=10
    ),
    "behind a refusal": State(
        get("/", "Content-Length: 1001", method="PUT"), read, "closing", "BODY_TOO_LARGE", calls=0, taken=10,
        by="us", settings=SMALL,
    ),
    "behind garbage": State(b"garbage\r\n\r\n", answer, "closing", "BAD_REQUEST", taken=10, by="us"),
}  # fmt: skip


@pytest.mark.parametrize("case", STATES.values(), ids=STATES.keys())
@ensureDeferred
async def test_a_reset_is_noticed_in_every_state(case: State) -> None:
    application = Application(case.answer)
    async with served(application, protocol=Recorded, **case.settings) as server:
        client = await server.connect(taking=4096 if case.waiting else None)
        connection = await server.accepted(client)
        assert isinstance(connection, Recorded)
        await client.send(case.data)
        await client.take(case.taken)
        await until(lambda: connection.state == case.state and application.begun == case.calls, case.state)
        if case.waiting:
            await until(lambda: connection.transport in reactor.getWriters())
        client.reset()
        (reason,) = await server.ended()
        assert (reason.name, reason.by) == (case.reason, case.by)
        assert connection.closed == [reason]
        assert application.begun == case.calls
        await until(lambda: len(application.told) >= case.told, f"{application.told}")
        assert len(application.told) == case.told
    numbers = sorted(exchange.number for exchange in server.observer.exchanges)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= case.calls


@ensureDeferred
async def test_a_reset_while_the_client_is_held_back_shows_with_the_answer() -> None:
    """Who is not read is not heard, either: the price of holding a client back."""
    answers: list[Deferred[bytes]] = []

    def handler(request: Request) -> Deferred[bytes]:
        answers.append(Deferred())
        return answers[0]

    async with served(handler, limits=Limits(readAhead=1000)) as server:
        client = await server.connect()
        connection = await server.accepted(client)
        await client.send(get("/", "Content-Length: 1000000", method="POST", body=b"x" * 10_000))
        await until(lambda: connection.requestCount and connection.transport not in reactor.getReaders())
        client.reset()
        answers[0].callback(b"too late\n")
        assert await server.ended() == [CloseReason.BODY_UNREAD]
    assert len(server.observer.exchanges) == 1


@ensureDeferred
async def test_a_whole_response_that_was_not_taken_is_a_response_all_the_same() -> None:
    async with served(Application(large)) as server:
        client = await server.connect(taking=4096)
        connection = await server.accepted(client)
        await client.send(GET)
        await until(lambda: connection.transport in reactor.getWriters())
        client.reset()
        assert await server.ended() == [CloseReason.PEER_CLOSED_MID_RESPONSE]
