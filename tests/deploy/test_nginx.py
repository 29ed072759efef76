"""The lines for nginx of the documentation: nginx takes them, and servers behind it are replaced without a failure."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests import programs
from tests.deploy.fleet import NAMES, Fleet, Instance, until
from tests.deploy.network import network
from tests.load import Running, load
from tests.service.twistd import PATIENCE, PROJECT

pytest.importorskip("prometheus_client")
NGINX = programs.find("nginx")
pytestmark = pytest.mark.program("nginx")


def configured(folder: Path, port: int, addresses: Sequence[str]) -> list[str]:
    """The command that runs nginx with what the documentation shows, for servers with these addresses."""
    page = (PROJECT / "docs" / "deploying.md").read_text("utf-8")
    [shown] = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    shown = shown.replace("listen 80;", f"listen 127.0.0.1:{port}; keepalive_requests 1000000; access_log off;")
    for number, address in enumerate(addresses, 11):
        assert f"192.0.2.{number}:" in shown
        shown = shown.replace(f"192.0.2.{number}:", f"{address}:")
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{ worker_connections 1000; }}\nhttp {{\n{shown}\n}}\n"
    )
    return [str(NGINX), "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(file)]


def test_nginx_takes_it(tmp_path: Path) -> None:
    command = configured(tmp_path, 8000, ["127.0.0.2", "127.0.0.3", "127.0.0.4"])
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


@contextmanager
def balanced(folder: Path) -> Iterator[Fleet]:
    """Three servers behind nginx, from the moment when all of them serve."""
    with network(NAMES) as place:
        servers = Fleet(folder, place, ["--behind", "nginx", "--drain-delay", "1"])
        with servers.serving():
            command = configured(folder, servers.port, [each.machine.address for each in servers.instances])
            process = subprocess.Popen([*place.center.through, *command], stdin=subprocess.DEVNULL)
            try:
                yield servers
            finally:
                process.terminate()
                process.wait(PATIENCE)


def waitUntilItServes(instance: Instance) -> None:
    until(lambda: instance.story().metrics["ka_twisted_requests_taken_total"] > 100, f"{instance.name} serves")


def asking(servers: Fleet, method: str, content: bytes = b"") -> AbstractContextManager[Running]:
    return load(
        "127.0.0.1", servers.port, connections=50, path="/", method=method, content=content,
        through=servers.center.through,
    )  # fmt: skip


def test_replacing_servers_fails_no_request_though_nobody_asks_them_how_they_are(tmp_path: Path) -> None:
    with balanced(tmp_path) as servers:
        with asking(servers, "GET") as reading, asking(servers, "POST", b"x") as writing:
            for instance in servers.instances:
                waitUntilItServes(instance)
                instance.send(signal.SIGTERM)
                assert instance.ended() == 0, instance.said
                instance.start()
                instance.waitForStart()
                waitUntilItServes(instance)
        for result in (reading.result, writing.result):
            assert not result.failures, (result.kinds, result.failures[:5])
            assert (result.connections, result.closedIdle) == (50, 0)
        for instance in servers.instances:
            assert instance.story().metrics["ka_twisted_idle_close_races_total"] == 0
