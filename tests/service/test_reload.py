"""Reloads in one process: what stays, what changes, what is said; and how a server goes out of service."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python import usage

from ka_twisted.config import Limits, Timeouts
from ka_twisted.service.applications.sites import Site
from ka_twisted.service.configuration.values import Configuration, Listener
from ka_twisted.service.errors import ConfigurationError
from ka_twisted.service.running.pauses import Pauses
from ka_twisted.service.running.reload import CertificateWatch, Reloader
from ka_twisted.service.running.serving import Server as OneProcess
from tests.load import load
from tests.net.certificates import Authority
from tests.service.twistd import Server, readAll, serving

GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """The events that are logged during a test."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


def errors(log: list[Any]) -> list[str | None]:
    return [formatEvent(event) for event in log if event["log_level"] >= LogLevel.error]


# One reload after the other.


class Changes:
    """Puts configurations into effect when it is told to, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.waiting: Deferred[None] = Deferred()
        self.told: list[bool] = []

    async def change(self, configuration: Any) -> None:
        self.begun += 1
        await self.waiting

    def finish(self, error: Exception | None = None) -> None:
        waiting, self.waiting = self.waiting, Deferred()
        if error is None:
            waiting.callback(None)
        else:
            waiting.errback(error)


def test_reloads_are_made_one_after_the_other_and_those_who_wait_share_one() -> None:
    changes = Changes()
    reloader = Reloader(lambda: None, changes.change, changes.told.append)  # type: ignore[arg-type, return-value]
    over: list[int] = []
    for number in range(4):
        reloader.request().addCallback(lambda _, which: over.append(which), number)
    assert changes.begun == 1
    changes.finish()
    assert changes.begun == 2
    assert over == [0]
    changes.finish()
    assert over == [0, 1, 2, 3]
    assert (changes.begun, changes.told) == (2, [True, True])


@pytest.mark.parametrize("error", [usage.UsageError("shop.toml:3: no"), ConfigurationError("shop.toml:3: no")])
def test_a_problem_is_one_sentence_and_the_next_reload_is_made(log: list[Any], error: Exception) -> None:
    changes = Changes()
    reloader = Reloader(lambda: None, changes.change, changes.told.append)  # type: ignore[arg-type, return-value]
    reloader.request()
    changes.finish(error)
    assert errors(log) == ["the configuration was not reloaded, the old one stays: shop.toml:3: no"]
    reloader.request()
    changes.finish()
    assert changes.told == [False, True]


def test_a_defect_is_shown_and_the_next_reload_is_made(log: list[Any]) -> None:
    changes = Changes()
    reloader = Reloader(lambda: 1 / 0, changes.change, changes.told.append)  # type: ignore[arg-type, return-value]
    reloader.request()
    (event,) = [event for event in log if event["log_level"] is LogLevel.critical]
    assert event["log_failure"].check(ZeroDivisionError)
    assert changes.told == [False]


# Certificates.


def test_certificates_are_read_when_their_files_have_changed(log: list[Any]) -> None:
    clock, changed, read = Clock(), [False], [0]

    def reload() -> None:
        read[0] += 1
        changed[0] = False

    watch = CertificateWatch(clock, lambda: changed[0], reload)
    watch.start()
    clock.advance(CertificateWatch.SECONDS)
    assert read == [0]
    changed[0] = True
    clock.advance(CertificateWatch.SECONDS)
    assert read == [1]
    clock.advance(CertificateWatch.SECONDS)
    assert read == [1]
    assert formatEvent(log[-1]) == "the certificates were reloaded: their files have changed"
    watch.stop()
    assert clock.getDelayedCalls() == []


def test_a_wrong_certificate_is_reported_once_and_looked_at_again(log: list[Any]) -> None:
    clock = Clock()
    problems = iter(
        [
            ConfigurationError("shop.pem: no key"),
            ConfigurationError("shop.pem: no key"),
            ConfigurationError("gone"),
            None,
        ]
    )

    def reload() -> None:
        problem = next(problems)
        if problem is not None:
            raise problem

    CertificateWatch(clock, lambda: True, reload).start()
    clock.pump([CertificateWatch.SECONDS] * 3)
    said = "the certificates were not reloaded, the old ones stay: "
    assert errors(log) == [said + "shop.pem: no key", said + "gone"]
    clock.advance(CertificateWatch.SECONDS)
    assert len(errors(log)) == 2


# Waits.


def test_a_wait_ends_in_time_or_when_all_end() -> None:
    clock = Clock()
    pauses = Pauses(clock)
    first, second = pauses.wait(1), pauses.wait(5)
    clock.advance(1)
    assert (first.called, second.called) == (True, False)
    pauses.end()
    assert second.called
    assert pauses.wait(7).called
    assert clock.getDelayedCalls() == []


def test_a_condition_is_waited_for_no_longer_than_allowed() -> None:
    clock, met = Clock(), [False]
    pauses = Pauses(clock)
    inVain = Deferred.fromCoroutine(pauses.until(lambda: False, 1))
    soon = Deferred.fromCoroutine(pauses.until(lambda: met[0], 1))
    clock.pump([0.25] * 2)
    met[0] = True
    clock.advance(0.25)
    assert (inVain.called, soon.called) == (False, True)
    clock.pump([0.25] * 2)
    assert inVain.called


# The service.


class Port:
    """A listening port that closes at once."""

    open = True

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 8080)

    def stopListening(self) -> None:
        self.open = False


class Endpoint:
    """Listens, as often as it is asked; or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.ports: list[Port] = []
        self.factory: Any = None

    def listen(self, factory: Any) -> Deferred[Port]:
        if self.error is not None:
            raise self.error
        self.factory = factory
        self.ports.append(Port())
        return succeed(self.ports[-1])


class Connection(StringTransport):
    """A client's connection to an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.protocol = endpoint.factory.buildProtocol(self.getPeer())
        self.protocol.makeConnection(self)

    def ask(self) -> bytes:
        self.clear()
        self.protocol.dataReceived(GET)
        answer: bytes = self.value()
        return answer

    def unregisterProducer(self) -> None:
        self.producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It delays nothing."""

    def abortConnection(self) -> None:
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        self.loseConnection()


class Reactor(MemoryReactorClock):
    """A reactor that runs already."""

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:
        callable(*args, **kw)


class Notifier:
    """systemd's ear."""

    watchdog = None

    def __init__(self) -> None:
        self.heard: list[str] = []

    def ready(self) -> None:
        self.heard.append("ready")

    def reloading(self) -> None:
        self.heard.append("reloading")

    def stopping(self) -> None:
        self.heard.append("stopping")

    def status(self, text: str) -> None:
        self.heard.append(text)

    def extend(self, seconds: float) -> None:
        self.heard.append("extend")


class Shop:
    """A service with endpoints in memory, and the configuration that it reads next."""

    def __init__(self, *texts: str, **settings: Any) -> None:
        self.reactor: Any = Reactor()
        self.endpoints = {text: Endpoint() for text in ("one", "two", "three")}
        self.next: Any = configuration(*texts, **settings)
        self.notifier = Notifier()
        self.service = OneProcess(
            self.next,
            reactor=self.reactor,
            handler=lambda request: b"old",
            read=self.read,
            notifier=self.notifier,  # type: ignore[arg-type]
            endpointOf=lambda text: self.endpoints[text],  # type: ignore[arg-type, return-value]
        )
        self.service.startService()

    def read(self) -> Configuration:
        if isinstance(self.next, Exception):
            raise self.next
        found: Configuration = self.next
        return found

    def reload(self, *texts: str, **settings: Any) -> None:
        self.next = configuration(*texts, **settings)
        over: list[None] = []
        self.service.reload().addCallback(over.append)
        assert over == [None]

    def connect(self, text: str) -> Connection:
        return Connection(self.endpoints[text])

    def end(self) -> None:
        self.service.stopService()
        self.reactor.pump([10] * 10)


def configuration(*texts: str, app: str = "builtins:repr", **timeouts: float) -> Configuration:
    return Configuration(
        listeners=tuple(Listener(endpoint=text) for text in texts),
        timeouts=Timeouts(linger=0, **timeouts),
        limits=Limits(),
        sites=(Site(app=app),),
    )


@pytest.fixture
def shop() -> Iterator[Callable[..., Shop]]:
    """Makes services, and ends them."""
    made: list[Shop] = []

    def make(*arguments: Any, **settings: Any) -> Shop:
        made.append(Shop(*arguments, **settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_listeners_that_stay_keep_their_ports_and_others_come_and_go(shop: Any) -> None:
    served = shop("one", "two")
    served.reload("two", "three")
    one, two, three = served.endpoints.values()
    assert [[port.open for port in each.ports] for each in (one, two, three)] == [[False], [True], [True]]
    assert [openPort.text for openPort in served.service.openPorts] == ["two", "three"]


def test_new_connections_get_the_new_configuration_and_old_ones_answer_once(shop: Any) -> None:
    served = shop("one")
    old = served.connect("one")
    assert old.ask().endswith(b"old")
    served.reload("one", app="ka_twisted.playground:application", idle=33)
    new = served.connect("one")
    assert b"<title>" in new.ask()
    assert not old.disconnecting
    answer = old.ask()
    assert answer.endswith(b"old")
    assert b"Connection: close" in answer
    assert old.disconnecting
    assert new.protocol.id == 2


def test_idle_connections_are_left_a_second_then_closed(shop: Any) -> None:
    served = shop("one")
    old = served.connect("one")
    served.reload("one", idle=33)
    served.reactor.pump([0.1] * 9)
    assert not old.disconnecting
    served.reactor.pump([0.1] * 2)
    assert old.disconnecting


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"app": "nowhere:handler"}, "there is no module nowhere"),
        ({"app": "ka_twisted:serving"}, "the module ka_twisted has no attribute serving"),
    ],
)
def test_a_configuration_that_cannot_be_changes_nothing(
    shop: Any, log: list[Any], wrong: dict[str, Any], sentence: str
) -> None:
    served = shop("one")
    old = served.connect("one")
    served.reload("one", "two", **wrong)
    assert served.connect("one").ask().endswith(b"old")
    assert b"Connection: close" not in old.ask()
    assert served.endpoints["two"].ports == []
    assert errors(log) == [f"the configuration was not reloaded, the old one stays: {sentence}"]
    assert (served.service.state, served.service.ready) == ("serving", True)


def test_a_port_that_cannot_be_had_changes_nothing(shop: Any, log: list[Any]) -> None:
    served = shop("one")
    served.endpoints["three"] = Endpoint(OSError(98, "Address already in use"))
    served.reload("two", "three", idle=33)
    assert [port.open for port in served.endpoints["one"].ports] == [True]
    assert [port.open for port in served.endpoints["two"].ports] == [False]
    assert served.service.configuration.timeouts.idle == 75
    (error,) = errors(log)
    assert error == (
        "the configuration was not reloaded, the old one stays: cannot listen on three: Address already in use"
    )


def test_the_same_configuration_keeps_every_connection(shop: Any) -> None:
    served = shop("one")
    old = served.connect("one")
    factory = served.service.factory
    served.reload("one")
    assert served.service.factory is factory
    assert b"Connection: close" not in old.ask()


def test_who_is_shutting_down_reloads_no_more(shop: Any, log: list[Any]) -> None:
    served = shop("one", drainDelay=5)
    served.service.drain()
    served.reload("two")
    assert served.service.state == "draining"
    assert errors(log) == ["the configuration was not reloaded, the old one stays: the server is shutting down"]


def test_systemd_hears_of_each_reload_from_its_begin_to_its_end_also_of_one_that_fails(shop: Any) -> None:
    served = shop("one")
    heard = served.notifier.heard
    assert heard == ["serving: 0 connections open, 0 accepted so far", "ready"]
    del heard[:]
    served.reload("one", idle=33)
    assert heard == ["reloading", "ready"]
    served.next = usage.UsageError("shop.toml:3: no")
    served.service.reload()
    assert heard == ["reloading", "ready"] * 2
    del heard[:]
    served.service.stopService()
    assert heard[0] == "stopping"
    assert {"draining: 0 connections open, 0 accepted so far", "extend"} <= set(heard)


def test_a_drain_is_announced_then_accepts_nothing_then_leaves_time_then_ends(shop: Any) -> None:
    served = shop("one", drainDelay=5)
    service = served.service
    busy, idle = served.connect("one"), served.connect("one")
    drained = service.drain()
    assert (service.ready, service.state) == (False, "draining")
    served.reactor.advance(4.9)
    (port,) = served.endpoints["one"].ports
    assert port.open
    late = served.connect("one")
    assert b"Connection: close" in busy.ask()
    busy.protocol.connectionLost()
    served.reactor.advance(0.1)
    assert not port.open
    served.reactor.pump([0.1] * 9)
    assert not idle.disconnecting
    assert b"Connection: close" in late.ask()
    late.protocol.connectionLost()
    served.reactor.pump([0.1] * 2)
    assert idle.disconnecting
    assert not drained.called
    idle.protocol.connectionLost()
    assert drained.called


def test_who_is_replaced_accepts_nothing_more_at_once_but_leaves_time(shop: Any) -> None:
    served = shop("one")
    idle = served.connect("one")
    served.service.drain(replaced=True)
    assert not served.endpoints["one"].ports[0].open
    served.reactor.pump([0.1] * 9)
    assert not idle.disconnecting
    served.reactor.pump([0.1] * 2)
    assert idle.disconnecting


def test_haste_ends_the_announcement_too(shop: Any) -> None:
    served = shop("one", drainDelay=60)
    connection = served.connect("one")
    stopped = served.service.stopService()
    served.service.stopNow()
    assert not served.endpoints["one"].ports[0].open
    assert connection.disconnecting
    connection.protocol.connectionLost()
    assert stopped.called


def test_a_drain_covers_the_connections_of_former_configurations(shop: Any) -> None:
    served = shop("one")
    old = served.connect("one")
    served.reload("one", idle=33)
    assert served.service.connectionCount == 1
    stopped = served.service.stopService()
    assert not old.disconnecting
    served.reactor.pump([0.5, 0.5, 0.5])
    assert old.disconnecting
    assert not stopped.called
    old.protocol.connectionLost()
    served.reactor.advance(1)
    assert stopped.called


# As a process.

APPLICATION = """
def first(request):
    return b"first"

def second(request):
    return b"second"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the applications ``shop:first`` and ``shop:second``, and a configuration for the first."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / "shop.toml").write_text('app = "shop:first"\n')
    return tmp_path


def ask(server: Server) -> bytes:
    with server.connect() as connection:
        connection.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return readAll(connection)


def test_sighup_reloads_under_load_without_losing_a_request(place: Path) -> None:
    with serving(place, "--config", "shop.toml") as server:
        port = int(re.findall(r"listening on 127\.0\.0\.1:(\d+)", "".join(server.said))[-1])
        with load("127.0.0.1", port, connections=20) as clients:
            for name in ("second", "first", "second"):
                (place / "shop.toml").write_text(f'app = "shop:{name}"\n')
                server.process.send_signal(signal.SIGHUP)
                server.waitFor("the configuration was reloaded")
                clients.waitFor(500)
        assert clients.result.failures == []
        assert clients.result.connections >= 40
        assert ask(server).endswith(b"second")
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)


def test_sighup_with_a_wrong_file_keeps_the_old_one_and_says_why(place: Path) -> None:
    with serving(place, "--config", "shop.toml") as server:
        (place / "shop.toml").write_text('app = "shop:first"\n[timeouts]\nidel = 3\n')
        server.process.send_signal(signal.SIGHUP)
        said = server.waitFor("not reloaded").string
        assert "the old one stays: " in said
        assert "shop.toml:3: timeouts.idel is unknown" in said
        assert ask(server).endswith(b"first")
        assert server.end(signal.SIGTERM) == 0


def secure(server: Server) -> str:
    """The name in the certificate that the server shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = int(re.findall(r"listening on 127\.0\.0\.1:(\d+)", "".join(server.said))[-1])
    with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as connection:
        found = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
        connection.sendall(GET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        return found.subject.rfc4514_string()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_certificates_are_read_anew_by_sighup(place: Path, workers: str) -> None:
    authority = Authority(place)
    first = authority.certify("first", file="shop")
    listener = f"ssl:0:interface=127.0.0.1:privateKey={first.key}:certKey={first.chain}"
    with serving(place, "--config", "shop.toml", "--workers", workers, "--listen", listener) as server:
        if workers != "0":
            server.waitFor("is ready")
        assert secure(server) == "CN=first"
        authority.certify("second", file="shop")
        server.process.send_signal(signal.SIGHUP)
        server.waitFor("the configuration was reloaded")
        assert secure(server) == "CN=second"
        Path(first.key).write_text("no key")
        server.process.send_signal(signal.SIGHUP)
        assert "shop.key" in server.waitFor("not reloaded, the old one stays").string
        assert secure(server) == "CN=second"
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)


def test_certificates_are_read_anew_when_their_files_change(place: Path) -> None:
    authority = Authority(place)
    first = authority.certify("first", file="shop")
    listener = f"ssl:0:interface=127.0.0.1:privateKey={first.key}:certKey={first.chain}"
    with serving(place, "--config", "shop.toml", "--listen", listener) as server:
        assert secure(server) == "CN=first"
        authority.certify("second", file="shop")
        server.waitFor("the certificates were reloaded: their files have changed")
        assert secure(server) == "CN=second"
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.soak
def test_reloaded_under_two_hundred_connections_no_request_fails(place: Path) -> None:
    with serving(place, "--config", "shop.toml") as server:
        port = int(re.findall(r"listening on 127\.0\.0\.1:(\d+)", "".join(server.said))[-1])
        with load("127.0.0.1", port, connections=200) as clients:
            while clients.result.requests < 200_000:
                idle = 50 + clients.result.connections
                (place / "shop.toml").write_text(f'app = "shop:first"\n[timeouts]\nidle = {idle}\n')
                server.process.send_signal(signal.SIGHUP)
                server.waitFor("the configuration was reloaded")
                clients.waitFor(5_000)
        assert clients.result.failures == []
        assert server.end(signal.SIGTERM) == 0
