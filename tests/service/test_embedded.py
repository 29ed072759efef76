"""The service for an application of one's own: the command's way from the start to the end, without its process."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ka_twisted import KeepAliveFactory, KeepAliveProtocol, KeepAliveService, Limits, Request, Response, Timeouts
from ka_twisted.server.application import IApplication
from ka_twisted.service.errors import ListenError
from tests.load import REFUSED, load
from tests.logs import logged
from tests.net.certificates import Authority
from tests.service.twistd import PATIENCE, TWISTD, Server, environment

GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"


@implementer(IListeningPort)
class Port:
    """A port that says when it was closed."""

    def __init__(self) -> None:
        self.open = True

    def startListening(self) -> None:
        """See `IListeningPort`."""

    def stopListening(self) -> Deferred[None]:
        self.open = False
        return succeed(None)

    def getHost(self) -> Any:
        return "here"

    def stopReading(self) -> None:
        """As Twisted's ports."""

    startReading = stopReading


class Endpoint:
    """Listens in memory."""

    def __init__(self, outcome: Any = None) -> None:
        self.port = Port()
        self.outcome = outcome
        self.factory: Any = None

    def listen(self, factory: Any) -> Any:
        self.factory = factory
        return succeed(self.port) if self.outcome is None else self.outcome


class Connection:
    """A client of an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.transport = StringTransport()
        self.protocol = endpoint.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def asks(self) -> bytes:
        self.transport.clear()
        self.protocol.dataReceived(GET)
        answer: bytes = self.transport.value()
        return answer

    def leaves(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


class Reactor(MemoryReactorClock):
    """A reactor that runs."""

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:
        callable(*args, **kw)


@pytest.fixture
def reactor() -> Any:
    return Reactor()


def hello(request: Request) -> Response:
    return Response.text("hello\n")


def over(waiting: Deferred[None]) -> list[object]:
    """What a Deferred gives, once it does."""
    results: list[object] = []
    waiting.addBoth(results.append)
    return results


def test_it_is_a_service(reactor: Any) -> None:
    verifyObject(IService, KeepAliveService(hello, Endpoint(), reactor=reactor))  # type: ignore[arg-type]


def test_it_starts_and_stops_with_the_service_that_it_belongs_to(reactor: Any) -> None:
    endpoint, application = Endpoint(), MultiService()
    service: Any = KeepAliveService(hello, endpoint, reactor=reactor)  # type: ignore[arg-type]
    service.setServiceParent(application)
    application.privilegedStartService()
    assert service.ports == [endpoint.port]
    application.startService()
    assert service.running
    stopped = over(application.stopService())
    reactor.pump([0.1] * 20)
    assert len(stopped) == 1
    assert not endpoint.port.open
    assert service.ports == []


def test_a_stop_announces_itself_before_it_closes_the_port_and_then_waits_for_requests(reactor: Any) -> None:
    answer: Deferred[Response] = Deferred()
    endpoint = Endpoint()
    service = KeepAliveService(
        lambda request: answer,
        endpoint,  # type: ignore[arg-type]
        timeouts=Timeouts(drainDelay=3, drain=20, linger=0),
        reactor=reactor,
    )
    service.startService()
    waits, idle = Connection(endpoint), Connection(endpoint)
    assert waits.asks() == b""
    stopped = over(service.stopService())
    reactor.advance(2.9)
    assert endpoint.port.open
    reactor.pump([0.1] * 20)
    assert not endpoint.port.open
    assert idle.transport.disconnecting
    assert not waits.transport.disconnecting
    assert stopped == []
    answer.callback(Response.text("done\n"))
    assert b"Connection: close" in waits.transport.value()
    for connection in (waits, idle):
        connection.leaves()
    reactor.pump([0.1] * 3)
    assert stopped == [None]


def test_what_a_stop_waits_for_is_cut_at_the_deadline(reactor: Any) -> None:
    endpoint = Endpoint()
    service = KeepAliveService(
        lambda request: Deferred(),
        endpoint,  # type: ignore[arg-type]
        timeouts=Timeouts(drain=5, linger=0),
        reactor=reactor,
    )
    service.startService()
    waits = Connection(endpoint)
    waits.asks()
    service.stopService()
    reactor.pump([0.1] * 30)
    assert not waits.transport.disconnected
    reactor.pump([0.5] * 10)
    assert waits.transport.disconnected


def test_it_can_be_started_again(reactor: Any) -> None:
    endpoint = Endpoint()
    service = KeepAliveService(hello, endpoint, reactor=reactor)  # type: ignore[arg-type]
    for _ in range(2):
        service.startService()
        connection = Connection(endpoint)
        assert connection.asks().endswith(b"hello\n")
        assert b"Connection: close" not in connection.transport.value()
        stopped = over(service.stopService())
        connection.leaves()
        reactor.pump([0.1] * 20)
        assert stopped == [None]


def test_a_factory_of_ones_own_serves_as_it_is(reactor: Any) -> None:
    class Rationed(KeepAliveProtocol):
        pass

    factory = KeepAliveFactory(hello, protocol=Rationed, limits=Limits(maxRequests=1), reactor=reactor)
    endpoint = Endpoint()
    service = KeepAliveService(factory, endpoint, reactor=reactor)  # type: ignore[arg-type]
    assert service.factory is factory
    service.startService()
    connection = Connection(endpoint)
    assert isinstance(connection.protocol, Rationed)
    assert b"Connection: close" in connection.asks()
    connection.leaves()
    stopped = over(service.stopService())
    reactor.pump([0.1] * 20)
    assert stopped == [None]
    with pytest.raises(RuntimeError, match="was drained"):
        service.startService()


def test_what_is_for_the_factory_is_given_to_it(reactor: Any) -> None:
    class Own(KeepAliveProtocol):
        pass

    endpoint = Endpoint()
    service = KeepAliveService(hello, endpoint, protocol=Own, limits=Limits(maxRequests=1), reactor=reactor)  # type: ignore[arg-type]
    service.startService()
    connection = Connection(endpoint)
    assert isinstance(connection.protocol, Own)
    assert b"Connection: close" in connection.asks()


def test_an_application_is_started_and_stopped(reactor: Any) -> None:
    @implementer(IApplication)
    class Shop:
        heard: list[str] = []

        def start(self) -> None:
            self.heard.append("start")

        def handle(self, request: Request) -> Response:
            return hello(request)

        def stop(self) -> None:
            self.heard.append("stop")

    endpoint = Endpoint()
    service = KeepAliveService(Shop(), endpoint, reactor=reactor)  # type: ignore[arg-type]
    service.startService()
    assert Shop.heard == ["start"]
    connection = Connection(endpoint)
    assert connection.asks().endswith(b"hello\n")
    stopped = over(service.stopService())
    reactor.pump([0.1] * 20)
    assert Shop.heard == ["start"]
    connection.leaves()
    reactor.pump([0.1] * 20)
    assert stopped == [None]
    assert Shop.heard == ["start", "stop"]


def test_it_listens_on_all_or_on_none_and_says_why(reactor: Any) -> None:
    first = Endpoint()
    error = CannotListenError("127.0.0.1", 80, OSError(13, "Permission denied"))
    service = KeepAliveService(hello, first, Endpoint(fail(error)), reactor=reactor)  # type: ignore[arg-type]
    with pytest.raises(ListenError, match=r"cannot listen on endpoint 2 \(Endpoint\): Permission denied"):
        service.privilegedStartService()
    assert not first.port.open


def test_an_endpoint_that_fails_late_stops_the_service_and_not_the_reactor(reactor: Any) -> None:
    first, late = Endpoint(), Deferred[Any]()
    service: Any = KeepAliveService(hello, first, Endpoint(late), reactor=reactor)  # type: ignore[arg-type]
    service.startService()
    with logged() as log:
        late.errback(CannotListenError("127.0.0.1", 80, OSError(13, "Permission denied")))
        reactor.pump([0.1] * 20)
        said = log.messages(LogLevel.critical)
    assert said == ["cannot listen on endpoint 2 (Endpoint): Permission denied; this service is stopped"]
    assert not first.port.open
    assert not service.running
    assert not reactor.hasStopped


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "says"),
    [
        (("no handler",), {}, TypeError, "a handler is called"),
        ((hello,), {"proxies": ["nowhere"]}, ValueError, "nowhere"),
        ((hello,), {"admin": "tcp:9090"}, ValueError, "needs a token"),
        ((KeepAliveFactory(hello, reactor=MemoryReactorClock()),), {"limits": Limits()}, TypeError, "without limits"),
    ],
)
def test_a_mistake_is_said_when_it_is_made(
    arguments: tuple[Any, ...], settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        KeepAliveService(*arguments, **settings)


def test_the_signals_of_the_process_stay_with_the_application(reactor: Any) -> None:
    numbers = (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    service = KeepAliveService(hello, Endpoint(), reactor=reactor)  # type: ignore[arg-type]
    service.startService()
    assert [signal.getsignal(number) for number in numbers] == before


def test_the_package_is_imported_without_the_service() -> None:
    code = (
        "import sys, ka_twisted; print([name for name in sys.modules if name.startswith('ka_twisted.') and "
        "name.split('.')[1] in ('admin', 'observe', 'service')], 'twisted.internet.reactor' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['ka_twisted.service', 'ka_twisted.service.embedded'] False"


SECURE = """
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.task import deferLater
from ka_twisted import KeepAliveFactory, KeepAliveService, Response
from ka_twisted.config import Certificate, Tls

def slow(request):
    print("asked for", request.path, flush=True)
    return deferLater(reactor, 0.5, Response.text, "done")

application = Application("shop")
KeepAliveService(
    KeepAliveFactory(slow), "tcp:0:interface=127.0.0.1",
    tls=Tls(certificates=(Certificate(chain="CHAIN", key="KEY"),)), proxies=["127.0.0.0/8"],
).setServiceParent(application)
"""

TAC = """
from twisted.application.service import Application
from ka_twisted import KeepAliveService, Response

application = Application("shop")
KeepAliveService(
    lambda request: Response.text("hello"), "unix:s.sock", "tcp:0:interface=127.0.0.1",
    admin="unix:admin.sock", accessLog="access.log",
).setServiceParent(application)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts twistd on an application."""
    processes: list[subprocess.Popen[str]] = []

    def started(tac: str = TAC) -> Server:
        (tmp_path / "shop.tac").write_text(tac)
        process = subprocess.Popen(
            [*TWISTD, "-n", "--pidfile=", "-y", "shop.tac"],
            cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        processes.append(process)
        server = Server(process)
        server.waitFor("TCP keep-alive: ")
        return server

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def ended(server: Server) -> None:
    assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM), "".join(server.said)
    assert "Traceback" not in "".join(server.said)


def test_no_request_is_lost_when_an_application_of_twistd_is_restarted(
    shop: Callable[..., Server], tmp_path: Path
) -> None:
    path = str(tmp_path / "s.sock")
    server = shop()
    with load(path, 0, connections=6, renew=True) as running:
        for _ in range(3):
            running.waitFor(200)
            ended(server)
            assert not os.path.exists(path)
            server = shop()
        running.waitFor(200)
        ended(server)
    assert [failure for failure in running.result.failures if failure.kind != REFUSED] == []
    assert len((tmp_path / "access.log").read_text().splitlines()) >= running.result.answered


def test_the_operators_page_of_an_application_of_twistd(shop: Callable[..., Server], tmp_path: Path) -> None:
    server = shop()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(tmp_path / "admin.sock"))
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.endswith(b"ready\n")
    ended(server)


def test_a_factory_of_ones_own_behind_proxy_headers_and_tls_ends_as_well(
    shop: Callable[..., Server], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certify("shop.example", file="shop")
    server = shop(SECURE.replace("CHAIN", certificate.chain).replace("KEY", certificate.key))
    context = ssl.create_default_context(cafile=str(authority.path))
    with server.connect() as raw:
        raw.sendall(b"PROXY TCP4 192.0.2.9 192.0.2.1 4000 443\r\n")
        with context.wrap_socket(raw, server_hostname="shop.example") as client:
            client.sendall(GET)
            server.waitFor("asked for /")
            server.process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"done")
    server.said.append(server.process.communicate(timeout=PATIENCE)[0])
    assert server.process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in "".join(server.said)
