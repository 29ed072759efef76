"""From a request to its response: what handlers return and raise, and what becomes of them when the client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, globalLogPublisher

from ka_twisted import CloseReason, KeepAliveProtocol, Limits, Request, Response
from ka_twisted.core.errors import IncompleteBody, LocalProtocolError, ProtocolError
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET, GET_10, chunked, get, post, upload
from tests.ledger import case
from tests.logs import Logged
from tests.server.driving import BIG, Held, Observer, endless, ignore, numbered, read, said, silent, statuses, uncounted

Handler = Callable[[Request], Any]


class Trouble(Exception):
    """What handlers of these tests raise."""


def later(request: Request, result: Any = None, seconds: float = 5) -> Deferred[Any]:
    return deferLater(request.connection.clock, seconds, lambda: result)


# -- what handlers return ----------------------------------------------------------------------------------------------


async def at_once(request: Request) -> bytes:
    return b"it"


async def after_a_fired_deferred(request: Request) -> bytes:
    return await succeed(b"it")


class Promise:
    """Something to be awaited that is neither a Deferred nor a coroutine."""

    def __await__(self) -> Generator[Any, Any, bytes]:
        return succeed(b"it").__await__()


@pytest.mark.parametrize(
    "handler",
    [
        lambda request: Response(200, b"it"),
        lambda request: b"it",
        lambda request: "it",
        lambda request: succeed(b"it"),
        lambda request: succeed(Response(200, b"it")),
        lambda request: succeed("it"),
        at_once,
        after_a_fired_deferred,
        lambda request: Promise(),
        lambda request: succeed(None).addCallback(lambda _: b"it"),
        lambda request: Response.stream([b"i", b"t"]),
        lambda request: succeed(Response.stream(uncounted(b"it"))),
    ],
    ids=[
        "Response", "bytes", "str", "Deferred of bytes", "Deferred of Response", "Deferred of str", "coroutine",
        "coroutine that awaits", "awaitable", "chained Deferred", "stream", "Deferred of stream",
    ],
)  # fmt: skip
@pytest.mark.ledger("P-01", "P-02")
def test_a_handler_may_return(handler: Handler) -> None:
    client = MemoryServer(handler).connect()
    client.send(GET * 3)
    assert [(response.status, response.body) for response in client.responses] == [(200, b"it")] * 3
    assert not client.ended


@pytest.mark.parametrize("kind", ["Deferred", "coroutine", "awaitable"])
def test_a_handler_may_take_its_time(kind: str) -> None:
    async def coroutine(request: Request) -> bytes:
        await later(request, seconds=2)
        return await later(request, b"late", 3)  # type: ignore[no-any-return]

    class Awaited:
        def __init__(self, request: Request) -> None:
            self._request = request

        def __await__(self) -> Generator[Any, Any, bytes]:
            return coroutine(self._request).__await__()

    handlers: dict[str, Handler] = {
        "Deferred": lambda request: later(request, b"late"), "coroutine": coroutine, "awaitable": Awaited,
    }  # fmt: skip
    server = MemoryServer(handlers[kind])
    client = server.connect()
    client.send(GET)
    server.advance(4.9)
    assert client.received == b""
    server.advance(0.2)
    assert client.responses[0].body == b"late"
    client.send(GET)
    server.advance(5)
    assert len(client.responses) == 2


def test_a_status_may_be_one_of_the_standard_library() -> None:
    client = MemoryServer(lambda request: Response(HTTPStatus.NOT_FOUND, b"")).connect()
    client.send(GET)
    assert client.received.startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_coroutines_run_in_a_context_of_their_own() -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")
    seen: list[str] = []

    async def handler(request: Request) -> str:
        seen.append(name.get())
        name.set(request.path)
        await later(request, seconds=request.number)
        return name.get()

    async def at_once(request: Request) -> str:
        name.set("leaked")
        return name.get()

    server = MemoryServer(handler)
    client = server.connect()
    client.send(get("/first") + get("/second") + get("/third"))
    server.advance(10)
    assert [response.body for response in client.responses] == [b"/first", b"/second", b"/third"]
    assert seen == ["nobody"] * 3
    other = MemoryServer(at_once).connect()
    other.send(GET)
    assert other.responses[0].body == b"leaked"
    assert name.get() == "nobody"


# -- what handlers raise -----------------------------------------------------------------------------------------------


def raising(request: Request) -> bytes:
    raise Trouble("at once")


async def raising_in_a_coroutine(request: Request) -> bytes:
    raise Trouble("in a coroutine")


async def raising_after_a_wait(request: Request) -> bytes:
    await later(request)
    raise Trouble("after a wait")


async def raising_after_reading(request: Request) -> bytes:
    await request.read()
    raise Trouble("after reading")


def failing(request: Request) -> Deferred[bytes]:
    return fail(Trouble("in a Deferred"))


def failing_later(request: Request) -> Deferred[bytes]:
    def trouble(_: object) -> bytes:
        raise Trouble("later")

    return later(request).addCallback(trouble)


FAILURES = [raising, raising_in_a_coroutine, raising_after_a_wait, raising_after_reading, failing, failing_later]


@pytest.mark.parametrize("handler", FAILURES)
@pytest.mark.ledger("D4-18", "P-02")
def test_a_handler_that_fails_is_logged_once_and_answered_500_and_the_connection_is_kept(
    handler: Handler, logged: Logged
) -> None:
    server = MemoryServer(lambda request: handler(request) if request.number == 1 else b"fine")
    client = server.connect()
    client.send(GET)
    server.advance(5)
    (failure,) = logged.failures(Trouble)
    assert str(failure.value) in failure.getTraceback()
    client.send(GET)
    assert [response.status for response in client.responses] == [500, 200]
    assert said(client) is None
    assert b"Trouble" not in client.received


def test_what_is_logged_of_a_failure_can_be_searched_for(logged: Logged) -> None:
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    MemoryServer(raising).connect("192.0.2.7").send(get("/x"))
    globalLogPublisher.removeObserver(observer)
    (event,) = events
    assert (event["method"], event["target"], event["id"], event["number"]) == ("GET", "/x", 1, 1)
    assert event["peer"].host == "192.0.2.7"
    assert len(logged.failures(Trouble)) == 1


@pytest.mark.parametrize("result", [None, 7, {"a": 1}, object(), [b"x"], bytearray(b"x"), Response])
@pytest.mark.parametrize("way", ["value", "Deferred", "coroutine"])
@pytest.mark.ledger("D4-18")
def test_another_result_is_an_error_of_the_handler(result: Any, way: str, logged: Logged) -> None:
    async def coroutine(request: Request) -> Any:
        return result

    handlers: dict[str, Handler] = {
        "value": lambda request: result, "Deferred": lambda request: succeed(result), "coroutine": coroutine,
    }  # fmt: skip
    client = MemoryServer(handlers[way]).connect()
    client.send(GET * 2)
    assert statuses(client) == [500, 500]
    failures = logged.failures(TypeError)
    assert len(failures) == 2
    assert "a handler returns a Response, a Switch, bytes or str" in str(failures[0].value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Response(99),
        lambda: Response(600),
        lambda: Response(101),
        lambda: Response(200, b"", {"X-Bad": "a\r\nInjected: b"}),
        lambda: Response(200, b"", {"X-Bad\0": "a"}),
        lambda: Response(200, b"", [("X-Bad", b"a\nb")]),
        lambda: Response(200, b"", {"X-Bad": "a\0b"}),
    ],
)
@pytest.mark.ledger("D4-24", "D4-18")
def test_a_response_that_is_none_raises_in_the_application(make: Callable[[], Response], logged: Logged) -> None:
    client = MemoryServer(lambda request: make()).connect()
    client.send(GET)
    assert statuses(client) == [500]
    assert not client.ended
    assert len(logged.failures(ValueError)) == 1


@pytest.mark.parametrize(
    ("request_", "status", "connection"),
    [
        case("D4-18", post(b"x" * 100), 500, None, note="short rest"),
        case("D1-23", get("/", "Content-Length: 100000", method="POST"), 500, "close", note="long rest"),
        case("D1-25", upload(b"5\r\nhello\r\n"), 500, "close", note="unknown rest"),
        case("D1-26", get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"), 500, "close"),
        case("D1-07", get("/", "Connection: close"), 500, "close"),
        case("D1-09", GET_10, 500, "close"),
    ],
)
def test_the_500_follows_the_table_as_any_response(
    request_: bytes, status: int, connection: str | None, logged: Logged
) -> None:
    client = MemoryServer(raising).connect()
    client.send(request_)
    assert statuses(client) == [status]
    assert said(client) == connection
    assert client.ended == (connection == "close")
    assert len(logged.failures(Trouble)) == 1


@pytest.mark.ledger("X-11", "D3-22")
def test_a_failure_after_the_100_is_500_and_closes_unless_the_body_is_complete(logged: Logged) -> None:
    async def handler(request: Request) -> bytes:
        await request.body.readChunk()
        raise Trouble

    for length, kept in ((3, True), (100_000, False)):
        client = MemoryServer(handler).connect()
        client.send(get("/", f"Content-Length: {length}", "Expect: 100-continue", method="PUT"))
        assert statuses(client) == [100]
        client.send(b"abc")
        assert statuses(client) == [100, 500]
        assert client.ended is not kept
        assert said(client) == (None if kept else "close")
        assert len(logged.failures(Trouble)) == 1


def test_a_handler_that_lets_a_protocol_error_pass_is_answered_with_its_status() -> None:
    async def handler(request: Request) -> bytes:
        return await request.read(limit=3)

    client = MemoryServer(handler).connect()
    client.send(post(b"abcd") + post(b"abc"))
    assert statuses(client) == [413, 200]
    assert not client.ended


UNUSUAL = [SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError, asyncio.CancelledError]


@pytest.mark.parametrize("error", UNUSUAL)
@pytest.mark.parametrize("how", ["at once", "in a coroutine", "after a wait"])
def test_whatever_a_handler_raises_is_a_500_and_one_log_entry(
    error: type[BaseException], how: str, logged: Logged
) -> None:
    waits: list[Deferred[None]] = []

    def at_once(request: Request) -> bytes:
        if request.path == "/fails":
            raise error
        return b"fine"

    async def in_a_coroutine(request: Request) -> bytes:
        if how == "after a wait" and request.path == "/fails":
            waits.append(Deferred())
            await waits[0]
        return at_once(request)

    client = MemoryServer(at_once if how == "at once" else in_a_coroutine).connect()
    client.send(get("/1") + get("/fails") + get("/3"))
    for wait in waits:
        wait.callback(None)
    assert statuses(client) == [200, 500, 200]
    assert not client.ended
    assert logged.entries(error) == ["the handler failed on GET /fails (connection 1, request 2)"]


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.ledger("D4-19", "D1-02")
def test_a_failure_after_the_head_aborts_and_shows_it(framing: str, logged: Logged) -> None:
    def body() -> Any:
        yield b"part"
        raise Trouble

    length = 100 if framing == "length" else None
    client = MemoryServer(lambda request: Response.stream(body(), length=length)).connect()
    client.send(GET)
    (response,) = client.responses
    assert (response.status, response.body, response.complete) == (200, b"part", False)
    assert client.ended
    assert not client.wasReset
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert len(logged.failures(Trouble)) == 1


@pytest.mark.ledger("D4-20", "D1-02")
def test_a_failure_in_a_body_that_the_close_ends_is_a_reset(logged: Logged) -> None:
    def body() -> Any:
        yield b"part"
        raise Trouble

    client = MemoryServer(lambda request: Response.stream(body())).connect()
    client.send(GET_10)
    assert client.wasReset
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert len(logged.failures(Trouble)) == 1


@pytest.mark.ledger("D4-19", "N-08")
def test_nothing_is_served_behind_an_abort(logged: Logged) -> None:
    def body() -> Any:
        yield b"part"
        raise Trouble

    held = Held()
    server = MemoryServer(lambda request: Response.stream(body(), length=9) if request.number == 2 else held(request))
    client = server.connect()
    client.send(GET * 4)
    held.answer(1)
    assert [response.complete for response in client.responses] == [True, False]
    assert list(held.requests) == [1]
    assert len(logged.failures(Trouble)) == 1


# -- lengths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.ledger("D4-16", "L-11")
def test_bytes_beyond_the_stated_length_are_dropped_and_logged(way: str, logged: Logged) -> None:
    def handler(request: Request) -> Response:
        if way == "whole":
            return Response(200, b"hello world", {"Content-Length": "5"})
        return Response.stream([b"hello", b" world"], length=5)

    client = MemoryServer(handler).connect()
    client.send(GET * 2)
    (response,) = client.responses
    assert (response.body, response.complete) == (b"hello", True)
    assert client.ended
    (message,) = logged.messages()
    assert message.startswith("6 bytes")


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.ledger("D4-17", "L-11")
def test_fewer_bytes_than_stated_are_an_abort(way: str) -> None:
    def handler(request: Request) -> Response:
        if way == "whole":
            return Response(200, b"hello", {"Content-Length": "11"})
        return Response.stream([b"hel", b"lo"], length=11)

    client = MemoryServer(handler).connect()
    client.send(GET * 2)
    (response,) = client.responses
    assert (response.body, response.complete) == (b"hello", False)
    assert client.ended
    assert client.closeReason == CloseReason.APPLICATION_ABORT


@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.ledger("D4-23", "L-01", "L-02")
def test_bytes_for_a_response_without_a_body_are_dropped_and_logged(status: int, way: str, logged: Logged) -> None:
    def handler(request: Request) -> Response:
        return Response(status, b"hello") if way == "whole" else Response.stream(uncounted(b"hel", b"lo"), status)

    client = MemoryServer(handler).connect()
    client.send(GET * 2)
    assert [(response.status, response.body) for response in client.responses] == [(status, b"")] * 2
    assert client.received.endswith(b"\r\n\r\n")
    assert not client.ended
    assert len(logged.messages()) == 2


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.ledger("L-01", "D4-05", "D4-06")
def test_the_body_of_a_head_is_dropped_without_a_word(way: str) -> None:
    def handler(request: Request) -> Response:
        return Response(200, b"hello") if way == "whole" else Response.stream(uncounted(b"hello"))

    client = MemoryServer(handler).connect()
    client.send(get("/", method="HEAD") * 2 + GET)
    assert [response.body for response in client.responses] == [b"", b"", b"hello"]
    assert not client.ended


@pytest.mark.ledger("L-04", "V-07")
def test_fields_that_belong_to_the_serialiser_are_dropped_and_logged(logged: Logged) -> None:
    fields = {"Transfer-Encoding": "chunked", "Keep-Alive": "timeout=9", "X-Mine": "kept", "Upgrade": "mine"}
    client = MemoryServer(lambda request: Response(200, b"hello", fields)).connect()
    client.send(GET)
    (response,) = client.responses
    assert [name for name, _ in response.headers] == ["Date", "X-Mine", "Content-Length"]
    assert len(logged.messages(LogLevel.warn)) == 1


# -- trailers ----------------------------------------------------------------------------------------------------------


def with_trailers(request: Request) -> Response:
    body = [b"one", b"two"]
    trailers: dict[str, str | bytes | Callable[[], str | bytes]] = {
        "Checksum": "abc", "Count": lambda: str(len(body)),
    }  # fmt: skip
    return Response.stream(body, trailers=trailers)


@pytest.mark.ledger("D4-21", "L-27")
def test_trailers_go_to_those_who_ask() -> None:
    client = MemoryServer(with_trailers).connect()
    client.send(get("/", "TE: trailers", "Connection: TE"))
    (response,) = client.responses
    assert response.headers.get("trailer") == "Checksum, Count"
    assert list(response.trailers) == [("Checksum", "abc"), ("Count", "2")]
    assert response.body == b"onetwo"


@pytest.mark.parametrize(
    ("request_", "length"),
    [(GET, None), (get("/", "TE: trailers"), None), (get("/", "TE: trailers", "Connection: TE"), 6), (GET_10, None)],
    ids=["not asked for", "TE not named in Connection", "counted", "HTTP/1.0"],
)
@pytest.mark.ledger("D4-22", "L-27", "L-29")
def test_trailers_are_dropped_otherwise_and_the_body_is_whole(request_: bytes, length: int | None) -> None:
    client = MemoryServer(
        lambda request: Response.stream([b"one", b"two"], length=length, trailers={"Checksum": "abc"})
    ).connect()
    client.send(request_)
    (response,) = client.responses
    assert response.body == b"onetwo"
    assert response.complete
    assert len(response.trailers) == 0
    assert "trailer" not in response.headers


@pytest.mark.ledger("D4-21", "L-27")
def test_optional_trailers_go_to_everybody_who_takes_chunks() -> None:
    client = MemoryServer(
        lambda request: Response(200, b"whole", trailers={"Checksum": "abc"}, optionalTrailers=True)
    ).connect()
    client.send(GET)
    (response,) = client.responses
    assert response.body == b"whole"
    assert response.trailers.get("checksum") == "abc"


@pytest.mark.parametrize("trouble", ["a\r\nb", 7])
@pytest.mark.ledger("D4-19", "D4-24")
def test_a_trailer_that_is_none_aborts(trouble: Any, logged: Logged) -> None:
    client = MemoryServer(
        lambda request: Response.stream([b"x"], trailers={"A": lambda: trouble}, optionalTrailers=True)
    ).connect()
    client.send(GET)
    assert not client.responses[0].complete
    assert client.closeReason == CloseReason.APPLICATION_ABORT
    assert len(logged.failures(ValueError)) == 1


# -- when the peer departs ---------------------------------------------------------------------------------------------


@pytest.mark.ledger("P-13", "P-14")
def test_the_departure_cancels_the_deferred() -> None:
    held = Held()
    client = MemoryServer(held).connect()
    client.send(GET * 3)
    client.reset()
    assert held.cancelled == [1, 2, 3]


@pytest.mark.ledger("P-13", "P-14")
def test_the_departure_cancels_the_coroutine() -> None:
    ends: list[str] = []

    async def handler(request: Request) -> bytes:
        try:
            await Deferred()
        except CancelledError:
            ends.append("cancelled")
            raise
        finally:
            ends.append("cleaned up")
        return b"never"

    client = MemoryServer(handler).connect()
    client.send(GET)
    assert ends == []
    client.reset()
    assert ends == ["cancelled", "cleaned up"]


@pytest.mark.parametrize(
    ("way", "error", "reason"),
    [
        ("disconnect", IncompleteBody, CloseReason.PEER_CLOSED_MID_REQUEST),
        ("reset", ConnectionLost, CloseReason.PEER_CLOSED_MID_REQUEST),
    ],
)
@pytest.mark.ledger("P-13", "P-14", "L-31")
def test_the_departure_wakes_who_reads_the_body(way: str, error: type[Exception], reason: CloseReason) -> None:
    seen: list[object] = []

    async def handler(request: Request) -> bytes:
        try:
            async for data in request.body:
                seen.append(data)
        except Exception as problem:
            seen.append(type(problem))
            raise
        return b"never"

    client = MemoryServer(handler).connect()
    client.send(get("/", "Content-Length: 10", method="POST", body=b"part"))
    getattr(client, way)()
    assert seen == [b"part", error]
    assert client.closeReason == reason


def test_a_reader_outside_the_handler_is_woken_too() -> None:
    reads: list[Deferred[bytes]] = []

    def handler(request: Request) -> Deferred[Any]:
        reads.append(request.read())
        return Deferred()

    client = MemoryServer(handler).connect()
    client.send(get("/", "Content-Length: 10", method="POST", body=b"part"))
    client.reset()
    results: list[Any] = []
    reads[0].addErrback(results.append)
    assert results[0].check(ConnectionLost)


@pytest.mark.ledger("L-31", "D2-29")
def test_a_half_close_inside_the_body_is_told_and_answered_400() -> None:
    seen: list[BaseException] = []

    async def handler(request: Request) -> bytes:
        try:
            return await request.read()
        except Exception as error:
            seen.append(error)
            raise

    client = MemoryServer(handler).connect()
    client.send(get("/", "Content-Length: 10", method="POST", body=b"part"))
    client.halfClose()
    assert [type(error) for error in seen] == [IncompleteBody]
    assert statuses(client) == [400]
    assert said(client) == "close"


@pytest.mark.parametrize("result", [b"late", Response(200, BIG), "late"])
def test_late_results_of_a_handler_that_does_not_care_are_ignored(result: Any) -> None:
    answers: list[Deferred[Any]] = []

    def handler(request: Request) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        answer.cancel = lambda: None  # type: ignore[method-assign]
        answers.append(answer)
        return answer

    observer = Observer()
    server = MemoryServer(handler, observers=[observer])
    client = server.connect()
    client.send(GET)
    client.reset()
    answers[0].callback(result)
    assert client.received == b""
    assert [told[0] for told in observer.told] == ["opened", "finished", "closed"]


def test_a_coroutine_that_goes_on_after_its_cancellation_is_left_alone() -> None:
    ends: list[str] = []

    async def handler(request: Request) -> bytes:
        try:
            await Deferred()
        except CancelledError:
            await later(request)
        ends.append("went on")
        return b"late"

    server = MemoryServer(handler)
    client = server.connect()
    client.send(GET)
    client.reset()
    server.advance(5)
    assert ends == ["went on"]


def test_a_late_stream_is_let_go() -> None:
    closed: list[str] = []

    class Body:
        def __iter__(self) -> Any:
            closed.append("begun")
            return iter([b"x"])

        def close(self) -> None:
            closed.append("closed")

    async def handler(request: Request) -> Response:
        try:
            await Deferred()
        except CancelledError:
            pass
        return Response.stream(Body())

    client = MemoryServer(handler).connect()
    client.send(GET)
    client.reset()
    assert closed == ["closed"]


@pytest.mark.parametrize("error", [ConnectionLost, ConnectionDone, CancelledError, ProtocolError])
def test_errors_that_the_departure_explains_are_not_logged(error: type[Exception]) -> None:
    async def handler(request: Request) -> bytes:
        try:
            await Deferred()
        except CancelledError:
            raise error from None
        return b""

    client = MemoryServer(handler).connect()
    client.send(GET)
    client.reset()
    assert client.closed


def test_errors_that_it_does_not_explain_are(logged: Logged) -> None:
    async def handler(request: Request) -> bytes:
        try:
            await Deferred()
        except CancelledError:
            raise Trouble("while cleaning up") from None
        return b""

    client = MemoryServer(handler).connect()
    client.send(GET)
    client.reset()
    assert len(logged.failures(Trouble)) == 1


def test_a_canceller_that_raises_is_logged_and_changes_nothing(logged: Logged) -> None:
    def canceller(_: Deferred[Any]) -> None:
        raise Trouble("in the canceller")

    observer = Observer()
    server = MemoryServer(lambda request: Deferred(canceller), observers=[observer])
    client = server.connect()
    client.send(GET * 3)
    client.reset()
    assert len(logged.failures(Trouble)) == 3
    assert server.factory.connectionCount == 0
    assert [told[0] for told in observer.told] == ["opened", *["finished"] * 3, "closed"]


@pytest.mark.ledger("P-13")
def test_a_half_close_cancels_nothing() -> None:
    held = Held()
    client = MemoryServer(held).connect()
    client.send(GET)
    client.halfClose()
    assert held.cancelled == []
    held.answer(1)
    assert statuses(client) == [200]


# -- once only ---------------------------------------------------------------------------------------------------------


class Respondent(KeepAliveProtocol):
    """Answers by itself, through `Request.respond`."""

    def requestReceived(self, request: Request) -> None:
        self.factory.handler(request)


def test_a_subclass_may_answer_at_once_or_later() -> None:
    kept: list[Request] = []
    client = MemoryServer(kept.append, protocol=Respondent).connect()
    client.send(get("/a") + get("/b"))
    kept[1].respond(Response(201, b"second"))
    assert client.received == b""
    kept[0].respond(succeed("first"))
    assert [response.body for response in client.responses] == [b"first", b"second"]


def test_a_second_answer_raises_in_the_application() -> None:
    kept: list[Request] = []
    client = MemoryServer(kept.append, protocol=Respondent).connect()
    client.send(GET)
    kept[0].respond(b"one")
    results: list[Any] = [b"two", Deferred()]
    for result in results:
        with pytest.raises(LocalProtocolError):
            kept[0].respond(result)
    assert [response.body for response in client.responses] == [b"one"]


def test_a_second_answer_while_the_first_is_awaited_raises() -> None:
    kept: list[Request] = []
    client = MemoryServer(kept.append, protocol=Respondent).connect()
    client.send(GET)
    answer: Deferred[bytes] = Deferred()
    kept[0].respond(answer)
    with pytest.raises(LocalProtocolError):
        kept[0].respond(b"impatient")
    answer.callback(b"one")
    assert [response.body for response in client.responses] == [b"one"]


def test_an_answer_after_the_departure_raises_too() -> None:
    kept: list[Request] = []
    client = MemoryServer(kept.append, protocol=Respondent).connect()
    client.send(GET)
    client.reset()
    with pytest.raises(LocalProtocolError):
        kept[0].respond(b"late")


def test_a_failure_that_a_subclass_answers_with_is_logged(logged: Logged) -> None:
    kept: list[Request] = []
    client = MemoryServer(kept.append, protocol=Respondent).connect()
    client.send(GET)
    kept[0].respond(raising_in_a_coroutine(kept[0]))
    assert statuses(client) == [500]
    assert len(logged.failures(Trouble)) == 1


def test_each_request_is_told_over_once() -> None:
    def handler(request: Request) -> Any:
        ways: dict[str, Handler] = {
            "/value": ignore, "/stream": lambda request: Response.stream(uncounted(b"x")), "/read": read,
            "/late": lambda request: later(request, b"late"),
        }  # fmt: skip
        return ways[request.path](request)

    observer = Observer()
    server = MemoryServer(handler, observers=[observer])
    client = server.connect()
    for path in ("/value", "/stream", "/read", "/late", "/value"):
        client.send(get(path, "Content-Length: 1", method="POST", body=b"x"))
        server.advance(5)
    client.send(b"broken\r\n\r\n")
    assert [told for told in observer.told if told[0] == "finished"] == [("finished", 1, n) for n in range(1, 7)]
    assert [exchange.status for exchange in observer.exchanges] == [200] * 5 + [400]
    assert all(exchange.started is not None for exchange in observer.exchanges)


@pytest.mark.ledger("N-08")
def test_requests_that_nobody_answers_any_more_are_told_over_too() -> None:
    held = Held()
    observer = Observer()
    server = MemoryServer(held, observers=[observer])
    client = server.connect()
    client.send(GET * 3)
    held.answer(1, Response(200, b"last", {"Connection": "close"}))
    assert statuses(client) == [200]
    assert held.cancelled == [2, 3]
    assert sorted(exchange.number for exchange in observer.exchanges) == [1, 2, 3]
    assert {exchange.number: exchange.status for exchange in observer.exchanges} == {1: 200, 2: None, 3: None}


@pytest.mark.ledger("N-08")
def test_they_are_cancelled_also_while_the_last_response_is_stuck() -> None:
    held = Held()
    observer = Observer()
    server = MemoryServer(held, observers=[observer])
    client = server.connect()
    client.stall()
    client.send(GET * 2)
    held.answer(1, Response.stream(iter([BIG]), headers={"Connection": "close"}))
    assert held.cancelled == [2]
    client.reset()
    assert sorted(exchange.number for exchange in observer.exchanges) == [1, 2]


def test_refused_requests_begin_when_they_are_seen() -> None:
    observer = Observer()
    server = MemoryServer(observers=[observer])
    client = server.connect()
    server.advance(3)
    client.send(b"broken\r\n\r\n")
    assert [exchange.started for exchange in observer.exchanges] == [3]


# -- interim responses -------------------------------------------------------------------------------------------------


@pytest.mark.ledger("X-09", "D4-01", "D4-02")
def test_interim_responses_go_out_at_once_and_never_to_http10() -> None:
    def handler(request: Request) -> Deferred[bytes]:
        request.interim(103, {"Link": "</a.css>; rel=preload"})
        return later(request, b"done")

    for request, expected in ((GET, [103, 200]), (GET_10, [200])):
        server = MemoryServer(handler)
        client = server.connect()
        client.send(request)
        assert statuses(client) == expected[:-1]
        server.advance(5)
        assert statuses(client) == expected


def test_interim_responses_wait_for_their_turn() -> None:
    held = Held()
    client = MemoryServer(held).connect()
    client.send(GET * 2)
    held.requests[2].interim(103)
    assert client.received == b""
    held.answer(2)
    held.answer(1)
    assert statuses(client) == [200, 103, 200]


def test_an_interim_response_behind_the_final_one_raises(logged: Logged) -> None:
    kept: list[Request] = []

    def handler(request: Request) -> bytes:
        kept.append(request)
        return b"final"

    client = MemoryServer(handler).connect()
    client.send(GET)
    for status in (103, 100, 101, 200, 99):
        with pytest.raises(ValueError):
            kept[0].interim(status)
    assert statuses(client) == [200]


@pytest.mark.parametrize("status", [100, 101, 200, 99, 600])
def test_not_every_status_is_an_interim_one(status: int, logged: Logged) -> None:
    def handler(request: Request) -> bytes:
        request.interim(status)
        return b"never"

    client = MemoryServer(handler).connect()
    client.send(GET)
    assert statuses(client) == [500]
    assert len(logged.failures(ValueError)) == 1


def test_a_body_cannot_be_read_behind_the_response() -> None:
    kept: list[Request] = []

    def handler(request: Request) -> bytes:
        kept.append(request)
        return b"done"

    client = MemoryServer(handler).connect()
    client.send(post(b"abc"))
    failed: list[Any] = []
    kept[0].body.readChunk().addErrback(failed.append)
    assert failed[0].check(LocalProtocolError)


def test_handlers_see_numbers() -> None:
    client = MemoryServer(numbered).connect()
    client.send(GET * 3)
    assert [response.body for response in client.responses] == [b"1\n", b"2\n", b"3\n"]


def test_a_handler_that_never_answers_costs_no_timer() -> None:
    server = MemoryServer(silent, limits=Limits())
    client = server.connect()
    client.send(GET)
    server.advance(100_000)
    assert not client.ended
    client.reset()
    assert server.factory.connectionCount == 0


def test_an_endless_response_is_stopped_by_the_departure() -> None:
    closed: list[str] = []

    def body() -> Any:
        try:
            yield from endless()
        finally:
            closed.append("closed")

    server = MemoryServer(lambda request: Response.stream(body()))
    client = server.connect()
    client.stall()
    client.send(GET)
    client.reset()
    assert closed == ["closed"]


def test_an_awaitable_of_chunks_is_no_body() -> None:
    with pytest.raises(ValueError):
        Response(200, later)  # type: ignore[arg-type]


def test_pieces_of_chunked_requests_are_joined_by_read() -> None:
    client = MemoryServer(read).connect()
    client.send(upload(chunked(b"one", b"two", b"three")), pieces=3)
    assert client.responses[0].body == b"onetwothree"


def test_awaitables_are_typed() -> None:
    assert isinstance(Promise(), Awaitable)
