"""A reactor for each test, on a loop of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("uvloop", reason="the reactor needs uvloop")

import uvloop

from ka_twisted.reactors.uvloop import UvloopReactor


@pytest.fixture
def reactor() -> Iterator[UvloopReactor]:
    loop = uvloop.new_event_loop()
    reactor = UvloopReactor(loop)
    yield reactor
    for reader in list(reactor._internalReaders):
        reactor.removeReader(reader)
        reader.connectionLost(None)
    loop.close()
