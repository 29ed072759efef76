"""The access log: what its lines say, when they are written, and what happens when they cannot be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock, deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from ka_twisted import (
    KeepAliveFactory,
    KeepAliveProtocol,
    Limits,
    Persistence,
    Request,
    Response,
    Timeouts,
)
from ka_twisted.interfaces import IConnectionObserver
from ka_twisted.observe import linefile
from ka_twisted.observe.accesslog import AccessLog
from ka_twisted.testing import MemoryServer

NOON = 1793534400.25  # Sun, 01 Nov 2026 12:00:00.250 UTC


class Logged:
    """A server in memory whose access log is a file."""

    def __init__(self, path: Path, format: str, handler: Callable[..., Any], **settings: Any) -> None:
        self.path = path
        self._settings = settings
        self._handler = handler
        self._format = format
        self.server = MemoryServer(factory=self._factory)
        self.clock = self.server.clock
        self.log.start()

    def _factory(self, clock: Clock) -> KeepAliveFactory:
        self.log = AccessLog(self.path, self._format, clock, lambda: NOON + clock.seconds())
        return KeepAliveFactory(self._handler, reactor=clock, observers=[self.log], **self._settings)

    def lines(self) -> list[str]:
        """What stands in the file, once all that waits is written."""
        self.server.advance(linefile.DELAY)
        return self.path.read_text("ascii").splitlines()

    def records(self) -> list[dict[str, Any]]:
        """The same, as JSON."""
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def logged(tmp_path: Path) -> Callable[..., Logged]:
    """Makes a server with a log of a format."""

    def make(format: str, handler: Callable[..., Any] = lambda request: b"hello", **settings: Any) -> Logged:
        return Logged(tmp_path / "access.log", format, handler, **settings)

    return make


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """The events that are logged meanwhile."""
    seen: list[LogEvent] = []
    observer = cast(ILogObserver, seen.append)
    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


def test_it_is_an_observer() -> None:
    assert verifyObject(IConnectionObserver, AccessLog("-", reactor=Clock()))


def test_another_format_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"a log format is combined, json or a text .*, not 'xml'"):
        AccessLog("-", "xml", Clock())


# -- combined --------------------------------------------------------------------------------------


def test_a_combined_line_is_as_apache_has_it(logged: Callable[..., Logged]) -> None:
    it = logged("combined")
    it.server.connect("192.0.2.7").send(
        b"GET /shop?item=1 HTTP/1.1\r\nHost: a\r\nReferer: http://a/\r\nUser-Agent: curl/8\r\n\r\n"
    )
    assert it.lines() == [
        '192.0.2.7 - - [01/Nov/2026:12:00:00 +0000] "GET /shop?item=1 HTTP/1.1" 200 5 "http://a/" "curl/8"'
    ]


def test_what_is_not_there_is_a_dash(logged: Callable[..., Logged]) -> None:
    it = logged("combined", lambda request: Response(204))
    it.server.connect().send(b"GET / HTTP/1.0\r\n\r\n")
    assert it.lines()[0].endswith('] "GET / HTTP/1.0" 204 - "-" "-"')


def test_what_could_break_the_line_is_escaped(logged: Callable[..., Logged]) -> None:
    it = logged("combined")
    it.server.connect().send(
        b'GET /"\\ HTTP/1.1\r\nHost: a\r\nReferer: "\\\t\xe9\r\nUser-Agent: two\r\nUser-Agent: three\r\n\r\n'
    )
    assert it.lines()[0].endswith(r'"GET /\x22\x5C HTTP/1.1" 200 5 "\x22\x5C\x09\xE9" "two"')


def test_lines_follow_their_requests_on_a_kept_connection(logged: Callable[..., Logged]) -> None:
    it = logged("combined")
    client = it.server.connect()
    for agent in (b"one", b"one", b"two"):
        for path in (b"/a", b"/b"):
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\nUser-Agent: %b\r\n\r\n" % (path, agent))
    seen = [re.findall('"([^"]*)"', line) for line in it.lines()]
    assert [(line[0], line[2]) for line in seen] == [
        (f"GET {path} HTTP/1.1", agent) for agent in ("one", "one", "two") for path in ("/a", "/b")
    ]


def test_the_date_moves_with_the_clock(logged: Callable[..., Logged]) -> None:
    it = logged("combined")
    client = it.server.connect()
    for _ in range(3):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        it.server.advance(0.5)
    assert re.findall(r"12:00:0\d", "".join(it.lines())) == ["12:00:00", "12:00:00", "12:00:01"]


def test_a_request_that_is_none_has_a_line_all_the_same(logged: Callable[..., Logged]) -> None:
    it = logged("combined")
    it.server.connect().send(b"\x16\x03\x01 what is this\r\n\r\n")
    assert re.search(r'\] "-" 400 \d+ "-" "-"$', it.lines()[0])


def test_a_request_without_a_response_has_no_status(logged: Callable[..., Logged]) -> None:
    it = logged("combined", lambda request: Deferred())
    client = it.server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.reset()
    assert it.lines()[0].endswith('"GET / HTTP/1.1" - - "-" "-"')


@pytest.mark.parametrize(
    ("address", "written"),
    [
        (IPv6Address("TCP", "2001:db8::1", 4711), "2001:db8::1"),
        (UNIXAddress(b"/run/client"), "-"),
        (UNIXAddress(None), "-"),
    ],
)
def test_the_peer_is_an_address_or_a_dash(logged: Callable[..., Logged], address: IAddress, written: str) -> None:
    it = logged("combined")
    client = it.server.connect()
    client.transport._peer = address  # type: ignore[assignment]
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert it.lines()[0].split()[0] == written


# -- JSON ------------------------------------------------------------------------------------------


def test_a_json_line_carries_the_decision(logged: Callable[..., Logged]) -> None:
    it = logged("json")
    client = it.server.connect("192.0.2.7")
    client.send(b'GET /a"b\\ HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    first, second = it.records()
    assert first == {
        "time": "2026-11-01T12:00:00.250Z",
        "event": "request",
        "pid": os.getpid(),
        "connection": 1,
        "request": 1,
        "peer": "192.0.2.7",
        "scheme": "http",
        "method": "GET",
        "target": '/a"b\\',
        "version": "1.1",
        "host": "a",
        "status": 200,
        "bytes": 5,
        "bytes_received": 0,
        "duration": 0.0,
        "time_to_first_byte": 0.0,
        "user_agent": None,
        "referer": None,
        "forwarded_for": None,
        "persistence": {
            "keep": True,
            "reason": "HTTP11_DEFAULT",
            "clause": "RFC 2616 8.1.2.1; RFC 9112 9.3",
            "row": "D1-18",
        },
    }
    assert second["request"] == 2
    assert second["persistence"]["reason"] == "CLOSE_REQUESTED"


def test_the_end_of_a_connection_is_a_line(logged: Callable[..., Logged]) -> None:
    it = logged("json", timeouts=Timeouts(idle=15))
    client = it.server.connect("192.0.2.7")
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    it.server.advance(20)
    client.disconnect()
    assert it.records()[-1] == {
        "time": "2026-11-01T12:00:20.250Z",
        "event": "close",
        "pid": os.getpid(),
        "connection": 1,
        "peer": "192.0.2.7",
        "requests": 1,
        "age": 20,
        "reason": "IDLE_TIMEOUT",
        "by": "us",
        "state": "idle",
        "clause": "RFC 9112 9.5",
    }


def test_a_connection_without_a_request_has_its_line_too(logged: Callable[..., Logged]) -> None:
    it = logged("json")
    it.server.connect().disconnect()
    (record,) = it.records()
    assert (record["event"], record["requests"], record["by"]) == ("close", 0, "peer")


def test_the_duration_counts_from_the_head(logged: Callable[..., Logged]) -> None:
    it = logged("json", lambda request: deferLater(request.connection.clock, 1.5, lambda: b""))
    client = it.server.connect()
    it.server.advance(1)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    it.server.advance(2)
    assert it.records()[0]["duration"] == 1.5


def test_a_refused_request_says_why(logged: Callable[..., Logged]) -> None:
    it = logged("json")
    it.server.advance(5)
    it.server.connect().send(b"GET / HTTP/1.1\r\n\r\n")
    record = it.records()[0]
    assert (record["status"], record["method"], record["duration"]) == (400, "GET", 0)
    assert record["persistence"]["reason"] == "BAD_REQUEST"


def test_what_is_no_request_line_has_no_method(logged: Callable[..., Logged]) -> None:
    it = logged("json")
    it.server.connect().send(b"\0\0\r\n\r\n")
    record = it.records()[0]
    assert [record[name] for name in ("method", "target", "version")] == [None] * 3


def test_a_detail_is_told(logged: Callable[..., Logged]) -> None:
    class Rationed(KeepAliveProtocol):
        def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence:
            return decision.close(f'"{request.number}" is enough')

    it = logged("json", protocol=Rationed)
    for _ in range(100):  # details are made anew each time, and must not be kept for ever
        it.server.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert {r["persistence"]["detail"] for r in it.records() if r["event"] == "request"} == {'"1" is enough'}


# -- when lines are written ------------------------------------------------------------------------


def test_lines_wait_for_each_other_but_not_for_long(logged: Callable[..., Logged]) -> None:
    it = logged("combined", timeouts=Timeouts(idle=0, write=0))
    client = it.server.connect()
    assert it.clock.getDelayedCalls() == []
    for _ in range(10):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert it.path.read_text() == ""
    assert len(it.clock.getDelayedCalls()) == 1
    assert len(it.lines()) == 10
    assert it.clock.getDelayedCalls() == []


def test_many_lines_are_written_at_once(logged: Callable[..., Logged], monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    it = logged("combined", timeouts=Timeouts(idle=0))
    client = it.server.connect()
    request = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 1000)
    for _ in range(100):
        client.send(request)
    assert len(writes) == 1
    assert writes[0] >= linefile.BLOCK
    assert len(it.lines()) == 100
    assert len(writes) == 2


def test_stopping_writes_what_waits(logged: Callable[..., Logged]) -> None:
    it = logged("combined", timeouts=Timeouts(idle=0))
    client = it.server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    it.log.stop()
    assert len(it.path.read_text().splitlines()) == 1
    assert it.clock.getDelayedCalls() == []
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.disconnect()
    assert len(it.lines()) == 1


def test_it_appends(logged: Callable[..., Logged], tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text("before\n")
    it = logged("combined")
    it.server.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert it.lines()[0] == "before"
    assert len(it.lines()) == 2


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "nowhere" / "access.log", reactor=Clock())
    with pytest.raises(OSError, match="nowhere"):
        log.start()


def test_standard_output_is_a_dash(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("-", reactor=Clock(), wallClock=lambda: NOON)
    server = MemoryServer(observers=[log])
    log.start()
    server.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    log.reopen()
    log.stop()
    assert capfd.readouterr().out.endswith('"GET / HTTP/1.1" 200 6 "-" "-"\n')
    os.fstat(1)  # and it is still open


def test_a_renamed_file_is_left_for_a_new_one(logged: Callable[..., Logged], tmp_path: Path) -> None:
    it = logged("combined")
    client = it.server.connect()
    client.send(b"GET /old HTTP/1.1\r\nHost: a\r\n\r\n")
    old = it.path.rename(tmp_path / "access.log.1")
    it.log.reopen()
    client.send(b"GET /new HTTP/1.1\r\nHost: a\r\n\r\n")
    assert ["/new" in line for line in it.lines()] == [True]
    assert ["/old" in line for line in old.read_text().splitlines()] == [True]


def test_what_cannot_be_reopened_goes_on_in_the_old_file(logged: Callable[..., Logged], tmp_path: Path) -> None:
    it = logged("combined")
    old = it.path.rename(tmp_path / "access.log.1")
    it.path.mkdir()
    with pytest.raises(OSError, match="directory"):
        it.log.reopen()
    it.server.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    it.log.stop()
    assert len(old.read_text().splitlines()) == 1


# -- when they cannot be -----------------------------------------------------------------------------


class FullDisk:
    """Stands in for ``os.write``: takes so many bytes, then none until there is room again."""

    def __init__(self, room: int) -> None:
        self.room: int | None = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room is None:
            return self._write(descriptor, data)
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = self._write(descriptor, data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("format", ["combined", "json"])
def test_a_full_disk_is_told_once_and_made_up_for(
    logged: Callable[..., Logged], monkeypatch: pytest.MonkeyPatch, events: list[LogEvent], format: str
) -> None:
    it = logged(format)
    client = it.server.connect()

    def request(count: int) -> None:
        for _ in range(count):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        it.server.advance(1)

    disk = FullDisk(1)
    request(1)
    disk.room = it.path.stat().st_size + 10
    monkeypatch.setattr(os, "write", disk)
    request(3)  # one and a bit of them can be written
    request(4)  # none
    assert [r.status for r in client.responses] == [200] * 8
    disk.room = None
    request(1)
    monkeypatch.undo()
    request(1)

    lines = it.path.read_text().splitlines()
    assert len(lines) == 6  # two, a torn one, the apology, two
    if format == "json":
        assert json.loads(lines[3]).items() >= {"event": "lost", "lines": 6, "error": "No space left on device"}.items()
    else:
        assert lines[3] == "# 6 lines were lost: No space left on device"
    said = [event["log_format"] for event in events if "access log" in event["log_format"]]
    assert said == [
        "the access log cannot be written: {trouble}",
        "the access log is written again; {lost} lines were lost",
    ]


def test_an_apology_that_cannot_be_written_is_not_a_line(
    logged: Callable[..., Logged], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = logged("combined")
    client = it.server.connect()
    disk = FullDisk(0)
    monkeypatch.setattr(os, "write", disk)
    for room in (0, 5, 0):
        disk.room = room
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        it.server.advance(1)
    disk.room = None
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    it.server.advance(1)
    torn, apology, line = it.path.read_text().splitlines()
    assert torn == "# 1 l"
    assert apology == "# 3 lines were lost: No space left on device"
    assert line.startswith("127.0.0.1 - - [")


def test_nothing_is_kept_of_connections_that_are_gone(logged: Callable[..., Logged]) -> None:
    it = logged("json", limits=Limits(maxConnections=3))
    for _ in range(3):
        client = it.server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.disconnect()
    assert it.log._contexts == {}


@pytest.mark.parametrize("format", ["combined", "json"])
def test_nothing_is_kept_of_large_heads(format: str, logged: Callable[..., Logged]) -> None:
    it = logged(format)
    client = it.server.connect()
    target = b"/" + b"a" * 4000
    request = b"GET %b HTTP/1.1\r\nHost: a\r\nReferer: %b\r\n\r\n" % (target, b"b" * 4000)
    client.send(request)
    client.send(request, pieces=1000)
    (context,) = it.log._contexts.values()
    assert (context.head, context.headers, context.request, context.tail) == (None, None, b"", b"")
    assert all(target.decode() in line for line in it.lines())
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert context.head is not None
