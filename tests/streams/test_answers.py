"""What a handler returns, and what its client gets."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from ka_twisted import Request, Response
from tests.logs import Logged
from tests.streams.providers import Provider, Service


def test_bytes_are_a_body(serve: Provider) -> None:
    asked = serve(lambda request: b"hello").ask("GET")
    assert asked.status == 200
    assert asked.body == b"hello"
    assert asked.answer is not None
    assert asked.answer.fields["content-length"] == "5"


def test_text_is_sent_in_utf_8(serve: Provider) -> None:
    asked = serve(lambda request: "h\u00e9llo").ask("GET")
    assert asked.body == "h\u00e9llo".encode()
    assert asked.answer is not None
    assert asked.answer.fields["content-type"] == "text/plain; charset=utf-8"


def test_a_response_says_status_and_fields(serve: Provider) -> None:
    asked = serve(lambda request: Response(404, b"none", [("X-One", "1"), ("X-Two", "2")])).ask("GET")
    assert asked.answer is not None
    assert (asked.status, asked.body) == (404, b"none")
    assert (asked.answer.fields["x-one"], asked.answer.fields["x-two"]) == ("1", "2")


def test_a_request_is_what_was_asked(serve: Provider) -> None:
    def handler(request: Request) -> str:
        return " ".join((request.method, request.target, request.path, request.query, request.headers.get("x-a") or ""))

    assert serve(handler).ask("PUT", "/a/b?c=d", [("X-A", "1")]).body == b"PUT /a/b?c=d /a/b c=d 1"


def test_a_deferred_that_has_fired(serve: Provider) -> None:
    assert serve(lambda request: succeed(b"fired")).ask("GET").body == b"fired"


def test_a_deferred_that_fires_later(serve: Provider) -> None:
    service: Service = serve(lambda request: service.later(5, Response(201, b"late")))
    asked = service.ask("GET")
    service.advance(4)
    assert asked.answer is None
    service.advance(1)
    assert (asked.status, asked.body) == (201, b"late")


def test_a_coroutine_that_does_not_wait(serve: Provider) -> None:
    async def handler(request: Request) -> bytes:
        return b"at once"

    assert serve(handler).ask("GET").body == b"at once"


def test_a_coroutine_that_waits(serve: Provider) -> None:
    async def handler(request: Request) -> Response:
        await service.later(2)
        return Response.text(await service.later(2, "both\n"))

    service = serve(handler)
    asked = service.ask("GET")
    service.advance(3)
    assert asked.answer is None
    service.advance(1)
    assert asked.body == b"both\n"


@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize("body", [b"", b"body"])
def test_what_has_no_body(serve: Provider, status: int, body: bytes, logged: Logged) -> None:
    service = serve(lambda request: Response(status, body))
    client = service.connect()
    asked = [client.ask(method, "/") for method in ("HEAD", "GET", "HEAD")]
    expected = body if status == 200 else b""
    assert [each.status for each in asked] == [status] * 3
    assert [each.body for each in asked] == [b"", expected, b""]
    if expected:
        assert {each.answer.fields["content-length"] for each in asked if each.answer} == {"4"}
    logged.messages()


def test_many_on_one_connection_are_answered_each(serve: Provider) -> None:
    client = serve(lambda request: request.target).connect()
    asked = [client.ask("GET", f"/{number}") for number in range(10)]
    assert [each.body for each in asked] == [b"/%d" % number for number in range(10)]


def test_answers_that_are_ready_out_of_order(serve: Provider) -> None:
    service: Service = serve(lambda request: service.later(float(request.query), request.query))
    client = service.connect()
    asked = [client.ask("GET", f"/?{seconds}") for seconds in (3, 1, 2)]
    service.advance(3)
    assert [each.body for each in asked] == [b"3", b"1", b"2"]


def test_interim_responses_come_first(serve: Provider) -> None:
    async def handler(request: Request) -> bytes:
        request.interim(103, {"Link": "</style.css>"})
        await service.later(1)
        request.interim(103, {"Link": "</script.js>"})
        return b"page"

    service = serve(handler)
    asked = service.ask("GET")
    assert [interim.fields for interim in asked.interims] == [{"link": "</style.css>"}]
    assert asked.answer is None
    service.advance(1)
    assert [(interim.status, interim.fields["link"]) for interim in asked.interims] == [
        (103, "</style.css>"),
        (103, "</script.js>"),
    ]
    assert asked.body == b"page"


def test_an_error_before_the_head_is_a_500(serve: Provider, logged: Logged) -> None:
    def handler(request: Request) -> bytes:
        raise ValueError("mine")

    client = serve(handler).connect()
    asked = [client.ask("GET", "/") for _ in range(2)]
    assert [each.status for each in asked] == [500, 500]
    assert len(logged.failures(ValueError)) == 2


def test_a_failure_later_is_a_500(serve: Provider, logged: Logged) -> None:
    def handler(request: Request) -> Deferred[bytes]:
        return service.later(1).addCallback(lambda _: Failure(ValueError("mine")))

    service = serve(handler)
    asked = service.ask("GET")
    service.advance(1)
    assert asked.status == 500
    assert len(logged.failures(ValueError)) == 1


@pytest.mark.parametrize("result", [None, 200, ["body"]])
def test_what_is_no_response_is_a_500(serve: Provider, result: object, logged: Logged) -> None:
    assert serve(lambda request: result).ask("GET").status == 500
    assert len(logged.failures(TypeError)) == 1


def test_a_second_answer_is_refused(serve: Provider) -> None:
    errors: list[ValueError] = []

    def handler(request: Request) -> bytes:
        service.clock.callLater(1, again, request)
        return b"first"

    def again(request: Request) -> None:
        with pytest.raises(ValueError) as caught:
            request.respond(b"second")
        errors.append(caught.value)

    service = serve(handler)
    asked = service.ask("GET")
    service.advance(1)
    assert asked.body == b"first"
    assert len(errors) == 1


def test_observers_are_told_of_each(serve: Provider) -> None:
    service = serve(lambda request: Response(201, b"12345"))
    client = service.connect()
    client.ask("GET", "/a")
    client.ask("HEAD", "/b")
    told = [
        (exchange.number, exchange.method, exchange.target, exchange.status) for exchange in service.observer.exchanges
    ]
    assert told == [(1, b"GET", b"/a", 201), (2, b"HEAD", b"/b", 201)]
    assert [exchange.bytes_sent for exchange in service.observer.exchanges] == [5, 0]
