"""Several sites on one server."""

from __future__ import annotations

from typing import Any

import pytest

from ka_twisted import Policy, Request, Sites
from ka_twisted.testing import MemoryServer
from tests.core.driving import GET_10, get
from tests.server.driving import said, statuses


def named(name: str) -> Any:
    def handler(request: Request) -> str:
        return name

    return handler


TABLE = {"one.test": named("one"), "two.test:8080": named("two"), "TWO.test": named("two, any"), "[::1]": named("six")}


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
