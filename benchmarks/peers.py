"""The servers that are compared, as data, and how one is started and stopped."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPECTED = b"hello world\n"

#: Makes the command line of a server for a port; a folder for its files goes with it.
Command = Callable[[int, Path], list[str]]


@dataclass(frozen=True)
class Peer:
    """
    A server that can be measured.

    :ivar needs: modules that have to be importable, and programs that have to be found.
    :ivar install: how to get what it needs, in one line.
    """

    name: str
    command: Command
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    install: str = ""

    @property
    def missing(self) -> list[str]:
        """What it needs and is not there."""
        modules = [name for name in self.modules if find_spec(name) is None]
        return modules + [name for name in self.programs if shutil.which(name) is None]


def _module(name: str, *arguments: str) -> Command:
    return lambda port, folder: [sys.executable, "-m", f"benchmarks.servers.{name}", str(port), *arguments]


def _uvicorn(port: int, folder: Path) -> list[str]:
    application = "benchmarks.servers.applications:asgi"
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    lifespan = ["--lifespan", "off", "--timeout-keep-alive", "75"]
    return [sys.executable, "-m", "uvicorn", application, "--port", str(port), *options, *lifespan]


def _granian(interface: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        application = f"benchmarks.servers.applications:{interface}"
        options = ["--interface", interface, "--http", "1", "--no-ws", "--no-access-log", "--loop", "uvloop"]
        quiet = ["--log-level", "error"]
        return [sys.executable, "-m", "granian", application, "--port", str(port), *options, *quiet]

    return command


def _nginx(port: int, folder: Path) -> list[str]:
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ default_type text/plain; return 200 "hello world\\n"; }}
  }}
}}
"""
    )
    return ["nginx", "-p", str(folder), "-c", str(configuration)]


OURS = "ours"
PEERS = (
    Peer(OURS, _module("ours"), ("ka_twisted",), (), "pip install ."),
    Peer("twisted.web", _module("twisted_web"), ("twisted",), (), "pip install twisted"),
    Peer("twisted.web without log line", _module("twisted_web", "nolog"), ("twisted",), (), "pip install twisted"),
    Peer("uvicorn", _uvicorn, ("uvicorn", "httptools", "uvloop"), (), "pip install 'uvicorn[standard]'"),
    Peer("granian ASGI", _granian("asgi"), ("granian", "uvloop"), (), "pip install granian uvloop"),
    Peer("granian RSGI", _granian("rsgi"), ("granian", "uvloop"), (), "pip install granian uvloop"),
    Peer("aiohttp", _module("aiohttp_server"), ("aiohttp", "uvloop"), (), "pip install aiohttp uvloop"),
    Peer("freastal WSGI", _module("freastal_server"), ("freastal",), (), "pip install freastal"),
    Peer(
        "Node http",
        lambda port, folder: ["node", str(HERE / "servers" / "node_server.js"), str(port)],
        (),
        ("node",),
        "apt-get install nodejs",
    ),
    Peer("nginx", _nginx, (), ("nginx",), "apt-get install nginx-light"),
)


class PeerFailed(Exception):
    """A server did not start, or does not answer as it should."""


def select(names: str | None) -> tuple[Peer, ...]:
    """
    The peers with these names, separated by commas, and ours in any case; None: all. Hence no name has a comma.

    :raises ValueError: for a name that is none.
    """
    if names is None:
        return PEERS
    wanted = {name.strip().lower() for name in names.split(",")} | {OURS}
    unknown = wanted - {peer.name.lower() for peer in PEERS}
    if unknown:
        known = ", ".join(peer.name for peer in PEERS)
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; there are {known}")
    return tuple(peer for peer in PEERS if peer.name.lower() in wanted)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_answer(port: int) -> None:
    """
    See that the server answers what it should.

    :raises PeerFailed: when it does not.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise PeerFailed(f"no answer: {error}") from None
    finally:
        connection.close()
    kind = response.headers.get_content_type()
    if response.status != 200 or kind != "text/plain" or body != EXPECTED:
        raise PeerFailed(f"answers {response.status}, {kind} with {body[:40]!r}")


@contextmanager
def running(peer: Peer, cpu: int | None = None) -> Iterator[tuple[int, int]]:
    """
    Run a server on a free port, on one processor, and stop it by its id.

    :return: its port and its process id.
    :raises PeerFailed: when it does not start.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        log = Path(folder) / "output.log"
        pin = (lambda: os.sched_setaffinity(0, {cpu})) if cpu is not None else None
        with log.open("wb") as output:
            process = subprocess.Popen(
                peer.command(port, Path(folder)),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=HERE.parent,
                preexec_fn=pin,
                start_new_session=True,
            )
        try:
            _wait(process, port, log)
            yield port, process.pid
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PeerFailed(f"ended at once: {log.read_text(errors='replace').strip()[-300:]}")
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
