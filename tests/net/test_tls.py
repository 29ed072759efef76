"""TLS: handshakes that succeed, fail, stall and come late; certificates by name; files that change."""

from __future__ import annotations

import gc
import importlib
import os
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.protocols.tls import BufferingTLSTransport

from ka_twisted import KeepAliveFactory, KeepAliveProtocol, Limits, Request, Response
from ka_twisted.config import Certificate, Tls
from ka_twisted.net.proxied import ProxiedFactory
from ka_twisted.net.stages import ConnectionStage
from ka_twisted.net.tls import TICKET_KEYS, TlsContexts, TlsError
from ka_twisted.server.secured import HTTP1_PROTOCOLS, TLS_REQUIRED
from ka_twisted.testing import MemoryTransport
from tests.integration.driving import until
from tests.logs import Logged
from tests.net.certificates import Authority

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LOCKED = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
)
LAST = GET.replace(b"Host: a", b"Host: a\r\nConnection: close")
PROXY = b"PROXY TCP4 192.0.2.1 198.51.100.9 40000 443\r\n"
#: All that the command openssl can be made to offer.
WEAK = ("-cipher", "ALL:@SECLEVEL=0")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
PEER, HOST = IPv4Address("TCP", "192.0.2.1", 50000), IPv4Address("TCP", "192.0.2.2", 443)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.certify("shop.example", "*.shop.example")


def client_context(authority: Authority, **attributes: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def hello(request: Request) -> Response:
    return Response(200, f"{request.connection.peer.host} {request.connection.secure}".encode())  # type: ignore[attr-defined]


class Accepting(Protocol):
    """A listener in memory."""

    def accept(self) -> MemoryTransport:
        """A new connection."""

    def settle(self) -> None:
        """Let what is due happen."""


class Server:
    """
    A listener with TLS, in memory.

    :ivar failed: the words of the handshakes that failed.
    """

    def __init__(
        self,
        tls: Tls,
        seconds: float = 10,
        protocols: tuple[bytes, ...] = HTTP1_PROTOCOLS,
        limits: Limits | None = None,
    ) -> None:
        self.clock = Clock()
        self.failed: list[str] = []
        self.factory = KeepAliveFactory(hello, reactor=self.clock, limits=limits)
        self.contexts = TlsContexts(tls, protocols)
        self.listening = self.contexts.wrap(
            self.factory,
            seconds=seconds,
            reactor=self.clock,
            failed=self.failed.append,
            plainAnswer=TLS_REQUIRED,
            registry=self.factory.registry,
        )

    def accept(self) -> MemoryTransport:
        transport = MemoryTransport(self.clock, PEER, HOST)
        transport.protocol = self.listening.buildProtocol(PEER)
        transport.protocol.makeConnection(transport)
        return transport

    def settle(self) -> None:
        for _ in range(10):
            self.clock.advance(0)


class Client:
    """A client of such a server, with Python's own TLS."""

    def __init__(self, server: Accepting, context: ssl.SSLContext, name: str = "shop.example") -> None:
        self.server = server
        self.transport = server.accept()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name)

    def pump(self) -> None:
        """Carry to and fro what there is."""
        if data := self._out.read():
            self.transport.arrive(data)
        self.server.settle()
        if self.transport.delivered:
            self._in.write(bytes(self.transport.delivered))
            self.transport.delivered.clear()
        if self.transport.ended:
            self._in.write_eof()

    def shake(self) -> ssl.SSLObject:
        for _ in range(6):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.pump()
            else:
                self.pump()
                return self.tls
        raise AssertionError("the handshake does not end")

    def get(self) -> bytes:
        self.shake()
        self.tls.write(GET)
        self.pump()
        return self.tls.read()

    @property
    def certificate(self) -> bytes | None:
        return self.tls.getpeercert(binary_form=True)


def der(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(certificate.chain).read_text())


# -- what succeeds -----------------------------------------------------------------------------------------------------


def test_http_begins_once_the_handshake_is_over(authority: Authority, certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,)))
    client = Client(server, client_context(authority))
    assert server.factory.connectionCount == 0
    client.shake()
    assert server.factory.connectionCount == 1
    assert client.get().endswith(b"192.0.2.1 True")
    assert client.get().endswith(b"192.0.2.1 True")
    assert server.failed == []


@pytest.mark.ledger("P-15")
def test_connections_in_their_handshake_count(authority: Authority, certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,)), limits=Limits(maxConnections=1, maxRefused=1))
    first, second = (Client(server, client_context(authority)) for _ in range(2))
    third = server.accept()
    server.settle()
    assert third.aborted
    assert server.failed == ["too many connections"]
    assert first.get().startswith(b"HTTP/1.1 200")
    assert second.get().startswith(b"HTTP/1.1 503")
    assert server.factory.registry.held == 2
    second.transport.arrive(None)
    server.settle()
    late = server.accept()
    assert server.factory.registry.held == 2
    server.clock.advance(1)
    server.settle()
    assert late.aborted
    assert server.factory.registry.held == 1


def test_a_connection_whose_handshake_is_over_leaves_no_timer_but_its_own(
    authority: Authority, certificate: Certificate
) -> None:
    server = Server(Tls(certificates=(certificate,)))
    client = Client(server, client_context(authority))
    assert len(server.clock.getDelayedCalls()) == 1
    client.shake()
    (call,) = server.clock.getDelayedCalls()
    assert call.getTime() > 60


@pytest.mark.parametrize(
    ("ours", "offered", "chosen"),
    [
        (HTTP1_PROTOCOLS, ["h2", "http/1.1"], "http/1.1"),
        (HTTP1_PROTOCOLS, ["http/1.0"], "http/1.0"),
        ((b"h2", *HTTP1_PROTOCOLS), ["http/1.1", "h2"], "h2"),
        (HTTP1_PROTOCOLS, [], None),
    ],
)
def test_a_protocol_is_chosen_by_our_preference(
    authority: Authority, certificate: Certificate, ours: tuple[bytes, ...], offered: list[str], chosen: str | None
) -> None:
    context = client_context(authority)
    if offered:
        context.set_alpn_protocols(offered)
    client = Client(Server(Tls(certificates=(certificate,)), protocols=ours), context)
    assert client.shake().selected_alpn_protocol() == chosen
    assert b" 200 " in client.get()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("a.example", 0),
        ("B.Example", 1),
        ("x.c.example", 2),
        ("own.c.example", 3),
        ("c.example", 0),
        ("y.x.c.example", 0),
        ("other.test", 0),
        ("localhost", 0),
    ],
)
def test_the_certificate_is_that_of_the_name_and_else_the_first(authority: Authority, name: str, index: int) -> None:
    certificates = tuple(authority.certify(of) for of in ("a.example", "b.example", "*.c.example", "own.c.example"))
    context = client_context(authority, check_hostname=False)
    client = Client(Server(Tls(certificates=certificates)), context, name)
    client.shake()
    assert client.certificate == der(certificates[index])


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_the_rest_of_the_chain_is_shown_from_behind_the_certificate_and_from_files_of_its_own(
    tmp_path: Path, behind: int
) -> None:
    root = Authority(tmp_path, "root")
    upper = root.subordinate("upper")
    lower = upper.subordinate("lower")
    further = [lower.path, upper.path]
    certificate = lower.certify("chained.example")
    with open(certificate.chain, "ab") as chain:
        chain.writelines(path.read_bytes() for path in further[:behind])
    paths = tuple(str(path) for path in further[behind:])
    tls = Tls(certificates=(Certificate(certificate.chain, certificate.key, paths),))
    server = Server(tls)
    client = Client(server, client_context(root), "chained.example")
    client.shake()
    assert b" 200 " in client.get()
    assert not server.contexts.changed()
    for path in paths[:1]:
        os.utime(path, (0, 0))
        assert server.contexts.changed()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_handshake_may_come_in_pieces(authority: Authority, certificate: Certificate, size: int) -> None:
    server = Server(Tls(certificates=(certificate,)))
    client = Client(server, client_context(authority))
    arrive = client.transport.arrive

    def drip(data: bytes | None) -> None:
        for start in range(0, len(data or b""), size):
            arrive((data or b"")[start : start + size])

    client.transport.arrive = drip  # type: ignore[method-assign]
    client.shake()
    assert b" 200 " in client.get()


# -- what fails --------------------------------------------------------------------------------------------------------


def fails(server: Server, act: Callable[[], object]) -> None:
    with pytest.raises((ssl.SSLError, AssertionError)):
        act()
    server.settle()
    assert server.factory.connectionCount == 0


def test_a_client_of_yesterday_is_refused(authority: Authority, certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,), minimum="1.3"))
    context = client_context(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    client = Client(server, context)
    fails(server, client.shake)
    client.pump()
    assert server.failed == ["protocol version"]


def test_a_client_without_a_suite_of_ours_is_refused(authority: Authority, certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,)))
    context = client_context(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    client = Client(server, context)
    fails(server, client.shake)
    client.pump()
    assert server.failed == ["no shared cipher"]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_client_that_does_not_know_our_authority_is_counted(
    certificate: Certificate, version: ssl.TLSVersion
) -> None:
    server = Server(Tls(certificates=(certificate,)))
    context = ssl.create_default_context()
    context.maximum_version = version
    client = Client(server, context)
    fails(server, client.shake)
    client.pump()
    assert server.failed == ["unknown authority"]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("required", [True, False])
def test_clients_can_be_asked_for_a_certificate(
    authority: Authority, certificate: Certificate, tmp_path: Path, required: bool, version: ssl.TLSVersion
) -> None:
    clients = Authority(tmp_path, "clients")
    known, unknown = clients.certify("someone"), authority.certify("stranger.example")
    tls = Tls(certificates=(certificate,), clientAuthorities=str(clients.path), clientRequired=required)
    server = Server(tls)
    context = client_context(authority, maximum_version=version)
    client = Client(server, context)
    if required:
        fails(server, client.get)
        assert server.failed == ["no client certificate"]
    else:
        client.shake()
        assert b" 200 " in client.get()
    context.load_cert_chain(known.chain, known.key)
    client = Client(server, context)
    client.shake()
    assert b" 200 " in client.get()
    before = server.factory.connectionCount
    for refused in (unknown, clients.certify("late", days=-1)):
        context.load_cert_chain(refused.chain, refused.key)
        stranger = Client(server, context)
        with pytest.raises(ssl.SSLError):
            stranger.get()
        assert server.failed[-1] == "client certificate"
    assert server.factory.connectionCount == before


def test_a_client_that_speaks_other_protocols_is_refused(authority: Authority, certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,)))
    context = client_context(authority)
    context.set_alpn_protocols(["h2", "spdy/3"])
    client = Client(server, context)
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        client.shake()
    client.pump()
    assert server.failed == ["no shared protocol"]
    assert server.factory.connectionCount == 0
    assert client.transport.ended


def test_plain_http_is_told_where_it_is(certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,)))
    transport = server.accept()
    transport.arrive(GET)
    server.settle()
    head, _, body = bytes(transport.delivered).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    assert transport.ended
    transport.arrive(b"what was on its way")
    transport.arrive(None)
    assert not transport.connected
    assert server.failed == ["not TLS"]
    assert server.clock.getDelayedCalls() == []


@pytest.mark.parametrize("seconds", [10, 0])
def test_plain_http_that_never_ends_is_cut(certificate: Certificate, seconds: float) -> None:
    server = Server(Tls(certificates=(certificate,)), seconds=seconds)
    transport = server.accept()
    transport.arrive(GET)
    server.settle()
    assert bool(transport.connected) is bool(seconds)
    server.clock.advance(seconds)
    server.settle()
    assert not transport.connected
    assert server.failed == ["not TLS"]


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02", b"\x16garbage that is none", b"\x16\x03garbage", b"\x80\x2e\x01\x03\x01"]
)
def test_garbage_is_refused(certificate: Certificate, data: bytes) -> None:
    server = Server(Tls(certificates=(certificate,)))
    transport = server.accept()
    transport.arrive(data)
    server.settle()
    assert transport.ended
    assert server.failed == ["not TLS"]


@given(cut=st.integers(0, 600), data=st.binary(max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_client_does_in_the_handshake_is_counted_once_and_raises_nothing(
    authority: Authority, certificate: Certificate, cut: int, data: bytes
) -> None:
    server = Server(Tls(certificates=(certificate,)))
    transport = server.accept()
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_context(authority).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="shop.example").do_handshake()
    transport.arrive((outgoing.read()[:cut] + data) or b"\x16")
    server.settle()
    server.clock.advance(10)
    server.settle()
    assert len(server.failed) == 1
    assert server.factory.connectionCount == 0
    assert transport.ended
    assert server.clock.getDelayedCalls() == []


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_handshake_that_stalls_at_any_byte_is_cut_at_its_time(
    authority: Authority, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    server = Server(Tls(certificates=(certificate,)), seconds=10)
    context = client_context(authority, maximum_version=version)
    stalled = 0
    while stalls(client := Client(server, context), stalled):
        server.clock.advance(9.9)
        assert not client.transport.ended
        server.clock.advance(0.1)
        server.settle()
        assert client.transport.ended
        stalled += 1
    assert stalled > 250  # the first flight and the second
    assert server.failed == ["timeout"] * stalled
    assert server.factory.connectionCount == 1
    assert len(server.clock.getDelayedCalls()) == 1


def stalls(client: Client, allowed: int) -> bool:
    """Let a client shake hands with so many bytes; whether it needs more."""
    arrive = client.transport.arrive
    left = [allowed]

    def some(data: bytes | None) -> None:
        raw = (data or b"")[: left[0]]
        left[0] -= len(data or b"")
        if raw:
            arrive(raw)

    client.transport.arrive = some  # type: ignore[method-assign]
    try:
        client.shake()
    except AssertionError:
        return True
    return left[0] < 0


def test_without_a_time_a_handshake_may_take_for_ever(certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,)), seconds=0)
    transport = server.accept()
    server.clock.advance(100_000)
    assert not transport.ended


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01"])
def test_a_client_that_goes_within_the_handshake_is_counted(certificate: Certificate, data: bytes) -> None:
    server = Server(Tls(certificates=(certificate,)))
    transport = server.accept()
    if data:
        transport.arrive(data)
    transport.arrive(None)
    server.settle()
    assert server.failed == ["reset"]
    assert server.clock.getDelayedCalls() == []


# -- the files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda chain, key: chain.unlink(), "{chain} cannot be read: No such file or directory"),
        (lambda chain, key: chain.write_text("none"), "{chain} holds no certificate"),
        (lambda chain, key: key.unlink(), "{key} cannot be read: No such file or directory"),
        (lambda chain, key: key.write_text("none"), "{key} holds no private key"),
        (lambda chain, key: key.write_bytes(LOCKED), "{key} holds a key that needs a passphrase"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_and_a_reload_keeps_what_was_read(
    tmp_path: Path, spoil: Callable[[Path, Path], object], sentence: str
) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certify("shop.example")
    server = Server(Tls(certificates=(certificate,)))
    assert not server.contexts.changed()
    spoil(Path(certificate.chain), Path(certificate.key))
    assert server.contexts.changed()
    wanted = sentence.format(chain=certificate.chain, key=certificate.key)
    for attempt in (server.contexts.reload, lambda: TlsContexts(Tls(certificates=(certificate,)))):
        with pytest.raises(TlsError) as caught:
            attempt()
        assert str(caught.value) == wanted
    client = Client(server, client_context(authority))
    client.shake()
    assert b" 200 " in client.get()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        x25519.X25519PrivateKey.generate,
    ],
    ids=["of the same kind", "of another kind", "of a kind that signs nothing"],
)
def test_a_key_of_another_certificate_is_named(tmp_path: Path, make: Callable[[], Any]) -> None:
    certificate = Authority(tmp_path).certify("shop.example")
    Path(certificate.key).write_bytes(
        make().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(TlsError) as caught:
        TlsContexts(Tls(certificates=(certificate,)))
    assert str(caught.value) == f"{certificate.key} is not the key of {certificate.chain}"


def test_ciphers_that_nobody_knows_are_named(certificate: Certificate) -> None:
    with pytest.raises(TlsError, match="OpenSSL knows none of the ciphers ROT13"):
        TlsContexts(Tls(certificates=(certificate,), ciphers="ROT13"))


def test_authorities_that_are_none_are_named(certificate: Certificate, tmp_path: Path) -> None:
    path = tmp_path / "clients.pem"
    path.write_text("nobody")
    with pytest.raises(TlsError, match=r"clients\.pem holds no certificate"):
        TlsContexts(Tls(certificates=(certificate,), clientAuthorities=str(path)))


def test_a_certificate_that_has_expired_is_served_and_said_once(authority: Authority, logged: Logged) -> None:
    certificate = authority.certify("old.example", days=-1)
    server = Server(Tls(certificates=(certificate,)))
    TlsContexts(Tls(certificates=(certificate,)))  # as a check of the configuration does
    server.contexts.wrap(server.factory, seconds=1, reactor=server.clock)
    server.contexts.reload()
    assert logged.messages(LogLevel.warn) == [f"the certificate {certificate.chain} has expired"]
    client = Client(server, client_context(authority, check_hostname=False, verify_mode=ssl.CERT_NONE), "old.example")
    client.shake()
    assert client.certificate == der(certificate)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_session_can_be_resumed_until_the_files_are_read_anew(
    authority: Authority, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    server = Server(Tls(certificates=(authority.certify("other.example"), certificate)))
    context = client_context(authority, maximum_version=version)
    first = Client(server, context)
    first.get()  # brings the tickets of TLS 1.3

    def resumed() -> bool | None:
        client = Client(server, context)
        client.tls.session = first.tls.session
        assert b" 200 " in client.get()
        return client.tls.session_reused

    assert resumed()
    server.contexts.reload()
    assert not resumed()
    assert b" 200 " in first.get()
    assert server.failed == []


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_the_keys_of_tickets_are_used_for_a_day(tmp_path: Path, version: ssl.TLSVersion) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certify("shop.example")
    server = Server(Tls(certificates=(certificate,), clientAuthorities=str(authority.path)))
    context = client_context(authority, maximum_version=version)
    context.load_cert_chain(certificate.chain, certificate.key)
    for path in (certificate.chain, certificate.key):
        Path(path).unlink()  # they are not needed again
    first = Client(server, context)
    first.get()

    def resumed() -> bool | None:
        client = Client(server, context)
        client.tls.session = first.tls.session
        assert b" 200 " in client.get()
        return client.tls.session_reused

    server.clock.advance(TICKET_KEYS - 100)
    assert resumed()
    server.clock.advance(100)
    assert not resumed()
    assert server.failed == []


def test_new_files_are_for_new_connections(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.certify("shop.example")
    server = Server(Tls(certificates=(first,)))
    before = Client(server, client_context(authority))
    before.shake()
    old = before.certificate
    authority.certify("shop.example")
    assert server.contexts.changed()
    server.contexts.reload()
    assert not server.contexts.changed()
    after = Client(server, client_context(authority))
    after.shake()
    assert after.certificate == der(first) != old
    assert b" 200 " in before.get()
    assert b" 200 " in after.get()


@pytest.mark.parametrize("package", ["OpenSSL", "cryptography"])
def test_without_the_packages_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name.startswith(("ka_twisted.net.tls", "ka_twisted.server.cred"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError) as caught:
        importlib.import_module("ka_twisted.net.tls")
    assert str(caught.value) == "TLS needs the extra ka_twisted[tls]"


# -- on sockets --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(tls: Tls, failed: Callable[[str], object] = lambda word: None) -> AsyncIterator[tuple[int, Any]]:
    """A listener with TLS: its port and its factory."""
    factory = KeepAliveFactory(hello)
    wrapped: Any = TlsContexts(tls).wrap(factory, seconds=5, reactor=reactor, failed=failed, plainAnswer=TLS_REQUIRED)
    port: Any = reactor.listenTCP(0, wrapped, interface="127.0.0.1")
    try:
        yield port.getHost().port, wrapped
        await factory.drain(5)
    finally:
        await port.stopListening()


def openssl(port: int, *arguments: str, said: bytes = LAST) -> str:
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "shop.example", *arguments],
        input=said, capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    return run.stdout.decode("utf-8", "replace") + run.stderr.decode("utf-8", "replace")


needs_openssl = pytest.mark.program("openssl")


@needs_openssl
@pytest_twisted.ensureDeferred
async def test_protocols_and_ciphers_as_openssl_sees_them(certificate: Certificate) -> None:
    failed: list[str] = []
    async with listening(Tls(certificates=(certificate,)), failed.append) as (port, _):
        for arguments, accepted in (
            (("-tls1_3", "-ign_eof"), True),
            (("-tls1_2", "-ign_eof"), True),
            (("-tls1_2", "-ign_eof", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"), True),
            (("-tls1_1", *WEAK), False),
            (("-tls1", *WEAK), False),
            (("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"), False),
            (("-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"), False),
            (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"), False),
            (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"), False),
            (("-tls1_2", "-cipher", "AECDH-AES256-SHA:NULL:@SECLEVEL=0"), False),
        ):
            said = await deferToThread(openssl, port, *arguments)
            assert ("HTTP/1.1 200" in said) is accepted, (arguments, said)
        said = await deferToThread(openssl, port, "-tls1_2", "-ign_eof")
        assert "Compression: NONE" in said
    assert failed == ["protocol version"] * 2 + ["no shared cipher"] * 5


@needs_openssl
@pytest_twisted.ensureDeferred
async def test_a_client_cannot_negotiate_anew(certificate: Certificate) -> None:
    async with listening(Tls(certificates=(certificate,))) as (port, _):
        said = await deferToThread(openssl, port, "-tls1_2", said=b"R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said


class Visitor:
    """
    A client on a socket, which blocks: its methods are for a thread.

    :param before: what it sends ahead of TLS, in the same segment as the beginning of that.
    """

    def __init__(self, port: int, context: ssl.SSLContext, before: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._before = before
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="shop.example")
        self._do(self.tls.do_handshake)

    def get(self) -> bytes:
        self.tls.write(GET)
        received: bytes = self._do(lambda: self.tls.read(1000))
        return received

    def close(self) -> None:
        self._socket.close()

    def _do(self, what: Callable[[], Any]) -> Any:
        while True:
            try:
                return what()
            except ssl.SSLWantReadError:
                self._send()
                self._in.write(self._socket.recv(65536) or b"")
            finally:
                self._send()

    def _send(self) -> None:
        data, self._before = self._before + self._out.read(), b""
        self._socket.sendall(data)


def answered(port: int, data: bytes) -> bytes:
    """The end of what comes back for bytes which are not TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(data)
        received = b""
        try:
            while some := plain.recv(65536):
                received += some
        except ConnectionResetError:
            return b"reset"
        return received[-10:]


async def tour(on: Any, folder: Path) -> None:
    """TLS and PROXY headers on sockets of a reactor: what succeeds, what fails, what stalls, and new files."""
    authority = Authority(folder)
    certificate = authority.certify("shop.example")
    context = client_context(authority)
    failed: list[str] = []
    factory = KeepAliveFactory(hello, reactor=on)
    contexts = TlsContexts(Tls(certificates=(certificate,)))
    secured: Any = contexts.wrap(factory, seconds=0.5, reactor=on, failed=failed.append, plainAnswer=TLS_REQUIRED)
    proxied: Any = ProxiedFactory(secured, [ip_network("127.0.0.0/8")], seconds=0.5, reactor=on, failed=failed.append)
    ports = [on.listenTCP(0, factory, interface="127.0.0.1") for factory in (secured, proxied)]
    direct, behind = (port.getHost().port for port in ports)

    def aside(what: Callable[..., Any], *arguments: Any) -> Any:
        return deferToThreadPool(on, on.getThreadPool(), what, *arguments)

    first: Visitor = await aside(Visitor, direct, context)
    other: Visitor = await aside(Visitor, behind, context, PROXY)
    old = first.tls.getpeercert(binary_form=True)
    assert (await aside(first.get)).endswith(b"127.0.0.1 True")
    assert (await aside(other.get)).endswith(b"192.0.2.1 True")
    authority.certify("shop.example")
    assert contexts.changed()
    contexts.reload()
    new: Visitor = await aside(Visitor, direct, context)
    assert new.tls.getpeercert(binary_form=True) == der(certificate) != old
    for visitor, peer in ((first, b"127.0.0.1"), (other, b"192.0.2.1"), (new, b"127.0.0.1")):
        assert (await aside(visitor.get)).endswith(peer + b" True")
    assert failed == []
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
    for data, answer in ((GET, b"over TLS.\n"), (post, b"over TLS.\n"), (b"\0\0", b""), (b"\x16\x03", b"reset")):
        assert await aside(answered, direct, data) == answer
        assert await aside(answered, behind, PROXY + data) == answer
    assert failed == ["not TLS"] * 6 + ["timeout"] * 2
    assert factory.connectionCount == 3
    for visitor in (first, other, new):
        visitor.close()
    while factory.connectionCount or secured.protocols:
        await deferLater(on, 0.002)
    for port in ports:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_on_sockets_of_twisteds_reactor(tmp_path: Path) -> None:
    await tour(reactor, tmp_path)


@pytest_twisted.ensureDeferred
async def test_a_thousand_handshakes_leave_nothing(authority: Authority, certificate: Certificate) -> None:
    failed: list[str] = []
    async with listening(Tls(certificates=(certificate,)), failed.append) as (port, wrapped):
        before = alive()

        def visit() -> None:
            context = client_context(authority)
            strict = client_context(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
            strict.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
            for number in range(1000):
                address = ("127.0.0.1", port)
                plain = socket.create_connection(address, timeout=10)
                with plain, context.wrap_socket(plain, server_hostname="shop.example") as tls:
                    tls.sendall(GET)
                    assert tls.recv(1000).startswith(b"HTTP/1.1 200 ")
                if number % 10:
                    continue
                for data in (b"", GET, b"\x16\x03\x01"):
                    with socket.create_connection(address, timeout=10) as plain:
                        plain.sendall(data)
                with socket.create_connection(address, timeout=10) as plain, pytest.raises(ssl.SSLError):
                    strict.wrap_socket(plain, server_hostname="shop.example")

        await deferToThread(visit)
        await until(lambda: not wrapped.protocols)
        assert Counter(failed) == {"reset": 200, "not TLS": 100, "no shared cipher": 100}
        assert alive() <= before


def alive() -> Counter[str]:
    """What there is of connections and of what they are made of."""
    gc.collect()
    kinds = (SSL.Connection, BufferingTLSTransport, ConnectionStage, KeepAliveProtocol)
    return Counter(type(one).__name__ for one in gc.get_objects() if issubclass(type(one), kinds))


def test_failures_are_logged_with_peer_and_reason_and_never_in_a_flood(certificate: Certificate) -> None:
    server = Server(Tls(certificates=(certificate,)))
    said: list[str] = []

    observe: Any = lambda event: said.append(formatEvent(event))  # noqa: E731

    def fail() -> None:
        transport = server.accept()
        transport.arrive(b"\x16\x09\x09\x00\x05hello")  # a version that there is not
        server.settle()

    globalLogPublisher.addObserver(observe)
    try:
        for _ in range(25):
            fail()
        assert len(server.failed) == 25
        lines = [line for line in said if "failed before HTTP began" in line]
        assert len(lines) == 10
        assert f"{PEER.host}:{PEER.port}" in lines[0]
        assert "wrong version number)" in lines[0], lines[0]  # OpenSSL's reason
        server.clock.advance(60)
        fail()
        assert "15 more connections failed before HTTP began" in said
    finally:
        globalLogPublisher.removeObserver(observe)
