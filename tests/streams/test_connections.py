"""How connections end: by the client, by the application, by limits, by a drain, by time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol

from ka_twisted import CloseReason, KeepAliveProtocol, Limits, Persistence, Request, Response, Timeouts
from ka_twisted.core.errors import IncompleteBody
from tests.logs import Logged
from tests.streams.bodies import PIECE, Source
from tests.streams.providers import Server, ServerProvider


class Held:
    """A handler whose answers the test gives."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[Deferred[Any]] = []
        self.cancelled: list[int] = []

    def __call__(self, request: Request) -> Deferred[Any]:
        number = len(self.answers)
        self.requests.append(request)
        self.answers.append(Deferred(lambda _: self.cancelled.append(number)))
        return self.answers[-1]


# By the client.


def test_a_reset_cancels_the_handler(connections: ServerProvider) -> None:
    held = Held()
    service = connections(held)
    client = service.connect()
    client.ask("GET", "/")
    client.reset()
    assert held.cancelled == [0]
    assert service.reasons == ["PEER_CLOSED_MID_RESPONSE"]
    assert service.observer.exchanges[0].status is None


def test_a_reset_cancels_a_coroutine_which_cleans_up(connections: ServerProvider) -> None:
    seen: list[str] = []

    async def handler(request: Request) -> bytes:
        try:
            return await Deferred()
        except (CancelledError, asyncio.CancelledError):  # the latter where asyncio runs the reactor
            seen.append("cancelled")
            raise
        finally:
            seen.append("cleaned up")

    client = connections(handler).connect()
    client.ask("GET", "/")
    client.reset()
    assert seen == ["cancelled", "cleaned up"]


def test_a_reset_ends_the_reading_of_a_body(connections: ServerProvider) -> None:
    errors: list[type[BaseException]] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read()
        except Exception as error:
            errors.append(type(error))
            raise

    service = connections(handler)
    client = service.connect()
    client.ask("POST", "/", body=None, length=100).send(b"part")
    client.reset()
    assert errors == [ConnectionLost]
    assert service.reasons == ["PEER_CLOSED_MID_REQUEST"]


def test_a_client_that_has_finished_sending_gets_its_answer(connections: ServerProvider) -> None:
    held = Held()
    service = connections(held)
    client = service.connect()
    asked = client.ask("GET", "/")
    client.finishSending()
    assert held.cancelled == []
    assert not client.ended
    service.advance(3)
    held.answers[0].callback(b"late")
    service.settle()
    assert asked.body == b"late"
    assert client.ended
    assert service.reasons == ["PEER_HALF_CLOSED"]


def test_a_handler_that_takes_too_long_is_cancelled_and_answered_503(connections: ServerProvider) -> None:
    held = Held()
    service = connections(held, timeouts=Timeouts(handler=7))
    client = service.connect()
    asked = client.ask("GET", "/")
    service.advance(6.9)
    assert held.cancelled == []
    assert asked.status is None
    service.advance(0.2)
    assert held.cancelled == [0]
    assert asked.status == 503
    assert client.ended
    client.leave()
    service.settle()
    assert service.reasons == ["HANDLER_TIMEOUT"]
    assert service.observer.exchanges[0].status == 503


def test_the_body_of_a_request_comes_within_the_time_of_its_handler(connections: ServerProvider) -> None:
    async def handler(request: Request) -> bytes:
        return await request.read()

    service = connections(handler, timeouts=Timeouts(handler=7))
    client = service.connect()
    asked = client.ask("POST", "/", body=None, length=1000)
    for _ in range(7):
        asked.send(b"x")
        service.advance(0.9)
    assert asked.status is None
    service.advance(0.9)
    assert asked.status == 503
    service.settle()
    assert service.observer.exchanges[0].status == 503


def test_a_response_that_has_begun_in_time_goes_on(connections: ServerProvider) -> None:
    def handler(request: Request) -> None:
        begun.append(request.start(200, length=4))

    begun: list[Any] = []
    service = connections(handler, timeouts=Timeouts(handler=7))
    asked = service.ask("GET", "/")
    service.advance(20)
    begun[0].write(b"late")
    begun[0].finish()
    service.settle()
    assert asked.body == b"late"


def test_a_client_that_has_finished_sending_is_not_kept_for_ever(connections: ServerProvider) -> None:
    """It may be gone: a long poll that was given up looks the same."""
    held = Held()
    service = connections(held, timeouts=Timeouts(halfClosed=7))
    client = service.connect()
    asked = client.ask("GET", "/")
    client.finishSending()
    service.advance(6.9)
    assert held.cancelled == []
    assert not client.ended
    service.advance(0.2)
    assert held.cancelled == [0]
    assert client.ended
    assert asked.status is None
    assert service.reasons == ["HALF_CLOSED_TIMEOUT"]


def test_a_response_that_has_begun_is_not_cut_for_it(connections: ServerProvider) -> None:
    def handler(request: Request) -> None:
        begun.append(request.start(200, length=4))

    begun: list[Any] = []
    service = connections(handler, timeouts=Timeouts(halfClosed=7))
    client = service.connect()
    asked = client.ask("GET", "/")
    client.finishSending()
    service.advance(20)
    assert not client.ended
    begun[0].write(b"late")
    begun[0].finish()
    service.settle()
    assert asked.body == b"late"
    assert service.reasons == ["PEER_HALF_CLOSED"]


def test_a_client_that_leaves_is_noticed_when_it_is_written_to(connections: ServerProvider) -> None:
    held = Held()
    source = Source(1000)
    service = connections(held)
    client = service.connect()
    client.ask("GET", "/")
    client.leave()
    assert held.cancelled == []
    held.answers[0].callback(Response.stream(source.iterator()))
    service.settle()
    assert service.observer.open == 0
    assert source.closed == 1
    assert source.made < 900


def test_a_client_that_leaves_inside_a_body_is_noticed_at_once(connections: ServerProvider) -> None:
    errors: list[type[BaseException]] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read()
        except Exception as error:
            errors.append(type(error))
            raise

    service = connections(handler)
    client = service.connect()
    client.ask("POST", "/", body=None, length=100).send(b"part")
    client.leave()
    assert errors == [IncompleteBody]
    service.advance(60)
    assert service.observer.open == 0


@pytest.mark.parametrize("way", ["finishSending", "leave", "reset"])
def test_an_idle_client_goes(connections: ServerProvider, way: str) -> None:
    service = connections(lambda request: b"ok")
    client = service.connect()
    assert client.ask("GET", "/").body == b"ok"
    getattr(client, way)()
    service.settle()
    assert service.observer.open == 0
    assert service.reasons == ["TRANSPORT_ERROR" if way == "reset" else "PEER_CLOSED_IDLE"]


def test_late_results_are_ignored(connections: ServerProvider) -> None:
    answers: list[Deferred[Any]] = []

    def handler(request: Request) -> Deferred[Any]:
        answers.append(Deferred(lambda _: None))
        answers[-1].cancel = lambda: None  # type: ignore[method-assign]
        return answers[-1]

    service = connections(handler)
    client = service.connect()
    client.ask("GET", "/")
    client.reset()
    source = Source(3)
    answers[0].callback(Response.stream(source.file()))
    service.settle()
    assert source.made == 0
    assert source.closed == 1


# By the application.


def test_the_application_aborts_the_connection(connections: ServerProvider) -> None:
    held = Held()
    service = connections(held)
    client = service.connect()
    asked = client.ask("GET", "/")
    protocol: Any = held.requests[0].connection.protocol
    protocol.abort()
    service.settle()
    assert held.cancelled == [0]
    assert asked.answer is None
    assert client.ended
    assert service.reasons == ["APPLICATION_ABORT"]


def test_a_response_may_close(connections: ServerProvider) -> None:
    service = connections(lambda request: Response(200, b"bye", {"Connection": "close"}))
    client = service.connect()
    assert client.ask("GET", "/").body == b"bye"
    assert client.ended
    client.leave()
    assert service.reasons == ["CLOSE_REQUESTED"]


def test_the_protocol_may_decide_to_close(connections: ServerProvider) -> None:
    class Once(KeepAliveProtocol):
        def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
            return decision.close("enough") if request.path == "/last" else decision

    service = connections(lambda request: b"ok", protocol=Once)
    client = service.connect()
    assert client.ask("GET", "/").body == b"ok"
    assert not client.ended
    assert client.ask("GET", "/last").body == b"ok"
    assert client.ended


def test_what_the_server_answers_by_itself_is_not_reviewed(connections: ServerProvider) -> None:
    reviewed: list[str] = []

    class Reviewing(KeepAliveProtocol):
        def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
            reviewed.append(request.path)
            return decision

    client = connections(lambda request: b"ok", protocol=Reviewing).connect()
    assert client.ask("GET", "/first").body == b"ok"
    assert client.ask("GET", "/refused", [("Expect", "a-teapot")]).status == 417
    assert reviewed == ["/first"]


def test_the_protocol_is_told_of_the_end(connections: ServerProvider) -> None:
    told: list[CloseReason] = []

    class Telling(KeepAliveProtocol):
        def connectionClosed(self, reason: CloseReason) -> None:
            told.append(reason)

    client = connections(lambda request: b"ok", protocol=Telling).connect()
    client.ask("GET", "/")
    assert told == []
    client.leave()
    assert [reason.name for reason in told] == ["PEER_CLOSED_IDLE"]


# By limits.


def test_requests_of_a_connection_are_limited(connections: ServerProvider) -> None:
    service = connections(lambda request: str(request.number), limits=Limits(maxRequests=3))
    client = service.connect()
    assert [client.ask("GET", "/").body for _ in range(3)] == [b"1", b"2", b"3"]
    assert client.ended
    client.leave()
    assert service.reasons == ["MAX_REQUESTS"]


def test_a_connection_too_many_is_told_so(connections: ServerProvider) -> None:
    service = connections(lambda request: b"ok", limits=Limits(maxConnections=1))
    first, second = service.connect(), service.connect()
    assert second.ask("GET", "/").status == 503
    assert second.ended
    assert first.ask("GET", "/").body == b"ok"


# By a drain.


def drain(service: Server, seconds: float) -> list[None]:
    done: list[None] = []
    service.factory.drain(seconds).addCallback(done.append)
    service.settle()
    return done


def test_a_drain_closes_what_is_idle(connections: ServerProvider) -> None:
    service = connections(lambda request: b"ok")
    client = service.connect()
    client.ask("GET", "/")
    done = drain(service, 10)
    assert client.ended
    client.leave()
    assert service.reasons == ["DRAINING"]
    assert done == [None]


def test_a_drain_waits_for_what_is_in_service(connections: ServerProvider) -> None:
    held = Held()
    source = Source(3)
    service = connections(held)
    client = service.connect()
    asked = client.ask("GET", "/")
    done = drain(service, 10)
    assert not client.ended
    held.answers[0].callback(Response.stream(source.slow(service)))
    service.advance(3)
    assert asked.body == source.whole
    assert client.ended
    assert done == []
    client.leave()
    assert done == [None]
    assert service.reasons == ["DRAINING"]


def test_a_drain_in_the_middle_of_an_upload(connections: ServerProvider) -> None:
    async def handler(request: Request) -> bytes:
        return await request.read()

    service = connections(handler)
    client = service.connect()
    asked = client.ask("POST", "/", body=None, length=8)
    asked.send(b"half")
    drain(service, 10)
    assert not client.ended
    asked.send(b"more")
    assert asked.body == b"halfmore"
    assert client.ended


def test_a_drain_cuts_at_its_deadline(connections: ServerProvider) -> None:
    held = Held()
    service = connections(held)
    client = service.connect()
    client.ask("GET", "/")
    done = drain(service, 10)
    service.advance(9.9)
    assert held.cancelled == []
    service.advance(0.2)
    assert held.cancelled == [0]
    assert client.ended
    assert done == [None]
    assert service.observer.open == 0


# By time.


def test_an_idle_connection_is_closed(connections: ServerProvider) -> None:
    service = connections(lambda request: b"ok", timeouts=Timeouts(idle=5))
    client = service.connect()
    client.ask("GET", "/")
    service.advance(4)
    assert not client.ended
    client.ask("GET", "/")
    service.advance(4)
    assert not client.ended
    service.advance(1.1)
    assert client.ended
    client.leave()
    assert service.reasons == ["IDLE_TIMEOUT"]


def test_a_slow_handler_is_not_idle(connections: ServerProvider) -> None:
    service: Server = connections(lambda request: service.later(100, b"late"), timeouts=Timeouts(idle=5))
    client = service.connect()
    asked = client.ask("GET", "/")
    service.advance(100)
    assert asked.body == b"late"
    assert not client.ended


def test_a_body_that_does_not_come_is_not_waited_for(connections: ServerProvider, logged: Logged) -> None:
    async def handler(request: Request) -> bytes:
        return await request.read()

    service = connections(handler, timeouts=Timeouts(body=5))
    client = service.connect()
    asked = client.ask("POST", "/", body=None, length=100)
    asked.send(b"part")
    service.advance(4)
    assert asked.answer is None
    service.advance(100)
    assert asked.status == 408
    assert client.ended


def test_a_client_that_does_not_read_is_cut(connections: ServerProvider) -> None:
    source = Source(1000)
    service = connections(lambda request: Response.stream(source.iterator()), timeouts=Timeouts(write=10))
    client = service.connect()
    client.stall()
    client.ask("GET", "/")
    service.advance(9)
    assert service.observer.open == 1
    service.advance(10)
    assert service.observer.open == 0
    assert service.reasons == ["WRITE_TIMEOUT"]
    assert source.closed == 1


# What else is the connection's.


def test_nothing_is_read_ahead_of_the_handler(connections: ServerProvider) -> None:
    """While the handler does not read, no more than a bound is taken from the client."""
    waiting: Deferred[bytes] = Deferred()
    requests: list[Request] = []

    def handler(request: Request) -> Deferred[bytes]:
        requests.append(request)
        return waiting

    service = connections(handler)
    asked = service.ask("POST", "/", body=None, length=500 * len(PIECE))
    for _ in range(100):
        asked.send(PIECE)
    assert requests[0].connection.protocol.bytesReceived < 60 * len(PIECE)
    requests[0].read().addCallback(lambda data: waiting.callback(b"%d" % len(data)))
    for _ in range(400):
        asked.send(PIECE)
    assert asked.body == b"%d" % (500 * len(PIECE))


def test_what_ends_without_its_end_is_no_whole_body(connections: ServerProvider) -> None:
    errors: list[type[BaseException]] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read()
        except Exception as error:
            errors.append(type(error))
            raise

    client = connections(handler).connect()
    asked = client.ask("POST", "/", body=None)
    asked.send(b"part")
    client.finishSending()
    assert errors == [IncompleteBody]
    assert asked.status == 400


def test_a_response_that_breaks_off_ends_its_connection(connections: ServerProvider, logged: Logged) -> None:
    client = connections(lambda request: Response.stream([b"short"], length=10)).connect()
    asked = client.ask("GET", "/")
    assert asked.answer is not None
    assert not asked.answer.complete
    assert client.ended
    logged.messages()


@pytest.mark.parametrize("way", ["leave", "reset"])
def test_a_client_goes_that_does_not_read(connections: ServerProvider, way: str) -> None:
    source = Source(1000)
    service = connections(lambda request: Response.stream(source.iterator()))
    client = service.connect()
    client.stall()
    client.ask("GET", "/")
    getattr(client, way)()
    service.settle()
    assert source.closed == 1
    assert service.reasons == ["PEER_CLOSED_MID_RESPONSE"]
    assert service.observer.open == 0


def test_a_connection_that_was_handed_over_ends_with_its_protocol(connections: ServerProvider) -> None:
    class Quiet(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.loseConnection()

    service = connections(lambda request: b"plain", upgrades={"quiet": lambda request: Quiet()})
    client = service.connect()
    asked = client.ask("GET", "/", switchesTo="quiet")
    assert asked.switched == b""
    asked.send(b"bye")
    assert client.ended
    client.leave()
    assert service.reasons == ["SWITCHED"]
    assert service.observer.open == 0
