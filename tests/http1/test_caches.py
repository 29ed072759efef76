"""What a server remembers for all its connections: within its budget, and no client's secrets."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from ka_twisted.core.headers import NO_FIELDS, response_fields
from ka_twisted.http1.caches import ServerCaches
from tests.http1.driving import Wire, get

BUDGET = 200_000


@pytest.fixture
def traced() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def requests(caches: ServerCaches) -> list[bytes]:
    """The heads and the header sections of requests that are remembered."""
    return [*caches._requests, *caches._sections[False], *caches._sections[True]]


def serve(caches: ServerCaches, data: bytes) -> None:
    """One connection that sends these bytes, and ends."""
    wire = Wire(caches=caches).send(data)
    assert set(wire.statuses) == {200}


@pytest.mark.parametrize(("lines", "size"), [(1, 4), (3, 300), (20, 10), (1, 1800)])
def test_request_heads_and_sections_stay_within_their_budget(traced: None, lines: int, size: int) -> None:
    caches = ServerCaches(budget=BUDGET)
    before = held()
    for number in range(1200):
        fields = [f"X-{index}: {number:0{size}d}" for index in range(lines)]
        serve(caches, get("/", *fields) * 3)
        serve(caches, get("/", *fields))
    assert caches.held <= 3 * BUDGET
    assert held() - before < 1.1 * caches.held + 200_000


def test_response_heads_stay_within_their_budget(traced: None) -> None:
    caches = ServerCaches(budget=BUDGET)
    before = held()
    for number in range(2000):
        fields = response_fields({"X-Long": f"{number:01000d}"})
        for _ in range(3):
            assert caches.ordinary_head(200, fields, 5, False) is not None
    assert caches.held <= BUDGET
    assert held() - before < 1.2 * caches.held + 200_000


def test_a_response_head_is_remembered_once_its_fields_are_used_again() -> None:
    seconds = 0.0
    caches = ServerCaches(seconds=lambda: seconds, wall_clock=lambda: 1_800_000_000 + seconds)
    fields = response_fields({"X-A": "1"})
    caches.ordinary_head(200, fields, 5, False)
    assert not caches.heads[False]
    head = caches.ordinary_head(200, fields, 5, False)
    assert caches.heads[False].get((200, fields, 5)) == head
    seconds = 1.0
    assert caches.ordinary_head(200, fields, 5, False) != head
    assert caches.heads[False].get((200, fields, 5)) != head


def test_a_response_head_with_a_cookie_is_not_remembered() -> None:
    caches = ServerCaches()
    fields = response_fields({"Set-Cookie": "a=b"})
    for _ in range(3):
        head = caches.ordinary_head(200, fields, 5, False)
        assert head is not None
        assert b"Set-Cookie: a=b\r\n" in head
    assert not caches.heads[False]


@pytest.mark.parametrize("line", ["Cookie: a=b", "Authorization: Basic QQ==", "proxy-authorization: x"])
def test_a_request_with_a_secret_is_not_remembered_for_others(line: str) -> None:
    caches = ServerCaches()
    for _ in range(4):
        serve(caches, get("/", line) * 4)
    assert not requests(caches)


def test_a_request_that_repeats_is() -> None:
    caches = ServerCaches()
    serve(caches, get("/"))
    assert not requests(caches)
    serve(caches, get("/"))
    assert len(requests(caches)) == 1


def test_a_budget_of_nothing_keeps_nothing() -> None:
    caches = ServerCaches(budget=0)
    for _ in range(3):
        serve(caches, get("/") * 4)
        caches.ordinary_head(200, NO_FIELDS, 5, True)
    assert caches.held == 0
