"""Lines for pipes, FIFOs and sockets: nothing waits for a reader, no line is torn, and what is dropped is said."""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from ka_twisted.observe import outputs
from ka_twisted.observe.linefile import BLOCK, DELAY, RETRY, LineFile
from ka_twisted.observe.outputs import (
    ATOMIC,
    Output,
    Polled,
    SharedPipe,
    StreamSocket,
    hasRoom,
    openOutput,
    wantsOneWriter,
)

PIPE = 65536
LIMIT = 1 << 20


def lost(count: int, trouble: str, now: float) -> bytes:
    return f"# {count} lost: {trouble}\n".encode()


class Logged:
    """A file that takes lines, with a clock, and what was counted."""

    def __init__(self, path: str, opener: Callable[[str], Output | None] = openOutput) -> None:
        self.clock = Clock()
        self.counted: list[int] = []
        self.file = LineFile(path, self.clock, lost, opener=opener, limit=LIMIT)
        self.file.dropped = self.counted.append

    def write(self, *lines: bytes) -> None:
        for line in lines:
            self.file.write(line)

    def wait(self, seconds: float = DELAY) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "access.fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def events() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    said: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


class Reader:
    """The reading end of a FIFO, which never waits."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.data = b""

    def read(self) -> bytes:
        """Everything that is there."""
        while True:
            try:
                data = os.read(self.descriptor, PIPE)
            except BlockingIOError:
                return self.data
            if not data:
                return self.data
            self.data += data

    def close(self) -> None:
        os.close(self.descriptor)


def numbered(count: int, start: int = 0, length: int = 100) -> list[bytes]:
    return [b"%08d" % n + b"x" * (length - 9) + b"\n" for n in range(start, start + count)]


def readUntil(logged: Logged, reader: Reader, pattern: bytes = rb"") -> bytes:
    """Read, and let time pass, until nothing more comes."""
    before = -1
    while before != len(reader.data):
        before = len(reader.data)
        reader.read()
        logged.wait(RETRY)
        reader.read()
    return reader.data


def test_lines_come_out_as_they_went_in(fifo: Path) -> None:
    reader, logged = Reader(fifo), Logged(str(fifo))
    logged.file.open()
    lines = numbered(20, length=9000) + numbered(500, 20)
    logged.write(*lines)
    logged.wait()
    assert readUntil(logged, reader) == b"".join(lines)
    logged.file.close()
    assert logged.counted == []
    reader.close()


def test_a_fifo_without_a_reader_hangs_nothing_and_its_lines_wait(fifo: Path, events: list[str]) -> None:
    logged = Logged(str(fifo))
    logged.file.open()
    logged.write(b"one\n")
    logged.wait()
    logged.file.reopen()
    logged.write(b"two\n")
    reader = Reader(fifo)
    logged.wait()
    assert readUntil(logged, reader) == b"one\ntwo\n"
    assert events == [f"no process reads the access log {fifo}: its lines wait"]
    logged.file.close()
    reader.close()


def test_what_nobody_reads_is_bounded_counted_and_said(fifo: Path, events: list[str]) -> None:
    reader, logged = Reader(fifo), Logged(str(fifo))
    logged.file.open()
    lines = numbered(40_000)
    logged.write(*lines)
    assert len(logged.file._waiting) <= LIMIT + 2 * BLOCK
    assert events == ["the access log cannot be written: its reader is too slow"]
    readUntil(logged, reader)
    logged.write(b"after\n")
    logged.wait()
    written = readUntil(logged, reader).splitlines(keepends=True)
    (place,) = [n for n, line in enumerate(written) if line.startswith(b"#")]
    count = int(written[place].split()[1])
    assert written[place] == b"# %d lost: its reader is too slow\n" % count
    assert written[-1] == b"after\n"
    kept = [line for line in written if line not in (written[place], b"after\n")]
    assert kept == sorted(kept), "in their order"
    assert kept[:place] == lines[:place], "nothing is missing before the place"
    assert len(kept) + count == len(lines)
    assert count == logged.file.droppedLines == sum(logged.counted)
    assert events[1:] == [f"the access log is written again; {count} lines were lost"]
    logged.file.close()
    reader.close()


def test_a_reader_that_comes_again_gets_whole_lines(fifo: Path, events: list[str]) -> None:
    reader, logged = Reader(fifo), Logged(str(fifo))
    logged.file.open()
    long = b"l" * (PIPE + 1000) + b"\n"
    logged.write(long)
    logged.wait()  # a part of it is in the pipe
    reader.close()
    logged.write(b"next\n")
    logged.wait()
    assert events == [f"the access log {fifo} has lost its reader: its lines wait"]
    another = Reader(fifo)
    logged.wait()
    assert readUntil(logged, another) == long + b"next\n"
    logged.file.close()
    another.close()


def test_reopening_a_pipe_in_the_midst_of_a_line_goes_on_with_it(fifo: Path) -> None:
    reader, logged = Reader(fifo), Logged(str(fifo))
    logged.file.open()
    long = b"l" * (PIPE + 1000) + b"\n"
    logged.write(long)
    logged.wait()
    logged.file.reopen()
    assert readUntil(logged, reader) == long
    logged.file.close()
    reader.close()


def test_reopening_is_what_finds_the_reader_gone(fifo: Path, events: list[str]) -> None:
    reader, logged = Reader(fifo), Logged(str(fifo))
    logged.file.open()
    logged.write(b"one\n")
    reader.close()
    logged.file.reopen()  # which closes the pipe once, and no other descriptor that has its number by now
    assert events == [f"the access log {fifo} has lost its reader: its lines wait"]
    another = Reader(fifo)
    logged.write(b"two\n")
    logged.wait()
    assert readUntil(logged, another) == b"one\ntwo\n"
    logged.file.close()
    another.close()


def test_a_pipe_that_was_replaced_by_a_file_leaves_its_lines_to_that(fifo: Path) -> None:
    reader, logged = Reader(fifo), Logged(str(fifo))
    logged.file.open()
    lines = numbered(2000)
    logged.write(*lines)
    logged.wait()
    fifo.rename(fifo.with_suffix(".old"))
    logged.file.reopen()
    logged.wait()
    assert reader.read() + fifo.read_bytes() == b"".join(lines)
    logged.file.close()
    reader.close()


def test_closing_a_full_pipe_takes_a_moment_and_says_what_is_lost(fifo: Path, events: list[str]) -> None:
    reader, logged = Reader(fifo), Logged(str(fifo))
    logged.file.open()
    logged.write(*numbered(2000))
    logged.file.close()
    written = len(reader.read().splitlines())
    assert written + logged.file.droppedLines == 2000
    assert events == [f"the access log was closed before {2000 - written} lines were written"]
    assert logged.clock.getDelayedCalls() == []
    reader.close()


def test_it_is_closed_when_its_last_user_closes_it(tmp_path: Path) -> None:
    logged = Logged(str(tmp_path / "log"))
    logged.file.open()
    logged.file.open()
    logged.file.close()
    logged.write(b"one\n")
    logged.file.close()
    assert not logged.file.isOpen
    assert (tmp_path / "log").read_bytes() == b"one\n"
    logged.file.close()


WRITER = """
import sys
from twisted.internet.task import Clock
from ka_twisted.observe.linefile import RETRY, LineFile
clock = Clock()
file = LineFile(sys.argv[1], clock, lambda *about: b"#\\n")
file.open()
for number in range(20_000):
    file.write(b"%s%06d" % (sys.argv[2].encode(), number) + sys.argv[2].encode() * (number % 300) + b"\\n")
    if file._mark > 500_000:  # let the reader come along
        while file._output.wait(1) and file._mark > 100_000:
            clock.advance(RETRY)
file.close()
"""


def test_two_processes_on_one_pipe_tear_no_line(fifo: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    reader = Reader(fifo)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(fifo), name], env=environment) for name in ("a", "b")
    ]
    while any(writer.poll() is None for writer in writers):
        select.select([reader.descriptor], [], [], 0.1)
        reader.read()
    assert [writer.returncode for writer in writers] == [0, 0]
    lines = reader.read().splitlines()
    reader.close()
    assert len(lines) == 40_000
    for line in lines:
        name = line[:1]
        assert re.fullmatch(name * 1 + rb"\d{6}" + name + b"*", line), line
        assert len(line) == 7 + int(line[1:7]) % 300


# -- what standard output is -----------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def fill(descriptor: int) -> None:
    """Fill a pipe."""
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(descriptor, True)


@pytest.mark.parametrize("reopened", [True, False])
def test_a_standard_output_that_is_shared_stays_blocking(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, reopened: bool
) -> None:
    theirs, ours = pipe
    monkeypatch.setattr(outputs, "STANDARD_OUTPUT", ours)
    if not reopened:
        monkeypatch.setattr(outputs, "_FLAGS", os.O_DIRECTORY)  # as where another account owns the pipe
    output = openOutput("-")
    assert isinstance(output, SharedPipe if reopened else Polled)
    assert output.write(b"x" * 100) == 100
    fill(ours)
    assert output.write(b"y" * 100) == 0
    assert not output.wait(0)
    assert os.get_blocking(ours)
    while os.read(theirs, 1 << 20)[-1:] == b"x" and hasRoom(ours) and readable(theirs):
        pass
    assert output.write(b"z" * 10_000) in (ATOMIC, 10_000)
    output.close()
    os.fstat(ours)


def test_a_socket_takes_what_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(outputs, "STANDARD_OUTPUT", ours.fileno())
    output = openOutput("-")
    assert isinstance(output, StreamSocket)
    while output.write(b"x" * 65536):
        pass
    assert ours.getblocking()
    assert theirs.recv(10) == b"x" * 10
    output.close()
    ours.send(b"", socket.MSG_DONTWAIT)
    ours.close()
    theirs.close()


def test_what_several_processes_would_mix_wants_one_writer(
    fifo: Path, tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_text("")
    paths = (str(fifo), str(tmp_path / "log"), str(tmp_path / "new"), os.devnull)
    assert [wantsOneWriter(path) for path in paths] == [True, False, False, False]
    monkeypatch.setattr(outputs, "STANDARD_OUTPUT", pipe[1])
    assert wantsOneWriter("-")


def test_half_of_the_standard_output_is_left_to_the_log_of_the_process(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, events: list[str]
) -> None:
    from ka_twisted.observe import linefile

    theirs, ours = pipe
    for module in (outputs, linefile):
        monkeypatch.setattr(module, "STANDARD_OUTPUT", ours)
    logged = Logged("-")
    logged.file.open()
    logged.write(*numbered(30_000))
    assert logged.file.droppedLines
    assert events == ["the access log cannot be written: its reader is too slow"]
    os.set_blocking(ours, False)
    assert os.write(ours, b"log\n" * 10_000) == 40_000
    os.set_blocking(ours, True)
    os.set_blocking(theirs, False)
    data: Any = b""
    while b"#" not in data:
        data = os.read(theirs, PIPE)
        logged.wait(RETRY)
    assert events[1:] == [f"the access log is written again; {logged.file.droppedLines} lines were lost"]
    logged.file.close()


def test_a_full_standard_output_is_not_told_of_its_trouble(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, events: list[str]
) -> None:
    from ka_twisted.observe import linefile

    for module in (outputs, linefile):
        monkeypatch.setattr(module, "STANDARD_OUTPUT", pipe[1])
    logged = Logged("-")
    logged.file.open()
    fill(pipe[1])
    logged.write(*numbered(30_000))
    assert logged.file.droppedLines
    assert events == [], "it would wait for the same reader"
    os.set_blocking(pipe[0], False)
    while os.read(pipe[0], PIPE)[-1:] == b"x":
        logged.wait(RETRY)
    assert events[-1:] == [f"the access log is written again; {logged.file.droppedLines} lines were lost"]
    logged.file.close()


def test_the_pipe_of_the_tests_is_as_large_as_they_think(fifo: Path) -> None:
    reader = Reader(fifo)
    assert fcntl.fcntl(reader.descriptor, fcntl.F_GETPIPE_SZ) == PIPE
    reader.close()
