"""Each test runs over every provider; nothing unexpected may be logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import pytest

from tests import logs
from tests.streams.exchanges import ExchangeService
from tests.streams.memory import ForeignService, MemoryService
from tests.streams.providers import Provider, ServerProvider, Service
from tests.streams.sockets import EpollStepped, SocketService


@pytest.fixture(autouse=True)
def logged() -> Iterator[logs.Logged]:
    """What was logged; see `tests.logs.Logged`."""
    with logs.logged() as log:
        yield log


@cache
def _epoll() -> EpollStepped:
    """One for all tests: it is left as it was found."""
    return EpollStepped()


def _memory() -> Callable[..., Service]:
    return MemoryService


def _foreign() -> Callable[..., Service]:
    return ForeignService


def _sockets() -> Callable[..., Service]:
    return partial(SocketService, _epoll())


def _uvloop() -> Callable[..., Service]:
    pytest.importorskip("uvloop", reason="the reactor needs uvloop")
    from tests.streams.uvlooped import stepped

    return partial(SocketService, stepped())


def _exchanges() -> Callable[..., Service]:
    return ExchangeService


#: Those with connections.
SERVERS = {"memory": _memory, "foreign": _foreign, "sockets": _sockets, "uvloop": _uvloop}
PROVIDERS = {**SERVERS, "exchanges": _exchanges}


def _made(request: pytest.FixtureRequest) -> Iterator[Any]:
    make = request.param()
    made: list[Service] = []

    def serve(handler: Any, **settings: Any) -> Service:
        made.append(make(handler, **settings))
        return made[-1]

    yield serve
    for service in made:
        service.close()


@pytest.fixture(params=list(PROVIDERS.values()), ids=list(PROVIDERS))
def serve(request: pytest.FixtureRequest) -> Iterator[Provider]:
    """Makes what answers requests; see `Provider`."""
    yield from _made(request)


@pytest.fixture(params=list(SERVERS.values()), ids=list(SERVERS))
def connections(request: pytest.FixtureRequest) -> Iterator[ServerProvider]:
    """Makes a server with connections; see `ServerProvider`."""
    yield from _made(request)


@pytest.fixture(scope="module")
def carriers() -> list[Provider]:
    """All that carry requests on connections here."""
    found: list[Provider] = [_memory(), _foreign(), _sockets()]
    try:
        found.append(_uvloop())
    except pytest.skip.Exception:
        pass
    return found
