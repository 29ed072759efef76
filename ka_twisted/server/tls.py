"""
TLS ahead of HTTP: certificates by name, handshakes in their time, and files that can be read anew.

HTTP hears of a connection once its handshake is over. One that fails is counted under a word, and is no connection that
broke.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
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

from ..config import Certificate, Tls
from .preface import Preface, PrefaceFactory

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from OpenSSL import SSL
    from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
except ImportError as error:
    raise ImportError("TLS needs the extra ka_twisted[tls]") from error

_log = Logger()
#: Suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 4.2).
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: HTTP/1.1 and what it includes, as registered for RFC 7301.
HTTP1 = (b"http/1.1", b"http/1.0")
_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
#: The type of the record that a client begins with (RFC 8446 5.1).
_HANDSHAKE = 22
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 32\r\nConnection: close\r\n\r\n"
    b"this port speaks HTTP over TLS.\n"
)
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
    ("unexpected eof", "reset"),
)


class TlsError(Exception):
    """The files of TLS cannot be used; the text is one sentence that says why."""


@implementer(IOpenSSLServerConnectionCreator)
class TlsContexts:
    """
    The certificates of a listener, as they were read last.

    :param protocols: what is spoken within, in the order of preference (RFC 7301). A client that offers others only is
        refused.
    :raises TlsError: when a file is missing, is none, or does not belong to the other.
    """

    def __init__(self, tls: Tls, protocols: Sequence[bytes] = HTTP1) -> None:
        self._tls = tls
        self._protocols = tuple(protocols)
        self._said: set[str] = set()
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
        return self._stamps() != self._read_stamps

    def wrap(
        self,
        factory: IProtocolFactory,
        *,
        seconds: float,
        reactor: IReactorTime,
        failed: Callable[[str], object] = lambda word: None,
    ) -> TLSMemoryBIOFactory:
        """
        A factory whose connections are handed to another once their handshake is over.

        :param seconds: for the handshake; 0: as long as it takes.
        :param failed: called once for each handshake that fails, with a word that says why.
        """
        self._sayExpired()
        wrapped = TLSMemoryBIOFactory(self, False, _Handshakes(factory, seconds, reactor, failed), reactor)
        wrapped.protocol = _Transport
        wrapped.noisy = False
        return wrapped

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See `IOpenSSLServerConnectionCreator`."""
        return SSL.Connection(self._default, None)

    def _read(self) -> None:
        stamps = self._stamps()
        expired = set()
        contexts: list[SSL.Context] = []
        byName: dict[str, SSL.Context] = {}
        now = datetime.now(timezone.utc)
        for files in self._tls.certificates:
            first, *further = _certificates(files.chain)
            for path in files.intermediates:
                further += _certificates(path)
            try:
                context = self._context(files, first, further)
            except MemoryError:
                raise TlsError("TLS needs memory that can be executed: systemd's MemoryDenyWriteExecute=no") from None
            contexts.append(context)
            for name in _names(files.chain, first):
                byName.setdefault(name, context)
            if first.not_valid_after_utc < now:
                expired.add(files.chain)
        self._default, self._byName, self._read_stamps, self._expired = contexts[0], byName, stamps, expired

    def _sayExpired(self) -> None:
        """Say once of each certificate that is shown to clients that they will not have it."""
        for path in sorted(self._expired - self._said):
            _log.warn("the certificate {path} has expired", path=path)
        self._said = self._expired

    def _context(
        self, files: Certificate, first: x509.Certificate, further: Iterable[x509.Certificate]
    ) -> SSL.Context:
        tls = self._tls
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(_VERSIONS[tls.minimum])
        context.set_options(_OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_id(b"ka_twisted")
        _try(f"{files.chain} holds a certificate that OpenSSL does not take", context.use_certificate, first)
        for authority in further:
            context.add_extra_chain_cert(authority)
        mismatch = f"{files.key} is not the key of {files.chain}"
        _try(mismatch, context.use_privatekey, _key(files.key))
        _try(mismatch, context.check_privatekey)  # a key of another kind is taken for one of another certificate
        if tls.ciphers is None:
            context.set_cipher_list(CIPHERS.encode())
        else:
            try:
                context.set_cipher_list(tls.ciphers.encode())
            except SSL.Error:
                raise TlsError(f"OpenSSL knows none of the ciphers {tls.ciphers}") from None
        if (path := tls.clientAuthorities) is not None:
            _octets(path)
            _try(f"{path} holds no certificate", context.load_verify_locations, path)
            _try(f"{path} holds no certificate", context.load_client_ca, path.encode())
            required = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if tls.clientRequired else 0
            context.set_verify(SSL.VERIFY_PEER | required)
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

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths()]

    def _paths(self) -> Iterator[str]:
        for certificate in self._tls.certificates:
            yield from (certificate.chain, certificate.key, *certificate.intermediates)
        if self._tls.clientAuthorities is not None:
            yield self._tls.clientAuthorities


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _try(trouble: str, use: Callable[..., object], *arguments: object) -> None:
    """
    Have OpenSSL use something.

    :raises TlsError: with the trouble, when it does not.
    """
    try:
        use(*arguments)
    except (SSL.Error, TypeError) as error:  # TypeError: a key of a kind that TLS has no use for
        raise TlsError(trouble) from error


def _octets(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {error.strerror}") from error


def _certificates(path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_octets(path))
    except ValueError as error:
        raise TlsError(f"{path} holds no certificate") from error


def _key(path: str) -> Any:
    try:
        return load_pem_private_key(_octets(path), None)
    except TypeError as error:
        raise TlsError(f"{path} holds a key that needs a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsError(f"{path} holds no private key") from error


def _names(path: str, certificate: x509.Certificate) -> list[str]:
    """
    The names that a certificate is for.

    :raises TlsError: when they cannot be read.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension) as error:
        raise TlsError(f"{path} holds a certificate whose extensions cannot be read") from error
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


class _Handshakes(PrefaceFactory):
    """Makes what stands in for the protocols of a factory until their handshakes are over."""

    def buildProtocol(self, addr: IAddress | None) -> _Handshake:
        """See `IProtocolFactory.buildProtocol`."""
        return _Handshake(self, addr)


@implementer(IHandshakeListener)
class _Handshake(Preface):
    """Waits for the end of a handshake."""

    def __init__(self, factory: PrefaceFactory, address: IAddress | None) -> None:
        super().__init__(factory)
        self._address = address

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
        """See `Preface.explain`."""
        return _word(error)


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
        if data[:1].isalpha():
            transport.write(_PLAIN)
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
