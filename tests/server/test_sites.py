"""Several sites on one server."""

from __future__ import annotations

from typing import Any

import pytest

from ka_twisted import Policy, Request, Sites
from ka_twisted.testing import MemoryServer
from tests.http1.driving import GET_10, get
from tests.server.driving import said, statuses


def named(name: str) -> Any:
    def handler(request: Request) -> str:
        return name

    return handler


TABLE = {
    "one.test": named("one"),
    "two.test:8080": named("two"),
    "TWO.test": named("two, any"),
    "[::1]": named("six"),
    "whole.test.": named("whole"),
}


def ask(host: str | None, *, default: Any = None, target: str = "/", **settings: Any) -> tuple[int, bytes, str | None]:
    client = MemoryServer(Sites(TABLE, default), **settings).connect()
    if host is None:
        client.send(GET_10)
    else:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    (response,) = client.responses
    return response.status, response.body, said(client)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("one.test", b"one"),
        ("ONE.Test", b"one"),
        ("one.test:81", b"one"),
        ("one.test.", b"one"),
        ("One.test.:81", b"one"),
        ("whole.test", b"whole"),
        ("whole.test.", b"whole"),
        ("two.test:8080", b"two"),
        ("two.test:81", b"two, any"),
        ("two.test", b"two, any"),
        ("[::1]", b"six"),
        ("[::1]:8080", b"six"),
    ],
)
@pytest.mark.ledger("H-15")
def test_the_authority_names_the_site(host: str, site: bytes) -> None:
    assert ask(host) == (200, site, None)


@pytest.mark.ledger("H-12", "H-15")
def test_the_targets_authority_wins() -> None:
    assert ask("unknown.test", target="http://one.test/x") == (200, b"one", None)
    assert ask("one.test", target="http://unknown.test/x")[0] == 421


@pytest.mark.ledger("H-17", "P-02")
def test_an_unknown_host_is_421_and_the_connection_is_kept() -> None:
    client = MemoryServer(Sites(TABLE)).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\nGET / HTTP/1.1\r\nHost: one.test\r\n\r\n")
    assert statuses(client) == [421, 200]
    assert not client.ended


@pytest.mark.parametrize("host", ["unknown.test", "unknown.test:80", "[::2]"])
@pytest.mark.ledger("H-15", "H-17")
def test_a_default_site_takes_the_rest(host: str) -> None:
    assert ask(host, default=named("default")) == (200, b"default", None)


@pytest.mark.ledger("H-15")
def test_http10_without_a_host_gets_the_default_site() -> None:
    assert ask(None, default=named("default"))[:2] == (200, b"default")
    assert ask(None)[0] == 421


@pytest.mark.ledger("H-20")
def test_an_empty_host_gets_the_default_site_where_there_is_one() -> None:
    policy = Policy(emptyHost=True)
    assert ask("", default=named("default"), policy=policy) == (200, b"default", None)
    assert ask("", default=named("default"))[0] == 400


@pytest.mark.parametrize(
    "host", ["one.test, two.test", "user@one.test", "one.test/x", "one.test:x", "one.test:99999", "[::1", "one test"]
)
@pytest.mark.ledger("H-20", "H-17")
def test_a_malformed_host_is_400_whatever_the_table_says(host: str) -> None:
    assert ask(host, default=named("default"))[::2] == (400, "close")


@pytest.mark.ledger("H-20", "H-15")
def test_the_host_of_http10_is_checked_too() -> None:
    client = MemoryServer(Sites(TABLE, named("default"))).connect()
    client.send(b"GET / HTTP/1.0\r\nHost: a, b\r\n\r\n")
    assert statuses(client) == [400]


def test_sites_may_take_their_time() -> None:
    async def slow(request: Request) -> str:
        return "slow"

    client = MemoryServer(Sites({"a": slow})).connect()
    client.send(get())
    assert client.responses[0].body == b"slow"


PATHS = {
    "one.test": named("one"),
    "one.test/api": named("one, api"),
    "one.test/api/v2/": named("one, v2"),
    "one.test:8080/api": named("one, api, 8080"),
    "Two.test/shop": named("two, shop"),
    "/static": named("static"),
    "/static/Img": named("img"),
}


def path(host: str, target: str, sites: Any = None) -> tuple[int, bytes]:
    client = MemoryServer(Sites(PATHS if sites is None else sites)).connect()
    client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    (response,) = client.responses
    return response.status, response.body


@pytest.mark.parametrize(
    ("host", "target", "site"),
    [
        ("one.test", "/", b"one"),
        ("one.test", "/apis", b"one"),
        ("one.test", "/api", b"one, api"),
        ("one.test", "/api?v2", b"one, api"),
        ("one.test", "/api/", b"one, api"),
        ("one.test", "/api/v1", b"one, api"),
        ("one.test", "/api/v2", b"one, v2"),
        ("one.test", "/api/v2/things/7", b"one, v2"),
        ("one.test", "/api/v22", b"one, api"),
        ("one.test:8080", "/api/v2", b"one, api, 8080"),
        ("one.test:8080", "/else", b"one"),
        ("one.test:81", "/api/v2", b"one, v2"),
        ("one.test", "/static/x", b"one"),
        ("two.test", "/shop/cart", b"two, shop"),
        ("TWO.test", "/static/x", b"static"),
        ("two.test", "/static/Img/x", b"img"),
        ("else.test", "/static", b"static"),
        ("else.test", "http://one.test", b"one"),
        ("else.test", "http://one.test/api", b"one, api"),
    ],
)
@pytest.mark.ledger("H-15")
def test_the_longest_prefix_of_the_host_wins_and_then_that_of_any_host(host: str, target: str, site: bytes) -> None:
    assert path(host, target) == (200, site)


@pytest.mark.parametrize("target", ["/API", "/api%2Fv2", "/%61pi", "//api", "/x/../api", "/;/api", "/api;v=2"])
@pytest.mark.ledger("H-15")
def test_paths_are_compared_as_they_came(target: str) -> None:
    assert path("one.test", target) == (200, b"one")


def test_a_known_host_without_a_site_for_the_path_is_404_and_an_unknown_host_421() -> None:
    sites = {"one.test/api": named("api")}
    assert path("one.test", "/else", sites)[0] == 404
    assert path("two.test", "/api", sites)[0] == 421
    assert path("two.test", "/api", {**sites, "/static": named("static")})[0] == 404


def test_the_server_as_a_whole_is_asked_of_the_site_for_all_paths() -> None:
    for sites, status in (({"a": named("a")}, 200), ({"a/b": named("b")}, 404)):
        client = MemoryServer(Sites(sites)).connect()
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert statuses(client) == [status]


@pytest.mark.parametrize(
    ("names", "default", "sentence"),
    [
        (["a.test", "A.test/"], False, "two sites answer for a.test at /"),
        (["/x", "/x/"], False, "two sites answer for any host at /x"),
        (["/"], True, "two sites answer for any host at /"),
    ],
)
def test_two_sites_for_the_same_requests_are_refused(names: list[str], default: bool, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Sites({name: named(name) for name in names}, named("default") if default else None)
