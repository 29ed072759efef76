"""What a terminal shows beside the log; nothing where there is none."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from ka_twisted.service.running import terminal
from ka_twisted.service.running.terminal import DrainProgress, tellServing
from tests.service.twistd import PATIENCE, TWISTD, environment, serving, waitForEnd


class Screen(io.StringIO):
    """A terminal that keeps what was written."""

    def lines(self) -> list[str]:
        return [line for line in self.getvalue().replace("\x1b[K", "").split("\r") if line]


def test_a_drain_shows_its_connections_and_the_seconds_that_are_left() -> None:
    clock, screen, left = Clock(), Screen(), [3]
    progress = DrainProgress(clock, lambda: left[0], lambda: screen)
    progress.start(30)
    clock.advance(1)
    left[0] = 1
    clock.advance(1)
    progress.stop()
    assert screen.lines() == [
        "draining: 3 open connections, 30 s left at most",
        "draining: 3 open connections, 29 s left at most",
        "draining: 1 open connection, 28 s left at most",
    ]
    assert screen.getvalue().endswith("\r\x1b[K\r")
    assert clock.getDelayedCalls() == []


def test_a_drain_without_a_deadline_shows_its_connections() -> None:
    screen = Screen()
    progress = DrainProgress(Clock(), lambda: 0, lambda: screen)
    progress.start(None)
    assert screen.lines() == ["draining: 0 open connections"]
    progress.stop()


def test_without_a_terminal_there_is_no_progress() -> None:
    clock = Clock()
    progress = DrainProgress(clock, lambda: 1, lambda: None)
    progress.start(30)
    assert clock.getDelayedCalls() == []
    progress.stop()


def test_a_terminal_that_goes_away_stops_the_progress() -> None:
    clock, screen = Clock(), Screen()
    progress = DrainProgress(clock, lambda: 1, lambda: screen)
    progress.start(30)
    screen.close()
    clock.advance(1)
    assert clock.getDelayedCalls() == []
    progress.stop()


@pytest.mark.parametrize(
    ("pidfile", "end"),
    [
        (None, "press Ctrl-C to stop"),
        ("/run/a b.pid", "stop it with: kill $(cat '/run/a b.pid')"),
        ("", "in the background, without a pid file"),
    ],
)
def test_one_line_says_where_it_listens_and_how_to_stop_it(
    monkeypatch: pytest.MonkeyPatch, pidfile: str | None, end: str
) -> None:
    screen = Screen()
    monkeypatch.setattr(terminal, "terminal", lambda: screen)
    tellServing(["127.0.0.1:8080", "unix:/run/s"], pidfile)
    assert screen.getvalue() == f"keepalive: listening on 127.0.0.1:8080, unix:/run/s; {end}\n"


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*TWISTD, *arguments],
            cwd=directory,
            env=environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.said = ""

    def waitFor(self, pattern: str) -> re.Match[str]:
        """Read until a text matches."""
        end = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.said)) is None:
            going = time.monotonic() < end and self._read()
            assert going, f"it never said {pattern!r}, but:\n{self.said}"
        return found

    def _read(self) -> bool:
        if select.select([self._ours], [], [], 1)[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # all other ends are closed
                return False
            self.said += data.decode()
        return True

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture(params=[(), ("--workers", "2")], ids=["one process", "workers"])
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    listening = ("--listen", "tcp:0:interface=127.0.0.1")
    shown = Terminal(tmp_path, "-n", "--pidfile=", "keepalive", *listening, *request.param)
    yield shown
    shown.close()


def test_the_command_on_a_terminal(shown: Terminal) -> None:
    port = shown.waitFor(r"keepalive: listening on 127\.0\.0\.1:(\d+); press Ctrl-C to stop\r\n")[1]
    with socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE) as client:
        client.sendall(b"GET /slow?seconds=3 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        shown.process.send_signal(signal.SIGTERM)
        shown.waitFor(r"draining: \d+ open connections?, \d+ s left at most\r")
    assert shown.process.wait(PATIENCE) == 0


def test_in_the_background_the_terminal_is_told_how_to_stop_it(tmp_path: Path) -> None:
    shown = Terminal(tmp_path, "keepalive", "--listen", "unix:s.sock")
    try:
        line = shown.waitFor(r"keepalive: listening on unix:\S+s\.sock; stop it with: (kill \$\(cat \S+\))\r\n")
        assert shown.process.wait(PATIENCE) == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(tmp_path / "s.sock"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(65536)
        pid = int((tmp_path / "twistd.pid").read_text())
        subprocess.run(["sh", "-c", line[1]], cwd="/", check=True)
        waitForEnd(pid)
        assert not (tmp_path / "s.sock").exists()
    finally:
        shown.close()


def test_the_command_without_a_terminal_says_it_to_the_log_alone(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.connect() as client:
        client.sendall(b"GET /slow?seconds=1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /")
        assert client.recv(65536)
        assert server.end(signal.SIGTERM) == 0
    assert "Ctrl-C" not in "".join(server.said)
    assert "left at most" not in "".join(server.said)
