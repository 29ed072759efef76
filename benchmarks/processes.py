"""One server at a time: started on its processor, looked at from outside, and stopped with all that it started."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .peers import EXPECTED, HERE, Peer

#: What every answer has, so that all do the same work.
_FIELDS = ("Date", "Content-Length", "Content-Type")
_DESCRIPTORS = 65536
_TICKS = os.sysconf("SC_CLK_TCK")


class PeerFailed(Exception):
    """A server did not start, or does not do as it should."""


class LoadFailed(Exception):
    """The load could not be made, or was not understood."""


@cache
def processors() -> tuple[int | None, int | None]:
    """
    The processor for the server and the one for the load; None, None where there is only one.

    They are threads of one core only where there is no other core.
    """
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return None, None
    siblings = _siblings(first)
    return first, next((cpu for cpu in others if cpu not in siblings), others[0])


def _siblings(cpu: int) -> set[int]:
    """The threads of the core of a processor; none where the system does not tell."""
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return set()
    spans = (span.partition("-") for span in text.strip().split(","))
    return {number for low, _, high in spans for number in range(int(low), int(high or low) + 1)}


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """What is started meanwhile runs on one processor, as this process does until then."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Server:
    """A server that runs. What is asked of its processes raises PeerFailed where one of them has ended."""

    port: int
    pid: int

    def processes(self) -> list[int]:
        """Its processes, itself first."""
        return [self.pid, *_children(self.pid)]

    def memory(self) -> int:
        """Bytes of memory, what is shared with other processes counted in part (proportional set size)."""
        total = 0
        for process in self.processes():
            for line in _told(process, "smaps_rollup").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def anonymous_memory(self) -> int:
        """Bytes of memory that belong to its processes alone and to no file (RssAnon)."""
        total = 0
        for process in self.processes():
            for line in _told(process, "status").splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
        return total

    def processor_time(self) -> float:
        """Seconds that its processes have computed, user and system together."""
        return sum(map(_computed, self.processes()))


def _computed(pid: int) -> float:
    """Seconds that a process has computed: to the nanosecond where the kernel keeps its scheduler's statistics."""
    try:
        threads = [int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except (OSError, ValueError):
        threads = []
    if threads:
        return sum(threads) / 1e9
    after_name = _told(pid, "stat").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def _told(pid: int, file: str) -> str:
    """What the system tells about a process."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        raise PeerFailed("has ended meanwhile") from None


def _children(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_children(child)]
    return found


@contextmanager
def running(peer: Peer) -> Iterator[Server]:
    """
    Run a server on a free port, on its processor, and stop it by its id.

    :raises PeerFailed: when it does not start.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        log = Path(folder) / "output.log"
        with log.open("wb") as output, pinned(processors()[0]):
            process = subprocess.Popen(
                peer.command(port, Path(folder)),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=HERE.parent,
                env={**os.environ, **peer.variables},
                start_new_session=True,
            )
        try:
            _wait(process, port, log)
            yield Server(port, process.pid)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace").split("\n")
            raise PeerFailed(f"ended at once: {next(filter(str.strip, reversed(said)), 'it said nothing')}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # nothing tells when a foreign server listens
        else:
            check_answer(port)
            return
    raise PeerFailed("does not listen")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and the workers that it made: its session is its own. An interruption while it ends kills it."""
    try:
        _signal(process, signal.SIGTERM)
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal(process, signal.SIGKILL)  # also workers that outlived the process that made them
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a server and its workers, if any is left."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def free_port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[http.client.HTTPResponse, bytes]:
    """
    One request on a connection of its own; the response, and its body.

    :raises PeerFailed: when the answer is anything but a whole response with 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        answered = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise PeerFailed(f"no answer: {error!r}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise PeerFailed(f"answers {response.status} with {answered[:40]!r}")
    return response, answered


def check_answer(port: int) -> None:
    """
    See that the server answers what all do, with the fields that all have.

    :raises PeerFailed: when it does not.
    """
    response, body = ask(port, "GET", "/")
    kind = response.headers.get_content_type()
    if kind != "text/plain" or body != EXPECTED:
        raise PeerFailed(f"answers {kind} with {body[:40]!r}")
    if lacking := [name for name in _FIELDS if name not in response.headers]:
        raise PeerFailed(f"answers without {', '.join(lacking)}")


def allow_descriptors() -> None:
    """Let this process, and those that it starts, have as many descriptors as a crowd needs, or the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def loaded(arguments: Sequence[str], *, seconds: float) -> str:
    """
    Run a program that makes load for so long, on the processor for it; what it printed.

    :raises LoadFailed: when it has not ended half a minute after it should have.
    """
    try:
        with pinned(processors()[1]):
            done = subprocess.run(
                arguments,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds + 30,
                cwd=HERE.parent,
            )
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{arguments[0]} did not end") from None
    return done.stdout


def measured(name: str, *arguments: str, seconds: float) -> dict[str, float]:
    """
    Run a load of this package, which prints its figures as one JSON object.

    :raises LoadFailed: when it prints anything else.
    """
    text = loaded([sys.executable, "-m", f"benchmarks.{name}", *arguments], seconds=seconds)
    try:
        return {key: float(value) for key, value in json.loads(text).items()}
    except ValueError:
        raise LoadFailed(f"{name} said: {text.strip()[-300:] or 'nothing'}") from None
