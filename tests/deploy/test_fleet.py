"""
Three servers behind HAProxy under constant load: they are replaced one after the other, and no request fails; one is
killed, and what fails was under way on it. Each of them tells its part of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.fleet import WELL, Fleet, Instance, Story, fleet
from tests.load import Running, load

pytest.importorskip("prometheus_client")
pytestmark = pytest.mark.program("haproxy")


def asking(servers: Fleet, connections: int, method: str = "GET") -> AbstractContextManager[Running]:
    """Clients on the balancer's machine."""
    return load(
        "127.0.0.1", servers.port, connections=connections, path="/", method=method, content=b"x" * (method == "POST"),
        body=WELL, through=servers.center.through,
    )  # fmt: skip


def replaceAll(servers: Fleet, connections: int, requests: int) -> None:
    """
    Replace all servers under load.

    :param requests: that are asked, at least: before, between and after.
    """
    endings: list[Story] = []

    def look(instance: Instance) -> None:
        """A balancer hears that it is not ready, and every client that it lives; an operator is told more."""
        endings.append(instance.story())
        probes = instance.fetch("/readyz", "/healthz", "/metrics", token="")
        assert [status for status, _ in probes] == [503, 200, 401]

    with asking(servers, connections) as running:
        for instance in servers.instances:
            running.waitFor(requests // 4)
            servers.roll(instance, look)
        running.waitFor(max(requests // 4, requests - running.result.requests))
    result = running.result
    assert not result.failures, (result.kinds, result.failures[:5], servers.problems())
    assert result.requests >= requests
    # Not even a connection to the balancer was lost.
    assert (result.connections, result.closedIdle) == (connections, 0)
    for ending in endings:
        saysFarewell(ending.metrics, ending.connections["closed"])
    assert len({ending.connections["closed"][0]["pid"] for ending in endings}) == 3


def saysFarewell(metrics: Mapping[str, float], closed: Sequence[Mapping[str, Any]]) -> None:
    """What is said by a server that goes out of service: it has told its clients so, and answers what it takes up."""
    assert metrics['ka_twisted_server_state{state="draining"}'] == 1
    assert metrics["ka_twisted_ready"] == 0
    assert metrics['ka_twisted_connections_closed_total{by="us",reason="DRAINING"}'] > 0
    answersAll(metrics)
    ended = [connection for connection in closed if connection["ended"]["reason"] == "DRAINING"]
    assert ended
    for connection in ended:
        last = connection["latest"][-1]
        assert last["status"] == 200
        assert last["persistence"] == {
            "keep": False, "reason": "DRAINING", "clause": "RFC 9112 9.6", "row": "D1-04",
        }  # fmt: skip
        assert connection["peer"].startswith("127.0.0.1:"), "the client's address, from the PROXY header"


def answersAll(metrics: Mapping[str, float]) -> None:
    """No request was left without a response, and none came too late for one."""
    requests = {name: count for name, count in metrics.items() if name.startswith("ka_twisted_requests_total{")}
    answered = {name: count for name, count in requests.items() if count}
    assert all('status="2xx"' in name for name in answered), answered
    assert sum(answered.values()) == metrics["ka_twisted_requests_taken_total"] > 0
    assert metrics["ka_twisted_idle_close_races_total"] == 0


def killOne(servers: Fleet, connections: int, requests: int) -> None:
    """Kill a server under load; requests that take their time are under way on it."""
    victim, *others = servers.instances
    with asking(servers, connections) as reading, asking(servers, connections, "POST") as writing:
        writing.waitFor(requests // 2)
        killed = time.time()
        victim.kill()
        servers.waitFor(victim, "DOWN")
        gone = time.time()
        writing.waitFor(requests // 2)
        reading.waitFor(requests // 2)
    failures = writing.result.failures
    # A client has one request under way at a time, and finds another server with its next.
    assert 0 < len(failures) <= connections, writing.result.kinds
    assert {failure.kind for failure in failures} <= {"closed", "status"}
    for failure in failures:
        assert failure.sent < failure.at < gone
        assert failure.at > killed
    # What is safe was asked again, of another server.
    assert not reading.result.failures, (reading.result.kinds, reading.result.failures[:5], servers.problems())
    for instance in others:
        story = instance.story()
        metrics = story.metrics
        answersAll(metrics)
        assert metrics["ka_twisted_ready"] == 1
        assert metrics["ka_twisted_connection_reuse_ratio"] > 0.5
        assert all(connection["pid"] == instance.pid for connection in story.connections["open"])


def test_replacing_them_fails_no_request_and_killing_one_those_that_are_under_way_on_it(tmp_path: Path) -> None:
    with fleet(tmp_path, drainDelay=2) as servers:
        replaceAll(servers, connections=40, requests=4_000)
        killOne(servers, connections=20, requests=400)


@pytest.mark.soak
def test_two_hundred_connections_and_fifty_thousand_requests(tmp_path: Path) -> None:
    with fleet(tmp_path) as servers:
        for _ in range(2):
            replaceAll(servers, connections=200, requests=50_000)
        killOne(servers, connections=100, requests=4_000)
