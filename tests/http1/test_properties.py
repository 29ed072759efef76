"""
What holds for any bytes, cut in any way, whatever the application does.

``receive`` and ``next_event`` never raise; every other method raises nothing but `LocalProtocolError`; what is sent is
a sequence of well-formed responses in the order of the requests; the same bytes mean the same however they are cut.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
from hypothesis import currently_in_test_context, given, settings
from hypothesis import note as tell
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ka_twisted.config import Limits, Policy
from ka_twisted.core.deadlines import Deadline
from ka_twisted.core.errors import LocalProtocolError, RemoteProtocolError
from ka_twisted.core.headers import check_field, encode_text, response_fields
from ka_twisted.core.reasons import CloseReason
from ka_twisted.http1.caches import ServerCaches
from ka_twisted.http1.encoding import field_lines
from ka_twisted.http1.events import (
    BodyComplete,
    BodyFailed,
    BodyReceived,
    Event,
    ExchangeCancelled,
    RequestRefused,
    ResponseDue,
)
from ka_twisted.http1.exchange import Exchange
from ka_twisted.http1.response_heads import parse_response_head
from ka_twisted.http1.server import ServerConnection
from ka_twisted.http1.states import Answer, Body, Expectation, Reading
from tests.http1.driving import Wire, chunked, cut_at_random, get, post, replies, upload, when_read
from tests.http1.strategies import NOISE, SMUGGLED, Sent, broken_pipelines, cut, requests

#: Limits that noise can reach.
TIGHT = Limits(
    maxLine=64, maxMethod=8, maxHeaderBytes=160, maxHeaderFields=4, maxBodyBytes=400, maxChunkLine=24,
    maxChunkExtensions=16, maxTrailerBytes=32, maxTrailerFields=2, blankLines=2,
)  # fmt: skip
INVITATION = b"HTTP/1.1 100 Continue\r\n\r\n"

Fields = list[tuple[str | bytes, str | bytes]]


# -- the same bytes mean the same -------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of some bytes, without what may depend on the cuts: pieces of bodies, and whether 100 was needed."""

    events: list[object] = field(default_factory=list)
    output: bytes = b""
    ending: str = ""
    reset: bool = False
    unmet: bool = False


def outcome(pieces: list[bytes], eof: bool, limits: Limits | None = None) -> Outcome:
    """Of an application that reads bodies as they come and answers when they are complete."""
    wire = Wire(when_read, limits=limits).send(*pieces)
    if eof:
        wire.eof()
    found = Outcome(output=wire.data.replace(INVITATION, b""))
    bodies: dict[int, bytes] = {}
    for event in wire.events:
        if isinstance(event, Exchange):
            found.events.append((event.number, event.method, event.target, event.http11, event.headers.raw))
        elif isinstance(event, BodyReceived):
            assert event.data
            bodies[event.exchange.number] = bodies.get(event.exchange.number, b"") + event.data
        elif isinstance(event, BodyComplete):
            number = event.exchange.number
            found.events.append((number, bodies.pop(number, b""), event.exchange.trailers.raw))
        elif isinstance(event, BodyFailed):
            number = event.exchange.number
            found.events.append((number, bodies.pop(number, b""), str(event.error), event.error.row))
        elif isinstance(event, RequestRefused):
            found.events.append((event.exchange.number, event.error.status, str(event.error), event.error.row))
            found.unmet = found.unmet or event.error.row == "D3-06"
    found.events += bodies.items()
    if wire.core.ending is not None:
        found.ending, found.reset = str(wire.ending.reason), wire.ending.reset
    assert wire.replies is not None, "what was sent is well-formed"
    return found


@given(st.one_of(NOISE, broken_pipelines()), st.booleans(), st.sampled_from([None, TIGHT]), st.data())
def test_the_same_bytes_mean_the_same_however_they_are_cut(
    raw: bytes, eof: bool, limits: Limits | None, data: st.DataObject
) -> None:
    whole = outcome([raw], eof, limits)
    if eof:
        assert whole.ending
    for pieces in ([raw[i : i + 1] for i in range(len(raw))], data.draw(cut(raw))):
        other = outcome(pieces, eof, limits)
        # Whether a part of a body has come decides what follows a 417 (ledger D3-06): nothing else may depend on it.
        assert other == whole or whole.unmet


@given(st.lists(requests(), min_size=1, max_size=5), st.data())
def test_valid_requests_are_understood_up_to_the_one_that_closes(sent: list[Sent], data: st.DataObject) -> None:
    last = next((index for index, request in enumerate(sent) if not request.keeps), len(sent) - 1)
    raw = b"".join(request.data for request in sent)
    wire = Wire(when_read).send(*data.draw(cut(raw)))
    assert wire.refusals == []
    assert wire.failures == []
    assert [exchange.method.decode() for exchange in wire.exchanges] == [request.method for request in sent[: last + 1]]
    assert [exchange.target.decode() for exchange in wire.exchanges] == [request.target for request in sent[: last + 1]]
    for exchange, request in zip(wire.exchanges, sent, strict=False):
        assert wire.bodies.get(exchange.number, b"") == request.body
        assert exchange.trailers.raw == request.trailers
    for reply, request in zip(wire.finals, sent, strict=False):
        assert reply.status == 200
        if request.method != "HEAD":
            assert reply.body == (request.body if request.framed else b"hello\n")
    assert len(wire.finals) == last + 1
    assert (wire.core.ending is None) is sent[last].keeps


@given(st.binary(max_size=200))
def test_a_response_head_is_read_or_refused(data: bytes) -> None:
    try:
        parse_response_head(b"HTTP/1.1 200 " + data + b"\r\n\r\n")
    except RemoteProtocolError as error:
        refused = error.status
    else:
        return
    assert refused == 502


@given(st.one_of(st.text(max_size=12), st.binary(max_size=12)), st.one_of(st.text(max_size=12), st.binary(max_size=12)))
def test_a_field_is_one_line_or_raises(name: str | bytes, value: str | bytes) -> None:
    try:
        line = field_lines([check_field(name, value)])
    except LocalProtocolError:
        return
    key, colon, rest = line.partition(b": ")
    assert (key, colon) == (encode_text(name), b": ")
    assert rest == encode_text(value).strip(b" \t") + b"\r\n"
    assert not set(rest[:-2]) & set(b"\r\n\x00")
    response_fields([(name, value)]) if key.lower() not in (b"content-length", b"connection") else None


# -- an independent client ---------------------------------------------------------------------------------------------


METHODS = st.sampled_from([b"GET", b"POST", b"HEAD"])


@given(
    st.lists(st.tuples(METHODS, st.binary(max_size=300), st.booleans()), min_size=1, max_size=6), st.integers(0, 2**32)
)
def test_h11_as_a_client_understands_every_answer(exchanges: list[tuple[bytes, bytes, bool]], seed: int) -> None:
    chance = random.Random(seed)
    client = h11.Connection(h11.CLIENT)

    def application(wire: Wire, exchange: Exchange) -> None:
        if exchange.request_body is not None:
            wire.read(exchange)
        elif chance.random() < 0.5:
            wire.answer(exchange)
        else:
            exchange.start(200)
            exchange.write(b"hello\n")
            exchange.finish()

    wire = Wire(application)
    taken = 0
    for method, body, counted in exchanges:
        framing = ("Content-Length", str(len(body))) if counted else ("Transfer-Encoding", "chunked")
        fields = [("Host", "a"), *([framing] if body else [])]
        data = client.send(h11.Request(method=method, target="/", headers=fields)) or b""
        if body:
            data += client.send(h11.Data(data=body)) or b""
        data += client.send(h11.EndOfMessage()) or b""
        wire.send(*cut_at_random(data, chance))
        received = b""
        for piece in cut_at_random(wire.data[taken:], chance):
            client.receive_data(piece)
            while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    assert event.status_code == 200
                elif isinstance(event, h11.Data):
                    received += event.data
        taken = len(wire.data)
        assert client.their_state is h11.DONE
        assert received == (b"" if method == b"HEAD" else body or b"hello\n")
        client.start_next_cycle()


# -- any application ---------------------------------------------------------------------------------------------------

FIELDS: list[Fields] = [
    *[[]] * 20, [("Connection", "close")], [("Content-Length", "5")], [("Transfer-Encoding", "x")],
    [("Upgrade", "chat")],
]  # fmt: skip
STATUSES = [200, 200, 200, 204, 205, 304, 404, 426, 500, 599]

#: Requests that leave the connection open.
KEEPING = [
    get("/"), get("/"), get("/a"), get("/", method="HEAD"), get("/", "Connection: keep-alive"),
    get("/", "Connection: keep-alive", minor=0),
    get("/", method="DELETE"), b"\r\n" + get("/", "X: y"), post(SMUGGLED), post(SMUGGLED, method="GET"), post(b""),
    post(b"x" * 90),
    post(b"hello", "Connection: keep-alive", minor=0), upload(chunked(SMUGGLED, b"x")),
    upload(chunked(trailers=b"X: y\r\n")),
    upload(b"5;a=b\r\nhello\r\n0\r\n\r\n", "Connection: keep-alive"), post(b"hello", "Expect: 100-continue"),
    post(b"", "Expect: 100-continue"),
    upload(chunked(b"hello"), "Expect: 100-continue"), get("/", "Upgrade: chat", "Connection: upgrade"),
    post(b"hello", "Upgrade: chat", "Connection: upgrade", "Expect: 100-continue"), get("/", "Expect: tea"),
    post(b"hello", "Expect: tea"),
]  # fmt: skip
#: Bytes that do not.
CLOSING = [
    get("/", "Connection: close"), get("/", minor=0), post(b"hello", "Connection: close"),
    upload(chunked(b"hello"), "Connection: close"),
    get("/", "Upgrade: chat", "Connection: upgrade, close"), post(b"x" * 101), upload(b"5\r\nhellox"),
    upload(b"5\r\nhello\r\nx\r\n"),
    upload(b"0\r\nX\r\n\r\n"), upload(b"65\r\n"), b"nonsense\r\n", b"\r\n" * 9, get("/", "Host: b"), b"\x00",
    get("a:80", method="CONNECT"),
]  # fmt: skip

#: How one step does what it does: little to draw for hypothesis, and as much chance as the step wants.
CHANCE = st.integers(0, 2**20).map(random.Random)


def note(what: str) -> None:
    """Shown with a failing example."""
    if currently_in_test_context():
        tell(what)


class AnyApplication(RuleBasedStateMachine):
    """
    States x inputs: a client that sends what it likes, and an application that does what it likes.

    The model knows what was sent and what the methods said, not how the connection works. What tends to end a
    connection comes only once as many requests were taken up as there is patience for; behind the end comes the next
    connection. Every step has something to do in every state: where it has not, it brings the connection on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.connect(random.Random(0))

    @initialize(chance=CHANCE)
    def connect(self, chance: random.Random) -> None:
        """A new connection."""
        limits = Limits(
            pipelineDepth=chance.choice([1, 2, 16]),
            unread=chance.choice([0, 4, 65536]),
            readAhead=chance.choice([1, 65536]),
            maxHeldBytes=chance.choice([1, 500, 262144]),
            maxRequests=chance.choice([0, 0, 0, 0, 0, 3, 10]),
            maxBodyBytes=chance.choice([0, 100]),
        )
        policy = Policy(persistent=chance.random() < 0.95, chunkedResponses=chance.random() < 0.7)
        self.core = ServerConnection(ServerCaches(limits, policy))
        self.patience = chance.choice([0, 1, 3, 8, 20])
        self.queue = b""
        self.eof = self.ended = self.switched = self.lost = False
        self.output = b""
        self.taken: list[Exchange] = []
        self.finished: set[int] = set()
        note(f"{limits} {policy}")

    # The client.

    def send(self, chance: random.Random, data: bytes) -> None:
        """Send some bytes, or most of them, in a few segments."""
        self.queue += data
        back = chance.choice([0, 0, 0, 1, 2, 5, 20, 60])
        if len(self.queue) > back:
            self.arrive(chance, len(self.queue) - back)

    @rule(chance=CHANCE)
    def arrive(self, chance: random.Random, count: int = 0) -> None:
        """Some of what was sent arrives."""
        if self.eof or not self.queue:
            return
        count = count or chance.choice([1, 2, 10, 30, 100000])
        data, self.queue = self.queue[:count], self.queue[count:]
        note(f"{data!r} arrives")
        for piece in [data] if chance.random() < 0.5 else cut_at_random(data, chance):
            self.core.receive(piece)
            if chance.random() < 0.8:
                self.turn()

    @rule(chance=CHANCE)
    def send_requests(self, chance: random.Random) -> None:
        if self.over():
            self.connect(chance)
        self.send(chance, b"".join(chance.choices(KEEPING[: chance.choice([4, len(KEEPING)])], k=chance.randint(1, 4))))

    @rule(chance=CHANCE)
    def send_the_last(self, chance: random.Random) -> None:
        if not self.patient(chance):
            self.send(chance, chance.choice(CLOSING))

    @rule(chance=CHANCE)
    def half_close(self, chance: random.Random) -> None:
        if not self.patient(chance):
            self.close()

    def close(self) -> None:
        """The client ends its side."""
        self.eof = True
        self.core.receive_eof()
        self.turn()

    def over(self) -> bool:
        """Whether there is nothing more to see."""
        return self.ended or self.switched or self.lost

    def patient(self, chance: random.Random) -> bool:
        """Whether it is too early for what tends to end a connection; more requests are sent instead."""
        if not self.over() and len(self.taken) >= self.patience and chance.random() < 0.3:
            return False
        self.send_requests(chance)
        return True

    # The application.

    def one(self, chance: random.Random, fits: Callable[[Exchange], bool]) -> Exchange:
        """An exchange: rather one that fits."""
        for _ in range(3):
            fitting = [exchange for exchange in self.core.exchanges if fits(exchange)]
            if fitting and chance.random() < 0.9:
                return chance.choice(fitting)
            self.send_requests(chance)
        while not self.taken:
            self.send_requests(chance)
            self.arrive(chance, 100000)
        return chance.choice(self.core.exchanges or self.taken)

    def attempt(self, legal: bool, call: Any, *arguments: Any) -> None:
        """Legal calls do not raise, others raise `LocalProtocolError`."""
        note(f"{call.__name__} {arguments}")
        if legal:
            call(*arguments)
        else:
            with pytest.raises(LocalProtocolError):
                call(*arguments)
        self.turn()

    @rule(chance=CHANCE)
    def respond(self, chance: random.Random) -> None:
        exchange = self.one(chance, lambda exchange: not exchange.answered)
        given = response_fields([*chance.choice(FIELDS), ("X-Number", str(exchange.number))])
        body = chance.choice([b"", b"hello", b"hello\n", b"x" * 20000])
        self.attempt(not exchange.answered, exchange.respond, chance.choice(STATUSES), given, body)
        assert exchange.answered

    @rule(chance=CHANCE)
    def start(self, chance: random.Random) -> None:
        exchange = self.one(chance, lambda exchange: not exchange.answered)
        given = response_fields([*chance.choice(FIELDS), ("X-Number", str(exchange.number))])
        length = chance.choice([*[None] * 12, 0, 5, 100])
        self.attempt(not exchange.answered, exchange.start, chance.choice(STATUSES), given, length)

    @rule(chance=CHANCE)
    def write(self, chance: random.Random) -> None:
        exchange = self.one(chance, lambda exchange: exchange.answer is Answer.STREAMING)
        for body in chance.choices([b"", b"12345", b"x" * 200], k=chance.choice([0, 0, 1, 2])):
            self.attempt(exchange.answer is Answer.STREAMING, exchange.write, body)
        if chance.random() < 0.5:
            self.attempt(exchange.answer is Answer.STREAMING, exchange.finish)

    @rule(chance=CHANCE)
    def abort(self, chance: random.Random) -> None:
        if not self.patient(chance) and chance.random() < 0.3:
            exchange = self.one(chance, lambda exchange: not exchange.over)
            self.attempt(exchange.answer not in (Answer.COMPLETE, Answer.SWITCHED), exchange.abort)

    @rule(chance=CHANCE)
    def interim(self, chance: random.Random) -> None:
        exchange = self.one(chance, lambda exchange: not exchange.answered)
        if chance.random() < 0.5:
            self.attempt(not exchange.answered, exchange.interim, chance.randint(102, 199))
            return
        waits = exchange.handshake is Expectation.HELD
        refused = exchange.handshake is Expectation.REFUSED
        self.attempt(not refused and not (waits and exchange.answered), exchange.accept)

    @rule(chance=CHANCE)
    def read(self, chance: random.Random) -> None:
        exchange = self.one(chance, lambda exchange: exchange.body in (Body.HELD, Body.WANTED))
        how = chance.choice(["flow", "flow", "flow", "flow", "pause", "stop", "take"])
        if how == "stop":
            self.attempt(True, exchange.abandon_body)
        elif how == "take":
            body = exchange.take_body()
            assert body is None or exchange.body is Body.READ
            self.turn()
        else:
            readable = exchange.body in (Body.HELD, Body.WANTED, Body.READ)
            exchange.flowing = exchange.flowing if not readable else how == "flow"
            self.attempt(readable, exchange.begin_body)

    @rule(chance=CHANCE)
    def switch(self, chance: random.Random) -> None:
        exchange = self.one(chance, lambda exchange: exchange.fields is not None and exchange.fields.upgrades != ())
        offers = exchange.fields is not None and exchange.fields.upgrades
        whole = exchange.request_body is None or exchange.request_body.complete
        legal = bool(offers) and whole and not exchange.answered and self.core.exchanges == (exchange,)
        self.switched = self.switched or legal
        self.attempt(legal, exchange.switch, b"chat")

    # The owner.

    @rule(chance=CHANCE)
    def expire(self, chance: random.Random) -> None:
        deadline = chance.choice(list(Deadline))
        late = deadline is self.core.deadline
        if late and self.patient(chance):
            return
        note(f"expire {deadline}")
        late = deadline is self.core.deadline
        self.core.expire(deadline)
        self.turn()
        assert not late or self.core.ending is not None or self.core.exchanges

    @rule(chance=CHANCE)
    def bring_to_an_end(self, chance: random.Random) -> None:
        if self.patient(chance):
            return
        how = chance.choice(["drain", "drain", "retire", "grow old", "lose"])
        note(how)
        if how == "drain":
            self.core.drain()
        elif how in ("grow old", "retire"):
            self.core.retire(CloseReason.MAX_AGE if how == "grow old" else CloseReason.DRAINING)
        else:
            assert all(exchange.over for exchange in self.core.lost())
            self.lost = True
        self.turn()

    def turn(self) -> None:
        """What an owner does: pull, and send."""
        while (event := self.core.next_event()) is not None:
            self.see(event)
        sent = b"".join(self.core.take_output())
        assert not (self.ended and sent), "nothing is sent behind the end"
        assert not (self.lost and sent), "nothing is sent to a client that is gone"
        self.output += sent
        self.ended = self.ended or self.core.ending is not None

    def see(self, event: Exchange | Event) -> None:
        if isinstance(event, Exchange):
            assert not self.ended, "nothing is parsed behind the end"
            assert not self.lost
            assert not self.switched
            assert event.target != b"/smuggled"
            assert event.number > max((exchange.number for exchange in self.taken), default=0)
            self.taken.append(event)
            return
        exchange = event.exchange
        if isinstance(event, RequestRefused):
            assert exchange.answered
            self.taken.append(exchange)
        elif isinstance(event, ResponseDue):
            assert exchange.held is None
        elif isinstance(event, ExchangeCancelled):
            assert exchange.answer is Answer.ABORTED
            assert exchange not in self.core.exchanges
        else:
            assert exchange.number not in self.finished, "the body was over"
            if isinstance(event, BodyReceived):
                assert event.data
                assert exchange.flowing
            else:
                self.finished.add(exchange.number)
                assert exchange.body in (Body.READ, Body.CUT)

    # What always holds.

    @invariant()
    def what_was_sent_is_responses_in_the_order_of_the_requests(self) -> None:
        ended = self.core.ending is not None
        methods = [exchange.method.decode() for exchange in self.taken]
        for reply, exchange in zip(
            (reply for reply in replies(self.output, methods, ended=ended) if reply.status >= 200),
            self.taken,
            strict=False,
        ):
            assert reply.status == exchange.status
            assert reply.get("X-Number") in (str(exchange.number), None if exchange.error is not None else "-")
            if not reply.complete:
                assert exchange.answer in (Answer.STREAMING, Answer.ABORTED)

    @invariant()
    def only_what_can_be_late_is_due(self) -> None:
        core, due = self.core, self.core.deadline
        if core.ending is not None or self.switched or self.lost:
            assert due is None
        elif due in (Deadline.IDLE, Deadline.FIRST_REQUEST):
            assert not core.busy
            assert core.reading is (Reading.IDLE if due is Deadline.IDLE else Reading.UNUSED)
        elif due is Deadline.HEADER:
            assert core.reading is Reading.HEAD
        elif due is Deadline.BODY:
            assert any(exchange.body is Body.WANTED and exchange.flowing for exchange in self.taken)
        elif due is Deadline.UNREAD:
            assert any(exchange.body is Body.DISCARDED and exchange.over for exchange in self.taken)
        else:
            assert due is None
            assert core.busy, "a response or a deadline is due"

    @invariant()
    def what_is_held_is_accounted_for(self) -> None:
        core = self.core
        assert core.held_bytes == sum(len(part) for exchange in core.exchanges for part in exchange.held or ())
        if not core.busy:
            assert core.wants_input
        if core.ending is not None:
            assert not core.busy
            assert core.reading is Reading.DISCARD
            assert core.backlog == 0

    def teardown(self) -> None:
        """Once everything is answered and the client has closed, the connection ends: it never hangs."""
        for _ in range(10000):
            for exchange in self.core.exchanges:
                if not exchange.answered:
                    given = response_fields([("X-Number", str(exchange.number))])
                    exchange.respond(200, given, b"done")
                elif exchange.answer is Answer.STREAMING:
                    exchange.finish()
            self.turn()
            if self.queue and not self.eof:
                self.arrive(random.Random(0), 100000)
            elif not self.eof:
                self.close()
            if self.core.ending is not None or self.switched or self.lost:
                break
        assert self.core.ending is not None or self.switched or self.lost
        self.what_was_sent_is_responses_in_the_order_of_the_requests()


TestAnyApplication = AnyApplication.TestCase

STEPS = (
    *[AnyApplication.send_requests, AnyApplication.arrive, AnyApplication.read, AnyApplication.write] * 3,
    *[AnyApplication.respond] * 5, AnyApplication.start, AnyApplication.interim, AnyApplication.switch,
    AnyApplication.abort,
    AnyApplication.send_the_last, AnyApplication.half_close, AnyApplication.expire, AnyApplication.bring_to_an_end,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_a_long_walk(seed: int) -> None:
    """The same steps without end, on one connection after another: what hypothesis does not come to in few examples."""
    chance = random.Random(seed)
    walk = AnyApplication()
    for _ in range(20 * settings().max_examples):
        chance.choice(STEPS)(walk, chance)
        walk.what_was_sent_is_responses_in_the_order_of_the_requests()
        walk.only_what_can_be_late_is_due()
        walk.what_is_held_is_accounted_for()
    walk.teardown()


def test_what_looks_like_a_request_in_a_body_is_none() -> None:
    """The strategies do send what they must not find."""
    assert SMUGGLED.startswith(b"GET /smuggled HTTP/1.1\r\n")
