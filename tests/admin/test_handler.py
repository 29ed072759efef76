"""What is at which path, and what becomes of a part that fails."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from ka_twisted.admin import LocalView, about
from ka_twisted.admin.interfaces import IServerView
from ka_twisted.observe.counts import Counts
from tests.admin.running import Operated, Running
from tests.admin.test_guard import ask
from tests.http1.driving import GET, get
from tests.logs import logged

PATHS = {
    "/": "GET, HEAD", "/events": "GET, HEAD", "/metrics": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD",
    "/connections.json": "GET, HEAD", "/drain": "POST",
}  # fmt: skip


class Faulty(LocalView):
    """A view of which some parts fail."""

    def __init__(self, running: Running, *parts: str) -> None:
        super().__init__(running.metrics, running.log, running)
        self.parts = set(parts)

    def counts(self) -> Deferred[Counts]:
        return fail(RuntimeError("no counts")) if "counts" in self.parts else super().counts()

    def connections(self, limit: int, requests: int = 50) -> Deferred[Any]:
        if "connections" in self.parts:
            raise RuntimeError("no connections")
        return super().connections(limit, requests)

    def about(self) -> Any:
        if "about" in self.parts:
            raise RuntimeError("no description")
        return super().about()

    def drain(self) -> None:
        raise RuntimeError("no drain")


def body(it: Operated, path: str) -> Any:
    return json.loads(ask(it, path).body)


def test_the_view_is_one() -> None:
    assert verifyObject(IServerView, Running(Clock()).view)


# -- paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "allowed"), PATHS.items())
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(path: str, allowed: str, method: str) -> None:
    response = ask(Operated(), path, method)
    if method in allowed.split(", "):
        assert response.status in (200, 202)
    else:
        assert (response.status, response.headers.get("allow")) == (405, allowed)


@pytest.mark.parametrize("path", ["/nowhere", "//", "/metrics/", "/Metrics", "/%6Detrics", "/login", "/events/x"])
def test_else_there_is_nothing(path: str) -> None:
    assert ask(Operated(), path).status == 404


def test_the_page_is_whole_and_loads_nothing() -> None:
    response = ask(Operated(), "/")
    page = response.body.decode()
    assert response.headers.get("content-type") == "text/html; charset=utf-8"
    assert "/*STYLE*/" not in page
    assert "/*SCRIPT*/" not in page
    for outside in ("src=", "@import", "url(", '<link rel="stylesheet', "//cdn"):
        assert outside not in page
    for inline in (" style=", " onclick=", " onload=", " onerror=", "javascript:", "innerHTML"):
        assert inline not in page


def test_the_balancer_hears_whether_it_is_ready() -> None:
    it = Operated()
    assert (ask(it, "/healthz").body, ask(it, "/readyz").body) == (b"alive\n", b"ready\n")
    it.running.ready = False
    starting = ask(it, "/readyz")
    assert (starting.status, starting.body) == (503, b"not ready\n")
    it.running.state = "draining"
    draining = ask(it, "/readyz")
    assert (draining.status, draining.body) == (503, b"draining\n")
    assert ask(it, "/healthz").status == 200


def test_metrics_are_those_of_the_server() -> None:
    it = Operated()
    it.users.connect().send(GET * 3)
    response = ask(it, "/metrics")
    assert str(response.headers.get("content-type")).startswith("text/plain; version=")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.body.decode())
        for sample in family.samples
    }
    assert samples["ka_twisted_requests_total", "GET", "2xx"] == 3
    assert samples["ka_twisted_ready",] == 1
    assert samples["ka_twisted_server_state", "serving"] == 1


def test_connections_are_told_with_their_process() -> None:
    it = Operated()
    it.users.connect().send(GET)
    it.users.connect().disconnect()
    told = body(it, "/connections.json")
    assert [(record["connection"], record["pid"]) for record in told["open"]] == [(1, os.getpid())]
    assert [(record["connection"], record["pid"]) for record in told["closed"]] == [(2, os.getpid())]


def test_how_many_connections_and_requests_are_told_can_be_said() -> None:
    it = Operated()
    for _ in range(4):
        it.users.connect().send(GET * 3)
        it.users.connect().disconnect()
    told = body(it, "/connections.json?limit=2&requests=1")
    assert [len(told[kind]) for kind in ("open", "closed")] == [2, 2]
    assert [len(record["latest"]) for record in told["open"]] == [1, 1]
    assert [len(body(it, "/connections.json?limit=0")[kind]) for kind in ("open", "closed")] == [4, 4]


@pytest.mark.parametrize("query", ["limit=", "limit=x", "limit=-1", "limit=10001", "limit=1.5", "requests=1001",
                                   "connection=", "connection=1&pid=x", "limit=%C2%B2"])  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused(query: str) -> None:
    response = ask(Operated(), f"/connections.json?{query}")
    assert response.status == 400
    assert response.body.count(b"\n") == 1


def test_one_connection_can_be_asked_for() -> None:
    it = Operated()
    it.users.connect().send(get("/a") + get("/b"))
    pid = os.getpid()
    record = body(it, f"/connections.json?connection=1&pid={pid}")
    assert [request["target"] for request in record["latest"]] == ["/a", "/b"]
    assert record["pid"] == pid
    assert ask(it, f"/connections.json?connection=2&pid={pid}").status == 404
    assert ask(it, f"/connections.json?connection=1&pid={pid + 1}").status == 404


def test_what_a_client_sends_is_text_and_nothing_else() -> None:
    it = Operated()
    it.users.connect().send(get("/<script>alert(1)</script>"))
    response = ask(it)
    assert response.headers.get("content-type") == "application/json"
    assert response.headers.get("x-content-type-options") == "nosniff"


def test_the_server_can_be_drained() -> None:
    it = Operated()
    idle = it.users.connect()
    idle.send(GET)
    response = ask(it, "/drain", "POST")
    assert (response.status, json.loads(response.body)) == (202, {"state": "draining", "ready": False})
    it.users.settle()
    assert idle.ended
    assert ask(it, "/drain", "POST").status == 202
    assert ask(it, "/readyz").status == 503
    assert ask(it, "/").status == 200


def test_the_view_tells_what_the_server_is() -> None:
    running = Running(Clock())
    told = json.loads(json.dumps(running.view.about()))
    assert (told["pid"], told["started"], told["listeners"]) == (os.getpid(), "2026-11-01T11:00:00+00:00", ["tcp:8080"])
    assert (told["timers"]["idle"], told["limits"]["maxConnections"], told["workers"]) == (75, 10000, [])
    assert told["wanted"] == 0
    worker: Any = {"pid": 17, "ready": True, "open": 3}
    assert about(running, [worker])["workers"] == [worker]


# -- what fails ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "path", "method"),
    [("counts", "/metrics", "GET"), ("connections", "/connections.json", "GET"), ("drain", "/drain", "POST")],
)
def test_a_part_that_fails_says_so_and_is_logged(part: str, path: str, method: str) -> None:
    running = Running(Clock())
    it = Operated(view=Faulty(running, part))
    with logged() as log:
        response = ask(it, path, method)
        assert len(log.failures(RuntimeError)) == 1
    assert response.status == 500
    assert b"Runtime" not in response.body
    assert response.headers.get("cache-control") == "no-store"
    assert ask(it, "/healthz").status == 200


def test_a_drain_that_fails_later_is_logged() -> None:
    it = Operated()
    it.running.drain = lambda: fail(RuntimeError("later"))  # type: ignore[method-assign]
    with logged() as log:
        assert ask(it, "/drain", "POST").status == 202
        assert len(log.failures(RuntimeError)) == 1


def test_a_client_that_leaves_before_the_answer_is_no_fault() -> None:
    class Silent(LocalView):
        def counts(self) -> Deferred[Counts]:
            return Deferred()

    running = Running(Clock())
    it = Operated(view=Silent(running.metrics, running.log, running))
    client = it.operators.connect()
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with logged():
        client.disconnect()
