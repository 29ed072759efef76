"""The service: all ports or none, a graceful stop, and what it says at the start."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from ka_twisted.config import Limits, TcpKeepAlive, Timeouts
from ka_twisted.service.configuration.values import Configuration, Listener
from ka_twisted.service.errors import ConfigurationError, ListenError
from ka_twisted.service.listening.binding import describeAddress, describeFailure, listenNow, rehearse
from ka_twisted.service.running.signals import StopSignals
from ka_twisted.service.tap import Options, Server, makeService

ADDRESS = IPv4Address("TCP", "127.0.0.1", 8080)
TIMEOUTS = Timeouts(idle=15, drain=7, write=0)
LIMITS = Limits(maxRequests=100)


class Reactor(MemoryReactorClock):
    """A reactor that counts the turns it is asked for, and its stops."""

    turns = 0
    stops = 0

    def iterate(self, delay: float = 0) -> None:
        self.turns += 1
        self.advance(delay)

    def stop(self) -> None:
        self.stops += 1


class Port:
    """A listening port that closes in the reactor's next turn, as Twisted's do."""

    def __init__(self, reactor: Reactor, address: Any = ADDRESS) -> None:
        self.reactor = reactor
        self.address = address
        self.open = True

    def getHost(self) -> Any:
        return self.address

    def stopListening(self) -> Deferred[None]:
        closed: Deferred[None] = Deferred()

        def close() -> None:
            self.open = False
            closed.callback(None)

        self.reactor.callLater(0, close)
        return closed


class Endpoint:
    """Listens as it is told: with a port, a failure, or later."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.factory: Any = None

    def listen(self, factory: Any) -> Any:
        self.factory = factory
        if isinstance(self.outcome, Exception):
            return fail(self.outcome)
        return self.outcome if isinstance(self.outcome, Deferred) else succeed(self.outcome)


class Factory:
    """What the service knows of a factory: its connections, its retirement, its drain, and their end."""

    def __init__(self) -> None:
        self.connections: list[Any] = []
        self.retired = 0
        self.drained: list[float | None] = []
        self.finished: Deferred[None] = Deferred()
        self.isCut = False

    @property
    def connectionCount(self) -> int:
        return len(self.connections)

    def retire(self) -> None:
        self.retired += 1

    def drain(self, seconds: float | None = None) -> Deferred[None]:
        self.drained.append(seconds)
        return self.finished

    @property
    def registry(self) -> Factory:
        return self

    def cut(self) -> int:
        self.isCut = True
        return len(self.connections)


class Log:
    """An access log that may be unwritable."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    def start(self) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")


def inUse(port: int = 8080) -> CannotListenError:
    error = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    return CannotListenError("127.0.0.1", port, error)


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """The events that are logged during a test."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


def makeOne(reactor: Reactor, *outcomes: Any, log: Log | None = None, **settings: Any) -> Any:
    """A service whose endpoints listen as they are told, with a factory whose drain ends when it is told."""
    endpoints = {f"endpoint {n}": Endpoint(outcome) for n, outcome in enumerate(outcomes, 1)}
    configuration = Configuration(
        listeners=tuple(Listener(endpoint=text) for text in endpoints), timeouts=TIMEOUTS, limits=LIMITS, **settings
    )
    service: Any = Server(
        configuration,
        reactor=reactor,
        handler=repr,
        endpointOf=lambda text: endpoints[text],  # type: ignore[arg-type, return-value]
    )
    service.endpoints = endpoints
    service.generation.factory = Factory()
    service.generation.accessLog = log
    return service


def test_it_is_a_service(reactor: Reactor) -> None:
    verifyObject(IService, makeOne(reactor))


def test_behind_every_endpoint_is_the_same_factory(reactor: Reactor) -> None:
    service = makeOne(reactor, Port(reactor), Port(reactor))
    service.privilegedStartService()
    service.startService()
    assert len(service.ports) == 2
    assert {endpoint.factory.current for endpoint in service.endpoints.values()} == {service.factory}


def test_ports_are_claimed_once_however_often_it_is_asked(reactor: Reactor) -> None:
    service = makeOne(reactor, Port(reactor))
    service.claim()
    service.privilegedStartService()
    service.startService()
    assert len(service.ports) == 1


def test_starting_without_the_privileged_start_claims_as_well(reactor: Reactor) -> None:
    service = makeOne(reactor, Port(reactor))
    service.startService()
    assert len(service.ports) == 1


def test_when_one_port_cannot_be_had_the_others_are_closed_before_anybody_is_told(reactor: Reactor) -> None:
    first, log = Port(reactor), Log()
    service = makeOne(reactor, first, inUse(), Port(reactor), log=log)
    with pytest.raises(ListenError, match="cannot listen on endpoint 2: Address already in use"):
        service.claim()
    assert not first.open
    assert service.ports == []
    assert service.endpoints["endpoint 3"].factory is None
    assert log.calls == ["start", "stop"]


def test_an_endpoint_that_raises_is_a_failure_too(reactor: Reactor) -> None:
    service = makeOne(reactor, None)
    service.endpoints["endpoint 1"] = None
    with pytest.raises(ListenError, match="cannot listen on endpoint 1: 'NoneType' object"):
        service.claim()


def test_without_its_access_log_nothing_listens(reactor: Reactor) -> None:
    error = OSError(errno.EACCES, "Permission denied", "/var/log/requests")
    service = makeOne(reactor, Port(reactor), log=Log(error))
    with pytest.raises(ConfigurationError, match=r"^the access log .*Permission denied"):
        service.claim()
    assert service.endpoints["endpoint 1"].factory is None


def test_an_endpoint_may_take_its_time(reactor: Reactor, log: list[Any]) -> None:
    waiting: Deferred[Any] = Deferred()
    service = makeOne(reactor, waiting)
    service.startService()
    assert service.ports == []
    port = Port(reactor)
    waiting.callback(port)
    assert service.ports == [port]
    assert "listening on 127.0.0.1:8080" in [formatEvent(event) for event in log]


def test_an_endpoint_that_fails_late_stops_the_server(reactor: Reactor, log: list[Any]) -> None:
    waiting: Deferred[Any] = Deferred()
    service = makeOne(reactor, Port(reactor), waiting)
    service.startService()
    waiting.errback(inUse())
    assert reactor.stops == 1
    assert log[-1]["log_level"] is LogLevel.critical
    assert formatEvent(log[-1]) == "cannot listen on endpoint 2: Address already in use; stopping"


def test_a_stop_gives_up_on_endpoints_that_still_take_their_time(reactor: Reactor) -> None:
    waiting: Deferred[Any] = Deferred()
    service = makeOne(reactor, waiting)
    service.startService()
    service.stopService()
    assert waiting.called
    assert reactor.stops == 0


def test_a_stop_closes_the_ports_then_drains_then_closes_the_log(reactor: Reactor) -> None:
    port, log = Port(reactor), Log()
    stopped: list[None] = []
    service = makeOne(reactor, port, log=log)
    service.startService()
    service.factory.connections = [object()]
    service.stopService().addCallback(stopped.append)
    assert service.factory.drained == []
    assert service.factory.retired == 1
    reactor.advance(0)
    assert not port.open
    reactor.advance(0.9)
    assert service.factory.drained == []
    reactor.advance(0.1)
    assert service.factory.drained == [7]
    assert stopped == []
    assert log.calls == ["start"]
    service.factory.finished.callback(None)
    assert stopped == [None]
    assert log.calls == ["start", "stop"]


def test_a_second_signal_cuts_what_the_drain_waits_for(reactor: Reactor) -> None:
    service = makeOne(reactor)
    service.stopNow()
    assert service.factory.isCut


def test_the_log_names_addresses_timers_and_limits_at_the_start(reactor: Reactor, log: list[Any]) -> None:
    ports = Port(reactor), Port(reactor, IPv6Address("TCP", "::1", 80))
    service = makeOne(reactor, *ports, tcpKeepAlive=TcpKeepAlive(60, 10, 3))
    service.startService()
    lines = [formatEvent(event) for event in log]
    assert lines[:2] == ["listening on 127.0.0.1:8080", "listening on [::1]:80"]
    assert lines[2].startswith("timers in seconds: firstRequest 15, idle 15, header 10, ")
    assert ", write off, " in lines[2]
    assert lines[2].endswith("; promised to clients: idle 12")
    assert "maxRequests 100" in lines[3]
    assert "maxBodyBytes none" in lines[3]
    assert lines[4] == ("policy: persistent on, keepAlive10 on, chunkedResponses on, emptyHost off, lengthRequired off")
    assert lines[5] == "TCP keep-alive: after 60 s, 3 probes, 10 s apart"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "10.0.0.1", 80), "10.0.0.1:80"),
        (IPv6Address("TCP", "::", 8080), "[::]:8080"),
        (UNIXAddress("/run/shop"), "unix:/run/shop"),
        (UNIXAddress(None), "UNIXAddress(None)"),
    ],
)
def test_addresses_are_written_as_people_write_them(address: Any, text: str) -> None:
    assert describeAddress(address) == text


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (inUse(), "Address already in use"),
        (CannotListenError("", 80, OSError(errno.EACCES, "Not for you")), "Not for you"),
        (CannotListenError(None, b"/run/s", "Cannot acquire lock"), "Address already in use"),
        (OverflowError("bind(): port must be\n0-65535."), "bind(): port must be 0-65535."),
    ],
)
def test_why_a_port_cannot_be_had_is_one_line(error: Exception, reason: str) -> None:
    assert describeFailure("tcp:80", Failure(error)) == f"cannot listen on tcp:80: {reason}"


def test_a_deferred_that_is_handed_out_keeps_its_result() -> None:
    waiting: Deferred[Any] = Deferred()
    outcome: Any = listenNow(Endpoint(waiting), None)  # type: ignore[arg-type]
    results: list[Any] = []
    outcome.addCallback(results.append)
    waiting.callback("port")
    assert results == ["port"]


def test_a_rehearsal_leaves_nothing_open(reactor: Reactor) -> None:
    ports = [Port(reactor), Port(reactor)]
    rehearse([("one", Endpoint(ports[0])), ("two", Endpoint(ports[1]))], reactor)  # type: ignore[list-item]
    assert [port.open for port in ports] == [False, False]


def test_a_rehearsal_that_fails_leaves_nothing_open_either(reactor: Reactor) -> None:
    port = Port(reactor)
    with pytest.raises(ListenError, match="cannot listen on two: Address already in use"):
        rehearse([("one", Endpoint(port)), ("two", Endpoint(inUse()))], reactor)  # type: ignore[list-item]
    assert not port.open


class Signals:
    """The process's signal handlers, in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reactor: Any) -> None:
        self.handlers: dict[int, Any] = {}
        self.theirs: list[int] = []
        self.hurried = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self.handlers[number] = lambda number, frame: self.theirs.append(number)
        monkeypatch.setattr(signal, "getsignal", lambda number: self.handlers[number])
        monkeypatch.setattr(signal, "signal", self.set)
        reactor.callFromThread = lambda call, *arguments: call(*arguments)
        self.stopSignals = StopSignals(reactor, self.stopNow)
        self.stopSignals.install()

    def set(self, number: int, handler: Any) -> Any:
        previous, self.handlers[number] = self.handlers[number], handler
        return previous

    def send(self, number: int) -> None:
        self.handlers[number](number, None)

    def stopNow(self) -> None:
        self.hurried += 1


STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_stops_the_reactor_without_the_process_dying_of_it(
    monkeypatch: pytest.MonkeyPatch, reactor: Reactor, number: int
) -> None:
    signals = Signals(monkeypatch, reactor)
    signals.send(number)
    assert (reactor.stops, signals.theirs, signals.hurried) == (1, [], 0)


@pytest.mark.parametrize("first", STOPPING)
@pytest.mark.parametrize("second", STOPPING)
def test_the_second_signal_means_at_once(
    monkeypatch: pytest.MonkeyPatch, reactor: Reactor, first: int, second: int
) -> None:
    signals = Signals(monkeypatch, reactor)
    signals.send(first)
    signals.send(second)
    assert signals.hurried == 1
    assert reactor.stops + len(signals.theirs) == 1


def test_the_handlers_are_given_back(monkeypatch: pytest.MonkeyPatch, reactor: Reactor) -> None:
    signals = Signals(monkeypatch, reactor)
    signals.stopSignals.uninstall()
    signals.send(signal.SIGTERM)
    assert signals.theirs == [signal.SIGTERM]


def test_where_the_reactor_handles_no_signals_neither_do_we(monkeypatch: pytest.MonkeyPatch, reactor: Reactor) -> None:
    signals = Signals(monkeypatch, reactor)
    signals.stopSignals.uninstall()
    ignored: dict[int, Any] = {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
        signal.SIGQUIT: signal.SIG_DFL,
    }
    signals.handlers = dict(ignored)
    signals.stopSignals.install()
    assert signals.handlers == ignored


def options(*arguments: str) -> Options:
    made = Options(Reactor())
    made.parseOptions(["--app", "builtins:repr", *arguments])
    return made


def test_the_options_reach_the_factory() -> None:
    service: Any = makeService(options("--idle-timeout", "3", "--max-requests", "9", "--tcp-keepalive", "60"))
    assert service.factory.timeouts == Timeouts(idle=3)
    assert service.factory.limits == Limits(maxRequests=9)
    assert service.factory.tcpKeepAlive == TcpKeepAlive(60)


def test_made_by_an_application_file_nothing_is_claimed_before_the_start() -> None:
    assert makeService(options("--listen", "tcp:0")).ports == []


@pytest.mark.parametrize(
    ("runner", "claimed"),
    [
        ({"nodaemon": True, "rundir": ".", "chroot": None, "umask": None}, True),
        ({}, True),  # `twist` has no such options
        ({"nodaemon": False, "rundir": "."}, False),
        ({"nodaemon": True, "rundir": "/srv"}, False),
        ({"nodaemon": True, "chroot": "/srv"}, False),
        ({"nodaemon": True, "umask": 0o077}, False),
    ],
)
def test_ports_are_claimed_early_where_nothing_will_change(
    runner: dict[str, Any], claimed: bool, tmp_path: Path
) -> None:
    made = options("--listen", f"unix:{tmp_path}/socket")
    made.parent = runner  # type: ignore[assignment]
    service = makeService(made)
    try:
        assert bool(service.ports) == claimed
    finally:
        service.openPorts.closeNow()
