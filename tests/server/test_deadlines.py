"""Every timer of a connection: what it waits for, what it does not, and the reason that it gives."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from ka_twisted import CloseReason, KeepAliveProtocol, Limits, Request, Response, Timeouts
from ka_twisted.core.reasons import CloseReason as Reason
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, GET_10, chunked, get, post, upload
from tests.ledger import case
from tests.logs import Logged
from tests.server.driving import (
    BIG,
    Held,
    echo,
    hold_nothing,
    ignore,
    read,
    reading,
    said,
    silent,
    statuses,
    stream_echo,
    uncounted,
)

#: Each timer has a length of its own, so that it shows which one has fired.
TIMEOUTS = Timeouts(
    firstRequest=20, idle=50, header=10, body=30, bodyGrace=40, write=35, expectation=1, unread=5, linger=3, drain=60
)
NONE = Timeouts(
    firstRequest=0, idle=0, header=0, body=0, bodyGrace=0, write=0, expectation=0, unread=0, linger=0, drain=0
)
HEAD = get("/", "Content-Length: 1000", method="POST")
EXPECTING = get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT")


def connect(handler: Any = ignore, timeouts: Timeouts = TIMEOUTS, **settings: Any) -> tuple[MemoryServer, MemoryClient]:
    server = MemoryServer(handler, timeouts=timeouts, **settings)
    return server, server.connect()


def drip(server: MemoryServer, client: MemoryClient, data: bytes, seconds: float) -> float:
    """Send byte by byte until all are sent or the server has enough; gives the time that it took."""
    began = server.clock.seconds()
    for byte in data:
        if client.ended or client.closed or client.closeReason is not None:
            break
        client.send(bytes((byte,)))
        server.advance(seconds)
    return server.clock.seconds() - began


def passes(server: MemoryServer, client: MemoryClient, seconds: float, reason: Reason) -> None:
    """See that a connection ends after so many seconds of nothing, not before, and for this reason."""
    server.advance(seconds - 0.01)
    assert client.closeReason is None
    server.advance(0.02)
    assert client.closeReason == reason


# -- each fires in its state, after its own time, with its own reason --------------------------------------------------


def in_state(name: str) -> tuple[MemoryServer, MemoryClient]:
    """A connection in the state that a timer of this name watches."""
    handlers = {"body": read, "write": lambda request: Response(200, BIG), "expectation": silent}
    server, client = connect(handlers.get(name, ignore))
    if name == "write":
        client.stall()
    client.send(
        {
            "firstRequest": b"",
            "idle": GET,
            "header": b"G",
            "body": HEAD,
            "bodyGrace": HEAD,
            "write": GET,
            "expectation": EXPECTING,
            "unread": HEAD,
            "linger": get("/", "Connection: close"),
        }[name]
    )
    return server, client


@pytest.mark.parametrize(
    ("name", "seconds", "reason"),
    [
        case("P-12", "firstRequest", 20, CloseReason.FIRST_REQUEST_TIMEOUT, note="first"),
        case("P-12", "idle", 50, CloseReason.IDLE_TIMEOUT, note="idle"),
        case("P-17", "header", 10, CloseReason.HEADER_TIMEOUT, note="header"),
        case("P-17", "body", 30, CloseReason.BODY_TIMEOUT, note="body"),
        case("D1-22", "unread", 5, CloseReason.UNREAD_TIMEOUT),
        case("P-15", "write", 35, CloseReason.WRITE_TIMEOUT),
    ],
)
def test_each_timer_closes_with_its_own_reason(name: str, seconds: float, reason: Reason) -> None:
    server, client = in_state(name)
    if name == "write":
        server.advance(seconds - 0.01)
        assert client.closeReason is None
        server.advance(0.2 * seconds + 0.02)
        assert client.closeReason == reason
    else:
        passes(server, client, seconds, reason)
    server.advance(10)
    assert client.closed
    assert client.closeReason == reason
    assert reason.by == "us"
    hold_nothing(server)


@pytest.mark.parametrize("name", ["firstRequest", "idle", "header", "body", "unread", "write", "expectation"])
def test_each_timer_can_be_switched_off(name: str) -> None:
    handlers = {"body": read, "write": lambda request: Response(200, BIG), "expectation": silent}
    server, client = connect(handlers.get(name, ignore), NONE)
    if name == "write":
        client.stall()
    data = {"firstRequest": b"", "idle": GET, "header": b"G", "expectation": EXPECTING, "write": GET}.get(name, HEAD)
    client.send(data)
    server.advance(1_000_000)
    assert client.closeReason is None
    assert not client.ended
    assert 100 not in statuses(client)
    client.disconnect()
    hold_nothing(server)


def test_switching_the_lingering_off_closes_at_once() -> None:
    server, client = connect(timeouts=NONE)
    client.send(get("/", "Connection: close"))
    assert client.closed
    assert statuses(client) == [200]
    hold_nothing(server)


@pytest.mark.parametrize("name", ["firstRequest", "idle", "header", "body", "unread"])
def test_fractions_of_seconds_count(name: str) -> None:
    server, client = connect(read if name == "body" else ignore, Timeouts(**{name: 0.25}))
    client.send({"firstRequest": b"", "idle": GET, "header": b"G"}.get(name, HEAD))
    server.advance(0.24)
    assert client.closeReason is None
    server.advance(0.02)
    assert client.closeReason is not None


# -- before the first request, and between requests --------------------------------------------------------------------


@pytest.mark.ledger("P-12", "P-17")
def test_without_a_byte_the_close_is_silent() -> None:
    for send in (b"", GET):
        server, client = connect()
        client.send(send)
        sent = client.received
        server.advance(60)
        assert client.received == sent
        assert client.closed


def test_the_time_before_the_first_request_is_the_idle_time_unless_set() -> None:
    server, client = connect(timeouts=Timeouts(idle=7))
    passes(server, client, 7, CloseReason.FIRST_REQUEST_TIMEOUT)


@pytest.mark.ledger("P-12")
def test_the_idle_time_is_anew_after_each_request() -> None:
    server, client = connect()
    for _ in range(5):
        client.send(GET)
        server.advance(49)
    assert client.closeReason is None
    passes(server, client, 1, CloseReason.IDLE_TIMEOUT)
    assert len(client.responses) == 5


@pytest.mark.ledger("P-12")
def test_the_idle_time_begins_with_the_end_of_the_response() -> None:
    held = Held()
    server, client = connect(held)
    client.send(GET)
    server.advance(1000)
    held.answer(1)
    passes(server, client, 50, CloseReason.IDLE_TIMEOUT)


@pytest.mark.ledger("P-12")
def test_no_request_in_progress_is_ever_idle() -> None:
    server, client = connect(silent)
    client.send(GET)
    server.advance(10_000)
    assert client.closeReason is None


@pytest.mark.parametrize("first", [b"", GET])
@pytest.mark.ledger("P-12", "H-05")
def test_blank_lines_are_no_request(first: bytes) -> None:
    server, client = connect()
    client.send(first)
    limit = 50 if first else 20
    for _ in range(4):
        server.advance(limit / 5)
        client.send(b"\r\n")
    assert client.closeReason is None
    passes(server, client, limit / 5, CloseReason.IDLE_TIMEOUT if first else CloseReason.FIRST_REQUEST_TIMEOUT)


@pytest.mark.ledger("H-05", "P-17")
def test_blank_lines_start_no_header_timer() -> None:
    server, client = connect()
    client.send(b"\r\n\r")
    server.advance(15)
    assert client.closeReason is None
    client.send(b"\nGET / HTTP/1.1\r\n")
    passes(server, client, 10, CloseReason.HEADER_TIMEOUT)


def arriving_with_the_expiry(server: MemoryServer, client: MemoryClient, data: bytes | None) -> None:
    """The idle time is over, and in the same turn of the reactor, after its clock, the socket is read."""
    server.advance(49)
    server.clock.callLater(1, client.transport.arrive, data)
    server.advance(1)


@pytest.mark.ledger("P-12")
def test_a_request_that_arrives_with_the_expiry_is_served() -> None:
    server, client = connect()
    client.send(GET)
    arriving_with_the_expiry(server, client, GET)
    assert statuses(client) == [200, 200]
    assert client.closeReason is None
    passes(server, client, 50, CloseReason.IDLE_TIMEOUT)


@pytest.mark.ledger("P-12")
def test_the_beginning_of_a_request_that_arrives_with_the_expiry_is_waited_for() -> None:
    server, client = connect()
    client.send(GET)
    arriving_with_the_expiry(server, client, GET[:10])
    assert client.closeReason is None
    server.advance(5)
    client.send(GET[10:])
    assert statuses(client) == [200, 200]


@pytest.mark.parametrize("data", [b"\r\n", b"\r\n\r\n", b"\r"])
@pytest.mark.ledger("P-12", "H-05")
def test_a_blank_line_that_arrives_with_the_expiry_saves_nothing(data: bytes) -> None:
    server, client = connect()
    client.send(GET)
    arriving_with_the_expiry(server, client, data)
    assert client.closeReason == CloseReason.IDLE_TIMEOUT


@pytest.mark.ledger("P-12", "P-13")
def test_a_peer_that_closes_with_the_expiry_was_first() -> None:
    server, client = connect()
    client.send(GET)
    arriving_with_the_expiry(server, client, None)
    assert client.closeReason == CloseReason.PEER_CLOSED_IDLE
    assert client.closed


@pytest.mark.ledger("K-06")
def test_the_connection_lives_longer_than_promised() -> None:
    server, client = connect()
    client.send(get("/", "Connection: keep-alive"))
    assert client.responses[0].headers.get("keep-alive") == "timeout=45"
    server.advance(49.9)
    client.send(GET)
    assert statuses(client) == [200, 200]


@pytest.mark.parametrize(
    ("timeouts", "limits", "expected"),
    [
        (Timeouts(), Limits(), ["timeout=70"] * 3),
        (Timeouts(idle=10), Limits(), ["timeout=8"] * 3),
        (Timeouts(idle=10, idleGrace=1), Limits(maxRequests=5), ["timeout=9, max=4", "timeout=9, max=3"]),
        (Timeouts(idle=0), Limits(maxRequests=5), ["max=4", "max=3"]),
        (Timeouts(idle=0), Limits(), [None, None]),
        (Timeouts(idle=1.5), Limits(), ["timeout=1"]),
    ],
)
@pytest.mark.parametrize("request_", [get("/", "Connection: keep-alive", minor=0), get("/", "Connection: Keep-Alive")])
@pytest.mark.ledger("K-01", "K-05", "K-06", "D1-15", "D1-19")
def test_what_is_promised(timeouts: Timeouts, limits: Limits, expected: list[str | None], request_: bytes) -> None:
    client = MemoryServer(ignore, timeouts=timeouts, limits=limits).connect()
    for promise in expected:
        client.send(request_)
        assert client.responses[-1].headers.get("keep-alive") == promise
        assert said(client) == "keep-alive"


@pytest.mark.parametrize("field", ["Keep-Alive: timeout=1000", "Keep-Alive: timeout=1, max=1"])
@pytest.mark.ledger("K-05", "K-06", "D1-20")
def test_the_clients_own_parameters_change_nothing(field: str) -> None:
    server, client = connect()
    client.send(get("/", field))
    assert "keep-alive" not in client.responses[0].headers
    passes(server, client, 50, CloseReason.IDLE_TIMEOUT)


# -- the head ----------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-17")
def test_dripping_does_not_extend_the_time_for_a_head() -> None:
    server, client = connect()
    took = drip(server, client, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100, 1)
    assert took == pytest.approx(10, abs=1)
    assert statuses(client) == [408]
    assert said(client) == "close"
    assert client.closeReason == CloseReason.HEADER_TIMEOUT


@pytest.mark.ledger("P-17")
def test_the_time_for_a_head_is_anew_for_each_request() -> None:
    server, client = connect()
    for _ in range(4):
        drip(server, client, GET, 9 / len(GET))
    assert statuses(client) == [200] * 4
    assert client.closeReason is None


@pytest.mark.ledger("P-17", "N-02")
def test_it_is_anew_also_where_one_head_ends_and_the_next_begins_in_one_segment() -> None:
    server, client = connect()
    client.send(GET[:5])
    for _ in range(4):
        server.advance(9)
        client.send(GET[5:] + GET[:5])
    assert statuses(client) == [200] * 4
    passes(server, client, 10, CloseReason.HEADER_TIMEOUT)
    assert statuses(client) == [200] * 4 + [408]


@pytest.mark.ledger("P-17", "N-08")
def test_a_late_head_behind_a_request_in_service_is_answered_behind_it() -> None:
    held = Held()
    server, client = connect(held)
    client.send(GET + b"GET /next")
    server.advance(11)
    assert client.received == b""
    held.answer(1)
    assert statuses(client) == [200, 408]
    assert client.closeReason == CloseReason.HEADER_TIMEOUT


@pytest.mark.ledger("P-16", "P-17")
def test_a_head_that_cannot_be_read_yet_is_not_late() -> None:
    """While the responses held back are too many bytes, nothing is read: the head may be complete by now."""
    held = Held()
    server, client = connect(held, limits=Limits(maxHeldBytes=1000))
    client.send(GET * 2 + GET[:5])
    held.answer(2, b"x" * 2000)
    client.send(GET[5:])
    server.advance(100)
    assert client.closeReason is None
    held.answer(1)
    held.answer(3)
    assert statuses(client) == [200] * 3


@pytest.mark.ledger("P-16", "P-17")
def test_a_head_behind_a_response_that_is_stuck_is_not_late() -> None:
    held = Held()
    server, client = connect(held, limits=Limits(minSendRate=0))
    client.send(GET + GET[:5])
    client.stall()
    held.answer(1, BIG)
    client.send(GET[5:])
    for _ in range(10):
        server.advance(20)
        client.resume(1000)
    assert client.closeReason is None
    client.resume()
    held.answer(2)
    assert statuses(client) == [200] * 2


# -- the body ----------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-17", "D2-30")
def test_silence_inside_a_body_is_408() -> None:
    seen: list[str] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read()
        except Exception as error:
            seen.append(str(error))
            raise

    server, client = connect(handler, limits=Limits(minBodyRate=0))
    client.send(HEAD + b"part")
    server.advance(29)
    client.send(b"more")
    passes(server, client, 30, CloseReason.BODY_TIMEOUT)
    assert statuses(client) == [408]
    assert said(client) == "close"
    assert seen == ["more of a request body did not come in time"]


@pytest.mark.ledger("D2-30")
def test_silence_after_the_head_of_the_response_is_told_and_closes() -> None:
    server, client = connect(stream_echo)
    client.send(HEAD + b"part")
    assert statuses(client) == [200]
    passes(server, client, 30, CloseReason.BODY_TIMEOUT)
    assert statuses(client) == [200]
    assert client.ended


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.ledger("P-17")
def test_a_body_slower_than_the_least_rate_is_late(framing: str) -> None:
    server, client = connect(read, limits=Limits(minBodyRate=10))
    body = b"x" * 1000
    client.send(get("/", "Content-Length: 1000", method="POST") if framing == "length" else upload(b""))
    data = body if framing == "length" else chunked(body)
    took = drip(server, client, data, 1)
    assert took == pytest.approx(40 / 0.9, abs=2)
    assert statuses(client) == [408]
    assert client.closeReason == CloseReason.BODY_TIMEOUT


def test_a_body_at_the_least_rate_arrives() -> None:
    server, client = connect(read, limits=Limits(minBodyRate=2))
    drip(server, client, post(b"x" * 1000)[:-1000], 0)
    assert drip(server, client, b"x" * 1000, 0.5) == pytest.approx(500)
    assert statuses(client) == [200]


def test_without_a_grace_no_rate_is_asked_for() -> None:
    server, client = connect(read, Timeouts(bodyGrace=0, body=30), limits=Limits(minBodyRate=1000))
    client.send(HEAD)
    drip(server, client, b"x" * 999, 20)
    assert client.closeReason is None


@pytest.mark.ledger("P-17")
def test_time_in_which_the_application_holds_back_does_not_count() -> None:
    pieces: list[bytes] = []

    async def handler(request: Request) -> bytes:
        async for data in request.body:
            pieces.append(data)
            await deferLater(request.connection.clock, 100, lambda: None)
        return b"done"

    server, client = connect(handler)
    client.send(HEAD + b"a")
    server.advance(99)
    assert client.closeReason is None
    client.send(b"b" * 999)
    server.advance(1000)
    assert statuses(client) == [200]


@pytest.mark.ledger("P-17")
def test_a_body_that_nobody_reads_yet_is_not_late() -> None:
    held = Held()
    server, client = connect(held)
    client.send(HEAD)
    server.advance(10_000)
    assert client.closeReason is None
    body = held.requests[1].read()
    body.addCallback(lambda data: held.answer(1, data))
    client.send(b"x" * 1000)
    assert client.responses[0].body == b"x" * 1000


@pytest.mark.ledger("P-16", "P-17")
def test_bytes_in_hand_behind_a_stuck_response_are_not_late() -> None:
    """A response and its request's body at the same time: while the client does not take, it is not read either."""
    taken: list[bytes] = []

    async def handler(request: Request) -> Response:
        async def swallow() -> None:
            async for data in request.body:
                taken.append(data)

        taken.append(await request.body.readChunk())
        Deferred.fromCoroutine(swallow())
        return slowly(request)

    server, client = connect(handler, limits=Limits(minSendRate=0))
    client.stall()
    client.send(HEAD + b"first")
    client.send(b"x" * 990)
    for _ in range(10):
        server.advance(20)
        client.resume(1000)
    assert client.closeReason is None
    assert sum(map(len, taken)) == 5
    client.send(b"x" * 5)
    while sum(map(len, taken)) < 1000:
        client.resume(65536)
    assert not client.responses[0].complete
    client.resume()
    assert client.responses[0].body == BIG
    assert client.closeReason is None


def test_each_body_has_a_pace_of_its_own() -> None:
    server, client = connect(read)
    for _ in range(5):
        client.send(HEAD)
        server.advance(29)
        client.send(b"x" * 1000)
    assert statuses(client) == [200] * 5


def test_a_pipelined_body_is_awaited_from_its_turn_on() -> None:
    held = Held()
    server, client = connect(lambda request: read(request) if request.number == 2 else held(request))
    client.send(GET + HEAD)
    server.advance(1000)
    held.answer(1)
    passes(server, client, 30, CloseReason.BODY_TIMEOUT)
    assert statuses(client) == [200, 408]


@pytest.mark.ledger("D1-22", "X-12", "P-10")
def test_an_unread_rest_has_a_time_of_its_own_and_a_request_behind_it_is_served() -> None:
    server, client = connect(ignore)
    client.send(HEAD)
    assert statuses(client) == [200]
    server.advance(4.9)
    client.send(b"x" * 1000 + GET)
    assert statuses(client) == [200, 200]
    assert client.closeReason is None


@pytest.mark.ledger("D1-22")
def test_dripping_does_not_extend_the_time_for_an_unread_rest() -> None:
    server, client = connect(ignore)
    client.send(HEAD)
    assert drip(server, client, b"x" * 1000, 1) == pytest.approx(5, abs=1)
    assert client.closeReason == CloseReason.UNREAD_TIMEOUT


async def take_some(request: Request) -> bytes:
    async for _ in request.body:
        break
    return b"enough"


@pytest.mark.ledger("D1-22")
def test_dripping_does_not_extend_it_where_some_of_the_body_was_read_either() -> None:
    server, client = connect(take_some)
    client.send(HEAD)
    server.advance(1)
    client.send(b"x")
    assert statuses(client) == [200]
    assert drip(server, client, b"x" * 900, 1) == pytest.approx(5, abs=1)
    assert client.closeReason == CloseReason.UNREAD_TIMEOUT


@pytest.mark.ledger("P-17")
def test_dripping_a_head_behind_a_body_that_was_read_in_part_does_not_extend_its_time() -> None:
    server, client = connect(take_some)
    client.send(HEAD)
    server.advance(1)
    client.send(b"x" * 1000)
    assert (statuses(client), client.protocol.state) == ([200], "idle")
    assert drip(server, client, b"GET / HTTP/1.1\r\nHost: " + b"a" * 900, 1) == pytest.approx(10, abs=1)
    assert client.closeReason == CloseReason.HEADER_TIMEOUT


@pytest.mark.ledger("P-10", "P-16")
def test_who_was_held_back_behind_an_unread_body_has_the_time_of_anybody_between_two_requests() -> None:
    held = Held()
    server, client = connect(held, limits=Limits(readAhead=20))
    client.send(post(b"x" * 100))
    assert client.paused
    held.answer(1)
    assert (statuses(client), client.paused) == ([200], False)
    passes(server, client, 50, CloseReason.IDLE_TIMEOUT)


# -- expectations ------------------------------------------------------------------------------------------------------


class Undecided(KeepAliveProtocol):
    """Never decides."""

    def continueExpected(self, request: Request) -> Any:
        return Deferred()


@pytest.mark.parametrize("protocol", [KeepAliveProtocol, Undecided])
@pytest.mark.ledger("D3-10", "D3-11", "X-05")
def test_an_undecided_application_is_taken_to_accept(protocol: type[KeepAliveProtocol]) -> None:
    server, client = connect(silent, protocol=protocol)
    client.send(EXPECTING)
    server.advance(0.99)
    assert client.received == b""
    server.advance(0.02)
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    server.advance(100)
    assert statuses(client) == [100]


@pytest.mark.ledger("D3-15", "X-10")
def test_a_body_that_begins_stops_the_timer() -> None:
    server, client = connect(silent)
    client.send(EXPECTING)
    client.send(b"x")
    server.advance(10)
    assert client.received == b""


@pytest.mark.ledger("D3-18", "D3-19", "X-22")
@pytest.mark.parametrize("early", [b"", b"hell"])
def test_the_timer_starts_with_the_turn_of_its_request(early: bytes) -> None:
    held = Held()
    server, client = connect(held)
    client.send(GET + EXPECTING + early)
    server.advance(10)
    assert client.received == b""
    held.answer(1)
    assert statuses(client) == [200]
    server.advance(0.9)
    assert statuses(client) == [200]
    server.advance(0.2)
    assert statuses(client) == ([200] if early else [200, 100])


@pytest.mark.parametrize("result", [Response(403, b"no"), b"fine"])
@pytest.mark.ledger("D3-12", "X-04")
def test_an_answer_stops_the_timer(result: Any) -> None:
    held = Held()
    server, client = connect(held)
    client.send(EXPECTING)
    held.answer(1, result)
    server.advance(2)
    assert 100 not in statuses(client)
    assert client.closeReason == CloseReason.EXPECTATION_REFUSED


@pytest.mark.ledger("D3-23", "P-17")
def test_silence_after_the_100_is_408() -> None:
    server, client = connect(read)
    client.send(EXPECTING)
    assert statuses(client) == [100]
    passes(server, client, 30, CloseReason.BODY_TIMEOUT)
    assert statuses(client) == [100, 408]


@pytest.mark.ledger("D3-25")
@pytest.mark.parametrize("way", ["disconnect", "reset", "halfClose"])
def test_a_client_that_leaves_while_it_waits_gets_nothing(way: str) -> None:
    held = Held()
    server, client = connect(held)
    client.send(EXPECTING)
    getattr(client, way)()
    server.advance(5)
    assert client.received == b""
    assert held.cancelled == [1]
    assert client.closeReason == CloseReason.PEER_CLOSED_MID_REQUEST


# -- sending -----------------------------------------------------------------------------------------------------------


def big(request: Request) -> Response:
    return Response(200, BIG)


def slowly(request: Request) -> Response:
    """A big body in many pieces."""
    return Response.stream(BIG[start : start + 4096] for start in range(0, len(BIG), 4096))


@pytest.mark.parametrize("handler", [big, slowly])
@pytest.mark.ledger("P-15")
def test_a_slow_but_live_download_survives(handler: Any) -> None:
    server, client = connect(handler)
    client.stall()
    client.send(GET)
    while not (client.responses and client.responses[0].complete):
        server.advance(30)
        client.resume(65536)
        assert client.closeReason is None
    assert client.responses[0].body == BIG


@pytest.mark.parametrize("handler", [big, slowly])
@pytest.mark.parametrize("after", [0, 1, 100_000])
@pytest.mark.ledger("P-15")
def test_a_stalled_download_ends_between_once_and_1_2_times_its_time(handler: Any, after: int) -> None:
    server, client = connect(handler)
    client.stall(after)
    client.send(GET)
    server.advance(34.9)
    assert client.closeReason is None
    server.advance(7.2)
    assert client.closeReason == CloseReason.WRITE_TIMEOUT
    assert client.wasReset
    server.settle()
    hold_nothing(server)


def test_progress_starts_the_time_anew() -> None:
    server, client = connect(big, limits=Limits(minSendRate=0))
    client.stall()
    client.send(GET)
    server.advance(34)
    client.resume(1)
    server.advance(34)
    assert client.closeReason is None
    server.advance(15)
    assert client.closeReason == CloseReason.WRITE_TIMEOUT


def test_a_slow_producer_is_not_a_stalled_reader() -> None:
    held: list[Deferred[bytes]] = []

    async def body() -> Any:
        for _ in range(5):
            held.append(Deferred())
            yield await held[-1]

    server, client = connect(lambda request: Response.stream(body()))
    client.send(GET)
    for _ in range(5):
        server.advance(1000)
        held[-1].callback(b"x" * 100_000)
    assert len(client.responses[0].body) == 500_000
    assert client.closeReason is None


@pytest.mark.ledger("P-12", "P-15")
def test_no_finished_response_is_cut_off_because_the_idle_time_is_shorter_than_the_download() -> None:
    timeouts = Timeouts(idle=5, write=30, linger=1)
    server, client = connect(lambda request: Response(200, b"x" * 60_000), timeouts, limits=Limits(minSendRate=0))
    client.stall()
    client.send(GET)
    for _ in range(30):
        server.advance(20)
        client.resume(2000)
    client.resume()
    assert client.closeReason is None
    assert client.responses[0].complete
    passes(server, client, 5, CloseReason.IDLE_TIMEOUT)


@pytest.mark.ledger("P-12", "P-15")
def test_a_finished_response_that_nobody_takes_does_not_hold_the_connection_for_ever() -> None:
    server, client = connect(lambda request: Response(200, b"x" * 60_000), Timeouts(idle=5, write=30))
    client.stall()
    client.send(GET)
    server.advance(34.9)
    assert client.closeReason is None
    server.advance(7)
    assert client.closeReason == CloseReason.WRITE_TIMEOUT


@pytest.mark.parametrize("size", [60_000, len(BIG)])
@pytest.mark.ledger("P-11", "P-15")
def test_no_last_response_is_cut_off_because_the_lingering_is_shorter_than_the_download(size: int) -> None:
    closing = Response(200, BIG[:size], {"Connection": "close"})
    server, client = connect(lambda request: closing, limits=Limits(minSendRate=0))
    client.stall()
    client.send(GET)
    for _ in range(40):
        server.advance(30)
        client.resume(size // 40)
    assert not client.closed
    client.resume()
    assert client.responses[0].complete
    assert client.closeReason == CloseReason.CLOSE_REQUESTED
    assert not client.wasReset


@pytest.mark.parametrize("size", [60_000, len(BIG)])
@pytest.mark.ledger("P-11", "P-15")
def test_a_last_response_that_nobody_takes_ends_with_the_write_time(size: int) -> None:
    server, client = connect(lambda request: Response(200, BIG[:size], {"Connection": "close"}))
    client.stall()
    client.send(GET)
    server.advance(34.9)
    assert not client.closed
    server.advance(10)
    assert client.closed
    assert client.wasReset
    assert client.closeReason == CloseReason.WRITE_TIMEOUT
    hold_nothing(server)


def test_with_the_write_time_off_a_stalled_reader_is_waited_for() -> None:
    server, client = connect(big, Timeouts(write=0, idle=5, linger=1))
    client.stall()
    client.send(get("/", "Connection: close"))
    server.advance(10_000)
    client.resume()
    assert client.responses[0].complete


# -- draining ----------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-18", "D1-29")
def test_the_drain_time_cuts_off_what_is_left() -> None:
    server, client = connect(silent)
    client.send(GET)
    drained: list[Any] = []
    server.factory.drain().addCallback(drained.append)
    server.advance(59.9)
    assert not client.closed
    assert drained == []
    server.advance(0.2)
    assert client.closed
    assert client.closeReason == CloseReason.DRAINING
    assert drained == [None]
    hold_nothing(server)


@pytest.mark.parametrize(("seconds", "cut"), [(5, True), (0, False), (0.5, True)])
@pytest.mark.ledger("P-18")
def test_the_drain_time_can_be_given(seconds: float, cut: bool) -> None:
    server, client = connect(silent)
    client.send(GET)
    server.factory.drain(seconds)
    server.advance(seconds - 0.1 if seconds else 0)
    assert not client.closed
    server.advance(1000 if not cut else 0.2)
    assert client.closed is cut


def test_the_drain_time_can_be_switched_off() -> None:
    server, client = connect(silent, NONE)
    client.send(GET)
    server.factory.drain()
    server.advance(100_000)
    assert not client.closed


# -- several at once ---------------------------------------------------------------------------------------------------


def test_connections_have_times_of_their_own() -> None:
    server = MemoryServer(ignore, timeouts=TIMEOUTS)
    clients = []
    for _ in range(20):
        clients.append(server.connect())
        clients[-1].send(GET)
        server.advance(1)
    ended = []
    for _ in range(60):
        server.advance(1)
        ended.append(sum(client.closeReason is not None for client in clients))
    assert ended[28] == 0
    assert ended[28:49] == list(range(21))
    assert len(server.clock.getDelayedCalls()) <= 1


def test_one_delayed_call_serves_all_connections() -> None:
    server = MemoryServer(ignore, timeouts=TIMEOUTS)
    for _ in range(100):
        client = server.connect()
        client.send(GET[:-2])
        client.send(GET[-2:] + GET)
    assert len(server.clock.getDelayedCalls()) == 1


@pytest.mark.parametrize("request_", [GET, GET_10])
def test_uncounted_bodies_are_finished_before_any_timer(request_: bytes) -> None:
    server, client = connect(lambda request: Response.stream(uncounted(b"a", b"b")))
    client.send(request_)
    server.advance(1000)
    assert client.responses[0].body == b"ab"
    assert client.closed


def test_reading_pieces_keeps_the_time() -> None:
    taken: list[bytes] = []
    server, client = connect(reading(taken), limits=Limits(minBodyRate=0))
    client.send(HEAD)
    for _ in range(10):
        server.advance(29)
        client.send(b"x" * 100)
    assert client.responses[0].body == b"1000\n"


def test_echoing_keeps_the_time() -> None:
    server, client = connect(echo)
    client.send(post(b"hello"))
    passes(server, client, 50, CloseReason.IDLE_TIMEOUT)


# -- a client that has closed its side ---------------------------------------------------------------------------------


def half_closed(sent: bytes, timeouts: Timeouts) -> tuple[MemoryServer, MemoryClient, Held]:
    held = Held()
    server = MemoryServer(held, timeouts=timeouts)
    client = server.connect()
    client.send(sent)
    client.halfClose()
    return server, client, held


@pytest.mark.ledger("P-13")
def test_a_half_closed_client_is_kept_for_its_time_and_no_longer() -> None:
    server, client, held = half_closed(GET, Timeouts())
    server.advance(29.9)
    assert (client.closeReason, held.cancelled) == (None, [])
    server.advance(0.2)
    assert client.closeReason == CloseReason.HALF_CLOSED_TIMEOUT
    assert held.cancelled == [1]
    assert statuses(client) == []
    assert server.factory.connectionCount == 0


@pytest.mark.ledger("P-13")
def test_its_time_begins_anew_with_each_pipelined_response() -> None:
    server, client, held = half_closed(GET * 3, Timeouts(halfClosed=10))
    server.advance(9)
    held.answer(1)
    server.advance(9)
    held.answer(3)  # held back behind the second: nothing is sent
    server.advance(0.9)
    assert client.closeReason is None
    server.advance(0.2)
    assert client.closeReason == CloseReason.HALF_CLOSED_TIMEOUT
    assert statuses(client) == [200]
    assert held.cancelled == [2]


@pytest.mark.ledger("P-13")
def test_without_that_time_it_is_kept_as_long_as_the_handler_takes() -> None:
    server, client, held = half_closed(GET, Timeouts(halfClosed=0))
    server.advance(100_000)
    held.answer(1)
    assert statuses(client) == [200]
    assert client.closeReason == CloseReason.PEER_HALF_CLOSED


@pytest.mark.ledger("P-13")
def test_the_time_does_not_run_while_the_client_sends() -> None:
    held = Held()
    server = MemoryServer(held)
    client = server.connect()
    client.send(GET)
    server.advance(1000)
    client.halfClose()
    server.advance(29)
    held.answer(1)
    assert statuses(client) == [200]


# -- a handler that takes too long -------------------------------------------------------------------------------------

HANDLER = Timeouts(handler=10)


def test_a_late_handler_is_answered_503_behind_those_before_it() -> None:
    held = Held()
    server = MemoryServer(held, timeouts=HANDLER)
    client = server.connect()
    client.send(GET)
    server.advance(4)
    client.send(GET * 2)
    server.advance(5)
    held.answer(1)
    server.advance(4.9)
    assert (client.closeReason, held.cancelled) == (None, [])
    server.advance(0.2)
    assert statuses(client) == [200, 503]
    assert held.cancelled == [2, 3]
    assert client.closeReason == CloseReason.HANDLER_TIMEOUT


def test_its_503_waits_for_a_response_that_streams() -> None:
    held = Held()
    server = MemoryServer(held, timeouts=HANDLER)
    client = server.connect()
    client.send(GET * 2)
    more: Deferred[bytes] = Deferred()

    async def body() -> Any:
        yield b"a"
        yield await more

    held.answer(1, Response.stream(body()))
    server.advance(30)
    assert held.cancelled == [2]
    assert client.closeReason is None
    more.callback(b"b")
    server.settle()
    assert statuses(client) == [200, 503]
    assert client.closeReason == CloseReason.HANDLER_TIMEOUT


def test_a_handler_that_ignores_the_cancel_is_left_alone_and_its_answer_logged(logged: Logged) -> None:
    later: Deferred[bytes] = Deferred()

    async def stubborn(request: Request) -> bytes:
        try:
            return await Deferred()
        except CancelledError:
            return await later

    server = MemoryServer(stubborn, timeouts=HANDLER)
    client = server.connect()
    client.send(GET)
    server.advance(10)
    assert statuses(client) == [503]
    assert logged.rest == []
    later.callback(b"late")
    (said_late,) = logged.messages(LogLevel.warn)
    assert said_late == (
        "the handler answered GET / after its time, and the answer is dropped (connection 1, request 1)"
    )
    assert statuses(client) == [503]
    client.disconnect()
    hold_nothing(server)


def test_requests_in_their_time_are_served_one_after_another() -> None:
    held = Held()
    server = MemoryServer(held, timeouts=HANDLER)
    client = server.connect()
    for number in range(1, 6):
        client.send(GET)
        server.advance(8)
        held.answer(number)
        server.advance(1)
    assert statuses(client) == [200] * 5
    assert client.closeReason is None


def test_a_withheld_body_is_answered_503_too() -> None:
    server = MemoryServer(silent, timeouts=Timeouts(handler=10, expectation=0))
    client = server.connect()
    client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
    server.advance(10)
    assert statuses(client) == [503]
    assert client.closeReason == CloseReason.HANDLER_TIMEOUT


def test_a_protocol_that_never_answers_is_late_too() -> None:
    class Forgetful(KeepAliveProtocol):
        def requestReceived(self, request: Request) -> None:
            pass

    server = MemoryServer(ignore, protocol=Forgetful, timeouts=HANDLER)
    client = server.connect()
    client.send(GET)
    server.advance(10)
    assert statuses(client) == [503]
