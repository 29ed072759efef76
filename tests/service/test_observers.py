"""What observes the connections of all generations of a server."""

from __future__ import annotations

from ka_twisted.net.stages import CROWDED
from ka_twisted.observe.families import CONNECTIONS_REFUSED, HANDSHAKE_FAILURES
from ka_twisted.observe.metrics import Metrics
from ka_twisted.service.running.observers import ObserverSet


def test_a_connection_refused_before_http_is_no_failed_handshake() -> None:
    observers = ObserverSet()
    observers.handshakeFailed("timeout")  # nothing is counted where there is no operator
    observers.metrics = Metrics()
    observers.handshakeFailed("timeout")
    observers.handshakeFailed(CROWDED)
    counts = observers.metrics.counts()
    assert counts.by(CONNECTIONS_REFUSED, "reason") == {CROWDED: 1}
    assert counts.by(HANDSHAKE_FAILURES, "reason") == {"timeout": 1}
