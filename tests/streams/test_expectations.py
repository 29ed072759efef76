"""Bodies that the client withholds until they are invited (RFC 9110 10.1.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from ka_twisted import KeepAliveProtocol, Request, Response, Timeouts
from tests.logs import Logged
from tests.streams.providers import Asked, Provider, Service


async def read(request: Request) -> bytes:
    return await request.read()


def expecting(answer: Callable[[Request], Any]) -> type[KeepAliveProtocol]:
    """A protocol that decides so."""

    class Deciding(KeepAliveProtocol):
        def continueExpected(self, request: Request) -> Any:
            return answer(request)

    return Deciding


def withheld(service: Service) -> Asked:
    return service.ask("POST", "/", body=None, length=4, expects=True)


def statuses(asked: Asked) -> list[int]:
    return [interim.status for interim in asked.interims]


def test_the_first_read_invites(serve: Provider) -> None:
    async def handler(request: Request) -> bytes:
        await service.later(1)
        return await request.read()

    service = serve(handler)
    asked = withheld(service)
    assert statuses(asked) == []
    service.advance(1)
    assert statuses(asked) == [100]
    asked.send(b"data")
    assert asked.body == b"data"
    assert statuses(asked) == [100]


def test_an_answer_without_a_read_refuses(serve: Provider) -> None:
    asked = withheld(serve(lambda request: Response(403, b"no")))
    assert statuses(asked) == []
    assert (asked.status, asked.body) == (403, b"no")


def test_a_limit_refuses(serve: Provider) -> None:
    async def handler(request: Request) -> bytes:
        return await request.read(limit=3)

    asked = withheld(serve(handler))
    assert statuses(asked) == []
    assert asked.status == 413


def test_a_body_that_comes_all_the_same_is_not_invited(serve: Provider) -> None:
    async def handler(request: Request) -> bytes:
        await service.later(1)
        return await request.read()

    service = serve(handler)
    asked = withheld(service)
    asked.send(b"data")
    service.advance(1)
    assert asked.body == b"data"
    assert statuses(asked) == []


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("accepted", [True, None])
def test_the_protocol_accepts_or_leaves_it(serve: Provider, later: bool, accepted: bool | None) -> None:
    answer: Deferred[bool | None] = Deferred() if later else succeed(accepted)
    service = serve(read, protocol=expecting(lambda request: answer))
    asked = withheld(service)
    if later:
        assert statuses(asked) == []
        answer.callback(accepted)
        service.settle()
    assert statuses(asked) == [100]
    asked.send(b"data")
    assert asked.body == b"data"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(lambda: False, 417, id="False"),
        pytest.param(lambda: Response.text("pay\n", 402), 402, id="response"),
        pytest.param(lambda: succeed(Response.text("pay\n", 402)), 402, id="Deferred"),
    ],
)
def test_the_protocol_refuses(serve: Provider, answer: Callable[[], Any], status: int) -> None:
    called: list[Request] = []

    def handler(request: Request) -> bytes:
        called.append(request)
        return b"never"

    asked = withheld(serve(handler, protocol=expecting(lambda request: answer())))
    assert statuses(asked) == []
    assert asked.status == status
    assert called == []


def test_an_error_in_the_decision_is_a_500(serve: Provider, logged: Logged) -> None:
    def decide(request: Request) -> bool:
        raise ValueError("mine")

    asked = withheld(serve(read, protocol=expecting(decide)))
    assert statuses(asked) == []
    assert asked.status == 500
    assert len(logged.failures(ValueError)) == 1


def test_without_a_decision_time_invites(serve: Provider) -> None:
    service = serve(lambda request: Deferred(), timeouts=Timeouts(expectation=2))
    asked = withheld(service)
    service.advance(1.9)
    assert statuses(asked) == []
    service.advance(0.2)
    assert statuses(asked) == [100]
    assert asked.answer is None


def test_a_stream_made_of_the_body_invites(serve: Provider) -> None:
    def handler(request: Request) -> Response:
        async def pieces() -> Any:
            async for data in request.body:
                yield data.upper()

        return Response.stream(pieces())

    asked = withheld(serve(handler))
    assert statuses(asked) == [100]
    asked.send(b"data")
    assert asked.body == b"DATA"


def test_interim_responses_of_the_handler_come_beside(serve: Provider) -> None:
    async def handler(request: Request) -> bytes:
        request.interim(103, {"Link": "</style.css>"})
        return await request.read()

    asked = withheld(serve(handler))
    assert statuses(asked) == [103, 100]
    asked.send(b"data")
    assert asked.body == b"data"
