"""Certificates for tests, made when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
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
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Certificate(str(chain), str(private))


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
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return builder.sign(signer, hashes.SHA256())
