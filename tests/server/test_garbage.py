"""What is over is let go of: nothing alive is kept by exchanges, or by exceptions that many share."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet import main
from twisted.internet.defer import Deferred

from ka_twisted import Limits, Request, Response
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, get
from tests.server.driving import Held, Observer

UPLOAD = get("/", "Content-Length: 10", method="POST") + b"some"
CHUNKS = get("/", "Transfer-Encoding: chunked", method="POST") + b"4\r\nsome\r\n"


async def whole(request: Request) -> bytes:
    return await request.read()


async def pieces(request: Request) -> bytes:
    return b"".join([piece async for piece in request.body])


async def pushed(request: Request) -> None:
    request.start()
    await request.finished


async def never(request: Request) -> None:
    await Deferred()


@pytest.mark.parametrize("handler", [whole, pieces, pushed, never])
def test_requests_whose_clients_are_gone(handler: Callable[[Request], Any]) -> None:
    """However many await something when their connections are lost, in turn."""
    requests: list[weakref.ref[Request]] = []

    def handle(request: Request) -> Any:
        requests.append(weakref.ref(request))
        return handler(request)

    before = main.CONNECTION_LOST.__traceback__
    for _ in range(3):
        client = MemoryServer(handle).connect()
        client.send(UPLOAD)
        client.reset()
    del client
    gc.collect()
    assert [request() for request in requests] == [None] * 3
    assert main.CONNECTION_LOST.__traceback__ is before


def held(end: Callable[[MemoryClient, Held], object]) -> tuple[Any, Callable[[MemoryClient], object]]:
    """Responses that wait for an earlier one."""
    handler = Held()

    def drive(client: MemoryClient) -> None:
        client.send(GET + GET + GET)
        handler.answer(3, b"x" * 5000)
        handler.answer(2, Response.stream([b"x" * 5000]))
        end(client, handler)

    return handler, drive


def sent(*what: bytes) -> tuple[Any, Callable[[MemoryClient], object]]:
    return whole, lambda client: [client.send(data) for data in what]


@pytest.mark.parametrize(
    ("handler", "drive"),
    [
        pytest.param(*sent(UPLOAD + b"better"), id="answered"),
        pytest.param(*sent(CHUNKS + b"no chunk\r\n"), id="malformed"),
        pytest.param(*sent(CHUNKS, b"no chunk\r\n"), id="malformed later"),
        pytest.param(*sent(CHUNKS, b"4000\r\n"), id="too large"),
        pytest.param(*sent(b"GET / HTTP/1.1\r\nno field\r\n\r\n"), id="bad head"),
        pytest.param(*sent(b"\x00\r\n\r\n"), id="bad line"),
        pytest.param(*sent(get("/", "Expect: nothing")), id="expectation"),
        pytest.param(whole, lambda client: (client.send(UPLOAD), client.halfClose()), id="incomplete"),
        pytest.param(whole, lambda client: (client.send(UPLOAD), client.reset()), id="reset"),
        pytest.param(*held(lambda client, handler: client.reset()), id="held and reset"),
        pytest.param(
            *held(lambda client, handler: handler.answer(1, Response(200, headers={"Connection": "close"}))),
            id="held and closed",
        ),
        pytest.param(
            *held(
                lambda client, handler: handler.answer(1, Response.stream([b"short"], headers={"Content-Length": "9"}))
            ),
            id="held and aborted",
        ),
    ],
)
def test_an_exchange_that_is_over_has_facts_alone(handler: Any, drive: Callable[[MemoryClient], object]) -> None:
    observer = Observer()
    server = MemoryServer(handler, observers=[observer], limits=Limits(maxBodyBytes=1000))
    drive(server.connect())
    server.settle()
    assert observer.exchanges
    for exchange in observer.exchanges:
        assert [each for each in reached(exchange) if not is_fact(each)] == []


def is_fact(value: object) -> bool:
    if isinstance(value, (types.TracebackType, types.FrameType, types.GeneratorType, bytearray)):
        return False
    if isinstance(value, bytes):
        return len(value) < 1000
    module = type(value).__module__
    return not module.startswith(("twisted", "ka_twisted.net", "ka_twisted.server", "ka_twisted.testing"))


def reached(start: object) -> Iterator[object]:
    """All that an object refers to, modules and classes apart."""
    seen: set[int] = {id(start)}
    todo = [vars(start)]
    while todo:
        for each in gc.get_referents(todo.pop()):
            if id(each) not in seen and not isinstance(each, (type, types.ModuleType, types.FunctionType)):
                seen.add(id(each))
                todo.append(each)
                yield each
