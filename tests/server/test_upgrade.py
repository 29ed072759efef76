"""Upgrade: when a connection leaves HTTP, for what, and what its new protocol gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ka_twisted import CloseReason, KeepAliveProtocol, Limits, Request, Response, Switch, Timeouts
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, chunked, get, post
from tests.logs import Logged
from tests.server.driving import Held, Observer, hold_nothing, numbered, read, said, statuses

UPGRADE = ("Upgrade: shout", "Connection: upgrade")
OFFER = get("/", *UPGRADE)


class Shout(Protocol):
    """The protocol that is switched to: shouts back."""

    def __init__(self) -> None:
        self.made = 0
        self.data: list[bytes] = []
        self.lost: list[Failure] = []

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)
        assert self.transport is not None
        self.transport.write(data.upper())

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.lost.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfClosingShout(Shout):
    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


class Shouting:
    """A server that can be switched to shouting."""

    def __init__(self, handler: Any = None, upgrade: Any = None, **settings: Any) -> None:
        self.protocol = Shout()
        self.asked: list[Request] = []
        self.observer = Observer()
        upgrades = settings.pop("upgrades", None)
        if upgrades is None:
            upgrades = {"shout": upgrade or self._upgrade}
        self.server = MemoryServer(handler, upgrades=upgrades, observers=[self.observer], **settings)
        self.client = self.server.connect()

    def _upgrade(self, request: Request) -> Protocol:
        self.asked.append(request)
        return self.protocol


def after_101(client: MemoryClient) -> bytes:
    head, _, rest = client.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return rest


# -- the switch --------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("U-02", "U-03", "U-04", "D1-03", "D4-03")
def test_a_connection_is_switched() -> None:
    shouting = Shouting()
    client = shouting.client
    client.send(OFFER)
    (response,) = client.allResponses
    assert response.status == 101
    assert response.headers.get("upgrade") == "shout"
    assert response.headers.get("connection") == "upgrade"
    assert "content-length" not in response.headers
    assert shouting.protocol.made == 1
    client.send(b"hello")
    client.send(GET)
    assert after_101(client) == b"HELLO" + GET.upper()
    assert [exchange.status for exchange in shouting.observer.exchanges] == [101]
    assert shouting.asked[0].persistence.reason.name == "SWITCHED"


@pytest.mark.ledger("U-04", "U-06")
def test_bytes_behind_the_request_are_the_new_protocols() -> None:
    shouting = Shouting()
    shouting.client.send(OFFER + b"first")
    shouting.client.send(b"second")
    assert shouting.protocol.data == [b"first", b"second"]
    assert after_101(shouting.client) == b"FIRSTSECOND"


@pytest.mark.ledger("U-02")
@pytest.mark.parametrize(
    ("offered", "registered", "chosen"),
    [
        ("shout", ["shout"], "shout"),
        ("SHOUT", ["shout"], "SHOUT"),
        ("shout", ["Shout"], "shout"),
        ("unknown, shout", ["shout"], "shout"),
        ("b, a", ["a", "b"], "b"),
        ("a, b", ["a", "b"], "a"),
        ("shout/2", ["shout"], None),
        ("shout/2", ["shout/2"], "shout/2"),
        ("unknown", ["shout"], None),
    ],
)
def test_the_first_offer_that_is_known_is_taken(offered: str, registered: list[str], chosen: str | None) -> None:
    shouting = Shouting(numbered, upgrades={name: lambda request: Shout() for name in registered})
    shouting.client.send(get("/", f"Upgrade: {offered}", "Connection: upgrade"))
    (response,) = shouting.client.allResponses
    assert response.status == (101 if chosen else 200)
    assert response.headers.get("upgrade") == chosen


def test_further_fields_of_the_101() -> None:
    shouting = Shouting(upgrade=lambda request: Switch(Shout(), {"Sec-Shout": "loud", "Set-Cookie": "a=b"}))
    shouting.client.send(OFFER)
    (response,) = shouting.client.allResponses
    assert response.headers.get("sec-shout") == "loud"
    assert response.headers.get("set-cookie") == "a=b"


@pytest.mark.parametrize("kind", ["value", "Deferred", "fired Deferred", "coroutine"])
def test_the_new_protocol_may_take_its_time(kind: str) -> None:
    answer: Deferred[Any] = Deferred()
    protocol = Shout()

    async def coroutine(request: Request) -> Any:
        return await answer

    upgrades: dict[str, Callable[[Request], Any]] = {
        "value": lambda request: protocol,
        "Deferred": lambda request: answer,
        "fired Deferred": lambda request: succeed(protocol),
        "coroutine": coroutine,
    }
    shouting = Shouting(upgrade=upgrades[kind])
    shouting.client.send(OFFER + b"early")
    if kind in ("Deferred", "coroutine"):
        assert shouting.client.received == b""
        shouting.client.send(b",more")
        answer.callback(protocol)
        shouting.server.settle()
    else:
        shouting.client.send(b",more")
    assert b"".join(protocol.data) == b"early,more"
    assert after_101(shouting.client) == b"EARLY,MORE"


@pytest.mark.ledger("U-04", "N-02")
def test_earlier_responses_are_written_before_the_101() -> None:
    held = Held()
    shouting = Shouting(held)
    shouting.client.send(GET * 2 + OFFER + b"shouted")
    assert shouting.asked == []
    held.answer(2)
    assert shouting.asked == []
    held.answer(1)
    assert statuses(shouting.client) == [200, 200, 101]
    assert shouting.protocol.data == [b"shouted"]


@pytest.mark.ledger("U-04", "P-12")
def test_the_timers_of_http_end() -> None:
    shouting = Shouting(timeouts=Timeouts(idle=1, header=1, body=1, write=1))
    shouting.client.stall()
    shouting.client.send(OFFER + b"x" * 100_000)
    shouting.server.advance(1000)
    shouting.client.send(b"half a ")
    shouting.server.advance(1000)
    assert not shouting.client.closed
    assert not shouting.server.clock.getDelayedCalls()


# -- or not ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "upgrades"),
    [
        (OFFER, {}),
        (get("/", "Upgrade: shout"), None),
        (get("/", "Connection: upgrade"), None),
        (get("/", "Upgrade: shout", "Connection: close, upgrade-insecure"), None),
        (get("/", "Upgrade: h2c", "Connection: upgrade, http2-settings", "HTTP2-Settings: AAMAAABkAAQAAP__"), None),
        (get("/", "Upgrade: h2c", "Connection: upgrade"), {"h2c": lambda request: Shout()}),
    ],
    ids=["no handler", "no token", "no field", "another token", "h2c", "h2c with a handler"],
)
@pytest.mark.ledger("U-01", "U-03", "U-07", "D1-21")
def test_an_offer_may_be_ignored(request_: bytes, upgrades: Any) -> None:
    shouting = Shouting(numbered, upgrades=upgrades)
    shouting.client.send(request_)
    assert statuses(shouting.client) == [200]
    assert "upgrade" not in shouting.client.responses[0].headers
    assert shouting.asked == []


@pytest.mark.ledger("U-05")
def test_an_offer_of_http10_is_ignored() -> None:
    shouting = Shouting(numbered)
    shouting.client.send(get("/", "Upgrade: shout", "Connection: upgrade, keep-alive", minor=0))
    assert statuses(shouting.client) == [200]
    assert shouting.asked == []
    assert said(shouting.client) == "keep-alive"


@pytest.mark.parametrize("kind", ["value", "Deferred", "late Deferred", "coroutine"])
@pytest.mark.parametrize("handler", ["at once", "later"])
@pytest.mark.ledger("U-01", "U-06")
def test_the_handler_of_an_upgrade_may_decline(kind: str, handler: str) -> None:
    answer: Deferred[Any] = Deferred()

    async def coroutine(request: Request) -> None:
        return None

    upgrades: dict[str, Callable[[Request], Any]] = {
        "value": lambda request: None,
        "Deferred": lambda request: succeed(None),
        "late Deferred": lambda request: answer,
        "coroutine": coroutine,
    }
    held = Held()
    shouting = Shouting(numbered if handler == "at once" else held, upgrades[kind])
    shouting.client.send(OFFER + GET)
    if kind == "late Deferred":
        assert shouting.client.received == b""
        answer.callback(None)
    if handler == "later":
        held.answer(1)
        held.answer(2)
    assert statuses(shouting.client) == [200, 200]


def test_an_upgrade_that_fails_is_500(logged: Logged) -> None:
    for upgrade in (lambda request: 1 / 0, lambda request: succeed(None).addCallback(lambda _: 1 / 0)):
        shouting = Shouting(upgrade=upgrade)
        shouting.client.send(OFFER + GET)
        assert statuses(shouting.client) == [500, 200]
        assert len(logged.failures(ZeroDivisionError)) == 1


def test_an_upgrade_may_be_refused_with_a_response() -> None:
    shouting = Shouting(upgrade=lambda request: Response(403, b"not you"))
    shouting.client.send(OFFER + GET)
    assert statuses(shouting.client) == [403, 200]
    assert not shouting.client.ended


@pytest.mark.parametrize("result", [b"bytes", 7])
def test_an_upgrade_gives_a_protocol(result: Any, logged: Logged) -> None:
    shouting = Shouting(upgrade=lambda request: result)
    shouting.client.send(OFFER + GET)
    assert statuses(shouting.client) == [500, 200]
    assert len(logged.failures(TypeError)) == 1


@pytest.mark.ledger("U-07")
def test_426_names_the_protocols_and_keeps() -> None:
    client = MemoryServer(lambda request: Response(426, b"upgrade", {"Upgrade": "shout, whisper"})).connect()
    client.send(GET * 2)
    for response in client.responses:
        assert response.headers.get("upgrade") == "shout, whisper"
        assert response.headers.get("connection") == "upgrade"
    assert len(client.responses) == 2
    assert not client.ended


# -- with a body, and with an expectation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        post(b"hello", *UPGRADE),
        get("/", *UPGRADE, "Transfer-Encoding: chunked", body=chunked(b"he", b"llo")),
    ],
    ids=["counted", "chunked"],
)
@pytest.mark.parametrize("pieces", [None, 7])
@pytest.mark.ledger("U-06")
def test_the_body_is_read_before_the_switch_and_is_there_for_the_handler(request_: bytes, pieces: int | None) -> None:
    bodies: list[bytes] = []

    async def upgrade(request: Request) -> Shout:
        bodies.append(await request.read())
        return shouting.protocol

    shouting = Shouting(upgrade=upgrade)
    shouting.client.send(request_ + b"behind", pieces=pieces)
    assert bodies == [b"hello"]
    assert after_101(shouting.client) == b"BEHIND"


@pytest.mark.parametrize("framing", ["counted", "chunked"])
@pytest.mark.ledger("U-06")
def test_with_a_larger_body_the_offer_is_ignored_and_the_body_is_whole(framing: str) -> None:
    body = b"0123456789" * 20
    shouting = Shouting(read, limits=Limits(unread=100))
    if framing == "counted":
        shouting.client.send(post(body, *UPGRADE) + GET)
    else:
        request = get("/", *UPGRADE, "Transfer-Encoding: chunked", body=chunked(body[:50], body[50:120], body[120:]))
        shouting.client.send(request + GET, pieces=30)
    assert shouting.asked == []
    assert statuses(shouting.client) == [200, 200]
    assert shouting.client.responses[0].body == body


@pytest.mark.ledger("U-06", "D3-13")
def test_of_both_the_100_comes_first() -> None:
    shouting = Shouting()
    shouting.client.send(get("/", *UPGRADE, "Content-Length: 5", "Expect: 100-continue", method="POST"))
    assert statuses(shouting.client) == [100]
    assert shouting.asked == []
    shouting.client.send(b"hello" + b"behind")
    assert statuses(shouting.client) == [100, 101]
    assert shouting.protocol.data == [b"behind"]


@pytest.mark.ledger("U-06", "D3-13")
def test_there_is_one_100_also_when_the_application_says_yes() -> None:
    class Yes(KeepAliveProtocol):
        def continueExpected(self, request: Request) -> bool:
            return True

    shouting = Shouting(protocol=Yes)
    shouting.client.send(get("/", *UPGRADE, "Content-Length: 5", "Expect: 100-continue", method="POST"))
    shouting.client.send(b"hello")
    assert statuses(shouting.client) == [100, 101]


def test_a_body_that_breaks_off_before_the_switch() -> None:
    shouting = Shouting()
    shouting.client.send(get("/", *UPGRADE, "Content-Length: 5", method="POST", body=b"he"))
    shouting.client.reset()
    assert shouting.asked == []
    assert shouting.protocol.made == 0
    assert shouting.client.closeReason == CloseReason.PEER_CLOSED_MID_REQUEST


# -- what the new protocol sees of the transport -----------------------------------------------------------------------


def test_the_end_is_told_once_and_counted() -> None:
    shouting = Shouting()
    shouting.client.send(OFFER)
    shouting.client.reset()
    assert len(shouting.protocol.lost) == 1
    assert shouting.observer.reasons == [CloseReason.SWITCHED]
    hold_nothing(shouting.server)


def test_a_protocol_that_knows_half_closes_is_told_of_them() -> None:
    protocol = HalfClosingShout()
    shouting = Shouting(upgrade=lambda request: protocol)
    shouting.client.send(OFFER)
    shouting.client.halfClose()
    assert protocol.ends == ["read"]
    assert not shouting.client.closed
    assert protocol.transport is not None
    protocol.transport.write(b"still here")
    protocol.transport.loseWriteConnection()  # type: ignore[attr-defined]
    shouting.server.settle()
    assert protocol.ends == ["read", "write"]
    assert after_101(shouting.client) == b"still here"


def test_for_any_other_a_half_close_is_the_end() -> None:
    shouting = Shouting()
    shouting.client.send(OFFER)
    shouting.client.halfClose()
    assert shouting.client.closed
    assert len(shouting.protocol.lost) == 1


def test_the_new_protocol_may_close() -> None:
    shouting = Shouting()
    shouting.client.send(OFFER)
    assert shouting.protocol.transport is not None
    shouting.protocol.transport.write(b"bye")
    shouting.protocol.transport.loseConnection()
    shouting.server.settle()
    assert after_101(shouting.client) == b"bye"
    assert shouting.client.closed
    assert shouting.client.closeReason == CloseReason.SWITCHED


def test_a_connection_that_was_held_back_is_read_on() -> None:
    answer: Deferred[Any] = Deferred()
    shouting = Shouting(upgrade=lambda request: answer, limits=Limits(readAhead=100))
    shouting.client.send(OFFER)
    shouting.client.send(b"x" * 200)
    assert shouting.client.paused
    shouting.client.send(b"y" * 200)
    answer.callback(shouting.protocol)
    shouting.server.settle()
    assert b"".join(shouting.protocol.data) == b"x" * 200 + b"y" * 200
    assert not shouting.client.paused


def test_the_new_protocol_may_register_a_producer() -> None:
    shouting = Shouting()
    shouting.client.stall()
    shouting.client.send(OFFER)
    transport: Any = shouting.protocol.transport
    calls: list[str] = []

    class Source:
        def pauseProducing(self) -> None:
            calls.append("pause")

        def resumeProducing(self) -> None:
            calls.append("resume")

        def stopProducing(self) -> None:
            calls.append("stop")

    transport.registerProducer(Source(), True)
    transport.write(b"x" * 100_000)
    shouting.client.resume()
    assert calls == ["pause", "resume"]


@pytest.mark.ledger("P-18")
def test_a_switched_connection_is_cut_off_at_the_end_of_a_drain() -> None:
    shouting = Shouting(timeouts=Timeouts(drain=10))
    shouting.client.send(OFFER)
    drained: list[None] = []
    shouting.server.factory.drain().addCallback(drained.append)
    shouting.client.send(b"still")
    assert after_101(shouting.client) == b"STILL"
    shouting.server.advance(10)
    assert drained == [None]
    assert len(shouting.protocol.lost) == 1


def test_a_client_that_goes_before_the_decision() -> None:
    cancelled: list[object] = []
    shouting = Shouting(upgrade=lambda request: Deferred(cancelled.append))
    shouting.client.send(OFFER)
    shouting.client.reset()
    assert len(cancelled) == 1
    assert shouting.client.closeReason == CloseReason.PEER_CLOSED_MID_RESPONSE


def test_a_decision_that_comes_too_late_is_ignored() -> None:
    answer: Deferred[Any] = Deferred(lambda deferred: None)
    answer.cancel = lambda: None  # type: ignore[method-assign]
    shouting = Shouting(upgrade=lambda request: answer)
    shouting.client.send(OFFER)
    shouting.client.reset()
    answer.callback(shouting.protocol)
    assert shouting.protocol.made == 0
