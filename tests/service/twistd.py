"""Real twistd processes, waited for by what they say and never by the clock."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ka_twisted

PROJECT = Path(ka_twisted.__file__).parent.parent

#: Seconds after which a process that says nothing is taken for hanging.
PATIENCE = 60.0

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


def environment(command: Sequence[str] = TWISTD) -> dict[str, str]:
    """Our environment; for the twistd of our own Python with the project under test on the path."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = {"PYTHONPATH": str(PROJECT)} if set(TWISTD) <= set(command) else {}
    return {**inherited, **path, "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``twistd ARGUMENTS`` to its end."""
    return subprocess.run(
        [*TWISTD, *arguments],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Server:
    """A running ``twistd -n keepalive``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []

    def waitFor(self, pattern: str) -> re.Match[str]:
        """Read the log up to a line that matches, as long as the process lives."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            match = re.search(pattern, line)
            if match:
                return match
        raise AssertionError(f"twistd never said {pattern!r}, but:\n{''.join(self.said)}")

    def connect(self) -> socket.socket:
        """A connection to the last port that the log named."""
        port = re.findall(r"listening on 127\.0\.0\.1:(\d+)", "".join(self.said))[-1]
        return socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE)

    def end(self, number: int) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        self.said.append(self.process.communicate(timeout=PATIENCE)[0])
        return self.process.returncode


@contextmanager
def serving(
    directory: Path,
    *arguments: str,
    command: Sequence[str] = TWISTD,
    reactor: str = "default",
    listen: str = "tcp:0:interface=127.0.0.1",
    patience: float = PATIENCE,
) -> Iterator[Server]:
    """
    Run ``twistd -n keepalive`` on a free port, from the moment it listens.

    :param listen: where else; empty: where the other arguments say.
    :param patience: seconds after which it is killed.
    """
    listening = ("--listen", listen) if listen else ()
    chosen = () if reactor == "default" else (f"--reactor={reactor}",)  # another command may have installed one
    process = subprocess.Popen(
        [*command, *chosen, "-n", "keepalive", *listening, *arguments],
        cwd=directory,
        env=environment(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    hanging = threading.Timer(patience, process.kill)
    hanging.start()
    try:
        server = Server(process)
        server.waitFor("listening on ")
        server.waitFor("TCP keep-alive: ")
        yield server
    finally:
        hanging.cancel()
        process.kill()
        process.communicate()


def waitForEnd(pid: int) -> None:
    """Wait until a process that is not our child is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([handle], [], [], PATIENCE)
        assert ended, f"process {pid} does not end"
    finally:
        os.close(handle)


def readAll(connection: socket.socket) -> bytes:
    """Everything up to the end of the peer's side."""
    parts = iter(lambda: connection.recv(65536), b"")
    return b"".join(parts)
