"""Frames on a pipe: whole whatever the threads, read on after damage, and never waited for."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from ka_twisted.service.workers.frames import MARK, MAX_PAYLOAD, Damage, FrameReader, FrameWriter, framed
from ka_twisted.service.workers.process import WorkerProcess
from ka_twisted.service.workers.worker import LOG
from tests.service.twistd import PATIENCE, environment, readAll, serving

payloads = st.lists(st.binary(max_size=20).map(lambda data: data.replace(MARK, b"")), max_size=5)


def read(reader: FrameReader, data: bytes, size: int) -> list[bytes | Damage]:
    """What a reader makes of data that comes in pieces of a size."""
    found: list[bytes | Damage] = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found


@given(payloads, st.integers(1, 50))
def test_frames_are_read_however_they_are_cut(frames: list[bytes], size: int) -> None:
    reader = FrameReader()
    assert read(reader, b"".join(map(framed, frames)), size) == frames
    assert list(reader.close()) == []


@given(payloads, st.binary(max_size=40), payloads, st.integers(1, 50))
def test_frames_after_damage_are_read(before: list[bytes], noise: bytes, after: list[bytes], size: int) -> None:
    data = b"".join(map(framed, before)) + noise + b"".join(map(framed, after))
    reader = FrameReader()
    found = [*read(reader, data, size), *reader.close()]
    whole = [item for item in found if isinstance(item, bytes)]
    assert whole[: len(before)] == before
    assert not after or whole[-len(after) :] == after
    skipped = sum(item.skipped for item in found if isinstance(item, Damage))
    assert skipped + sum(len(framed(item)) for item in whole) == len(data)


@pytest.mark.parametrize(
    "damage",
    [
        b"a line of another program\n",
        framed(b"cut in the middle")[:12],
        framed(b"cut in the header")[:5],
        MARK + b"zzzzzzzz",
        MARK + b"%08x" % (MAX_PAYLOAD + 1),
        framed(b"no line feed")[:-1] + b"x",
        MARK,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_damage_is_one_item_and_costs_no_other_frame(damage: bytes, size: int) -> None:
    reader = FrameReader()
    data = framed(b"one") + damage + framed(b"two")
    assert read(reader, data, size) == [b"one", Damage(len(damage)), b"two"]


def test_a_frame_that_is_not_complete_at_the_end_is_damage() -> None:
    reader = FrameReader()
    assert list(reader.feed(framed(b"one") + framed(b"two")[:-3])) == [b"one"]
    assert list(reader.close()) == [Damage(len(framed(b"two")) - 3)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe: for reading, for writing."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def readPipe(descriptor: int, done: Any) -> list[bytes | Damage]:
    """Read frames until there are enough."""
    reader = FrameReader()
    found: list[bytes | Damage] = []
    while not done(found):
        found += reader.feed(os.read(descriptor, 65536))
    return found


def lost(count: int) -> bytes:
    return b"lost %d" % count


@pytest.mark.parametrize("length", [100, 9_000, 1_000_000])
def test_threads_write_whole_frames(pipe: tuple[int, int], length: int) -> None:
    theirs, ours = pipe
    writer = FrameWriter(ours, lost)
    count = 200 if length < 100_000 else 5
    frames = {name: [b"%c%d " % (name, n) + bytes([name]) * length for n in range(count)] for name in b"abc"}

    def write(name: int) -> None:
        for payload in frames[name]:
            writer.write(payload)

    threads = [threading.Thread(target=write, args=(name,)) for name in frames]
    for thread in threads:
        thread.start()

    found = readPipe(theirs, lambda found: len(found) == 3 * count)
    for thread in threads:
        thread.join()
    for name, expected in frames.items():
        assert [item for item in found if isinstance(item, Damage) or item[0] == name] == expected


def test_a_full_pipe_is_not_waited_for_and_what_is_dropped_is_said(pipe: tuple[int, int]) -> None:
    theirs, ours = pipe
    writer = FrameWriter(ours, lost, 1_000_000)
    count = 3000
    for number in range(count):
        writer.write(b"%06d" % number + b"x" * 994)
    found = readPipe(theirs, lambda found: found and found[-1].startswith(b"lost "))
    written = [item for item in found[:-1] if isinstance(item, bytes)]
    assert [int(item[:6]) for item in written] == list(range(len(written)))
    assert 1_000_000 <= sum(map(len, written)) <= 1_200_000
    assert found[-1] == lost(count - len(written))
    writer.write(b"again")
    assert readPipe(theirs, len) == [b"again"]
    writer.finish(PATIENCE)


def test_a_thread_waits_for_room_and_the_main_one_does_not(pipe: tuple[int, int]) -> None:
    theirs, ours = pipe
    writer = FrameWriter(ours, lost, 1)
    size = fcntl.fcntl(theirs, fcntl.F_GETPIPE_SZ)
    writer.write(b"a" * size)  # a little of it is queued
    thread = threading.Thread(target=writer.write, args=(b"b",))
    thread.start()
    assert readPipe(theirs, lambda found: len(found) == 2) == [b"a" * size, b"b"]
    thread.join()
    writer.write(b"c" * size)
    writer.write(b"d")
    assert readPipe(theirs, lambda found: len(found) == 2) == [b"c" * size, b"lost 1"]


def test_a_reader_that_is_gone_is_no_error() -> None:
    theirs, ours = os.pipe()
    writer = FrameWriter(ours, lost)
    writer.write(b"x" * 200_000)
    os.close(theirs)
    writer.write(b"y")
    writer.finish(PATIENCE)
    os.close(ours)


# -- the supervisor's side -----------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[list[LogEvent]]:
    seen: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def event(text: str, **about: str) -> bytes:
    return json.dumps({"level": "info", "namespace": "shop", "text": text, "about": about}).encode()


def test_one_bad_event_is_one_clear_event_and_those_after_it_are_logged(log: list[LogEvent]) -> None:
    worker: Any = WorkerProcess(MemoryReactorClock(), None, None, ended=None, leaving=None, reported=None)  # type: ignore[arg-type]
    worker.pid = 7
    for payload in (event("one"), b"{", b'{"level": "loud"}', event("two", self="?", pid="9"), b'{"dropped": 3}'):
        worker.childDataReceived(LOG, framed(payload))
    worker.childDataReceived(LOG, b"what is this?" + framed(event("three \ud800")))
    assert [formatEvent(it) for it in log] == [
        "worker 7: one",
        "worker 7: an event of its log cannot be read: JSONDecodeError: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)",
        "worker 7: an event of its log cannot be read: ValueError: loud",
        "worker 7: two",
        "worker 7: 3 events of its log were dropped, the pipe was full",
        "worker 7: 13 bytes of its log are damaged",
        r"worker 7: three \ud800",
    ]
    assert worker.droppedEvents == 3


def test_a_line_without_an_end_on_the_standard_error_is_logged_in_parts(log: list[LogEvent]) -> None:
    worker: Any = WorkerProcess(MemoryReactorClock(), None, None, ended=None, leaving=None, reported=None)  # type: ignore[arg-type]
    for _ in range(40):
        worker.childDataReceived(2, b"x" * 65536)
    assert len(log) == 2


# -- processes ------------------------------------------------------------------------------------------

WRITER = """
import os, signal, sys
from ka_twisted.service.workers.frames import FrameWriter, framed
os.write(1, framed(b"before"))
os.write(1, framed(b"x" * 1_000_000)[:300_000])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_that_is_killed_within_a_frame_leaves_damage_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITER],
        env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    reader = FrameReader()
    assert [*reader.feed(done.stdout), *reader.close()] == [b"before", Damage(300_000)]


SHOP = """
import threading
from twisted.logger import Logger

log = Logger("shop")

def write(name, count, length):
    for number in range(count):
        log.info("{text}", text=f"<{name}{number:04}:" + name * length + ">")

def handler(request):
    for name in "abc":
        threading.Thread(target=write, args=(name, 200, 9000)).start()
    return "threads"
"""


CHATTY = """
from twisted.logger import Logger

log = Logger("shop")

def handler(request):
    for number in range(300):
        log.info("{text}", text=f"<{number:03}:" + "x" * 100_000 + ">")
    return "chatty"
"""


def test_a_supervisor_that_does_not_read_holds_up_no_worker(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CHATTY)
    with serving(tmp_path, "--app", "shop:handler", "--workers", "1") as server:
        server.waitFor("is ready")
        server.process.send_signal(signal.SIGSTOP)
        with server.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
            assert readAll(connection).endswith(b"chatty")
        server.process.send_signal(signal.SIGCONT)
        dropped = int(server.waitFor(r": (\d+) events of its log were dropped, the pipe was full")[1])
        numbers = [int(n) for n in re.findall(r"<(\d{3}):x{100000}>$", "".join(server.said), re.MULTILINE)]
        assert numbers == list(range(300 - dropped))
        assert server.end(signal.SIGTERM) == 0


def test_lines_that_threads_of_a_worker_log_come_whole(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with serving(tmp_path, "--app", "shop:handler", "--workers", "1") as server:
        server.waitFor("is ready")
        with server.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
            assert connection.recv(65536)
        for _ in range(600):
            line = server.waitFor(r"<[abc]\d{4}:").string
            assert re.search(r": <([abc])\d{4}:\1{9000}>$", line.rstrip("\n")), line[:200]
        assert server.end(signal.SIGTERM) == 0
        assert not re.search("damaged|dropped|cannot be read", "".join(server.said))
