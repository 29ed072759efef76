"""Limits on a connection hold on whatever way a request is taken up; deadlines run from when their time begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from ka_twisted import CloseReason, KeepAliveProtocol, Limits, Request, Response, Timeouts
from ka_twisted.core.exchange import Exchange
from ka_twisted.interfaces import IConnection
from ka_twisted.server.writer import ResponseWriter
from ka_twisted.testing import MemoryServer
from tests.http1.driving import get, post
from tests.logs import Logged
from tests.server.driving import BIG, Held, Observer, ignore, statuses

WARM = get("/")


@pytest.mark.ledger("D1-05")
@pytest.mark.parametrize("warm", [0, 1, 2])
def test_no_request_is_taken_up_beyond_their_number(warm: int) -> None:
    """Also not where a client repeats itself, so that its head is not parsed again."""
    held = Held()
    client = MemoryServer(held, limits=Limits(maxRequests=warm + 3)).connect()
    for number in range(1, warm + 1):
        client.send(WARM)
        held.answer(number)
    client.send(WARM * 6)
    assert sorted(held.requests) == list(range(1, warm + 4))
    for number in range(warm + 1, warm + 4):
        held.answer(number)
    assert statuses(client) == [200] * (warm + 3)
    assert client.closeReason == CloseReason.MAX_REQUESTS


@pytest.mark.ledger("D1-05")
@pytest.mark.parametrize("warm", [0, 1, 2])
def test_past_its_age_a_connection_takes_up_one_more_request(warm: int) -> None:
    held = Held()
    server = MemoryServer(held, limits=Limits(maxAge=10))
    client = server.connect()
    for number in range(1, warm + 1):
        client.send(WARM)
        held.answer(number)
    server.advance(11)
    client.send(WARM * 3)
    assert sorted(held.requests) == list(range(1, warm + 2))
    held.answer(warm + 1)
    assert statuses(client) == [200] * (warm + 1)
    assert client.closeReason == CloseReason.MAX_AGE


@pytest.mark.ledger("D1-05")
def test_an_idle_connection_past_its_age_stays_until_it_is_used() -> None:
    server = MemoryServer(ignore, limits=Limits(maxAge=10), timeouts=Timeouts(idle=60))
    client = server.connect()
    client.send(WARM)
    server.advance(30)
    assert not client.ended
    client.send(WARM)
    assert client.closeReason == CloseReason.MAX_AGE


def computing(server_seconds: float, servers: list[MemoryServer]) -> Callable[[Request], Response]:
    """A handler that computes for so long, while nothing else can happen."""

    def handler(request: Request) -> Response:
        servers[0].clock.rightNow += server_seconds
        return Response(200, b"done\n")

    return handler


@pytest.mark.ledger("K-06", "P-10")
def test_the_idle_time_begins_when_the_response_was_handed_over() -> None:
    servers: list[MemoryServer] = []
    servers.append(MemoryServer(computing(6, servers), timeouts=Timeouts(idle=5)))
    client = servers[0].connect()
    client.send(get("/", "Connection: keep-alive"))
    assert client.responses[0].headers.get("keep-alive") == "timeout=4"
    servers[0].advance(4.9)
    assert not client.ended
    servers[0].advance(0.2)
    assert client.closeReason == CloseReason.IDLE_TIMEOUT


@pytest.mark.parametrize(
    ("part", "timeouts", "reason"),
    [
        (b"GET / HT", Timeouts(header=5), CloseReason.HEADER_TIMEOUT),
        (post(b"12345")[:-2], Timeouts(body=5), CloseReason.BODY_TIMEOUT),
    ],
)
def test_a_deadline_behind_a_handler_that_computes_begins_behind_it(
    part: bytes, timeouts: Timeouts, reason: CloseReason
) -> None:
    servers: list[MemoryServer] = []
    compute = computing(6, servers)

    def handler(request: Request) -> Any:
        if request.method == "POST":
            return request.read()
        return compute(request)

    servers.append(MemoryServer(handler, timeouts=timeouts))
    client = servers[0].connect()
    client.send(WARM + part)
    servers[0].advance(4.9)
    assert not client.ended
    servers[0].advance(0.2)
    assert client.closeReason == reason
    assert statuses(client) == [200, 408]


@pytest.mark.ledger("P-17")
@pytest.mark.parametrize(
    ("data", "timeouts"), [(b"GET / HTTP/1.1\r\n", Timeouts(header=11)), (post(b"12345")[:-2], Timeouts(body=29))]
)
def test_an_answer_that_a_deadline_makes_has_the_date_of_its_own_second(data: bytes, timeouts: Timeouts) -> None:
    server = MemoryServer(lambda request: request.read(), timeouts=timeouts)
    client = server.connect()
    client.send(WARM)
    (before,) = [response.headers.get("date") for response in client.responses]
    client.send(data)
    server.advance(timeouts.header if data[:3] == b"GET" else timeouts.body)
    assert statuses(client)[-1] == 408
    assert before == "Sun, 01 Nov 2026 00:00:00 GMT"
    expected = "Sun, 01 Nov 2026 00:00:11 GMT" if data[:3] == b"GET" else "Sun, 01 Nov 2026 00:00:29 GMT"
    assert client.responses[-1].headers.get("date") == expected


def test_an_answer_after_a_long_computation_has_the_date_of_its_own_second() -> None:
    servers: list[MemoryServer] = []
    servers.append(MemoryServer(computing(6, servers)))
    client = servers[0].connect()
    for _ in range(3):
        client.send(WARM)
    dates = [response.headers.get("date") for response in client.responses]
    assert dates == [f"Sun, 01 Nov 2026 00:00:{second:02} GMT" for second in (6, 12, 18)]


def test_an_observer_that_fails_is_named_with_connection_and_request(logged: Logged) -> None:
    class Broken(Observer):
        def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
            raise ZeroDivisionError

        def __repr__(self) -> str:
            return "<Broken>"

    client = MemoryServer(ignore, observers=[Broken()]).connect()
    client.send(WARM * 2)
    assert statuses(client) == [200, 200]
    assert logged.entries(ZeroDivisionError) == [
        "the observer <Broken> failed on connection 1, request 1",
        "the observer <Broken> failed on connection 1, request 2",
    ]


@pytest.mark.parametrize("verdict", ["no", 413, 0, "", b"", [], object()])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.ledger("X-04")
def test_any_other_verdict_about_a_body_is_an_error_and_invites_nothing(
    verdict: object, later: bool, logged: Logged
) -> None:
    class Odd(KeepAliveProtocol):
        def continueExpected(self, request: Request) -> Any:
            if not later:
                return verdict
            decided: Deferred[object] = Deferred()
            decided.callback(verdict)
            return decided

    client = MemoryServer(lambda request: request.read(), protocol=Odd).connect()
    client.send(get("/", "Expect: 100-continue", "Content-Length: 5", method="POST"))
    assert [response.status for response in client.allResponses] == [500]
    (entry,) = logged.failures(TypeError)
    assert "continueExpected returns True, False, None or a Response" in str(entry.value)


@pytest.mark.parametrize("observers", [[], [Observer()]])
def test_a_request_knows_when_it_was_taken_up(observers: list[Observer]) -> None:
    held = Held()
    server = MemoryServer(held, observers=observers)
    client = server.connect()
    server.advance(3)
    client.send(WARM)
    server.advance(2)
    client.send(WARM)
    assert [request.exchange.started for request in held.requests.values()] == [3, 5]


@pytest.mark.ledger("P-17")
def test_the_time_of_a_head_goes_on_where_it_stopped_when_the_client_was_held_back() -> None:
    """A client that takes its responses in jerks does not get its time anew each time that it is read again."""
    writers: list[ResponseWriter] = []

    def handler(request: Request) -> None:
        writers.append(request.start())

    server = MemoryServer(handler, timeouts=Timeouts(header=10))
    client = server.connect()
    client.send(WARM + b"GET / HT")
    for _ in range(3):
        server.advance(4)
        client.stall()
        writers[0].write(BIG)
        server.settle()
        client.resume()
        server.settle()
    writers[0].finish()
    server.settle()
    assert statuses(client) == [200, 408]
