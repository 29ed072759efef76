"""Certificates for tests, made when they are needed, with what RFC 5280 asks of them: Python 3.13 verifies strictly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ka_twisted.config import Certificate


@dataclass
class Authority:
    """
    Vouches for others.

    :ivar path: where its certificate is.
    """

    directory: Path
    name: str = "authority"

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        certificate = _certificate(self._subject, self._subject, self._key, self._key, authority=True)
        self.path = self.directory / f"{self.name}.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def subordinate(self, name: str) -> Authority:
        """An authority that this one vouches for."""
        other = Authority(self.directory, name)
        certificate = _certificate(other._subject, self._subject, other._key, self._key, authority=True)
        other.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return other

    def certify(self, *names: str, days: int = 30, file: str = "") -> Certificate:
        """A certificate for these names, in files called after the first of them."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = _certificate(subject, self._subject, key, self._key, names=names, days=days)
        chain = self.directory / f"{file or names[0].replace('*', 'any')}.crt"
        private = chain.with_suffix(".key")
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(_private(key))
        return Certificate(str(chain), str(private))


def self_signed(file: Path, name: str) -> Path:
    """Writes a key, and a certificate for a name or an address that it has signed itself, to one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = _certificate(subject, subject, key, key, names=(name,))
    file.write_bytes(_private(key) + certificate.public_bytes(serialization.Encoding.PEM))
    return file


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as it stands in a file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _alternative(name: str) -> x509.GeneralName:
    """An address as what it is, anything else as a host name."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    names: tuple[str, ...] = (),
    days: int = 30,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        # RFC 5280 4.2.1.1, 4.2.1.2, 4.2.1.3, 4.2.1.9
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(authority), critical=True)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_alternative, names)), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    """An authority's key signs certificates, a server's the handshake."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
