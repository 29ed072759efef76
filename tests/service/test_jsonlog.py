"""The server's own log as JSON."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import FileLogObserver, Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny

from ka_twisted.service import jsonlog
from ka_twisted.service.jsonlog import choose, line
from ka_twisted.service.workers.process import WorkerProcess
from ka_twisted.service.workers.worker import LOG, SupervisorLog
from tests.service.twistd import Server, run, serving

APPLICATION = """
def handler(request):
    if request.path == "/fail":
        raise RuntimeError("out of\\nmilk")
    return b"hello"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APPLICATION)
    return tmp_path


def logged(level: LogLevel, form: str, **fields: Any) -> dict[str, Any]:
    """An event as its line has it."""
    written = io.StringIO()
    log = Logger("shop", observer=LogPublisher(FileLogObserver(written, line)))
    log.emit(level, form, **fields)
    text = written.getvalue()
    assert (text[-1], text.count("\n"), text.isascii()) == ("\n", 1, True)
    value: dict[str, Any] = json.loads(text)
    return value


def test_an_event_is_an_object_with_what_it_is_about() -> None:
    peer = IPv4Address("TCP", "192.0.2.1", 40000)
    event = logged(LogLevel.warn, "no {milk}\nfor {peer.host}", milk="m\x00lk", peer=peer, status=503, nothing=None)
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "warn",
        "namespace": "shop",
        "text": "no m\x00lk\nfor 192.0.2.1",
        "milk": "m\x00lk",
        "peer": "192.0.2.1",
        "status": "503",
    }


def test_the_time_is_that_of_the_event_in_utc() -> None:
    assert json.loads(line({"log_time": 1764563587.25, "log_format": ""}))["time"] == "2025-12-01T04:33:07.250Z"


def test_no_field_takes_the_place_of_a_member_that_every_line_has() -> None:
    event = json.loads(
        line({"log_format": "one", "text": "2", "namespace": "3", "time": "4", "level": "5", "more": "6"})
    )
    assert (event["text"], event["namespace"], event["level"], event["more"]) == ("one", "-", "info", "6")
    assert event["time"].endswith("Z")


def test_a_traceback_is_a_member() -> None:
    try:
        raise RuntimeError("out of\nmilk")
    except RuntimeError:
        event = logged(LogLevel.critical, "it failed", log_failure=Failure())
    assert event["text"] == "it failed"
    assert event["traceback"].startswith("Traceback (most recent call last)")
    assert event["traceback"].endswith("RuntimeError: out of\nmilk")


def test_an_error_without_words_has_those_of_its_traceback() -> None:
    event = json.loads(line({"log_failure": Failure(RuntimeError("no milk")), "log_format": ""}))
    assert event["text"].endswith("RuntimeError: no milk")


def test_what_is_logged_in_the_old_way_is_logged() -> None:
    written = io.StringIO()
    publisher = LogPublisher(FileLogObserver(written, line))
    legacy.LogPublisher(observerPublisher=publisher, publishPublisher=publisher).msg("old", "words", system="shop")
    assert json.loads(written.getvalue())["text"] == "old words"


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.binary(), st.floats(), st.none(), st.lists(st.text()))))
def test_any_event_is_one_line(fields: dict[str, Any]) -> None:
    text = line({"log_format": "{a} {b", **fields})
    assert text.count("\n") == 1
    assert json.loads(text)["level"]


def test_an_event_of_a_worker_is_one_line_with_its_process() -> None:
    theirs, ours = os.pipe()
    try:
        raise RuntimeError("no milk")
    except RuntimeError:
        failure = Failure()
    event = {"log_level": LogLevel.critical, "log_namespace": "shop", "log_format": "{path} failed", "path": "/a"}
    SupervisorLog(ours)({**event, "log_failure": failure})
    worker = WorkerProcess(MemoryReactorClock(), None, None, ended=None, leaving=None, reported=None)  # type: ignore[arg-type]
    worker.pid = 4711
    written = io.StringIO()
    observer = FileLogObserver(written, line)
    globalLogPublisher.addObserver(observer)
    try:
        worker.childDataReceived(LOG, os.read(theirs, 65536))
    finally:
        globalLogPublisher.removeObserver(observer)
        os.close(theirs)
        os.close(ours)
    value = json.loads(written.getvalue())
    assert (value["text"], value["pid"], value["path"]) == ("worker 4711: /a failed", "4711", "/a")
    assert (value["level"], value["namespace"]) == ("critical", "shop")
    assert value["traceback"].endswith("RuntimeError: no milk")


@pytest.mark.parametrize("name", ["logger", "syslog"])
def test_another_observer_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"and twistd's --{name} exclude each other"):
        choose({name: True, "nodaemon": True})


def test_a_daemon_has_no_standard_output() -> None:
    with pytest.raises(ValueError, match="needs twistd -n"):
        choose({"logfile": "-", "nodaemon": False})


@pytest.mark.parametrize(
    ("runner", "name"),
    [({"logfile": "own.log", "nodaemon": True}, "own.log"), ({"logfile": None, "nodaemon": False}, "twistd.log")],
)
def test_it_goes_where_twistd_s_log_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: dict[str, Any], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jsonlog, "_path", "-")
    before = signal.getsignal(signal.SIGUSR1)
    choose(runner)
    namedAny(runner["logger"])()({"log_format": "here"})
    signal.signal(signal.SIGUSR1, before)
    assert json.loads((tmp_path / name).read_text())["text"] == "here"


# -- through the command -----------------------------------------------------------------------------------------------


def failing(server: Server) -> list[dict[str, Any]]:
    """All that a server says from its start to its end, with a handler that fails once."""
    with server.connect() as client:
        client.sendall(b"GET /fail HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 500 ")
    server.waitFor("RuntimeError")
    assert server.end(signal.SIGTERM) == 0
    return [json.loads(text) for text in "".join(server.said).splitlines()]


@pytest.mark.parametrize("workers", [0, 1])
def test_all_that_the_command_says_is_json(shop: Path, workers: int) -> None:
    with serving(shop, "--app", "shop:handler", "--log-json", "--workers", str(workers)) as server:
        if workers:
            server.waitFor("ready")
        events = failing(server)
    assert all({"time", "level", "namespace", "text"} <= set(event) for event in events)
    (failure,) = (event for event in events if "traceback" in event)
    assert failure["text"].endswith("the handler failed on GET /fail (connection 1, request 1)")
    assert failure["traceback"].endswith("RuntimeError: out of\nmilk")
    assert (failure["peer"], failure["method"], failure["level"]) == ("127.0.0.1", "GET", "critical")
    assert ("pid" in failure) == bool(workers)


@pytest.mark.parametrize("text", ["log-json = true\n", "log-json = false\n"])
def test_the_file_may_ask_for_it(shop: Path, text: str) -> None:
    (shop / "k.toml").write_text(text)
    logger = "--logger=ka_twisted.service.jsonlog.observer"
    done = run(shop, "-n", logger, "keepalive", "--config", "k.toml", "--check")
    if "true" in text:
        assert done.returncode == 1
        assert done.stderr.startswith("keepalive: k.toml:1: log-json and twistd's --logger exclude each other")
    else:
        assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_the_command_line_is_refused_with_twistd_s_logger(shop: Path) -> None:
    done = run(shop, "-n", "--logger=ka_twisted.service.jsonlog.observer", "keepalive", "--log-json")
    assert (done.returncode, done.stderr) == (
        1,
        "keepalive: --log-json and twistd's --logger exclude each other\n",
    )
