"""Exchanges in memory: no connection, and no bytes of any version of HTTP."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from ka_twisted.testing import MemoryConnection, MemoryExchange, ParsedResponse
from ka_twisted.testing.clocks import advance, settle
from tests.streams.http1 import asAnswer
from tests.streams.providers import Answer, Asked, Client, Fields, Observer, Service


class ExchangeService(Service):
    def __init__(self, handler: Any, *, observers: tuple[Any, ...] = (), **settings: Any) -> None:
        self.observer = Observer()
        self._time = self.clock = Clock()
        self._settings = {"observers": (self.observer, *observers), "clock": self._time, **settings}
        self._handler = handler

    def connect(self) -> Client:
        return _Client(MemoryConnection(self._handler, **self._settings))

    def settle(self) -> None:
        settle(self._time)

    def advance(self, seconds: float) -> None:
        advance(self._time, seconds)

    def close(self) -> None:
        """There is nothing outside of it."""


class _Client(Client):
    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection
        self._stalled = False
        self._asked: list[MemoryExchange] = []

    def ask(
        self,
        method: str,
        target: str,
        fields: Fields = (),
        body: bytes | None = b"",
        **further: Any,
    ) -> Asked:
        self._asked.append(self._connection.ask(method, target, fields, body, stalled=self._stalled, **further))
        return _Asked(self._asked[-1])

    def stall(self) -> None:
        self._stalled = True
        for asked in self._asked:
            asked.stall()

    def resume(self) -> None:
        self._stalled = False
        for asked in self._asked:
            asked.resume()


class _Asked(Asked):
    def __init__(self, exchange: MemoryExchange) -> None:
        self._exchange = exchange

    def send(self, data: bytes) -> None:
        self._exchange.send(data)

    def end(self, trailers: Fields = ()) -> None:
        self._exchange.end(trailers)

    def breakOff(self) -> None:
        self._exchange.end()

    def cancel(self) -> None:
        self._exchange.reset()

    @property
    def interims(self) -> list[Answer]:
        return [asAnswer(response) for response in self._exchange.interims]

    @property
    def answer(self) -> Answer | None:
        response: ParsedResponse | None = self._exchange.response
        return None if response is None else asAnswer(response)

    @property
    def switched(self) -> bytes | None:
        return self._exchange.switched
