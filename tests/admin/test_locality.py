"""Which endpoints only this machine can reach."""

from __future__ import annotations

import pytest

from ka_twisted.admin import isLocal


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:9100:interface=127.0.0.1",
        "tcp:port=9100:interface=127.0.0.1:backlog=10",
        "tcp:interface=127.8.9.1:port=9100",
        "TCP:9100:interface=127.0.0.1",
        r"tcp:9100:interface=\:\:1",
        "tcp:9100:interface=localhost",
        "tcp:9100:interface=LocalHost.",
        r"tcp6:9100:interface=\:\:1",
        r"tcp6:port=9100:interface=0\:0\:0\:0\:0\:0\:0\:1",
        "unix:/run/admin.sock",
        "unix:address=/run/admin.sock:mode=600",
    ],
)
def test_these_are_local(endpoint: str) -> None:
    assert isLocal(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:9100",
        "tcp:9100:interface=",
        "tcp:9100:interface=0.0.0.0",
        "tcp:9100:interface=10.0.0.5",
        "tcp:9100:interface=localhost.example.com",
        "tcp:9100:interface=127.0.0.1.example.com",
        "tcp:9100:interface=127.0.0.1:interface=0.0.0.0",
        "tcp:9100:127.0.0.1",
        r"tcp:9100\:interface=127.0.0.1",
        r"tcp:9100:backlog=5\:interface=127.0.0.1",
        r"tcp6:9100:interface=\:\:",
        r"tcp6:9100:interface=\:\:ffff\:10.0.0.5",
        "tcp6:9100",
        "ssl:9100:interface=127.0.0.1",
        "systemd:domain=INET:name=admin",
        "unixx:/run/admin.sock",
        "127.0.0.1",
        "",
    ],
)
def test_these_may_be_reached_from_elsewhere(endpoint: str) -> None:
    assert not isLocal(endpoint)
