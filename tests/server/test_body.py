"""A request body as the application reads it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ka_twisted import CloseReason, Limits, Request, Response
from ka_twisted.core.errors import BodyTooLarge, IncompleteBody, LocalProtocolError, RemoteProtocolError
from ka_twisted.testing import MemoryClient, MemoryServer
from tests.http1.driving import GET, chunked, get, post, upload
from tests.server.driving import BIG, Held, Observer, core, read, reading, said, statuses

HEAD = get("/", "Content-Length: 10", method="POST")


class Reader:
    """
    A handler that leaves the body to the test.

    :ivar request: the latest request.
    :ivar results: what its reads gave, in order: bytes, or the type of an error.
    """

    def __init__(self) -> None:
        self.request: Any = None
        self.results: list[Any] = []
        self._held = Held()

    def __call__(self, request: Request) -> Deferred[Any]:
        self.request = request
        return self._held(request)

    def read(self) -> Deferred[bytes]:
        some: Deferred[bytes] = self.request.body.readChunk()
        some.addCallbacks(self.results.append, lambda failure: self.results.append(failure.type))
        return some

    def answer(self, result: Any = b"ok") -> None:
        self._held.answer(self.request.number, result)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def client(reader: Reader) -> MemoryClient:
    return MemoryServer(reader).connect()


# -- piece by piece ----------------------------------------------------------------------------------------------------


def test_pieces_are_given_as_they_come(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD)
    reader.read()
    assert reader.results == []
    client.send(b"abc")
    assert reader.results == [b"abc"]
    client.send(b"def")
    assert reader.results == [b"abc"]
    client.send(b"ghij")
    reader.read()
    reader.read()
    assert reader.results == [b"abc", b"defghij", b""]
    reader.read()
    assert reader.results[-1] == b""


def test_nothing_is_given_before_it_is_asked_for(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD + b"abc")
    client.send(b"defghij" + GET)
    assert reader.request.number == 1
    reader.read()
    reader.read()
    assert reader.results == [b"abcdefghij", b""]
    reader.answer()
    assert reader.request.number == 2


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 7, None])
@pytest.mark.ledger("L-10", "D2-11", "D2-20")
def test_the_bytes_are_the_same_however_they_are_cut(pieces: int | None) -> None:
    body = b"".join(b"%d;" % number for number in range(300))
    for request in (post(body), upload(chunked(body[:7], body[7:500], body[500:]))):
        taken: list[bytes] = []
        client = MemoryServer(reading(taken)).connect()
        client.send(request + GET, pieces=pieces)
        assert b"".join(taken) == body
        assert statuses(client) == [200, 200]


@pytest.mark.parametrize("request_", [GET, get("/", "Content-Length: 0", method="POST"), upload(chunked())])
@pytest.mark.ledger("D2-19", "D2-21", "L-17")
def test_a_body_that_is_not_there_is_empty(request_: bytes, reader: Reader, client: MemoryClient) -> None:
    client.send(request_)
    reader.read()
    reader.read()
    assert reader.results == [b"", b""]
    results: list[bytes] = []
    reader.request.read().addCallback(results.append)
    reader.request.read(limit=0).addCallback(results.append)
    assert results == [b"", b""]


def test_iteration_ends_with_the_body() -> None:
    seen: list[bytes] = []

    async def handler(request: Request) -> bytes:
        async for data in request.body:
            seen.append(data)
        async for again in request.body:
            seen.append(again)
        return b"ok"

    client = MemoryServer(handler).connect()
    client.send(upload(b"3\r\nabc\r\n"))
    client.send(b"3\r\ndef\r\n0\r\n\r\n")
    assert seen == [b"abc", b"def"]
    assert statuses(client) == [200]


def test_the_trailers_are_there_at_the_end_and_apart() -> None:
    async def handler(request: Request) -> str:
        before = list(request.body.trailers)
        await request.read()
        return f"{before} {list(request.body.trailers)} {'X-Sum' in request.headers}"

    client = MemoryServer(handler).connect()
    client.send(upload(chunked(b"abc", trailers=b"X-Sum: 6\r\n")))
    assert client.responses[0].body == b"[] [('X-Sum', '6')] False"


# -- one at a time -----------------------------------------------------------------------------------------------------


def test_two_reads_at_the_same_time_are_an_error(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD)
    reader.read()
    reader.read()
    assert reader.results == [LocalProtocolError]
    client.send(b"0123456789")
    assert reader.results == [LocalProtocolError, b"0123456789"]


def test_a_read_can_be_cancelled_and_the_body_stays(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD)
    reading = reader.read()
    reading.cancel()
    assert reader.results == [CancelledError]
    client.send(b"01234")
    assert reader.results == [CancelledError]
    reader.read()
    client.send(b"56789")
    reader.read()
    assert reader.results == [CancelledError, b"01234", b"56789"]


def test_what_is_given_back_comes_first(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD + b"01234")
    reader.request.body.pushBack(b"<b>")
    reader.request.body.pushBack(b"<a>")
    reader.read()
    reader.read()
    assert reader.results == [b"<a><b>", b"01234"]


def test_the_whole_may_be_read_behind_a_part() -> None:
    async def handler(request: Request) -> bytes:
        first = await request.body.readChunk()
        return first.upper() + await request.read()

    client = MemoryServer(handler).connect()
    client.send(HEAD + b"abc")
    client.send(b"defghij")
    assert client.responses[0].body == b"ABCdefghij"


# -- as much as is wanted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 10, 11])
def test_a_body_within_the_limit_is_given(limit: int | None) -> None:
    async def handler(request: Request) -> bytes:
        return await request.read(limit)

    client = MemoryServer(handler).connect()
    client.send(post(b"0123456789") + upload(chunked(b"01234", b"56789")), pieces=7)
    assert [response.body for response in client.responses] == [b"0123456789"] * 2


@pytest.mark.parametrize(
    ("request_", "connection"),
    [
        (post(b"0123456789"), None),
        (get("/", "Content-Length: 1000000", method="POST"), "close"),
        (upload(chunked(b"01234", b"56789")), None),
        (upload(b"5\r\n01234\r\n5\r\n56789\r\n"), "close"),
    ],
    ids=["counted", "long", "chunked", "without end"],
)
@pytest.mark.ledger("L-32", "D1-22", "D1-23", "D1-25")
def test_a_body_beyond_the_limit_of_the_handler_is_413(request_: bytes, connection: str | None) -> None:
    async def handler(request: Request) -> bytes:
        return await request.read(limit=9)

    client = MemoryServer(handler).connect()
    client.send(request_)
    assert statuses(client) == [413]
    assert said(client) == connection
    assert client.ended == (connection is not None)


@pytest.mark.ledger("L-32", "D3-12", "X-04")
def test_a_withheld_body_beyond_the_limit_of_the_handler_is_not_invited() -> None:
    async def handler(request: Request) -> bytes:
        return await request.read(limit=9)

    client = MemoryServer(handler).connect()
    client.send(get("/", "Content-Length: 10", "Expect: 100-continue", method="PUT"))
    assert statuses(client) == [413]
    assert client.closeReason == CloseReason.EXPECTATION_REFUSED


def test_a_handler_may_have_an_answer_of_its_own_to_that() -> None:
    async def handler(request: Request) -> Response:
        try:
            return Response(200, await request.read(limit=9))
        except BodyTooLarge as error:
            return Response(200, f"at most {error.limit}")

    client = MemoryServer(handler).connect()
    client.send(post(b"0123456789"))
    assert client.responses[0].body == b"at most 9"


@pytest.mark.parametrize(
    ("request_", "retry"), [(post(b"x" * 101), 0), (post(b"x" * 101), 30), (upload(chunked(b"x" * 101)), 30)]
)
@pytest.mark.ledger("L-32", "D2-16", "D2-24")
def test_a_body_beyond_the_limit_of_the_server_is_413_and_closes(request_: bytes, retry: int) -> None:
    called: list[object] = []

    async def handler(request: Request) -> bytes:
        called.append(request)
        return await request.read()

    client = MemoryServer(handler, limits=Limits(maxBodyBytes=100, bodyRetryAfter=retry)).connect()
    client.send(request_ + GET)
    (response,) = client.responses
    assert response.status == 413
    assert response.headers.get("retry-after") == (str(retry) if retry else None)
    assert said(client) == "close"
    assert client.closeReason == CloseReason.BODY_TOO_LARGE
    assert len(called) == (0 if b"Content-Length" in request_ else 1)


# -- held back ---------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-16", "D3-11")
def test_a_body_that_nobody_reads_is_held_up_to_the_bound(reader: Reader) -> None:
    server = MemoryServer(reader, limits=Limits(readAhead=1000))
    client = server.connect()
    client.send(get("/", f"Content-Length: {len(BIG)}", method="POST"))
    for start in range(0, len(BIG), 400):
        client.send(BIG[start : start + 400])
    assert client.paused
    assert core(client.protocol).backlog < 1500
    total = 0
    while total < len(BIG):
        reader.results.clear()
        reader.read()
        server.settle()
        total += len(reader.results[0])
        assert core(client.protocol).backlog < 1500
    assert not client.paused


@pytest.mark.ledger("P-16")
def test_while_a_body_is_read_nothing_is_held_back() -> None:
    taken: list[bytes] = []
    client = MemoryServer(reading(taken), limits=Limits(readAhead=1)).connect()
    client.send(post(BIG), pieces=10_000)
    assert not client.paused
    assert b"".join(taken) == BIG


# -- when it breaks off ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "error", "status"),
    [
        (b"no chunk\r\n", RemoteProtocolError, 400),
        (b"5\r\nhelloX", RemoteProtocolError, 400),
        (b"FFFFFFFFFFFFFFFFFF\r\n", RemoteProtocolError, 400),
        (b"0\r\nbroken trailer\r\n\r\n", RemoteProtocolError, 400),
        (None, IncompleteBody, 400),
    ],
)
@pytest.mark.ledger("D2-22", "D2-26", "D2-29", "L-26", "L-31")
def test_a_fault_is_told_behind_the_bytes_before_it(
    tail: bytes | None, error: type[Exception], status: int, reader: Reader, client: MemoryClient
) -> None:
    client.send(upload(b"3\r\nabc\r\n"))
    if tail is None:
        client.halfClose()
    else:
        client.send(tail)
    reader.read()
    reader.read()
    assert reader.results[0].startswith(b"abc")
    while reader.results[-1] is not error:
        assert isinstance(reader.results[-1], bytes)
        reader.read()
    reader.read()
    assert reader.results[-1] is error
    assert statuses(client) == [status]
    assert client.closeReason is not None


def test_bytes_that_nobody_asked_for_are_still_there_when_the_peer_goes(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD + b"01234")
    reader.read()
    reader.read()
    client.reset()
    assert reader.results[0] == b"01234"
    assert issubclass(reader.results[1], Exception)
    reader.read()
    assert reader.results[2] is reader.results[1]


def test_a_reader_that_comes_after_the_end_of_the_connection_is_told(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD)
    client.reset()
    reader.read()
    assert issubclass(reader.results[0], Exception)
    assert not issubclass(reader.results[0], LocalProtocolError)


def test_a_reader_that_comes_after_the_response_is_told(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD)
    reader.answer()
    reader.read()
    assert reader.results == [LocalProtocolError]


def test_a_reader_that_waits_when_the_response_is_given_is_told(reader: Reader, client: MemoryClient) -> None:
    client.send(HEAD)
    reader.read()
    reader.answer()
    assert reader.results == [LocalProtocolError]
    client.send(b"0123456789" + GET)
    assert reader.request.number == 2


@pytest.mark.ledger("D1-24")
def test_a_body_may_still_be_read_while_the_response_is_sent() -> None:
    pieces: list[bytes] = []

    async def handler(request: Request) -> Response:
        pieces.append(await request.body.readChunk())

        async def answer() -> Any:
            yield b"begun,"
            async for data in request.body:
                pieces.append(data)
            yield b"done"

        return Response.stream(answer())

    client = MemoryServer(handler).connect()
    client.send(upload(b"3\r\nabc\r\n"))
    assert statuses(client) == [200]
    client.send(b"3\r\ndef\r\n0\r\n\r\n" + get("/", "Content-Length: 1", method="POST", body=b"x"))
    assert [response.body for response in client.responses] == [b"begun,done"] * 2
    assert pieces == [b"abc", b"def", b"x"]


@pytest.mark.ledger("D1-24", "P-10")
@pytest.mark.parametrize(("rest", "kept"), [(b"3\r\ndef\r\n0\r\n\r\n", True), (b"186A0\r\n" + b"x" * 100_000, False)])
def test_a_response_that_ends_before_the_body_keeps_what_is_short(rest: bytes, kept: bool) -> None:
    async def handler(request: Request) -> Response:
        await request.body.readChunk()

        async def answer() -> Any:
            reading = request.body.readChunk()
            yield b"done"
            reading.addErrback(lambda failure: None)

        return Response.stream(answer())

    client = MemoryServer(handler).connect()
    client.send(upload(b"3\r\nabc\r\n"))
    assert client.responses[0].complete
    assert said(client) is None
    client.send(rest + GET)
    assert client.closeReason == (None if kept else CloseReason.BODY_UNREAD)
    assert len(client.responses) == (2 if kept else 1)


def test_an_error_of_the_application_in_a_read_is_its_own() -> None:
    failures: list[Failure] = []

    async def handler(request: Request) -> bytes:
        data = request.body.readChunk()
        data.addCallback(lambda _: 1 / 0)
        data.addErrback(failures.append)
        await data
        return b"ok"

    client = MemoryServer(handler).connect()
    client.send(post(b"abc"))
    assert failures[0].check(ZeroDivisionError)
    assert statuses(client) == [200]


def test_reading_goes_on_with_the_next_request() -> None:
    client = MemoryServer(read).connect()
    client.send(post(b"one") + upload(chunked(b"two")) + GET + post(b"three"), pieces=4)
    assert [response.body for response in client.responses] == [b"one", b"two", b"", b"three"]


@pytest.mark.parametrize(("begun", "rest"), [(True, b"no chunk\r\n"), (False, b"no chunk\r\n"), (False, None)])
def test_a_body_that_fails_when_it_is_not_wanted_any_more(begun: bool, rest: bytes | None) -> None:
    """It ends the response: those who make it, and those who observe, are told."""
    cancelled: list[Any] = []
    ends: list[Any] = []

    async def handler(request: Request) -> None:
        request.finished.addErrback(lambda failure: ends.append(failure.type))
        if begun:
            request.start().write(b"begun")
        else:
            with pytest.raises(BodyTooLarge):
                await request.read(limit=3)
        await Deferred(cancelled.append)

    observer = Observer()
    client = MemoryServer(handler, observers=[observer]).connect()
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nabcde\r\n")
    assert not cancelled
    if rest is None:
        client.halfClose()
    else:
        client.send(rest)
    assert len(cancelled) == 1
    assert ends == [RemoteProtocolError if rest else IncompleteBody]
    assert statuses(client) == [200 if begun else 400]
    assert client.ended
    assert [exchange.status for exchange in observer.exchanges] == statuses(client)
