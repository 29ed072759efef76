"""A client that does not want its response any more, and what its handler hears of that."""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from ka_twisted import Request, Response
from tests.streams.bodies import Source
from tests.streams.providers import Provider


def test_a_deferred_is_cancelled(serve: Provider) -> None:
    cancelled: list[object] = []
    service = serve(lambda request: Deferred(cancelled.append))
    service.ask("GET").cancel()
    assert len(cancelled) == 1
    (exchange,) = service.observer.exchanges
    assert exchange.status is None


def test_a_coroutine_is_cancelled_and_cleans_up(serve: Provider) -> None:
    seen: list[str] = []

    async def handler(request: Request) -> bytes:
        try:
            return await Deferred()
        except (CancelledError, asyncio.CancelledError):  # the latter where asyncio runs the reactor
            seen.append("cancelled")
            raise
        finally:
            seen.append("cleaned up")

    serve(handler).ask("GET").cancel()
    assert seen == ["cancelled", "cleaned up"]


def test_the_reading_of_a_body_fails(serve: Provider) -> None:
    errors: list[type[BaseException]] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read()
        except Exception as error:
            errors.append(type(error))
            raise

    asked = serve(handler).ask("POST", "/", body=None, length=100)
    asked.send(b"part")
    asked.cancel()
    assert errors == [ConnectionLost]


def test_late_results_are_ignored_and_let_go(serve: Provider) -> None:
    answers: list[Deferred[Any]] = []

    def handler(request: Request) -> Deferred[Any]:
        answers.append(Deferred())
        answers[-1].cancel = lambda: None  # type: ignore[method-assign]
        return answers[-1]

    service = serve(handler)
    service.ask("GET").cancel()
    source = Source(3)
    answers[0].callback(Response.stream(source.file()))
    service.settle()
    assert source.made == 0
    assert source.closed == 1
