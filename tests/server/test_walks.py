"""
Random walks over a server in memory: several clients, an application that takes its time, and a clock.

Whatever the clients send, in whatever pieces, and whenever they stall, half-close or vanish, and time passes: nothing
is raised but what is logged, once; the responses on each connection are well-formed, in the order of the requests, and
a prefix of what was asked for; every connection ends for one reason, told once, and so does every exchange; nothing
waits for a client that has gone; and when all have gone, nothing of them is left.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from math import inf
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred

from ka_twisted import CloseReason, Limits, Persistence, Policy, Request, Response, Timeouts
from ka_twisted.core.deadlines import Deadline
from ka_twisted.interfaces import IConnection
from ka_twisted.testing import MemoryClient, MemoryServer, ParsedResponse, parseResponses
from tests import logs
from tests.http1.driving import chunked, get
from tests.http1.strategies import NOISE, broken_pipelines
from tests.server.driving import Observer, Recorded, watch
from tests.streams.memory import ForeignServer

#: Every timer, short; none is a multiple of another.
TIMEOUTS = Timeouts(idle=7, header=3, body=4, bodyGrace=9, write=5, expectation=1, unread=2, linger=1.5, drain=20)
LIMITS = st.builds(
    Limits,
    pipelineDepth=st.sampled_from([1, 2, 16]),
    readAhead=st.sampled_from([20, 1000]),
    maxHeldBytes=st.sampled_from([1, 500, 100_000]),
    maxBodyBytes=st.sampled_from([0, 0, 0, 60]),
    maxRequests=st.sampled_from([0, 0, 0, 7]),
    maxAge=st.sampled_from([0.0, 0.0, 0.0, 10.0]),
    maxConnections=st.sampled_from([0, 0, 0, 2]),
    unread=st.sampled_from([0, 10, 65536]),
    lingerBytes=st.sampled_from([0, 50]),
)
POLICIES = st.sampled_from([*[Policy()] * 6, Policy(chunkedResponses=False), Policy(persistent=False)])
#: More than a transport holds before it pauses its producer.
LARGE = b"0123456789" * 7000

KINDS = [
    "now", "held", "held", "stream", "stream", "read", "echo", "large", "pieces", "file", "early", "no-content",
    "raise", "stubborn", "deaf", "abort",
]  # fmt: skip


class Mishap(Exception):
    """What goes wrong in the application."""


class Cautious(Recorded):
    """A connection that decides for itself, as its requests' targets say."""

    def continueExpected(self, request: Request) -> Any:
        return {"read": True, "early": False}.get(_kind(request))

    def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
        return decision.close("enough") if request.target.endswith("?close") else decision


@dataclass
class Call:
    """
    A request as the application got it.

    :ivar due: fires to give it its answer, while it is waited for.
    :ivar given: the body of its response so far, where that is known.
    """

    number: int
    method: str
    connection: IConnection
    due: Deferred[Any] | None = None
    given: bytes | None = None


def _kind(request: Request) -> str:
    return request.path.strip("/")


class Application:
    """
    Answers by the request's target. Every response says which request of its connection it answers.

    :ivar calls: by connection, in the order in which they came.
    """

    def __init__(self) -> None:
        self.calls: dict[int, list[Call]] = {}
        self.mishaps = 0

    def __call__(self, request: Request) -> Any:
        call = Call(request.number, request.method, request.connection.protocol)
        self.calls.setdefault(request.connection.id, []).append(call)
        answer = getattr(self, "answer_" + _kind(request).replace("-", "_"), self.answer_now)
        return answer(request, call)

    @property
    def waiting(self) -> list[Call]:
        """Those whose answer, or the next piece of it, is waited for."""
        return [call for calls in self.calls.values() for call in calls if call.due is not None]

    def respond(self, call: Call, body: Any, status: int = 200, **fields: str) -> Response:
        if isinstance(body, bytes):
            call.given = body
        return Response(status, body, {"X-Number": str(call.number), **fields})

    def fail(self) -> Mishap:
        self.mishaps += 1
        return Mishap()

    async def wait(self, call: Call) -> Any:
        call.due = Deferred()
        try:
            return await call.due
        finally:
            call.due = None

    def answer_now(self, request: Request, call: Call) -> Response:
        return self.respond(call, b"now\n")

    def answer_large(self, request: Request, call: Call) -> Response:
        return self.respond(call, LARGE)

    def answer_no_content(self, request: Request, call: Call) -> Response:
        return self.respond(call, b"", 204)

    def answer_raise(self, request: Request, call: Call) -> Response:
        raise self.fail()

    def answer_abort(self, request: Request, call: Call) -> Response:
        request.connection.protocol.abort()
        return self.answer_now(request, call)

    def answer_pieces(self, request: Request, call: Call) -> Response:
        call.given = LARGE
        return self.respond(call, (LARGE[start : start + 9000] for start in range(0, len(LARGE), 9000)))

    def answer_file(self, request: Request, call: Call) -> Response:
        call.given = LARGE
        return self.respond(call, BytesIO(LARGE))

    async def answer_stubborn(self, request: Request, call: Call) -> Response:
        """Fails when it is told that its client does not wait for it."""
        try:
            return self.respond(call, *await self.wait(call))
        except CancelledError:
            raise self.fail() from None

    async def answer_deaf(self, request: Request, call: Call) -> Response:
        """Answers even so."""
        try:
            return self.respond(call, *await self.wait(call))
        except CancelledError:
            return self.answer_pieces(request, call)

    async def answer_early(self, request: Request, call: Call) -> Response:
        """Reads a little of the body, and answers without the rest."""
        await request.body.readChunk()
        return self.respond(call, b"early\n")

    async def answer_held(self, request: Request, call: Call) -> Response:
        request.interim(103, {"Link": "x"})
        return self.respond(call, *await self.wait(call))

    async def answer_read(self, request: Request, call: Call) -> Response:
        return self.respond(call, await request.read())

    async def answer_echo(self, request: Request, call: Call) -> Response:
        call.given = b""

        async def pieces() -> AsyncIterator[bytes]:
            async for data in request.body:
                call.given = (call.given or b"") + data
                yield data

        return self.respond(call, pieces())

    async def answer_stream(self, request: Request, call: Call) -> Response:
        call.given = b""

        async def pieces() -> AsyncIterator[bytes]:
            while data := await self.wait(call):
                call.given = (call.given or b"") + data
                yield data

        return self.respond(call, pieces())


@dataclass
class Peer:
    """
    A client, and what it has still to send.

    :ivar ended: whether it has closed its side.
    """

    client: MemoryClient
    unsent: bytes = b""
    ended: bool = False
    seen: int = -1

    @property
    def sends(self) -> bool:
        return not self.ended and not self.client.closed


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A valid request for something that the application has; most are such that others can be served beside them."""
    target = f"/{draw(st.sampled_from(KINDS))}" + draw(st.sampled_from(["", "", "", "", "?close"]))
    minor = 1 - draw(st.integers(0, 9)) // 9
    fields = [["Connection: close"], ["Connection: keep-alive"], *[[]] * 8][draw(st.integers(0, 9))]
    body = draw(st.sampled_from([None, None, None, b"", b"hello", b"x" * 100]))
    if body is None:
        method = draw(st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "DELETE"]))
        return get(target, *fields, method=method, minor=minor)
    fields = [*fields, *draw(st.sampled_from([[], [], ["Expect: 100-continue"]]))]
    method = draw(st.sampled_from(["POST", "POST", "PUT", "GET"]))
    if minor and draw(st.booleans()):
        return get(target, "Transfer-Encoding: chunked", *fields, method=method, body=chunked(*[body] if body else []))
    return get(target, f"Content-Length: {len(body)}", *fields, method=method, minor=minor, body=body)


#: Requests that are answered side by side, or could be.
LIGHT = st.sampled_from(["held", "held", "stream", "stream", "now", "large", "pieces", "deaf"]).map(
    lambda kind: get("/" + kind)
)
#: A body, which may be read or not, and a request behind it.
UPLOADS = st.sampled_from(["early", "early", "read", "echo", "now", "held"]).map(
    lambda kind: get("/" + kind, "Content-Length: 100", method="POST", body=b"x" * 100) + get("/now")
)
PIPELINES = st.one_of(
    st.lists(requests(), min_size=1, max_size=4).map(b"".join),
    st.lists(LIGHT, min_size=2, max_size=6).map(b"".join),
    UPLOADS,
)
#: What the application comes to: the size of a body, or for a stream of its next piece, where 0 ends it; and a status.
RESULTS = st.sampled_from(
    [*[(6, 200)] * 4, *[(600, 200)] * 2, *[(len(LARGE), 200)] * 2, *[(0, 200)] * 2, (5, 410), (0, 304), Mishap]
)
#: Which of those that there are.
WHICH = st.integers(0, 11)


class Walk(RuleBasedStateMachine):
    """Up to four clients at a time, and an application that the walk holds in its hands."""

    @initialize(
        limits=LIMITS,
        policy=POLICIES,
        protocol=st.sampled_from([Recorded, Cautious]),
        end=st.sampled_from(["reset", "drain", "time"]),
        kind=st.sampled_from([MemoryServer, ForeignServer]),
    )
    def serve(
        self, limits: Limits, policy: Policy, protocol: type[Recorded], end: str, kind: type[MemoryServer]
    ) -> None:
        self.end = end
        self.watching = logs.logged()
        self.log = self.watching.__enter__()
        self.application = Application()
        self.observer = Observer()
        self.failures = 0
        self.all: list[Peer] = []
        #: Every drain, and how many connections there were when one was told that it is over.
        self.drains: list[Deferred[None]] = []
        self.left: list[int] = []
        #: When those deadlines pass that nothing extends.
        self.due: dict[object, float] = {}
        self.server = kind(
            self.application, observers=[self.observer], protocol=protocol, limits=limits, policy=policy,
            timeouts=TIMEOUTS,
        )  # fmt: skip
        self.connect()

    # What clients do.

    @property
    def present(self) -> list[Peer]:
        return [peer for peer in self.all if not peer.client.closed]

    def some(self, which: int) -> Peer:
        """One of the clients that are there; a new one when there is none."""
        if not (self.present or self.server.factory.draining):
            self.connect()
        there = self.present or self.all
        return there[which % len(there)]

    @precondition(lambda self: len(self.present) < 4)
    @rule()
    def connect(self) -> None:
        self.all.append(Peer(self.server.connect()))

    @rule(turns=st.lists(st.tuples(WHICH, PIPELINES), min_size=1, max_size=3), pieces=st.sampled_from([None, 1, 7]))
    def ask(self, turns: list[tuple[int, bytes]], pieces: int | None) -> None:
        """Some requests, behind what was left of others."""
        for which, data in turns:
            peer = self.some(which)
            peer.unsent += data
            self._send(peer, len(peer.unsent), pieces)

    @rule(which=WHICH, data=PIPELINES, count=st.integers(1, 150))
    def begin(self, which: int, data: bytes, count: int) -> None:
        """Requests of which only a part is sent for now."""
        peer = self.some(which)
        peer.unsent += data
        self._send(peer, count)

    @rule(which=WHICH, count=st.sampled_from([1, 20, 100, 1000]))
    def go_on(self, which: int, count: int) -> None:
        """More of the requests that were begun."""
        self._send(self.some(which), count)

    @rule(which=WHICH, data=PIPELINES, size=st.sampled_from([1, 20, 60]), seconds=st.sampled_from([0.3, 1]))
    def drip(self, which: int, data: bytes, size: int, seconds: float) -> None:
        """A head, and what is behind it a little at a time."""
        peer = self.some(which)
        peer.unsent += data
        self._send(peer, peer.unsent.find(b"\r\n\r\n") + 4)
        for _ in range(6):
            self._send(peer, size)
            self.no_byte_puts_off_a_deadline()
            self.server.advance(seconds)

    @precondition(lambda self: len(self.observer.exchanges) % 5 == 4)
    @rule(which=WHICH, noise=st.one_of(NOISE, broken_pipelines()))
    def babble(self, which: int, noise: bytes) -> None:
        """What may be no request."""
        peer = self.some(which)
        peer.unsent += noise
        self._send(peer, len(peer.unsent))

    def _send(self, peer: Peer, size: int, pieces: int | None = None) -> None:
        data, peer.unsent = peer.unsent[:size], peer.unsent[size:]
        if data and peer.sends:
            peer.client.send(data, pieces)

    @precondition(lambda self: len(self.observer.exchanges) % 3 == 2)
    @rule(which=WHICH, how=st.sampled_from(["halfClose", "halfClose", "disconnect", "reset"]))
    def leave(self, which: int, how: str) -> None:
        peer = self.some(which)
        if peer.sends or (how != "halfClose" and not peer.client.closed):
            peer.ended = True
            getattr(peer.client, how)()

    @rule(which=WHICH, how=st.sampled_from(["stall", "resume"]), size=st.sampled_from([0, 10, 1000, 70_000]))
    def read(self, which: int, how: str, size: int) -> None:
        """Take no more than that, or so much more; or go on with whatever comes."""
        client = self.some(which).client
        if how == "stall":
            client.stall(size)
        else:
            client.resume(size or None)

    # What the application does.

    @precondition(lambda self: self.application.waiting)
    @rule(turns=st.lists(st.tuples(WHICH, RESULTS), min_size=1, max_size=4))
    def give(self, turns: list[tuple[int, Any]]) -> None:
        """Give answers, or the next pieces of them; or fail instead."""
        for which, result in turns:
            if waiting := self.application.waiting:
                self._give(waiting[which % len(waiting)], result)
        self.server.settle()

    def _give(self, call: Call, result: Any) -> None:
        due = call.due
        assert due is not None
        if result is Mishap:
            due.errback(self.application.fail())
        else:
            size, status = result
            due.callback((LARGE[:size], status) if call.given is None else LARGE[:size])

    # What others do.

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.5, 0.5, 1, 2.5, 5]))
    def pass_time(self, seconds: float) -> None:
        self.server.advance(seconds)

    @precondition(lambda self: self.end == "drain" and len(self.observer.exchanges) > 10 and len(self.drains) < 2)
    @rule(seconds=st.sampled_from([None, 0, 3]))
    def drain(self, seconds: float | None) -> None:
        drained = self.server.factory.drain(seconds)
        self.drains.append(drained)
        drained.addCallback(lambda _: self.left.append(self.server.factory.connectionCount))
        self.server.settle()

    # What holds at any time.

    @invariant()
    def counted(self) -> None:
        open_ = [peer.client.protocol for peer in self.present]
        factory = self.server.factory
        assert factory.connectionCount == len(open_)
        assert set(factory.connections) == set(open_)
        assert not any(self.left)
        assert all(drained.called for drained in self.drains) or open_

    @invariant()
    def told_once(self) -> None:
        told = self.observer.told
        assert len(told) == len(set(told))
        closed = {each[1] for each in told if each[0] == "closed"}
        assert closed == {peer.client.protocol.id for peer in self.all if peer.client.closed}

    @invariant()
    def logged_once(self) -> None:
        self.failures += len(self.log.failures(Mishap))
        assert self.failures == self.application.mishaps
        excess = [text for text in self.log.messages() if "have no room" not in text and "has none" not in text]
        assert not excess
        assert not self.log.rest, self.log.rest

    @invariant()
    def nobody_waits_for_those_who_are_gone(self) -> None:
        for call in self.application.waiting:
            assert call.connection in self.server.factory.connections, f"{call} was not cancelled"

    @invariant()
    def nobody_may_stay_for_ever(self) -> None:
        for connection in self.server.factory.connections:
            owes = connection.state in ("unused", "idle", "reading a head")
            waits = watch(connection).due < inf or watch(connection).armed(Deadline.WRITE)
            assert waits or not owes, f"{connection.state}, and no deadline"

    @invariant()
    def no_byte_puts_off_a_deadline(self) -> None:
        due: dict[object, float] = {
            (connection.id, connection.requestCount, watch(connection).deadline): watch(connection).due
            for connection in self.server.factory.connections
            if watch(connection).deadline in (Deadline.HEADER, Deadline.UNREAD, Deadline.FIRST_REQUEST)
        }
        assert all(self.due.get(what, inf) >= when for what, when in due.items())
        self.due = due

    @invariant()
    def answered_in_order(self) -> None:
        for peer in self.all:
            client = peer.client
            seen = len(client.transport.delivered) + client.ended
            if seen != peer.seen:
                peer.seen = seen
                self._answered_in_order(client)

    def _answered_in_order(self, client: MemoryClient) -> None:
        calls = {call.number: call for call in self.application.calls.get(client.protocol.id, [])}
        assert list(calls) == sorted(calls)
        finished = self.server.methods.get(client.protocol.id, {})
        count = client.protocol.requestCount
        known = [_method(number, calls, finished) for number in range(1, count + 1)]
        responses = parseResponses(client.received, known, ended=client.ended)
        assert all(response.complete for response in responses[:-1])
        finals = [response for response in responses if response.status >= 200]
        assert len(finals) <= count
        for number, response in enumerate(finals, 1):
            said = response.headers.get("x-number")
            assert said in (None, str(number)), f"{said} in the place of {number}"
            call = calls.get(number)
            if said is None:
                assert response.status >= 400
            else:
                assert call is not None
                _check_body(call, response)
            closes = "close" in (response.headers.get("connection") or "")
            assert not closes or number == len(finals), "a response behind the last"
            assert not closes or not response.complete or client.ended, "the last response does not end the connection"

    # The end.

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        try:
            getattr(self, "_end_by_" + self.end)()
            note(f"ended: {self.observer.reasons}")
            assert self.server.factory.connectionCount == 0
            assert not self.server.clock.getDelayedCalls()
            assert not self.application.waiting
            for peer in self.all:
                self._ended(peer.client)
            self.logged_once()
            self.told_once()
            self.answered_in_order()
        finally:
            self.watching.__exit__(*sys.exc_info())

    def _end_by_reset(self) -> None:
        """Who is not read is not noticed before an answer is sent to it."""
        for peer in self.present:
            peer.client.reset()
        while waiting := self.application.waiting:
            self._give(waiting[0], (0, 200))
            self.server.settle()

    def _end_by_drain(self) -> None:
        self.server.factory.drain(1)
        self.server.advance(1)

    def _end_by_time(self) -> None:
        """Every client has its answer, and none does anything any more."""
        while waiting := self.application.waiting:
            self._give(waiting[0], (0, 200))
            self.server.settle()
        self.server.advance(60)

    def _ended(self, client: MemoryClient) -> None:
        protocol = client.protocol
        assert isinstance(protocol, Recorded)
        (reason,) = protocol.closed
        assert reason is protocol.closeReason
        assert reason in CloseReason.all()
        assert ("closed", protocol.id, reason.name) in self.observer.told
        finished = {told[2] for told in self.observer.told if told[:2] == ("finished", protocol.id)}
        begun = {call.number for call in self.application.calls.get(protocol.id, [])}
        assert begun <= finished
        assert finished == set(range(1, protocol.requestCount + 1))


def _method(number: int, calls: dict[int, Call], finished: dict[int, bytes]) -> bytes:
    call = calls.get(number)
    return finished.get(number, b"GET") if call is None else call.method.encode()


def _check_body(call: Call, response: ParsedResponse) -> None:
    """What has come of a body is what was given, as far as it has come."""
    given = call.given
    assert given is not None
    if call.method == "HEAD" or response.status in (204, 304):
        assert not response.body
    else:
        assert given.startswith(response.body)


def test_whatever_happens_everybody_gets_what_is_due_or_is_told_why_not(logged: logs.Logged) -> None:
    run_state_machine_as_test(Walk)
    logged.failures(Mishap)  # which the walks have seen to
    logged.messages()
