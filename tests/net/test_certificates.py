"""The certificates of the tests stand a strict verification, which is the default from Python 3.13 on."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography, of the extra tls, is not installed")

from tests.net.certificates import Authority, self_signed


def handshake(trusted: Path, chain: Path, key: Path, name: str) -> None:
    """Between a server with a certificate and a strict client, in memory; raises what the client's raises."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)
    asking = ssl.create_default_context(cafile=str(trusted))
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.getpeercert()


def test_a_strict_client_takes_a_certificate_of_an_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    made = authority.certify("shop", "127.0.0.1")
    for name in ("shop", "127.0.0.1"):
        handshake(authority.path, Path(made.chain), Path(made.key), name)


def test_a_strict_client_takes_a_chain(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    between = authority.subordinate("between")
    made = between.certify("shop")
    chain = Path(made.chain)
    chain.write_bytes(chain.read_bytes() + between.path.read_bytes())
    handshake(authority.path, chain, Path(made.key), "shop")


def test_a_strict_client_takes_one_that_signed_itself(tmp_path: Path) -> None:
    file = self_signed(tmp_path / "server.pem", "127.0.0.1")
    handshake(file, file, file, "127.0.0.1")
