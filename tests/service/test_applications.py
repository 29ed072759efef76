"""Applications: started before the first request, stopped after the last, once for all that share them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer, provider
from zope.interface.verify import verifyObject

from ka_twisted.interfaces import IDrainable
from ka_twisted.server.application import HandlerApplication, IApplication
from ka_twisted.service.applications.lifespan import Lifespans, drained
from ka_twisted.service.applications.loading import ApplicationError, loadApplication
from ka_twisted.service.applications.sites import LoadedSite, Site
from tests.service.twistd import readAll, serving, waitForEnd


@implementer(IApplication)
class Recorded:
    """An application that records what it is asked, and fails or waits where it is told to."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name = name
        self.calls = calls
        self.failing: str = ""
        self.waiting: dict[str, Deferred[None]] = {}

    def _called(self, what: str) -> Any:
        self.calls.append(f"{what} {self.name}")
        if self.failing == what:
            raise ValueError(f"no\n{what}")
        return self.waiting.get(what)

    def start(self) -> Any:
        return self._called("start")

    def handle(self, request: object) -> bytes:
        return self.name.encode()

    def stop(self) -> Any:
        return self._called("stop")


@implementer(IDrainable)
class Drained(Recorded):
    """One that wants to hear of a shutdown."""

    def retire(self) -> None:
        self.calls.append(f"retire {self.name}")

    def drain(self, seconds: float | None = None) -> Any:
        self.calls.append(f"drain {self.name} {seconds}")
        return self._called("drained")


class Many:
    """Applications a, b and c, and what has run them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.calls: list[str] = []
        self.lifespans = Lifespans(self.clock)
        self.a, self.b, self.c = (Recorded(name, self.calls) for name in "abc")

    def start(self, *applications: Recorded) -> Deferred[None]:
        return Deferred.fromCoroutine(self.lifespans.start(loaded(*applications)))

    def stop(self, *applications: Recorded, seconds: float = 0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.lifespans.stop(loaded(*applications), seconds))


def loaded(*applications: Recorded) -> list[LoadedSite]:
    return [LoadedSite(Site(app=f"shop:{it.name}", prefix=f"/{n}"), it) for n, it in enumerate(applications)]


def succeeded(deferred: Deferred[None]) -> bool:
    outcomes: list[object] = []
    deferred.addBoth(outcomes.append)
    return outcomes == [None]


@pytest.fixture
def many() -> Many:
    return Many()


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """What is logged meanwhile from level warn on."""
    seen: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def test_a_handler_is_an_application_without_a_life_of_its_own() -> None:
    handle: Any = len
    application: Any = HandlerApplication(handle)
    assert verifyObject(IApplication, application)
    assert application.handle is handle
    assert (application.start(), application.stop()) == (None, None)


def test_they_start_in_their_order_and_stop_in_the_other(many: Many) -> None:
    assert succeeded(many.start(many.a, many.b))
    assert succeeded(many.stop(many.a, many.b))
    assert many.calls == ["start a", "start b", "stop b", "stop a"]


def test_one_starts_when_the_one_before_it_has(many: Many) -> None:
    many.a.waiting["start"] = Deferred()
    starting = many.start(many.a, many.b)
    assert many.calls == ["start a"]
    many.a.waiting["start"].callback(None)
    assert succeeded(starting)
    assert many.calls == ["start a", "start b"]


def test_a_coroutine_is_waited_for(many: Many) -> None:
    opened: Deferred[None] = Deferred()

    async def start() -> None:
        await opened
        many.calls.append("open")

    many.a.start = start  # type: ignore[method-assign]
    starting = many.start(many.a, many.b)
    assert many.calls == []
    opened.callback(None)
    assert succeeded(starting)
    assert many.calls == ["open", "start b"]


def test_several_sites_share_one_application_that_starts_once(many: Many) -> None:
    assert succeeded(many.start(many.a, many.b, many.a))
    assert succeeded(many.stop(many.a, many.b, many.a))
    assert many.calls == ["start a", "start b", "stop b", "stop a"]


def test_a_failure_is_one_sentence_and_stops_those_that_were_started(many: Many) -> None:
    many.b.failing = "start"
    starting = many.start(many.a, many.b, many.c)
    failures: list[Failure] = []
    starting.addErrback(failures.append)
    with pytest.raises(ApplicationError, match=r"^shop:b failed to start: ValueError: no start$"):
        failures[0].raiseException()
    assert many.calls == ["start a", "start b", "stop a"]


def test_one_that_a_successor_has_goes_on(many: Many) -> None:
    many.start(many.a, many.b)
    assert succeeded(many.start(many.b, many.c))
    assert succeeded(many.stop(many.a, many.b))
    assert succeeded(many.stop(many.b, many.c))
    assert many.calls == ["start a", "start b", "start c", "stop a", "stop c", "stop b"]


def test_one_that_is_taken_up_while_it_stops_starts_after_that(many: Many) -> None:
    many.a.waiting["stop"] = Deferred()
    many.start(many.a)
    many.stop(many.a)
    starting = many.start(many.a)
    assert many.calls == ["start a", "stop a"]
    many.a.waiting.pop("stop").callback(None)
    assert succeeded(starting)
    assert succeeded(many.stop(many.a))
    assert many.calls == ["start a", "stop a", "start a", "stop a"]


def test_a_failure_to_stop_is_logged_and_the_others_stop(many: Many, events: list[LogEvent]) -> None:
    many.start(many.a, many.b)
    many.b.failing = "stop"
    assert succeeded(many.stop(many.a, many.b))
    assert many.calls[2:] == ["stop b", "stop a"]
    assert [event["application"] for event in events] == ["shop:b"]


def test_one_that_does_not_stop_is_waited_for_no_longer_than_said(many: Many, events: list[LogEvent]) -> None:
    many.a.waiting["stop"] = Deferred()
    many.start(many.a)
    stopping = many.stop(many.a, seconds=10)
    many.clock.advance(9.9)
    assert not stopping.called
    many.clock.advance(0.1)
    assert succeeded(stopping)
    assert len(events) == 1


def test_a_second_signal_ends_the_wait_for_one_that_stops(many: Many, events: list[LogEvent]) -> None:
    many.a.waiting["stop"] = Deferred()
    many.start(many.a)
    stopping = many.stop(many.a)
    many.lifespans.stopWaiting()
    assert succeeded(stopping)


def test_those_that_want_to_hear_of_a_shutdown_do_unless_they_go_on(many: Many, events: list[LogEvent]) -> None:
    ours, shared = Drained("ours", many.calls), Drained("shared", many.calls)
    ours.failing = "drained"
    many.start(many.a, ours, shared)
    many.start(shared)
    assert many.lifespans.drainable(loaded(many.a, ours, shared)) == [ours]
    assert succeeded(Deferred.fromCoroutine(drained([ours], 7)))
    assert many.calls[-2:] == ["drain ours 7", "drained ours"]
    assert len(events) == 1


# -- loading -----------------------------------------------------------------------------------------


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``lifespans``."""
    module = ModuleType("lifespans")
    monkeypatch.setitem(sys.modules, "lifespans", module)
    return module


def test_an_application_is_loaded_as_it_is(module: ModuleType) -> None:
    application = Recorded("a", [])
    vars(module).update(application=application, Recorded=Recorded, handler=lambda request: b"")
    assert loadApplication("lifespans:application") is application
    assert loadApplication("lifespans:handler").handle is vars(module)["handler"]
    with pytest.raises(ApplicationError, match=r"^lifespans:Recorded is a class; name an instance of it$"):
        loadApplication("lifespans:Recorded")


# -- twistd ------------------------------------------------------------------------------------------

SHOP = """
import os
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer
from ka_twisted.server.application import IApplication

log = Logger("shop")

@implementer(IApplication)
class Shop:
    def __init__(self, name):
        self.name = name
        self.running = False

    async def start(self):
        log.info("{name} starts in {pid}", name=self.name, pid=os.getpid())
        await deferLater(reactor, 0.3, lambda: None)
        FAIL
        self.running = True

    async def handle(self, request):
        if request.path == "/slow":
            log.info("{name} is asked", name=self.name)
            await deferLater(reactor, 0.5, lambda: None)
        return f"{self.name} {self.running}"

    async def stop(self):
        self.running = False
        await deferLater(reactor, 0.1, lambda: None)
        log.info("{name} stops in {pid}", name=self.name, pid=os.getpid())

one, two = Shop("one"), Shop("two")
"""
GET = b"GET %b HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP.replace("FAIL", "pass"))
    (tmp_path / "k.toml").write_text('[[site]]\napp = "shop:one"\n[[site]]\napp = "shop:one"\nprefix = "/again"\n')
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "2"])
def test_no_request_comes_before_the_start_or_after_the_stop(shop: Path, workers: str) -> None:
    with serving(shop, "--config", "k.toml", "--workers", workers) as server:
        if workers != "0":
            server.waitFor("is ready")
            server.waitFor("is ready")
        with server.connect() as early:
            early.sendall(GET % b"/")
            assert readAll(early).endswith(b"one True")
        with server.connect() as late:
            late.sendall(GET % b"/slow")
            server.waitFor("one is asked")
            server.process.send_signal(signal.SIGTERM)
            assert readAll(late).endswith(b"one True")
        assert server.end(signal.SIGCONT) == 0
        said = "".join(server.said)
        count = max(1, int(workers))
        assert (said.count("one starts"), said.count("one stops")) == (count, count)
        assert "Traceback" not in said


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_start_that_fails_is_one_sentence_and_status_1(shop: Path, workers: str) -> None:
    (shop / "shop.py").write_text(SHOP.replace("FAIL", "raise OSError('no milk')"))
    with serving(shop, "--config", "k.toml", "--workers", workers) as server:
        server.waitFor("shop:one failed to start: OSError: no milk; stopping")
        assert server.end(signal.SIGCONT) == 1
        said = "".join(server.said)
        assert "shop:one failed to start: OSError: no milk\n" in said
        assert "Traceback" not in said
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_a_stop_during_the_start_ends_the_server(shop: Path) -> None:
    (shop / "shop.py").write_text(SHOP.replace("FAIL", "await deferLater(reactor, 1000, lambda: None)"))
    with serving(shop, "--config", "k.toml") as server:
        server.waitFor("one starts")
        assert server.end(signal.SIGTERM) == 0
        assert "failed to start" not in "".join(server.said)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_reload_starts_what_is_new_and_stops_what_is_not_used_any_more(shop: Path, workers: str) -> None:
    with serving(shop, "--config", "k.toml", "--workers", workers) as server:
        first = int(server.waitFor(r"one starts in (\d+)")[1])
        if workers != "0":
            server.waitFor("is ready")
        with server.connect() as early:
            early.sendall(GET % b"/slow")
            server.waitFor("one is asked")
            (shop / "k.toml").write_text('[[site]]\napp = "shop:two"\n')
            server.process.send_signal(signal.SIGHUP)
            server.waitFor("two starts")
            server.waitFor("the configuration was reloaded")
            with server.connect() as late:
                late.sendall(GET % b"/")
                assert readAll(late).endswith(b"two True")
            assert readAll(early).endswith(b"one True")
        assert int(server.waitFor(r"one stops in (\d+)")[1]) == first
        if workers != "0":
            waitForEnd(first)
        assert server.end(signal.SIGTERM) == 0
        assert "two stops" in "".join(server.said)


def test_a_start_that_fails_at_a_reload_leaves_the_old_one(shop: Path) -> None:
    (shop / "other.py").write_text(SHOP.replace("FAIL", "raise OSError('no milk')"))
    with serving(shop, "--config", "k.toml") as server:
        server.waitFor("one starts")
        (shop / "k.toml").write_text('[[site]]\napp = "shop:one"\n[[site]]\napp = "other:two"\nprefix = "/two"\n')
        server.process.send_signal(signal.SIGHUP)
        server.waitFor("not reloaded, the old one stays: other:two failed to start: OSError: no milk")
        with server.connect() as connection:
            connection.sendall(GET % b"/")
            assert readAll(connection).endswith(b"one True")
        assert "one stops" not in "".join(server.said)
        assert server.end(signal.SIGTERM) == 0
