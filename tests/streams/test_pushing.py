"""Responses that the application pushes, whenever it has something to say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ka_twisted import Request
from ka_twisted.server.writer import ResponseWriter
from tests.logs import Logged
from tests.streams.bodies import PIECE
from tests.streams.providers import Provider, Service


class Pushing:
    """
    A handler that begins a response and leaves the rest to the test.

    :ivar ends: what `Request.finished` said of each.
    """

    def __init__(self, begin: Callable[[Request], ResponseWriter] = Request.start) -> None:
        self._begin = begin
        self.requests: list[Request] = []
        self.writers: list[ResponseWriter] = []
        self.ends: list[type[BaseException] | None] = []

    def __call__(self, request: Request) -> None:
        self.requests.append(request)
        self.writers.append(self._begin(request))
        request.finished.addCallbacks(self.ends.append, self._failed)

    def _failed(self, failure: Failure) -> None:
        self.ends.append(failure.type)

    @property
    def writer(self) -> ResponseWriter:
        return self.writers[-1]


def test_it_is_written_piece_by_piece(serve: Provider) -> None:
    pushing = Pushing(lambda request: request.start(202, {"X-Kind": "push"}))
    service = serve(pushing)
    client = service.connect()
    asked = client.ask("GET", "/")
    assert asked.answer is not None
    assert (asked.status, asked.answer.fields["x-kind"], asked.answer.complete) == (202, "push", False)
    for count in range(1, 4):
        service.advance(1)
        pushing.writer.write(b"piece")
        service.settle()
        assert asked.answer is not None
        assert asked.answer.body == b"piece" * count
    pushing.writer.writeSequence([b"the ", b"end"])
    assert pushing.ends == []
    pushing.writer.finish()
    service.settle()
    assert asked.body == b"piece" * 3 + b"the end"
    assert pushing.ends == [None]
    client.ask("GET", "/")
    pushing.writer.finish()
    assert pushing.ends == [None, None]


def test_it_may_be_whole_within_the_handler(serve: Provider) -> None:
    def handler(request: Request) -> None:
        writer = request.start()
        writer.write(b"hello")
        writer.finish()

    client = serve(handler).connect()
    assert [client.ask("GET", "/").body for _ in range(3)] == [b"hello"] * 3


def test_a_coroutine_may_push(serve: Provider) -> None:
    async def handler(request: Request) -> None:
        writer = request.start(length=6)
        for _ in range(3):
            await service.later(1)
            writer.write(b"hi")
        writer.finish()

    service = serve(handler)
    asked = service.ask("GET")
    service.advance(3)
    assert asked.body == b"hihihi"
    assert asked.answer is not None
    assert asked.answer.fields["content-length"] == "6"


def test_trailers_follow(serve: Provider) -> None:
    pushing = Pushing(lambda request: request.start(trailers=("Checksum",)))
    service = serve(pushing)
    with_, without = service.ask("GET", takesTrailers=True), service.ask("GET")
    for writer in pushing.writers:
        writer.write(b"data")
        writer.finish([("Checksum", "1234")])
    service.settle()
    assert with_.body == without.body == b"data"
    assert with_.answer is not None
    assert without.answer is not None
    assert with_.answer.trailers == {"checksum": "1234"}
    assert without.answer.trailers == {}


def test_for_head_nothing_is_sent(serve: Provider) -> None:
    pushing = Pushing()
    service = serve(pushing)
    asked = service.ask("HEAD")
    pushing.writer.write(b"data")
    pushing.writer.finish()
    service.settle()
    assert (asked.status, asked.body) == (200, b"")
    assert pushing.ends == [None]


def test_it_waits_while_the_client_does_not_read(serve: Provider) -> None:
    made: list[int] = []

    async def handler(request: Request) -> None:
        writer = request.start()
        for number in range(1000):
            writer.write(PIECE)
            made.append(number)
            await writer.whenWritable()
        writer.finish()

    service = serve(handler)
    client = service.connect()
    client.stall()
    asked = client.ask("GET", "/")
    assert 0 < len(made) < 900
    client.resume()
    assert asked.body == PIECE * 1000


@implementer(IPushProducer)
class Push:
    """Writes until it is paused."""

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer
        self.made = 0
        self.paused = False
        self.stopped = 0

    def produce(self) -> None:
        while not self.paused and self.made < 1000:
            self.made += 1
            self._writer.write(PIECE)
        if self.made == 1000 and not self.paused:
            self._writer.unregisterProducer()
            self._writer.finish()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.produce()

    def stopProducing(self) -> None:
        self.paused = True
        self.stopped += 1


@implementer(IPullProducer)
class Pull:
    """Writes a piece whenever it is asked for one."""

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer
        self.made = 0
        self.stopped = 0

    def resumeProducing(self) -> None:
        self.made += 1
        self._writer.write(PIECE)
        if self.made == 1000:
            self._writer.unregisterProducer()
            self._writer.finish()

    def stopProducing(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize("streaming", [True, False])
def test_a_producer_is_held_back(serve: Provider, streaming: bool) -> None:
    producers: list[Push | Pull] = []

    def handler(request: Request) -> None:
        writer = request.start()
        producers.append(Push(writer) if streaming else Pull(writer))
        writer.registerProducer(producers[0], streaming)
        if isinstance(producers[0], Push):
            producers[0].produce()

    service = serve(handler)
    client = service.connect()
    client.stall()
    asked = client.ask("GET", "/")
    assert 0 < producers[0].made < 900
    client.resume()
    assert asked.body == PIECE * 1000
    assert producers[0].stopped == 0


@pytest.mark.parametrize("streaming", [True, False])
def test_a_producer_is_stopped_when_the_client_goes(serve: Provider, streaming: bool) -> None:
    producers: list[Push | Pull] = []

    def handler(request: Request) -> None:
        writer = request.start()
        request.finished.addErrback(lambda _: None)
        producers.append(Push(writer) if streaming else Pull(writer))
        writer.registerProducer(producers[0], streaming)
        if isinstance(producers[0], Push):
            producers[0].produce()

    service = serve(handler)
    client = service.connect()
    client.stall()
    client.ask("GET", "/").cancel()
    assert producers[0].stopped == 1


def test_when_the_client_goes_the_end_says_so_and_nothing_is_raised(serve: Provider) -> None:
    pushing = Pushing()
    service = serve(pushing)
    service.ask("GET").cancel()
    assert pushing.ends == [ConnectionLost]
    pushing.writer.write(b"late")
    pushing.writer.finish()
    assert pushing.ends == [ConnectionLost]


def test_an_abort_breaks_the_response_off(serve: Provider) -> None:
    pushing = Pushing()
    service = serve(pushing)
    asked = service.ask("GET")
    pushing.writer.write(b"part")
    pushing.writer.abort()
    service.settle()
    assert asked.answer is not None
    assert (asked.answer.body, asked.answer.complete) == (b"part", False)
    assert len(pushing.ends) == 1
    assert pushing.ends != [None]


def test_less_than_was_stated_breaks_the_response_off(serve: Provider) -> None:
    pushing = Pushing(lambda request: request.start(length=10))
    service = serve(pushing)
    asked = service.ask("GET")
    pushing.writer.write(b"part")
    pushing.writer.finish()
    service.settle()
    assert asked.answer is not None
    assert (asked.answer.body, asked.answer.complete) == (b"part", False)


def test_behind_the_end_nothing_can_be_written(serve: Provider) -> None:
    pushing = Pushing()
    service = serve(pushing)
    service.ask("GET")
    pushing.writer.finish()
    for act in (lambda: pushing.writer.write(b"more"), pushing.writer.finish, pushing.writer.abort):
        with pytest.raises(ValueError):
            act()


def test_an_error_behind_the_start_breaks_the_response_off(serve: Provider, logged: Logged) -> None:
    async def handler(request: Request) -> None:
        request.start().write(b"part")
        await service.later(1)
        raise KeyError("mine")

    service = serve(handler)
    asked = service.ask("GET")
    service.advance(1)
    assert asked.answer is not None
    assert (asked.answer.body, asked.answer.complete) == (b"part", False)
    assert len(logged.failures(KeyError)) == 1


@pytest.mark.parametrize("status", [100, 199, 600])
def test_what_is_no_final_status_is_refused(serve: Provider, status: int, logged: Logged) -> None:
    assert serve(lambda request: request.start(status) and None).ask("GET").status == 500
    assert len(logged.failures(ValueError)) == 1


def test_an_echo_that_is_pushed(serve: Provider) -> None:
    async def handler(request: Request) -> None:
        data = await request.body.readChunk()
        writer = request.start()
        while data:
            writer.write(data.upper())
            data = await request.body.readChunk()
        writer.finish()

    asked = serve(handler).ask("POST", "/", body=None)
    asked.send(b"one ")
    assert asked.answer is not None
    assert asked.answer.body == b"ONE "
    asked.send(b"two")
    asked.end()
    assert asked.body == b"ONE TWO"


def test_a_body_that_was_not_asked_for_before_the_response_is_lost(serve: Provider) -> None:
    async def handler(request: Request) -> None:
        writer = request.start()
        try:
            await request.read()
        except ValueError:
            writer.write(b"too late")
        writer.finish()

    service = serve(handler)
    whole, later = service.ask("POST", "/", body=b"body"), service.ask("POST", "/", body=None)
    assert whole.body == b"too late"
    assert later.body == b"too late"


def test_the_end_of_an_ordinary_answer_is_told_too(serve: Provider) -> None:
    ends: list[object] = []
    answer: Deferred[bytes] = Deferred()

    def handler(request: Request) -> Deferred[bytes]:
        request.finished.addBoth(ends.append)
        return answer

    service: Service = serve(handler)
    asked = service.ask("GET")
    assert ends == []
    answer.callback(b"done")
    service.settle()
    assert asked.body == b"done"
    assert ends == [None]
