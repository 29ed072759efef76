"""
TLS ahead of a protocol: certificates by name, handshakes in their time, and files that can be read anew.

The protocol hears of a connection once its handshake is over. One that fails is counted under a word, and is no
connection that broke.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableDescriptor,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.logger import Logger
from zope.interface import implementer

from ..config import Tls
from .registry import ConnectionRegistry
from .stages import ConnectionStage, ConnectionStageFactory

try:
    from cryptography.x509 import Certificate
    from OpenSSL import SSL
    from OpenSSL.crypto import X509
    from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory

    from .credentials import Credentials, TlsError, readCertificates, stamps
except ImportError as error:
    raise ImportError("TLS needs the extra ka_twisted[tls]") from error

__all__ = ["CIPHERS", "TICKET_KEYS", "TlsContexts", "TlsError"]

_log = Logger()
#: Suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 4.2).
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: Seconds after which tickets are sealed with other keys, or who comes by them could read what was said with them
#: (RFC 9325 3.4).
TICKET_KEYS = 86400.0
_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
#: The type of the record that a client begins with (RFC 8446 5.1).
_HANDSHAKE = 22
#: What OpenSSL says of a handshake, and the word that it is counted under; the first that fits.
_WORDS = (
    ("protocol version", "protocol version"),
    ("unsupported protocol", "protocol version"),
    ("no shared cipher", "no shared cipher"),
    ("no application protocol", "no shared protocol"),
    ("unknown ca", "unknown authority"),
    ("did not return a certificate", "no client certificate"),
    ("certificate verify failed", "client certificate"),
    ("alert", "refused by the client"),
    ("wrong version number", "not TLS"),
    ("length too long", "not TLS"),
    ("unexpected eof", "reset"),
)


class TlsContexts:
    """
    The certificates of a listener, as they were read last.

    :param protocols: what is spoken within, in the order of preference (RFC 7301). A client that offers others only is
        refused. None: whatever a client offers, no protocol is chosen.
    :raises TlsError: when a file is missing, is none, or does not belong to the other.
    """

    def __init__(self, tls: Tls, protocols: Sequence[bytes] = ()) -> None:
        self._tls = tls
        self._protocols = tuple(protocols)
        self._said: set[str] = set()
        #: When the contexts were used first.
        self._since: float | None = None
        self._read()

    def reload(self) -> None:
        """
        Read the files anew, for connections from now on.

        :raises TlsError: as at the beginning; what was read before stays.
        """
        self._read()
        self._sayExpired()

    def changed(self) -> bool:
        """Whether the files are others than those that were read, or gone."""
        return stamps(self._paths()) != self._stamps

    def wrap(
        self,
        factory: IProtocolFactory,
        *,
        seconds: float,
        reactor: IReactorTime,
        failed: Callable[[str], object] = lambda word: None,
        plainAnswer: bytes = b"",
        registry: ConnectionRegistry[Any] | None = None,
    ) -> TLSMemoryBIOFactory:
        """
        A factory whose connections are handed to another once their handshake is over.

        :param seconds: for the handshake; 0: as long as it takes.
        :param failed: called once for each handshake that fails, with a word that says why.
        :param plainAnswer: sent to a client that begins with a letter, and so with text in the place of a handshake.
        :param registry: counts the connections in their handshake; None: they do not count.
        """
        self._sayExpired()
        handshakes = _Handshakes(factory, seconds, reactor, failed, registry, plainAnswer)
        wrapped = TLSMemoryBIOFactory(_Creator(self, reactor), False, handshakes, reactor)
        wrapped.protocol = _Transport
        wrapped.noisy = False
        return wrapped

    def connection(self, now: float) -> SSL.Connection:
        """
        OpenSSL's side of a new connection.

        :param now: by the reactor's clock.
        """
        if self._since is None:
            self._since = now
        elif now - self._since >= TICKET_KEYS:
            self._make(self._credentials, self._authorities)
            self._since = now
        return SSL.Connection(self._default, None)

    def _read(self) -> None:
        tls = self._tls
        before = stamps(self._paths())
        credentials = [Credentials.read(files) for files in tls.certificates]
        authorities = [] if tls.clientAuthorities is None else readCertificates(tls.clientAuthorities)
        self._make(credentials, authorities)
        self._credentials, self._authorities, self._stamps = credentials, authorities, before

    def _make(self, credentials: Sequence[Credentials], authorities: Sequence[Certificate]) -> None:
        """Have other contexts from now on: keys of tickets are made with a context, and live as long."""
        byName: dict[str, SSL.Context] = {}
        try:
            contexts = [self._context(one, authorities) for one in credentials]
        except MemoryError:
            raise TlsError("TLS needs memory that can be executed: systemd's MemoryDenyWriteExecute=no") from None
        for one, context in zip(credentials, contexts, strict=True):
            for name in one.names:
                byName.setdefault(name, context)
        self._default, self._byName = contexts[0], byName
        self._since = None

    def _sayExpired(self) -> None:
        """Say once of each certificate that is shown to clients that they will not have it."""
        expired = {one.files.chain for one in self._credentials if one.expired}
        for path in sorted(expired - self._said):
            _log.warn("the certificate {path} has expired", path=path)
        self._said = expired

    def _context(self, credentials: Credentials, authorities: Sequence[Certificate]) -> SSL.Context:
        tls, files = self._tls, credentials.files
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(_VERSIONS[tls.minimum])
        context.set_options(_OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_id(b"ka_twisted")
        unusable = f"{files.chain} holds a certificate that OpenSSL does not take"
        _try(unusable, context.use_certificate, credentials.certificate)
        for certificate in credentials.further:
            context.add_extra_chain_cert(certificate)
        mismatch = f"{files.key} is not the key of {files.chain}"
        _try(mismatch, context.use_privatekey, credentials.key)
        _try(mismatch, context.check_privatekey)  # a key of another kind is taken for one of another certificate
        ciphers = CIPHERS if tls.ciphers is None else tls.ciphers
        _try(f"OpenSSL knows none of the ciphers {ciphers}", context.set_cipher_list, ciphers.encode())
        if tls.clientAuthorities is not None:
            for authority in authorities:
                context.get_cert_store().add_cert(X509.from_cryptography(authority))  # type: ignore[union-attr]
                context.add_client_ca(authority)
            required = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if tls.clientRequired else 0
            context.set_verify(SSL.VERIFY_PEER | required)
        if self._protocols:
            context.set_alpn_select_callback(self._choose)
        context.set_tlsext_servername_callback(self._named)
        return context

    def _choose(self, connection: SSL.Connection, offered: list[bytes]) -> bytes:
        """
        The protocol that is spoken, when the client offers some.

        :raises SSL.Error: which OpenSSL tells the client as an alert, when there is none in common (RFC 7301 3.2).
        """
        for protocol in self._protocols:
            if protocol in offered:
                return protocol
        raise SSL.Error([("", "", "no application protocol")])

    def _named(self, connection: SSL.Connection) -> None:
        """Show the certificate of the name that the client asks for (RFC 6066 3, RFC 9525 6.3)."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower().rstrip(".")
        first, _, rest = name.partition(".")
        context = self._byName.get(name) or (self._byName.get(f"*.{rest}") if first else None)
        if context is not None:
            connection.set_context(context)

    def _paths(self) -> Iterator[str]:
        for certificate in self._tls.certificates:
            yield from (certificate.chain, certificate.key, *certificate.intermediates)
        if self._tls.clientAuthorities is not None:
            yield self._tls.clientAuthorities


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    """Gives Twisted what the contexts make, by the reactor's clock."""

    def __init__(self, contexts: TlsContexts, reactor: IReactorTime) -> None:
        self._contexts = contexts
        self._now = reactor.seconds

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See `IOpenSSLServerConnectionCreator`."""
        return self._contexts.connection(self._now())


def _try(trouble: str, use: Callable[..., object], *arguments: object) -> None:
    """
    Have OpenSSL use something.

    :raises TlsError: with the trouble, when it does not.
    """
    try:
        use(*arguments)
    except (SSL.Error, TypeError) as error:  # TypeError: a key of a kind that TLS has no use for
        raise TlsError(trouble) from error


class _Handshakes(ConnectionStageFactory):
    """Makes what stands in for the protocols of a factory until their handshakes are over."""

    def __init__(
        self,
        factory: IProtocolFactory,
        seconds: float,
        reactor: IReactorTime,
        failed: Callable[[str], object],
        registry: ConnectionRegistry[Any] | None,
        plainAnswer: bytes,
    ) -> None:
        super().__init__(factory, seconds, reactor, failed, registry)
        self.plainAnswer = plainAnswer

    def buildProtocol(self, addr: IAddress | None) -> _Handshake:
        """See `IProtocolFactory.buildProtocol`."""
        return _Handshake(self, addr)


@implementer(IHandshakeListener)
class _Handshake(ConnectionStage):
    """Waits for the end of a handshake."""

    def __init__(self, factory: _Handshakes, address: IAddress | None) -> None:
        super().__init__(factory)
        self._address = address
        self.plainAnswer = factory.plainAnswer

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        self.over()
        protocol = self._factory.following.buildProtocol(self._address)
        if protocol is None:
            self.transport.loseConnection()
            return
        self.transport.wrappedProtocol = protocol
        protocol.makeConnection(self.transport)

    def explain(self, error: BaseException | None) -> str:
        """See `ConnectionStage.explain`."""
        return _word(error)

    def detail(self, error: BaseException | None) -> str:
        """See `ConnectionStage.detail`: OpenSSL's reasons."""
        if not isinstance(error, SSL.Error) or not error.args or not isinstance(error.args[0], list):
            return ""
        return ", ".join(str(entry[-1]) for entry in error.args[0])


class _Transport(BufferingTLSTransport):
    """TLS to a client, which may turn out not to speak it."""

    transport: Any
    wrappedProtocol: Any

    def makeConnection(self, transport: Any) -> None:
        """See `IProtocol.makeConnection`."""
        self.dataReceived = self._firstReceived  # type: ignore[method-assign]
        super().makeConnection(transport)

    def _firstReceived(self, data: bytes) -> None:
        del self.dataReceived
        if data[0] == _HANDSHAKE:
            self.dataReceived(data)
            return
        self.dataReceived = lambda data: None  # type: ignore[method-assign]
        self.wrappedProtocol.problem = "not TLS"
        transport = self.transport
        answer = self.wrappedProtocol.plainAnswer
        if answer and data[:1].isalpha():
            transport.write(answer)
            halfCloses = bool(IHalfCloseableDescriptor.providedBy(transport))
            if halfCloses and self.wrappedProtocol.timed:
                # The client may still be sending, and a reset would take the answer from it (RFC 9112 9.6).
                transport.loseWriteConnection()
                return
        transport.loseConnection()


def _word(error: BaseException | None) -> str:
    """What a handshake that failed with this is counted under."""
    if not isinstance(error, SSL.Error):
        return "reset"
    said = str(error).lower()
    return next((word for phrase, word in _WORDS if phrase in said), "other")
