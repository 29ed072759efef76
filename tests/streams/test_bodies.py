"""Bodies of responses: every kind that a handler may give, no faster than the client takes them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ka_twisted import Request, Response
from tests.logs import Logged
from tests.streams.bodies import PIECE, Source
from tests.streams.providers import Provider, Service

Kind = Callable[[Source, Service], Any]
KINDS: dict[str, Kind] = {
    "list": lambda source, service: [source.piece] * source.count,
    "iterator": lambda source, service: source.iterator(),
    "async iterator": lambda source, service: source.asynchronous(),
    "slow": lambda source, service: source.slow(service),
    "file": lambda source, service: source.file(),
    "producer": lambda source, service: source.producer(),
    "producer of a length": lambda source, service: source.producer(len(source.whole)),
}
#: Those that tell how far they are.
TELLING = ["iterator", "async iterator", "file", "producer"]

every = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
telling = pytest.mark.parametrize("kind", [KINDS[name] for name in TELLING], ids=TELLING)


@every
@pytest.mark.parametrize("count", [0, 1, 5])
def test_it_comes_whole(serve: Provider, kind: Kind, count: int) -> None:
    source = Source(count)
    service: Service = serve(lambda request: Response.stream(kind(source, service)))
    client = service.connect()
    asked = client.ask("GET", "/")
    service.advance(count)
    assert asked.body == source.whole
    service.advance(1)
    source.made = 0
    after = client.ask("GET", "/")
    service.advance(count)
    assert after.body == source.whole


@every
def test_its_length_may_be_stated(serve: Provider, kind: Kind) -> None:
    source = Source(3)
    service: Service = serve(lambda request: Response.stream(kind(source, service), length=len(source.whole)))
    asked = service.ask("GET")
    service.advance(3)
    assert asked.body == source.whole
    assert asked.answer is not None
    assert asked.answer.fields["content-length"] == str(len(source.whole))


@every
def test_for_head_it_is_not_made(serve: Provider, kind: Kind) -> None:
    source = Source(3)
    service: Service = serve(lambda request: Response.stream(kind(source, service)))
    asked = service.ask("HEAD")
    service.advance(3)
    assert (asked.status, asked.body) == (200, b"")
    assert source.made == 0


@telling
def test_it_is_made_no_faster_than_it_is_taken(serve: Provider, kind: Kind) -> None:
    source = Source(1000)
    service: Service = serve(lambda request: Response.stream(kind(source, service)))
    client = service.connect()
    client.stall()
    asked = client.ask("GET", "/")
    service.settle()
    assert 0 < source.made < 900
    stuck = source.made
    service.settle()
    assert source.made == stuck
    client.resume()
    assert asked.body == source.whole
    assert source.closed == 1


@telling
def test_it_is_let_go_when_the_client_goes(serve: Provider, kind: Kind) -> None:
    source = Source(1000)
    service: Service = serve(lambda request: Response.stream(kind(source, service)))
    client = service.connect()
    client.stall()
    client.ask("GET", "/").cancel()
    assert source.made < 900
    assert source.closed == 1


def test_trailers_follow_it(serve: Provider) -> None:
    source = Source(3)

    def handler(request: Request) -> Response:
        return Response.stream(source.iterator(), trailers={"Made": lambda: str(source.made), "Kind": lambda: "test"})

    service = serve(handler)
    asked = service.ask("GET", takesTrailers=True)
    assert asked.body == source.whole
    assert asked.answer is not None
    assert asked.answer.trailers == {"made": "3", "kind": "test"}


def test_trailers_are_for_those_who_take_them(serve: Provider) -> None:
    def handler(request: Request) -> Response:
        return Response.stream([b"body"], trailers={"Kind": "test"}, optionalTrailers=request.path == "/all")

    client = serve(handler).connect()
    without, everybody = client.ask("GET", "/"), client.ask("GET", "/all")
    assert without.body == everybody.body == b"body"
    assert without.answer is not None
    assert everybody.answer is not None
    assert without.answer.trailers == {}
    assert everybody.answer.trailers == {"kind": "test"}


def test_the_head_goes_before_the_body_is_there(serve: Provider) -> None:
    source = Source(3)
    service: Service = serve(lambda request: Response.stream(source.slow(service), headers={"X-Early": "yes"}))
    asked = service.ask("GET")
    assert asked.answer is not None
    assert asked.answer.fields["x-early"] == "yes"
    for count in range(1, 4):
        assert not asked.answer.complete
        service.advance(1)
        assert asked.answer is not None
        assert asked.answer.body == PIECE * count
    assert asked.answer.complete


@pytest.mark.parametrize("made", [0, 1])
def test_what_fails_behind_the_head_breaks_the_response_off(serve: Provider, made: int, logged: Logged) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(made):
            yield PIECE
        await service.later(1)
        raise ValueError("mine")

    service = serve(lambda request: Response.stream(body()))
    client = service.connect()
    asked = client.ask("GET", "/")
    service.advance(1)
    assert asked.answer is not None
    assert (asked.answer.body, asked.answer.complete) == (PIECE * made, False)
    assert len(logged.failures(ValueError)) == 1


def test_less_than_was_stated_breaks_the_response_off(serve: Provider, logged: Logged) -> None:
    client = serve(lambda request: Response.stream([b"short"], length=10)).connect()
    asked = client.ask("GET", "/")
    assert asked.answer is not None
    assert (asked.answer.body, asked.answer.complete) == (b"short", False)
    logged.failures(Exception)
    logged.messages()


def test_more_than_was_stated_is_dropped_and_said(serve: Provider, logged: Logged) -> None:
    service = serve(lambda request: Response.stream([b"long", b"er"], length=4))
    assert service.ask("GET").body == b"long"
    assert logged.messages() == ["2 bytes of a response that has no room for them were dropped"]


@pytest.fixture
def files() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
def test_a_file_by_its_path(serve: Provider, files: Path, size: int) -> None:
    path = files / "page.html"
    path.write_bytes(b"x" * size)
    client = serve(lambda request: Response.file(path)).connect()
    head, asked, after = client.ask("HEAD", "/"), client.ask("GET", "/"), client.ask("GET", "/")
    for each in (head, asked, after):
        assert each.answer is not None
        if size or each is not head:
            assert each.answer.fields["content-length"] == str(size)
        assert each.answer.fields["content-type"] == "text/html"
    assert head.body == b""
    assert asked.body == after.body == b"x" * size


def test_a_file_from_where_it_stands_and_no_faster_than_it_is_taken(serve: Provider, files: Path) -> None:
    path = files / "data"
    path.write_bytes(b"skipped" + b"x" * 3_000_000)

    def handler(request: Request) -> Response:
        opened.append(path.open("rb"))
        opened[-1].seek(7)
        return Response.file(opened[-1])

    opened: list[Any] = []
    service = serve(handler)
    client = service.connect()
    client.stall()
    asked = client.ask("GET", "/")
    assert not opened[0].closed
    client.resume()
    assert asked.body == b"x" * 3_000_000
    assert opened[0].closed


def test_a_file_is_closed_when_the_client_goes(serve: Provider, files: Path) -> None:
    path = files / "data"
    path.write_bytes(b"x" * 3_000_000)
    opened: list[Any] = []

    def handler(request: Request) -> Response:
        opened.append(path.open("rb"))
        return Response.file(opened[-1])

    service = serve(handler)
    client = service.connect()
    client.stall()
    client.ask("GET", "/").cancel()
    assert opened[0].closed
