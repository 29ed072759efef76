"""A connection, or a stream of one, that is handed over to another protocol."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from ka_twisted import Request, Response, Switch
from tests.logs import Logged
from tests.streams.providers import Provider


class Shouting(Protocol):
    """Says everything louder."""

    def __init__(self) -> None:
        self.lost: list[type[BaseException] | None] = []

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"READY ")

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data.upper())
        if data == b"bye":
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type)


def plain(request: Request) -> bytes:
    return b"plain"


@pytest.mark.parametrize("way", ["protocol", "Switch", "Deferred", "later"])
def test_it_is_handed_over(serve: Provider, way: str) -> None:
    shouting = Shouting()
    waiting: Deferred[Any] = Deferred()
    answers = {
        "protocol": shouting, "Switch": Switch(shouting), "Deferred": succeed(shouting), "later": waiting,
    }  # fmt: skip
    service = serve(plain, upgrades={"shout": lambda request: answers[way]})
    client = service.connect()
    assert client.ask("GET", "/").body == b"plain"
    asked = client.ask("GET", "/", switchesTo="shout")
    if way == "later":
        assert asked.switched is None
        waiting.callback(shouting)
        service.settle()
    assert asked.switched == b"READY "
    asked.send(b"hello")
    assert asked.switched == b"READY HELLO"
    asked.send(b"bye")
    assert asked.switched == b"READY HELLOBYE"
    assert shouting.lost == [ConnectionDone]


def test_it_is_refused_by_an_ordinary_answer(serve: Provider) -> None:
    client = serve(plain, upgrades={"shout": lambda request: None}).connect()
    asked = client.ask("GET", "/", switchesTo="shout")
    assert asked.body == b"plain"
    assert asked.switched is None
    assert client.ask("GET", "/").body == b"plain"


def test_what_is_not_known_here_is_answered_ordinarily(serve: Provider) -> None:
    asked = serve(plain, upgrades={"shout": lambda request: Shouting()}).ask("GET", switchesTo="whisper")
    assert asked.body == b"plain"


def test_it_is_refused_by_a_response(serve: Provider) -> None:
    client = serve(plain, upgrades={"shout": lambda request: Response(403, b"no")}).connect()
    asked = client.ask("GET", "/", switchesTo="shout")
    assert (asked.status, asked.body) == (403, b"no")
    assert client.ask("GET", "/").body == b"plain"


@pytest.mark.parametrize("later", [False, True])
def test_a_handler_may_switch(serve: Provider, later: bool) -> None:
    async def handler(request: Request) -> Switch:
        if later:
            await service.later(1)
        return Switch(Shouting(), {"X-Loud": "yes"})

    service = serve(handler)
    asked = service.ask("GET", switchesTo="shout")
    service.advance(1)
    asked.send(b"hello")
    assert asked.switched == b"READY HELLO"


def test_a_switch_that_was_not_offered_is_an_error(serve: Provider, logged: Logged) -> None:
    assert serve(lambda request: Switch(Shouting())).ask("GET").status == 500
    assert len(logged.failures(ValueError)) == 1


def test_the_protocol_hears_that_its_client_has_gone(serve: Provider) -> None:
    shouting = Shouting()
    service = serve(plain, upgrades={"shout": lambda request: shouting})
    service.ask("GET", switchesTo="shout").cancel()
    assert shouting.lost == [ConnectionLost]
