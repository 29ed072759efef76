"""How connections end: in stages, with nothing lost, told once and for one reason."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from zope.interface import alsoProvides

from ka_twisted import CloseReason, KeepAliveProtocol, Limits, Policy, Request, Response, Timeouts
from ka_twisted.core.deadlines import Deadline
from ka_twisted.net.alarms import AlarmClock, Watch
from ka_twisted.net.closing import SendingWatch
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, GET_10, get, post, upload
from tests.logs import Logged
from tests.net.polling import Served
from tests.server.driving import (
    BIG,
    Held,
    Observer,
    Recorded,
    endless,
    hold_nothing,
    ignore,
    read,
    recorded,
    said,
    silent,
    statuses,
    stream_echo,
)

LAST = get("/", "Connection: close")


# -- in stages ---------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-11")
def test_our_side_is_closed_first_and_the_peer_is_read_on() -> None:
    server = MemoryServer(ignore, timeouts=Timeouts(linger=5))
    client = server.connect()
    client.send(LAST)
    assert client.ended
    assert not client.closed
    client.send(b"x" * 100_000)
    client.send(b"more")
    assert client.protocol.lateBytes == 100_004
    client.halfClose()
    assert client.closed
    assert not client.wasReset
    assert client.protocol.lateBytes == 100_004
    hold_nothing(server)


@pytest.mark.ledger("P-11")
def test_the_peer_is_given_its_time() -> None:
    server = MemoryServer(ignore, timeouts=Timeouts(linger=5, lingerTotal=30))
    client = server.connect()
    client.send(LAST)
    for _ in range(299):
        server.advance(0.1)
        client.send(b"x")
    assert not client.closed
    server.advance(0.2)
    assert client.closed
    hold_nothing(server)


@pytest.mark.ledger("P-11")
@pytest.mark.parametrize("total", [30, 0])
def test_a_peer_that_falls_silent_is_not_waited_for(total: float) -> None:
    server = MemoryServer(ignore, timeouts=Timeouts(linger=5, lingerTotal=total))
    client = server.connect()
    client.send(LAST)
    for _ in range(5):
        server.advance(4.9)
        client.send(b"x")
    server.advance(4.9)
    assert not client.closed
    server.advance(0.2)
    assert client.closed
    hold_nothing(server)


@pytest.mark.ledger("P-11")
def test_a_refused_upload_that_takes_its_time_gets_its_413() -> None:
    server = MemoryServer(read, limits=Limits(maxBodyBytes=1000))
    client = server.connect()
    client.send(get("/", "Content-Length: 50000000", method="POST"))
    for _ in range(14):
        server.advance(2)
        client.send(b"x" * 100_000)
    assert not client.closed
    client.halfClose()
    assert statuses(client) == [413]
    assert client.closed
    assert not client.wasReset


@pytest.mark.ledger("P-11")
def test_a_refused_upload_that_takes_its_time_gets_its_413_from_a_socket() -> None:
    served = Served(read, limits=Limits(maxBodyBytes=1000))
    served.send(get("/", "Content-Length: 50000000", method="POST"))
    for _ in range(14):
        served.reactor.advance(2)
        served.send(b"x" * 4000)  # fails once we have reset the connection
    served.client.shutdown(socket.SHUT_WR)
    while data := served.client.recv(65536):
        served.received += data
    assert [response.status for response in served.responses([b"POST"])] == [413]
    served.reactor.poll()
    assert served.factory.connectionCount == 0
    served.close()


# -- slow readers ------------------------------------------------------------------------------------------------------


def slow_reader(taken: int, seconds: float, rounds: int, **settings: Any) -> MemoryClient:
    """A client that takes so many bytes of a download each so many seconds."""
    server = MemoryServer(lambda request: Response(200, BIG), **settings)
    client = server.connect()
    client.stall()
    client.send(GET)
    for _ in range(rounds):
        server.advance(seconds)
        client.resume(taken)
    return client


@pytest.mark.ledger("P-15")
def test_a_reader_that_takes_a_byte_now_and_then_is_cut() -> None:
    client = slow_reader(1, 29, 3)
    assert client.closeReason == CloseReason.WRITE_TIMEOUT
    assert client.wasReset


@pytest.mark.ledger("P-15")
def test_a_reader_is_given_its_grace() -> None:
    assert slow_reader(1, 1, 29).closeReason is None
    assert slow_reader(1, 1, 37).closeReason == CloseReason.WRITE_TIMEOUT
    assert slow_reader(1, 1, 100, timeouts=Timeouts(sendGrace=120)).closeReason is None
    assert slow_reader(1, 1, 150, timeouts=Timeouts(sendGrace=120)).closeReason == CloseReason.WRITE_TIMEOUT


@pytest.mark.ledger("P-15")
@pytest.mark.parametrize(("taken", "seconds"), [(250, 1), (250 * 28, 28)])
def test_a_slow_but_steady_reader_lives(taken: int, seconds: float) -> None:
    assert slow_reader(taken, seconds, 2000 // int(seconds)).closeReason is None


@pytest.mark.ledger("P-15")
@pytest.mark.parametrize("settings", [{"limits": Limits(minSendRate=0)}, {"timeouts": Timeouts(sendGrace=0)}])
def test_the_floor_under_the_rate_can_be_taken_away(settings: dict[str, Any]) -> None:
    assert slow_reader(1, 29, 100, **settings).closeReason is None


@pytest.mark.ledger("P-15")
def test_a_fast_beginning_buys_no_more_than_a_grace() -> None:
    server = MemoryServer(lambda request: Response(200, BIG))
    client = server.connect()
    client.stall()
    client.send(GET)
    server.advance(10)
    client.resume(900_000)
    for _ in range(5):
        server.advance(10)
        client.resume(1)
    assert client.closeReason == CloseReason.WRITE_TIMEOUT


@pytest.mark.ledger("P-15")
@pytest.mark.parametrize(
    ("taken", "seconds", "lives"), [(500, 1, True), (5000, 10, True), (1, 29, False), (100, 1, False)]
)
def test_readers_over_a_socket(taken: int, seconds: int, lives: bool) -> None:
    served = Served(lambda request: Response(200, BIG))
    served.send(GET)
    for _ in range(300 // seconds):
        for _ in range(seconds):
            served.reactor.advance(1)
            served.reactor.poll()
        with suppress(OSError):
            served.client.recv(taken)
        served.reactor.poll()
    assert (served.protocol.closeReason is None) is lives
    if not lives:
        assert served.protocol.closeReason == CloseReason.WRITE_TIMEOUT
    served.close()


class Taking:
    """An output stream of which so much has been taken."""

    def __init__(self) -> None:
        self.bytes = 0
        self.waiting = 1

    def taken(self) -> int:
        return self.bytes

    def unsent(self) -> int:
        return self.waiting


class Watching(Watch):
    """A connection that is watched while it sends."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.output = Taking()
        output: Any = self.output
        given: Any = SimpleNamespace(
            timeouts=Timeouts(**settings), limits=Limits(minSendRate=100), now=self.clock.seconds
        )
        super().__init__(AlarmClock(self.clock))
        self.sending = SendingWatch(self, output, given)
        self.cut = False

    def expired(self, deadline: Deadline) -> None:
        assert deadline is Deadline.WRITE
        self.cut = not self.sending.look()

    def advance(self, seconds: float, taken: int) -> None:
        self.output.bytes += taken
        self.clock.pump([0.5] * int(2 * seconds))


@pytest.mark.ledger("P-15")
def test_slowness_is_not_forgotten_when_the_transport_has_room_for_a_moment() -> None:
    watching = Watching()
    for _ in range(3):
        watching.sending.begin()
        watching.advance(9, 1)
        watching.sending.rest()
        assert not watching.armed(Deadline.WRITE)
    assert not watching.cut
    watching.sending.begin()
    watching.advance(7, 1)
    assert watching.cut


@pytest.mark.ledger("P-15")
def test_only_the_time_counts_in_which_something_waits_to_be_sent() -> None:
    watching = Watching()
    for _ in range(10):
        watching.sending.begin()
        watching.advance(9, 1)
        watching.sending.rest()
        watching.advance(1000, 0)
        watching.output.bytes += 900  # which it has taken from the kernel meanwhile
    assert not watching.cut


@pytest.mark.ledger("P-15")
def test_the_watch_rests_once_all_is_taken() -> None:
    watching = Watching()
    watching.sending.begin()
    watching.advance(3, 0)
    watching.output.waiting = 0
    watching.advance(10, 1)
    assert not watching.sending.running
    assert not watching.clock.getDelayedCalls()
    watching.sending.rest()
    assert not watching.cut


@pytest.mark.ledger("P-15")
def test_without_a_time_for_silence_the_rate_is_watched_still() -> None:
    watching = Watching(write=0)
    watching.sending.begin()
    watching.advance(1000, 0)
    assert not watching.cut
    watching.advance(10, 1)
    assert watching.cut


@pytest.mark.parametrize("limit", [1000, 0])
@pytest.mark.ledger("P-11")
def test_a_peer_that_never_stops_is_reset(limit: int) -> None:
    server = MemoryServer(ignore, limits=Limits(lingerBytes=limit))
    client = server.connect()
    client.send(LAST)
    for _ in range(10):
        client.send(b"x" * 100)
    assert not client.closed
    client.send(b"x")
    assert client.wasReset is bool(limit)
    server.advance(10)
    assert client.closed
    assert client.closeReason == CloseReason.CLOSE_REQUESTED


def test_a_peer_is_given_megabytes_by_default() -> None:
    assert Limits().lingerBytes == 64 << 20


@pytest.mark.ledger("P-11", "P-13", "D1-28")
def test_a_peer_that_has_closed_already_is_not_waited_for() -> None:
    server = MemoryServer(ignore)
    client = server.connect()
    client.transport.arrive(GET)
    client.halfClose()
    assert client.closed
    hold_nothing(server)


@pytest.mark.ledger("P-11")
def test_the_close_waits_for_the_last_byte() -> None:
    server = MemoryServer(lambda request: Response(200, BIG))
    client = server.connect()
    client.stall()
    client.send(LAST)
    assert not client.ended
    client.resume(len(BIG) - 100_000)  # the last 64 KiB are the kernel's to send
    assert not client.ended
    client.resume()
    assert client.ended
    assert not client.closed
    assert client.responses[0].body == BIG


@pytest.mark.ledger("P-11", "P-13")
def test_a_peer_that_closes_its_side_before_it_has_everything_gets_the_rest() -> None:
    server = MemoryServer(lambda request: Response(200, BIG))
    client = server.connect()
    client.stall()
    client.send(LAST)
    client.halfClose()
    assert not client.closed
    client.resume()
    assert client.responses[0].body == BIG
    assert client.closed
    assert client.closeReason == CloseReason.CLOSE_REQUESTED


@pytest.mark.ledger("P-11", "L-32", "D2-16")
def test_a_413_to_a_client_that_is_still_sending_arrives_whole() -> None:
    server = MemoryServer(read, limits=Limits(maxBodyBytes=1000))
    client = server.connect()
    client.send(get("/", "Content-Length: 50000000", method="POST"))
    for _ in range(500):
        client.send(b"x" * 100_000)
    assert statuses(client) == [413]
    assert client.responses[0].complete
    assert not client.wasReset
    assert client.protocol.lateBytes == 50_000_000
    client.halfClose()
    assert client.closed
    assert client.closeReason == CloseReason.BODY_TOO_LARGE


@pytest.mark.ledger("P-11", "P-16")
def test_a_client_that_was_held_back_is_read_again_when_it_is_to_go() -> None:
    held = Held()
    server = MemoryServer(held, limits=Limits(readAhead=1000, unread=0))
    client = server.connect()
    client.send(get("/", "Content-Length: 1000000", method="POST"))
    client.send(b"x" * 2000)
    assert client.paused
    held.answer(1)
    assert not client.paused
    assert said(client) == "close"
    client.send(b"x" * 2000)
    client.halfClose()
    assert client.closed


@pytest.mark.ledger("N-08", "P-06", "D1-07")
def test_what_comes_behind_the_last_request_is_not_parsed() -> None:
    calls: list[str] = []
    client = MemoryServer(lambda request: calls.append(request.path) or b"ok").connect()
    client.send(LAST + get("/never"))
    client.send(get("/never"))
    assert calls == ["/"]
    assert len(client.responses) == 1


def secure(server: MemoryServer) -> MemoryClient:
    """A client whose transport says that it is TLS."""
    client = server.connect()
    alsoProvides(client.transport, ISSLTransport)
    return client


@pytest.mark.ledger("P-11")
def test_on_tls_the_closure_alert_takes_the_place_of_the_half_close() -> None:
    server = MemoryServer(ignore)
    client = secure(server)
    assert client.protocol.secure
    asked: list[str] = []
    client.transport.loseWriteConnection = lambda: asked.append("half")  # type: ignore[method-assign]
    client.transport.loseConnection = lambda: asked.append("whole")  # type: ignore[method-assign]
    client.send(LAST)
    assert asked == ["whole"]
    server.advance(5)
    assert client.wasReset


# -- what the client has decided by then -------------------------------------------------------------------------------


@pytest.mark.ledger("P-13", "D1-28")
@pytest.mark.parametrize("count", [1, 5])
def test_requests_that_are_complete_when_the_client_half_closes_are_all_served(count: int) -> None:
    held = Held()
    observer = Observer()
    server = MemoryServer(held, observers=[observer])
    client = server.connect()
    client.send(GET * count)
    client.halfClose()
    for number in range(count, 0, -1):
        held.answer(number)
    server.settle()
    assert statuses(client) == [200] * count
    assert said(client) == "close"
    assert all("connection" not in response.headers for response in client.responses[:-1])
    assert client.closed
    assert observer.reasons == [CloseReason.PEER_HALF_CLOSED]


@pytest.mark.ledger("P-13", "D1-28")
def test_also_those_that_were_not_taken_up_yet() -> None:
    held = Held()
    server = MemoryServer(held, limits=Limits(pipelineDepth=2))
    client = server.connect()
    client.send(GET * 3 + post(b"hello") + GET)
    client.halfClose()
    for number in range(1, 6):
        held.answer(number)
    server.settle()
    assert statuses(client) == [200] * 5
    assert [response.headers.get("connection") for response in client.responses] == [None] * 4 + ["close"]
    assert client.closed


@pytest.mark.ledger("P-13", "L-31")
def test_a_half_close_inside_a_head_is_answered_400() -> None:
    client = MemoryServer(ignore).connect()
    client.send(GET + GET[:10])
    client.halfClose()
    assert statuses(client) == [200, 400]
    assert client.closed
    assert client.closeReason == CloseReason.PEER_CLOSED_MID_REQUEST


@pytest.mark.ledger("P-13")
def test_a_half_close_of_a_response_under_way_closes_after_it_unannounced() -> None:
    more: Deferred[bytes] = Deferred()

    async def body() -> Any:
        yield b"a"
        yield await more

    server = MemoryServer(lambda request: Response.stream(body()))
    client = server.connect()
    client.send(GET)
    client.halfClose()
    more.callback(b"b")
    server.settle()
    assert client.responses[0].body == b"ab"
    assert said(client) is None
    assert client.closed
    assert client.closeReason == CloseReason.PEER_HALF_CLOSED


# -- P-04: the close is announced, or there was no time to ------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        (LAST, {}),
        (GET_10, {}),
        (b"broken\r\n\r\n", {}),
        (GET, {"limits": Limits(maxRequests=1)}),
        (GET, {"policy": Policy(persistent=False)}),
        (get("/", "Content-Length: 1000000", method="POST"), {}),
        (upload(b""), {}),
        (get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"), {}),
        (get("/", "Content-Length: 5", "Expect: miracles", method="PUT"), {}),
    ],
)
@pytest.mark.ledger("P-04")
def test_whoever_is_to_go_is_told(data: bytes, settings: Any) -> None:
    client = MemoryServer(ignore, **settings).connect()
    client.send(data)
    assert said(client) == "close"
    assert client.ended
    assert client.responses[-1].complete


# -- every way to end, told once ---------------------------------------------------------------------------------------


class _Closing(Recorded):
    def persistenceDecided(self, request: Request, decision: Any) -> Any:
        return decision.close("by the test") if request.path == "/hook" else decision


@dataclass(frozen=True)
class Way:
    """
    How a connection can come to its end.

    :ivar act: what the client does, and time; it gets the server, a client, and what has to be kept.
    :ivar by: who ended it.
    """

    reason: str
    act: Callable[[MemoryServer, MemoryClient], object]
    handler: Any = ignore
    by: str = "us"
    settings: dict[str, Any] = field(default_factory=dict)
    failures: int = 0


def send(data: bytes, then: str = "", seconds: float = 0) -> Callable[[MemoryServer, MemoryClient], None]:
    def act(server: MemoryServer, client: MemoryClient) -> None:
        client.send(data)
        if then:
            getattr(client, then)()
        server.advance(seconds)

    return act


def stalled(data: bytes, then: str = "", seconds: float = 0) -> Callable[[MemoryServer, MemoryClient], None]:
    def act(server: MemoryServer, client: MemoryClient) -> None:
        client.stall()
        send(data, then, seconds)(server, client)

    return act


def fails(request: Request) -> Response:
    def body() -> Any:
        yield b"part"
        raise ZeroDivisionError

    return Response.stream(body())


def big(request: Request) -> Response:
    return Response(200, BIG)


def crowd(server: MemoryServer, client: MemoryClient) -> None:
    another = server.connect()
    client.disconnect()
    another.send(GET)


def drained(server: MemoryServer, client: MemoryClient) -> None:
    client.send(GET)
    server.factory.drain(5)
    server.advance(5)


def aged(server: MemoryServer, client: MemoryClient) -> None:
    server.advance(10)
    client.send(GET)


def switched(server: MemoryServer, client: MemoryClient) -> None:
    client.send(get("/", "Upgrade: x", "Connection: upgrade"))
    client.disconnect()


HEAD = get("/", "Content-Length: 100", method="POST")
WAYS = {
    "idle": Way("IDLE_TIMEOUT", send(GET, seconds=75)),
    "idle, then gone": Way("IDLE_TIMEOUT", lambda s, c: (c.send(GET), s.advance(75), c.reset())),
    "never a request": Way("FIRST_REQUEST_TIMEOUT", send(b"", seconds=75)),
    "blank lines": Way("FIRST_REQUEST_TIMEOUT", send(b"\r\n\r\n", seconds=75)),
    "half a head": Way("HEADER_TIMEOUT", send(GET[:9], seconds=10)),
    "half a head, not taken": Way("WRITE_TIMEOUT", stalled(GET[:9], seconds=60)),
    "half a body": Way("BODY_TIMEOUT", send(HEAD, seconds=30), read),
    "half a body, echoed": Way("BODY_TIMEOUT", send(HEAD + b"x", seconds=30), stream_echo),
    "a slow body": Way("BODY_TIMEOUT", send(HEAD, seconds=30), read, settings={"timeouts": Timeouts(body=0)}),
    "half an unread body": Way("UNREAD_TIMEOUT", send(HEAD, seconds=5)),
    "not taken": Way("WRITE_TIMEOUT", stalled(GET, seconds=40), big),
    "last not taken": Way("WRITE_TIMEOUT", stalled(LAST, seconds=40), big),
    "short last not taken": Way("WRITE_TIMEOUT", stalled(LAST, seconds=60)),
    "gone while idle": Way("PEER_CLOSED_IDLE", send(GET, "disconnect"), by="peer"),
    "gone before a request": Way("PEER_CLOSED_IDLE", send(b"", "disconnect"), by="peer"),
    "half-closed while idle": Way("PEER_CLOSED_IDLE", send(GET, "halfClose"), by="peer"),
    "half-closed before a request": Way("PEER_CLOSED_IDLE", send(b"", "halfClose"), by="peer"),
    "gone in a head": Way("PEER_CLOSED_MID_REQUEST", send(GET[:9], "disconnect"), by="peer"),
    "reset in a head": Way("PEER_CLOSED_MID_REQUEST", send(GET[:9], "reset"), by="peer"),
    "half-closed in a head": Way("PEER_CLOSED_MID_REQUEST", send(GET[:9], "halfClose"), by="peer"),
    "gone in a body": Way("PEER_CLOSED_MID_REQUEST", send(HEAD, "disconnect"), read, by="peer"),
    "reset in an unread body": Way("PEER_CLOSED_MID_REQUEST", send(HEAD, "reset"), by="peer"),
    "half-closed in a body": Way("PEER_CLOSED_MID_REQUEST", send(HEAD, "halfClose"), read, by="peer"),
    "half-closed in an unread body": Way("PEER_CLOSED_MID_REQUEST", send(HEAD, "halfClose"), by="peer"),
    "half-closed in an echo": Way("PEER_CLOSED_MID_REQUEST", send(HEAD + b"x", "halfClose"), stream_echo, by="peer"),
    "gone instead of a body": Way(
        "PEER_CLOSED_MID_REQUEST",
        send(get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"), "halfClose"),
        silent,
        by="peer",
    ),
    "gone before the response": Way("PEER_CLOSED_MID_RESPONSE", send(GET * 3, "reset"), silent, by="peer"),
    "reset in the response": Way(
        "PEER_CLOSED_MID_RESPONSE", stalled(GET, "reset"), lambda r: Response.stream(endless()), by="peer",
    ),
    "reset in an echo": Way("PEER_CLOSED_MID_RESPONSE", stalled(HEAD + b"x", "reset"), stream_echo, by="peer"),
    "half-closed behind a request": Way(
        "PEER_HALF_CLOSED", lambda s, c: (c.transport.arrive(GET), c.halfClose()),
        lambda r: r.connection.clock and _later(r), by="peer"
    ),
    "never answered": Way("HANDLER_TIMEOUT", send(GET, seconds=9), silent, settings={"timeouts": Timeouts(handler=9)}),
    "half-closed, and never answered": Way("HALF_CLOSED_TIMEOUT", send(GET, "halfClose", seconds=30), silent),
    "asked to by the client": Way("CLOSE_REQUESTED", send(LAST), by="peer"),
    "asked to by HTTP/1.0": Way("CLOSE_REQUESTED", send(get("/", "Connection: close", minor=0)), by="peer"),
    "asked to by the application": Way(
        "CLOSE_REQUESTED", send(GET), lambda r: Response(200, b"", {"Connection": "close"}),
    ),
    "asked to by a hook": Way("CLOSE_REQUESTED", send(get("/hook"))),
    "asked to, and reset": Way("CLOSE_REQUESTED", send(LAST, "reset"), by="peer"),
    "asked to, and never stopping": Way(
        "CLOSE_REQUESTED", lambda s, c: (c.send(LAST), c.send(b"x" * 100)), by="peer",
        settings={"limits": Limits(lingerBytes=10)}
    ),
    "not persistent": Way("NOT_PERSISTENT", send(GET), settings={"policy": Policy(persistent=False)}),
    "HTTP/1.0": Way("HTTP10_DEFAULT", send(GET_10)),
    "unframed": Way(
        "RESPONSE_UNFRAMED",
        send(get("/", "Connection: keep-alive", minor=0)),
        lambda r: Response.stream(iter([b"x"])),
    ),
    "a long unread body": Way("BODY_UNREAD", send(get("/", "Content-Length: 1000000", method="POST"))),
    "an unknown unread body": Way("BODY_UNREAD", send(upload(b""))),
    "a body too large": Way("BODY_TOO_LARGE", send(post(b"x" * 11)), settings={"limits": Limits(maxBodyBytes=10)}),
    "a body refused": Way(
        "EXPECTATION_REFUSED", send(get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
    ),
    "garbage": Way("BAD_REQUEST", send(b"\x16\x03\x01\x02\x00\r\n\r\n")),
    "garbage in a body": Way("BAD_REQUEST", send(upload(b"garbage\r\n")), read),
    "one request": Way("MAX_REQUESTS", send(GET), settings={"limits": Limits(maxRequests=1)}),
    "old": Way("MAX_AGE", aged, settings={"limits": Limits(maxAge=10)}),
    "too many": Way("TOO_MANY_CONNECTIONS", crowd, settings={"limits": Limits(maxConnections=1)}),
    "drained while idle": Way("DRAINING", lambda s, c: (c.send(GET), s.factory.drain())),
    "cut off by a drain": Way("DRAINING", drained, silent),
    "a body that fails": Way("APPLICATION_ABORT", send(GET), fails, failures=1),
    "an unframed body that fails": Way("APPLICATION_ABORT", send(GET_10), fails, failures=1),
    "aborted": Way("APPLICATION_ABORT", send(GET), lambda r: r.connection.protocol.abort() or b"never"),
    "aborted twice": Way(
        "APPLICATION_ABORT",
        lambda s, c: (c.protocol.abort(), c.protocol.abort(CloseReason.DRAINING), c.reset()),
    ),
    "switched": Way("SWITCHED", switched, settings={"upgrades": {"x": lambda r: Protocol()}}),
    "lost while idle": Way("TRANSPORT_ERROR", send(GET, "reset"), by="network"),
}  # fmt: skip


def _later(request: Request) -> Deferred[bytes]:
    answer: Deferred[bytes] = Deferred()
    request.connection.clock.callLater(1, answer.callback, b"late")
    return answer


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.ledger("P-14")
def test_every_end_is_told_once_and_for_one_reason(way: Way, logged: Logged) -> None:
    observer = Observer()
    server = MemoryServer(way.handler, protocol=_Closing, observers=[observer], **way.settings)
    client = server.connect()
    way.act(server, client)
    server.advance(10)
    last = max(server.closeReasons)
    reason = server.closeReasons[last]
    assert reason.name == way.reason
    assert reason.by == way.by
    assert reason.state
    assert reason.clause
    assert [told for told in observer.told if told[:2] == ("closed", last)] == [("closed", last, way.reason)]
    if last == client.protocol.id:
        assert client.closeReason == reason
        assert [told.name for told in recorded(client)] == [way.reason]
    opened = sum(told[0] == "opened" for told in observer.told)
    assert len(observer.reasons) == opened
    assert len(logged.failures(ZeroDivisionError)) == way.failures
    finished = [told[1:] for told in observer.told if told[0] == "finished"]
    assert len(finished) == len(set(finished))
    assert len(finished) == sum(client.protocol.requestCount for client in [client]) or last != client.protocol.id
    hold_nothing(server)


def test_every_reason_there_is_can_be_met() -> None:
    assert {way.reason for way in WAYS.values()} == {reason.name for reason in CloseReason.all()}


def test_a_hook_that_raises_is_logged_and_the_connection_is_released(logged: Logged) -> None:
    class Raising(KeepAliveProtocol):
        def connectionClosed(self, reason: CloseReason) -> None:
            raise ZeroDivisionError

    observer = Observer()
    server = MemoryServer(ignore, protocol=Raising, observers=[observer])
    server.connect().disconnect()
    assert len(logged.failures(ZeroDivisionError)) == 1
    assert len(observer.reasons) == 1
    hold_nothing(server)


def test_a_hook_sees_a_connection_that_is_closed_and_may_ask_it() -> None:
    shown: list[Any] = []

    class Asking(KeepAliveProtocol):
        def connectionClosed(self, reason: CloseReason) -> None:
            shown.append((self.id, self.requestCount, self.closeReason, self.age, self.peer.host))  # type: ignore[attr-defined]
            self.abort()
            self.drain()

    server = MemoryServer(ignore, protocol=Asking)
    client = server.connect()
    client.send(GET)
    server.advance(3)
    client.disconnect()
    assert shown == [(1, 1, CloseReason.PEER_CLOSED_IDLE, 3, "127.0.0.1")]
    assert client.closeReason == CloseReason.PEER_CLOSED_IDLE
