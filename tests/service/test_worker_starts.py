"""How workers begin, as processes: who imports what and when, what ends the command, what clients get meanwhile."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.service.test_workers import ask, workers
from tests.service.twistd import PATIENCE, Server, run, serving, waitForEnd

APPLICATION = """
import os

with open("imported", "a") as file:
    file.write(f"{os.getpid()}\\n")

def handler(request):
    return f"{os.getpid()} served"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with the application ``shop:handler``, which notes who imports it."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    return tmp_path


def imported(shop: Path) -> list[int]:
    return [int(pid) for pid in (shop / "imported").read_text().split()]


def test_only_workers_import_the_application_and_each_does_once(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler", "--workers", "2") as server:
        pids = workers(server, 2)
        assert sorted(imported(shop)) == sorted(pids)
        assert server.end(signal.SIGTERM) == 0


def test_a_reload_takes_an_application_that_was_renamed_and_refuses_one_that_is_not_there(shop: Path) -> None:
    file = shop / "shop.toml"
    file.write_text('app = "shop:handler"\nworkers = 2\n')
    with serving(shop, "--config", "shop.toml") as server:
        workers(server, 2)
        (shop / "shop.py").write_text(APPLICATION.replace("handler", "application"))
        file.write_text('app = "shop:application"\nworkers = 2\n')
        assert run(shop, "-n", "keepalive", "--config", "shop.toml", "--check").returncode == 0
        server.process.send_signal(signal.SIGHUP)
        server.waitFor("the configuration was reloaded")
        assert b"served" in ask(server)
        file.write_text('app = "shop:window"\nworkers = 2\n')
        checked = run(shop, "-n", "keepalive", "--config", "shop.toml", "--check")
        assert checked.returncode == 1
        assert "the module shop has no attribute window" in checked.stderr
        server.process.send_signal(signal.SIGHUP)
        server.waitFor("the old one stays: .* the module shop has no attribute window")
        assert b"served" in ask(server)
        assert server.end(signal.SIGTERM) == 0


FAILURES = {
    "no attribute": ("", "shop:window", "the module shop has no attribute window"),
    "import": ("raise RuntimeError('out of milk')", "shop:handler",
               "the module shop cannot be imported: RuntimeError: out of milk"),
    "exit": ("os._exit(3)", "shop:handler", "it exited before, with status 3"),
    "never": ("import time; time.sleep(1000)", "shop:handler", "(none|it) was (not )?ready within 3 s"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_when_no_worker_can_start_the_command_ends_with_the_reason(shop: Path, name: str) -> None:
    line, app, sentence = FAILURES[name]
    (shop / "shop.py").write_text(APPLICATION + line + "\n")
    with serving(shop, "--app", app, "--workers", "2", "--worker-start-timeout", "3") as server:
        assert server.process.wait(PATIENCE) == 1
        assert server.process.stdout is not None
        said = server.process.stdout.read()
    assert re.search(rf"^keepalive: no worker can start: {sentence}$", said, re.MULTILINE), said
    assert "Traceback" not in said
    assert not (shop / "twistd.pid").exists()


def test_a_daemon_whose_workers_cannot_start_ends_with_the_reason_in_its_log(shop: Path) -> None:
    (shop / "shop.py").write_text(APPLICATION + "raise RuntimeError('out of milk')\n")
    path = shop / "socket"
    run(shop, "keepalive", "--app", "shop:handler", "--workers", "2", "--listen", f"unix:{path}")
    limit = time.monotonic() + PATIENCE
    while "no worker can start" not in (shop / "twistd.log").read_text() or (shop / "twistd.pid").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert "RuntimeError: out of milk" in (shop / "twistd.log").read_text()


def test_while_no_worker_can_start_clients_get_503_and_then_are_served_again(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler", "--workers", "1") as server:
        (pid,) = workers(server, 1)
        (shop / "shop.py").write_text("raise RuntimeError('out of milk')\n")
        os.kill(pid, signal.SIGKILL)
        server.waitFor("a worker did not become ready: .*out of milk; trying again in 0.2 s")
        server.waitFor("no worker is ready: clients get 503 until one is")
        answer = ask(server)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5\r\n" in answer
        (shop / "shop.py").write_text(APPLICATION)
        server.waitFor("a worker is ready again")
        assert b"served" in ask(server)
        assert server.end(signal.SIGTERM) == 0


def test_a_signal_to_the_whole_group_replaces_no_worker(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler", "--workers", "2") as server:
        pids = workers(server, 2)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        assert server.end(signal.SIGTERM) == 0
        assert "starting its replacement" not in "".join(server.said)
        for pid in pids:
            waitForEnd(pid)


def replaced(server: Server, reason: str) -> int:
    return int(server.waitFor(rf"worker (\d+) is replaced: {reason}")[1])


LIMITS = {
    "requests": (["--worker-max-requests", "3"], r"it has answered \d+ requests"),
    "age": (["--worker-max-age", "1.5"], r"it has served for \d+ s"),
    "memory": (["--worker-max-memory", "1000000"], r"it has \d+ bytes of resident memory"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_worker_that_has_done_its_part_is_replaced(shop: Path, limit: str) -> None:
    arguments, reason = LIMITS[limit]
    with serving(shop, "--app", "shop:handler", "--workers", "1", *arguments) as server:
        (pid,) = workers(server, 1)
        for _ in range(4):
            assert b"served" in ask(server)
        assert replaced(server, reason) == pid
        assert workers(server, 1) != [pid]
        waitForEnd(pid)
        assert b"served" in ask(server)
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)
