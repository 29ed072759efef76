"""The files of TLS: what is in them, as far as that can be told without a handshake, and whether they have changed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..config import Certificate

#: What tells a file from the one that was there before; None: there is none.
Stamp = tuple[int, int, int] | None


class TlsError(Exception):
    """The files of TLS cannot be used; the text is one sentence that says why."""


@dataclass(frozen=True)
class Credentials:
    """
    A certificate and what belongs to it.

    :ivar files: where they are from.
    :ivar further: the certificates that lead from it to one that clients know.
    :ivar names: that it is for, in small letters; some begin with a wildcard.
    """

    files: Certificate
    certificate: x509.Certificate
    further: tuple[x509.Certificate, ...]
    key: Any
    names: tuple[str, ...]

    @classmethod
    def read(cls, files: Certificate) -> Credentials:
        """
        Read them from their files.

        :raises TlsError: when a file is missing, or is not what it should be.
        """
        first, *further = readCertificates(files.chain)
        for path in files.intermediates:
            further += readCertificates(path)
        return cls(files, first, tuple(further), _key(files.key), _names(files.chain, first))

    @property
    def expired(self) -> bool:
        """Whether the certificate is out of date."""
        return self.certificate.not_valid_after_utc < datetime.now(timezone.utc)


def readCertificates(path: str) -> list[x509.Certificate]:
    """
    The certificates in a file: one at least.

    :raises TlsError: when there is none.
    """
    data = _bytes(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise TlsError(f"{path} holds no certificate") from error


def stamps(paths: Iterable[str]) -> list[Stamp]:
    """Of each file, what changes when it is replaced."""
    return [_stamp(path) for path in paths]


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {error.strerror}") from error


def _key(path: str) -> Any:
    data = _bytes(path)
    try:
        return load_pem_private_key(data, None)
    except TypeError as error:
        raise TlsError(f"{path} holds a key that needs a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsError(f"{path} holds no private key") from error


def _names(path: str, certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except (ValueError, x509.DuplicateExtension) as error:
        raise TlsError(f"{path} holds a certificate whose extensions cannot be read") from error
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
