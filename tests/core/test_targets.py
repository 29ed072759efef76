"""Authorities, as they are written."""

from __future__ import annotations

import pytest

from ka_twisted.core.targets import authority


@pytest.mark.parametrize(
    ("host", "text"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("shop.example", "shop.example:80")]
)
def test_an_address_of_ipv6_is_in_brackets(host: str, text: str) -> None:
    assert authority(host, 80) == text
