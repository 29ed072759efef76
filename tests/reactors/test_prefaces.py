"""What comes ahead of HTTP, on the reactor."""

from __future__ import annotations

from pathlib import Path

import pytest

from ka_twisted.reactors.uvloop import UvloopReactor
from tests.reactors.driving import run

pytest.importorskip("OpenSSL", reason="pyOpenSSL, of the extra tls, is not installed")

from tests.net.test_tls import tour


def test_tls_and_proxy_headers(reactor: UvloopReactor, tmp_path: Path) -> None:
    run(reactor, lambda: tour(reactor, tmp_path))
