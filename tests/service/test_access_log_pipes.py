"""The command with an access log to pipes and FIFOs that are not read, or that several processes write to."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.twistd import PATIENCE, TWISTD, environment, readAll, serving

APPLICATION = """
def handler(request):
    return b"fine"
"""
#: Requests whose lines do not find room.
MANY = 2500


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APPLICATION)
    os.mkfifo(tmp_path / "log")
    return tmp_path


def ask(connection: socket.socket, count: int, name: str = "", length: int = 8000, start: int = 0) -> None:
    """Requests on a connection, some at a time, and their responses; targets have their number and a length."""
    for first in range(start, start + count, 10):
        numbers = range(first, min(first + 10, start + count))
        targets = [f"/{name}{n:06}{'x' * length}" for n in numbers]
        connection.sendall("".join(f"GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n" for target in targets).encode())
        received = b""
        while received.count(b"fine") < len(targets):
            data = connection.recv(65536)
            assert data
            received += data


class Fifo:
    """The reading end of a FIFO."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.data = b""

    def read(self) -> bytes:
        try:
            while data := os.read(self.descriptor, 1 << 20):
                self.data += data
        except BlockingIOError:
            pass
        return self.data

    def readUntil(self, pattern: bytes) -> bytes:
        """Read until something is there."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.data):
            assert time.monotonic() < deadline, self.data[-2000:]
            self.read()
            time.sleep(0.02)
        return self.data

    def readAll(self) -> None:
        """Read from the first byte on until the last writer is gone."""
        os.set_blocking(self.descriptor, True)
        select.select([self.descriptor], [], [], PATIENCE)
        while data := os.read(self.descriptor, 1 << 20):
            self.data += data

    def close(self) -> None:
        os.close(self.descriptor)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_fifo_that_nobody_reads_holds_up_nothing(shop: Path, workers: str) -> None:
    arguments = ("--app", "shop:handler", "--access-log", "log", "--workers", workers)
    with serving(shop, *arguments, "--admin", "unix:admin.socket") as server:
        if workers != "0":
            server.waitFor("is ready")
        with server.connect() as connection:
            ask(connection, 10)
            server.process.send_signal(signal.SIGUSR1)
            ask(connection, MANY, start=10)
        server.waitFor("the access log cannot be written: no process reads it")
        reader = Fifo(shop / "log")
        reading = threading.Thread(target=reader.readAll)
        reading.start()
        count = int(server.waitFor(r"the access log is written again; (\d+) lines were lost")[1])
        metrics = admin(shop / "admin.socket", b"/metrics")
        (counted,) = re.findall(rb"ka_twisted_access_log_dropped_lines_total ([\d.e+]+)", metrics)
        assert float(counted) >= count
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)
    reading.join()
    line = rb"GET /(\d{6})x{8000} HTTP/1.1\" 200 4 \"-\" \"-\"\n"
    lost = [int(n) for n in re.findall(rb"# (\d+) lines were lost: [a-z ]+\n", reader.data)]
    assert lost[0] == count
    assert sum(lost) >= float(counted)
    assert len(re.findall(line, reader.data)) + sum(lost) == MANY + 10
    numbers = [int(n) for n in re.findall(line, reader.data.partition(b"# ")[0])]
    assert numbers == list(range(len(numbers))), "none is missing before the place that says so"
    reader.close()


def test_a_reader_that_is_gone_does_not_freeze_the_reopening(shop: Path) -> None:
    reader = Fifo(shop / "log")
    with serving(shop, "--app", "shop:handler", "--access-log", "log") as server:
        with server.connect() as connection:
            ask(connection, 10)
            reader.readUntil(rb"000009x+ HTTP")
            reader.close()
            ask(connection, 10, start=10)
            server.waitFor("has lost its reader: its lines wait")
            server.process.send_signal(signal.SIGUSR1)
            ask(connection, 10, start=20)
            reader = Fifo(shop / "log")
            reader.readUntil(rb"000029x+ HTTP")
        assert [int(n) for n in re.findall(rb"GET /(\d{6})x", reader.data)] == list(range(10, 30))
        assert server.end(signal.SIGTERM) == 0
    reader.close()


def admin(path: Path, target: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target)
        return readAll(connection)


def test_a_reader_that_stops_reading_holds_up_nothing(shop: Path) -> None:
    reader = Fifo(shop / "log")
    with serving(shop, "--app", "shop:handler", "--access-log", "log") as server:
        with server.connect() as connection:
            ask(connection, MANY)
        server.waitFor("the access log cannot be written: its reader is too slow")
        assert server.end(signal.SIGTERM) == 0
    reader.close()


@contextmanager
def printing(shop: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """twistd with its standard output in a pipe and its own log elsewhere."""
    process = subprocess.Popen(
        [*TWISTD, "-n", "--logfile=twistd.log", "keepalive", "--listen", "unix:web.socket", *arguments],
        cwd=shop,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        ready = "worker .* is ready" if "--workers" in arguments else "TCP keep-alive: "
        while not (shop / "twistd.log").exists() or not re.search(ready, (shop / "twistd.log").read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_standard_output_that_nobody_reads_holds_up_nothing(shop: Path, workers: tuple[str, ...]) -> None:
    with printing(shop, "--app", "shop:handler", "--access-log", "-", *workers) as process:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(shop / "web.socket"))
            ask(connection, MANY)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        for line in process.stdout.read().splitlines(keepends=True)[:-1]:
            assert re.fullmatch(rb"- - - \[.*\] \"GET /\d{6}x{8000} HTTP/1.1\" 200 4 \"-\" \"-\"\n", line)


def test_twistd_itself_is_not_held_up_by_a_full_standard_output(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler", "--access-log", "-") as server:
        with server.connect() as connection:
            ask(connection, MANY)
        server.waitFor(r"the access log is written again; \d+ lines were lost")
        assert server.end(signal.SIGTERM) == 0


def test_a_stop_needs_no_reader_of_the_standard_output_either(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler", "--access-log", "-") as server:
        with server.connect() as connection:
            ask(connection, MANY)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("length", [10, 7000])
def test_lines_of_several_workers_do_not_mix(shop: Path, length: int) -> None:
    reader = Fifo(shop / "log")
    reading = threading.Thread(target=reader.readAll)
    reading.start()
    with serving(shop, "--app", "shop:handler", "--access-log", "log", "--workers", "2") as server:
        server.waitFor("is ready")
        server.waitFor("is ready")
        names, count = "abcdef", 300
        connections = {name: server.connect() for name in names}
        for start in range(0, count, 30):
            for name, connection in connections.items():
                ask(connection, 30, name, length, start)
        for connection in connections.values():
            connection.close()
        assert server.end(signal.SIGTERM) == 0
    reading.join()
    lines = reader.data.splitlines(keepends=True)
    reader.close()
    seen = []
    for line in lines:
        match = re.fullmatch(rb"127\.0\.0\.1 - - \[.*\] \"GET /([a-f]\d{6})x*(x) HTTP/1.1\" 200 4 \"-\" \"-\"\n", line)
        assert match, line
        seen.append(match[1].decode())
    assert sorted(seen) == [f"{name}{number:06}" for name in names for number in range(count)]


def test_a_reload_to_another_format_keeps_one_writer(shop: Path) -> None:
    reader = Fifo(shop / "log")
    (shop / "k.toml").write_text('app = "shop:handler"\naccess-log = "log"\n')
    with serving(shop, "--config", "k.toml") as server:
        with server.connect() as old:
            ask(old, 10)
            (shop / "k.toml").write_text('app = "shop:handler"\naccess-log = "log"\nlog-format = "json"\n')
            server.process.send_signal(signal.SIGHUP)
            server.waitFor("the configuration was reloaded")
            with server.connect() as new:
                ask(new, 10, start=10)
                reader.readUntil(rb"000019x+")
        assert server.end(signal.SIGTERM) == 0
        for line in reader.read().splitlines():
            assert re.fullmatch(rb'\{"time".*\}|127\.0\.0\.1 - - .*"-" "-"', line), line
    reader.close()
