"""Three servers behind the real HAProxy, with the configuration that is shipped, each on a machine of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import programs
from tests.deploy.network import Machine, Network, network
from tests.service.twistd import PATIENCE, PROJECT, TWISTD, environment

HAPROXY = programs.find("haproxy")
CONFIGURATION = PROJECT / "deploy" / "haproxy" / "haproxy.cfg"
NAMES = ("a", "b", "c")
TOKEN = "the-operators-own-token"
#: Seconds between two looks at what no process tells of.
_LOOK = 0.05

#: What the servers serve, as a module: POST takes its time.
APPLICATION = """
from twisted.internet.task import deferLater
from ka_twisted import Response

async def handler(request):
    if request.method == "POST":
        await request.read()
        await deferLater(request.connection.clock, 0.05)
    return Response.text(f"to {request.connection.peer.host}\\n")
"""
#: What it answers to the clients of the tests.
WELL = b"to 127.0.0.1\n"

#: Runs on a machine, with an address, a token, and paths: the statuses and the bodies of the responses.
_FETCH = """
import json, sys, urllib.error, urllib.request
base, fields, *paths = sys.argv[1:]
urls = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def fetch(path):
    request = urllib.request.Request(base + path, headers=json.loads(fields))
    try:
        response = urls.open(request, timeout=10)
    except urllib.error.HTTPError as error:
        response = error
    return response.status, response.read().decode()
print(json.dumps([fetch(path) for path in paths]))
"""

_METRIC = re.compile(r"^(\w+)(?:{(.*)})? (\S+)$", re.MULTILINE)
#: What `option httplog` says of a request that went well.
_WELL = re.compile(r" 200 \d+ - - ---- ")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what is not told."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(_LOOK)


@dataclass(frozen=True)
class Story:
    """
    What a server tells of itself.

    :ivar metrics: what ``/metrics`` says; the labels of a name are sorted.
    :ivar connections: what ``/connections.json`` says.
    """

    metrics: dict[str, float]
    connections: dict[str, Any]


class Instance:
    """
    A server, its machine, and the processes that it is one after the other.

    :ivar name: the balancer's for it.
    """

    def __init__(self, name: str, machine: Machine, center: Machine, folder: Path, arguments: Sequence[str]) -> None:
        self.name = name
        self.machine = machine
        self._center = center
        self._folder = folder
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; when it is ready, the balancer will tell."""
        self._starts += 1
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [*self.machine.through, *TWISTD, "-n", "--pidfile=", "keepalive", *self._arguments],
                cwd=self._folder, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def waitForStart(self) -> None:
        """Wait until it listens."""
        until(lambda: "TCP keep-alive: " in self.said, f"{self.name} starts")

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end: the exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """Have it gone, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def said(self) -> str:
        """The log of the last process."""
        return self._log.read_text("utf-8", "replace")

    def fetch(self, *paths: str, token: str = TOKEN) -> list[tuple[int, str]]:
        """Ask the operator's port, from the balancer's machine: statuses and texts."""
        fields = {"Authorization": f"Bearer {token}"} if token else {}
        done = subprocess.run(
            [
                *self._center.through, sys.executable, "-c", _FETCH,
                f"http://{self.machine.address}:9090", json.dumps(fields), *paths,
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert not done.returncode, f"{done.stderr}\n{self.said}"
        return [(status, text) for status, text in json.loads(done.stdout)]

    def story(self) -> Story:
        """All that it tells its operator."""
        (first, metrics), (second, connections) = self.fetch("/metrics", "/connections.json")
        assert first == second == 200, (metrics, connections)
        return Story(_parsed(metrics), json.loads(connections))

    @property
    def _log(self) -> Path:
        return self._folder / f"{self.name}-{self._starts}.log"


class Fleet:
    """
    All of them.

    :param settings: options of the servers; ``{gateway}`` is the address that the balancer has for each.
    :ivar center: the machine of the balancer, and of its clients.
    :ivar port: where the balancer listens, on 127.0.0.1 of its machine.
    """

    def __init__(self, folder: Path, place: Network, settings: Sequence[str]) -> None:
        self.center = place.center
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self._place = place
        (folder / "application.py").write_text(APPLICATION)
        token = folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.instances = [
            Instance(
                name, machine, place.center, folder,
                [
                    "--listen", f"tcp:8080:interface={machine.address}",
                    "--admin", f"tcp:9090:interface={machine.address}", "--admin-token-file", str(token),
                    "--app", "application:handler", *(word.format(gateway=machine.gateway) for word in settings),
                ],
            )
            for name, machine in place.machines.items()
        ]  # fmt: skip

    @contextmanager
    def serving(self) -> Iterator[None]:
        """All servers, and nothing before them."""
        with ExitStack() as stack:
            for instance in self.instances:
                stack.callback(instance.kill)
                instance.start()
            for instance in self.instances:
                instance.waitForStart()
            yield

    @contextmanager
    def balanced(self) -> Iterator[Fleet]:
        """All servers, and the balancer before them, from the moment when it has found them ready."""
        with self.serving(), self._balancing():
            for instance in self.instances:
                self.waitFor(instance, "UP")
            yield self

    def roll(self, instance: Instance, look: Callable[[Instance], object] = lambda instance: None) -> None:
        """
        Replace a server by its next process, as an operator does.

        :param look: called while it is out of service and not gone yet.
        """
        instance.send(signal.SIGTERM)
        self.waitFor(instance, "DOWN")
        look(instance)
        assert instance.ended() == 0, instance.said
        instance.start()
        self.waitFor(instance, "UP")

    def waitFor(self, instance: Instance, status: str) -> None:
        """Wait until the balancer says this of a server."""
        until(lambda: self.status(instance.name) == status, f"{instance.name} {status}: {instance.said}")

    def status(self, name: str) -> str:
        """What the balancer says of a server: ``UP``, ``DOWN``, or on the way to one of them."""
        rows = [line.split(",") for line in self._ask("show stat").splitlines()]
        column = rows[0].index("status")
        [status] = [row[column] for row in rows if row[:2] == ["servers", name]]
        return status

    def problems(self) -> list[str]:
        """What the balancer's log says besides that all is well, its end at most."""
        lines = (self._folder / "haproxy.log").read_text("utf-8", "replace").splitlines()
        return [line for line in lines if not _WELL.search(line)][-50:]

    @contextmanager
    def _balancing(self) -> Iterator[None]:
        addresses = {f"SERVER_{name.upper()}": machine.address for name, machine in self._place.machines.items()}
        variables = {
            "LISTEN": f"127.0.0.1:{self.port}", "LOG": "stdout", "RUNTIME": str(self._runtime), "MAXCONN": "1000",
            **addresses,
        }  # fmt: skip
        with open(self._folder / "haproxy.log", "wb") as log:
            process = subprocess.Popen(
                [*self._place.center.through, str(HAPROXY), "-f", str(CONFIGURATION)],
                env={**environment(), **variables}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            until(lambda: self._runtime.exists() or process.poll() is not None, "the balancer")
            assert process.poll() is None, (self._folder / "haproxy.log").read_text()
            yield
        finally:
            process.kill()
            process.wait()

    @property
    def _runtime(self) -> Path:
        return self._folder / "haproxy.socket"

    def _ask(self, command: str) -> str:
        """Ask the balancer itself."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self._runtime))
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def _parsed(text: str) -> dict[str, float]:
    """The samples of an exposition."""
    found: dict[str, float] = {}
    for name, labels, value in _METRIC.findall(text):
        ordered = ",".join(sorted(re.findall(r'\w+="[^"]*"', labels)))
        found[f"{name}{{{ordered}}}" if labels else name] = float(value)
    return found


@contextmanager
def fleet(folder: Path, *, drainDelay: float = 3.0) -> Iterator[Fleet]:
    """Three servers behind the balancer, while they are needed."""
    settings = ["--behind", "haproxy", "--proxy-protocol", "{gateway}/32", "--drain-delay", str(drainDelay)]
    with network(NAMES) as place, Fleet(folder, place, settings).balanced() as running:
        yield running
