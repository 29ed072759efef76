"""Workers as processes: they share what is listened on, are replaced one by one, and leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.load import load
from tests.service.twistd import Server, readAll, run, serving, waitForEnd

APPLICATION = """
import os

def handler(request):
    return f"{os.getpid()} first"

async def posted(request):
    return await request.read(limit=1000)
"""
STUCK = """
import sys
import time

def handler(request):
    if request.path == "/stuck":
        print("this may take a while", file=sys.stderr, flush=True)
        time.sleep(1000)
    return "fine"
"""
GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
GET_ALONE = b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with the applications ``shop:handler``, which tells its process, and ``shop:posted``."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    return tmp_path


def workers(server: Server, count: int) -> list[int]:
    """The processes of workers, once so many more are ready."""
    return [int(server.waitFor(r"worker (\d+) is ready")[1]) for _ in range(count)]


def port(server: Server) -> int:
    return int(re.findall(r"listening on 127\.0\.0\.1:(\d+)", "".join(server.said))[-1])


def ask(server: Server, request: bytes = GET_ALONE) -> bytes:
    with server.connect() as connection:
        connection.sendall(request)
        return readAll(connection)


def ARGUMENTS(*more: str) -> Sequence[str]:
    return ("--app", "shop:handler", "--workers", "2", *more)


def test_two_workers_serve_on_one_port(shop: Path) -> None:
    with serving(shop, *ARGUMENTS()) as server:
        pids = workers(server, 2)
        answered = int(ask(server).split(b"\r\n\r\n")[1].split()[0])
        assert answered in pids
        assert answered != server.process.pid
        assert server.end(signal.SIGTERM) == 0
        for pid in pids:
            waitForEnd(pid)
        assert "Traceback" not in "".join(server.said)


def test_a_reload_loses_no_request(shop: Path) -> None:
    with serving(shop, *ARGUMENTS()) as server:
        before = workers(server, 2)
        with load("127.0.0.1", port(server), connections=20) as clients:
            (shop / "shop.py").write_text(APPLICATION.replace("first", "second"))
            server.process.send_signal(signal.SIGHUP)
            after = workers(server, 2)
            server.waitFor("the configuration was reloaded")
            for pid in before:
                waitForEnd(pid)
            clients.waitFor(200)
        assert clients.result.failures == []
        assert clients.result.connections > 20
        assert set(after).isdisjoint(before)
        assert b" second" in ask(server)
        assert server.end(signal.SIGTERM) == 0


def test_a_worker_that_cannot_begin_leaves_the_old_ones_in_place(shop: Path) -> None:
    with serving(shop, *ARGUMENTS()) as server:
        workers(server, 2)
        (shop / "shop.py").write_text("raise RuntimeError('out of milk')\n")
        server.process.send_signal(signal.SIGHUP)
        told = server.waitFor("not reloaded")
        assert "the old one stays: a worker with the new configuration did not become ready: " in told.string
        assert "RuntimeError: out of milk" in told.string
        assert b" first" in ask(server)
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)


def test_a_worker_that_is_killed_takes_only_its_own_requests_and_is_replaced(shop: Path) -> None:
    arguments = ("--app", "shop:posted", "--workers", "2")
    with serving(shop, *arguments) as server:
        workers(server, 2)
        connections = [server.connect() for _ in range(20)]
        for connection in connections:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
        victim, owned = owner(server, connections)
        os.kill(victim, signal.SIGKILL)
        server.waitFor(f"worker {victim} exited on signal 9; restarting it in 0.1 s")
        workers(server, 1)
        for connection in connections:
            if connection in owned:
                with pytest.raises(ConnectionError):
                    connection.sendall(b"milk")
                    assert not connection.recv(1000)
                    raise ConnectionResetError
            else:
                connection.sendall(b"milk")
                assert connection.recv(1000).endswith(b"milk")
            connection.close()
        assert server.end(signal.SIGTERM) == 0


def test_a_worker_that_is_stuck_says_where_and_is_replaced(shop: Path) -> None:
    (shop / "shop.py").write_text(STUCK)
    with serving(shop, *ARGUMENTS("--worker-timeout", "0.5")) as server:
        workers(server, 2)
        with server.connect() as connection:
            connection.sendall(b"GET /stuck HTTP/1.1\r\nHost: shop\r\n\r\n")
            stuck = int(server.waitFor(r"worker (\d+): this may take a while")[1])
            assert b"fine" in ask(server), "the other one serves"
            server.waitFor(rf"worker {stuck}: event loop blocked for 0\.5 s; killing the worker")
            server.waitFor(rf'worker {stuck}: .*shop\.py", line 8 in handler')
            server.waitFor(f"worker {stuck} exited on signal 6; restarting it in 0.1 s")
        workers(server, 1)
        assert b"fine" in ask(server)
        assert server.end(signal.SIGTERM) == 0


def owner(server: Server, connections: list[socket.socket]) -> tuple[int, list[socket.socket]]:
    """A worker that has some of the connections, and which."""
    addresses = {connection.getsockname()[1]: connection for connection in connections}
    inodes = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        remote = int(fields[2].rpartition(":")[2], 16)
        if remote in addresses and int(fields[1].rpartition(":")[2], 16) == port(server):
            inodes[f"socket:[{fields[9]}]"] = addresses[remote]
    for pid in {int(pid) for pid in re.findall(r"worker (\d+) is ready", "".join(server.said))}:
        links = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink())
        owned = [inodes[link] for link in links if link in inodes]
        if owned:
            return pid, owned
    raise AssertionError("no worker has the connections")


def test_sigterm_lets_every_workers_requests_finish(shop: Path) -> None:
    with serving(shop, "--app", "shop:posted", "--workers", "2") as server:
        pids = workers(server, 2)
        connections = [server.connect() for _ in range(8)]
        for connection in connections:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.process.send_signal(signal.SIGTERM)
        for _ in pids:
            server.waitFor(r"worker \d+: draining \d+ connections")
        for connection in connections:
            connection.sendall(b"milk")
            assert readAll(connection).endswith(b"milk")
            connection.close()
        assert server.process.wait() == 0
        for pid in pids:
            waitForEnd(pid)


def test_without_their_supervisor_workers_end(shop: Path) -> None:
    with serving(shop, *ARGUMENTS()) as server:
        pids = workers(server, 2)
        server.process.kill()
        for pid in pids:
            waitForEnd(pid)


def test_the_second_signal_ends_the_drain_of_workers(shop: Path) -> None:
    arguments = ("--app", "shop:posted", "--workers", "1", "--drain-timeout", "0", "--body-timeout", "0")
    with serving(shop, *arguments) as server, server.connect() as connection:
        workers(server, 1)
        connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.process.send_signal(signal.SIGTERM)
        server.waitFor(r"worker \d+: draining 1 connections")
        assert server.end(signal.SIGTERM) == 0


def test_a_worker_that_is_told_to_end_is_replaced_first(shop: Path) -> None:
    with serving(shop, *ARGUMENTS()) as server:
        first, _ = workers(server, 2)
        os.kill(first, signal.SIGTERM)
        server.waitFor(f"worker {first} received a stop signal; starting its replacement")
        workers(server, 1)
        waitForEnd(first)
        assert b" first" in ask(server)
        assert server.end(signal.SIGTERM) == 0


def test_workers_write_one_access_log_and_open_it_anew(shop: Path) -> None:
    with serving(shop, *ARGUMENTS("--access-log", "requests.log")) as server:
        workers(server, 2)
        for _ in range(10):
            ask(server)
        (shop / "requests.log").rename(shop / "old.log")
        server.process.send_signal(signal.SIGUSR1)
        while not (shop / "requests.log").exists():
            ask(server)
        assert server.end(signal.SIGTERM) == 0
    assert len((shop / "old.log").read_text().splitlines()) >= 10


def test_workers_have_no_descriptors_but_theirs(shop: Path) -> None:
    with serving(shop, *ARGUMENTS()) as server:
        pid = workers(server, 2)[1]
        kinds = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
        # The channel, and the listening socket; connections there are none.
        assert sum(kind.startswith("socket:") for kind in kinds) == 2
        files = [kind for kind in kinds if kind.startswith("/") and kind != "/dev/null"]
        assert files == ["/memfd:ka_twisted workers (deleted)"]


@pytest.mark.parametrize("reactor", [[], ["--reactor", "uvloop"]], ids=["default", "uvloop"])
def test_a_daemons_workers_serve_on_a_unix_socket_and_after_a_reload(shop: Path, reactor: list[str]) -> None:
    path = shop / "socket"
    arguments = ["keepalive", *ARGUMENTS("--listen", f"unix:{path}")]
    done = run(shop, *reactor, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int((shop / "twistd.pid").read_text())
    try:
        first = answer(path)
        (shop / "shop.py").write_text(APPLICATION.replace("first", "second"))
        os.kill(pid, signal.SIGHUP)
        while b" second" not in answer(path):
            pass
        assert b" first" in first
    finally:
        os.kill(pid, signal.SIGTERM)
        waitForEnd(pid)
    assert "Traceback" not in (shop / "twistd.log").read_text()
    assert {entry.name for entry in shop.iterdir()}.isdisjoint({"twistd.pid", "socket", "socket.lock"})


def answer(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(GET_ALONE)
        return readAll(connection)


def operator(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return readAll(connection).partition(b"\r\n\r\n")[2]


def metric(page: bytes, name: str) -> float:
    return sum(float(number) for number in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page.decode(), re.MULTILINE))


def test_the_operator_sees_all_workers_together_and_those_that_are_gone(shop: Path) -> None:
    admin = shop / "admin"
    with serving(shop, *ARGUMENTS("--admin", f"unix:{admin}")) as server:
        before = workers(server, 2)
        for _ in range(10):
            ask(server)
        assert metric(operator(admin, "/metrics"), "ka_twisted_requests_total") == 10
        server.process.send_signal(signal.SIGHUP)
        after = workers(server, 2)
        for pid in before:
            waitForEnd(pid)
        for _ in range(5):
            ask(server)
        page = operator(admin, "/metrics")
        assert metric(page, "ka_twisted_requests_total") == 15
        assert metric(page, "ka_twisted_connections") == 0
        assert b'ka_twisted_reloads_total{outcome="done"} 1.0' in page
        told = json.loads(operator(admin, "/connections.json"))["closed"]
        assert len(told) == 15
        assert {each["pid"] for each in told[:5]} <= set(after)
        assert {each["pid"] for each in told[5:]} <= set(before)
        os.kill(after[0], signal.SIGKILL)
        workers(server, 1)
        assert metric(operator(admin, "/metrics"), "ka_twisted_requests_total") == 15
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)


def test_an_operators_drain_takes_the_server_out_of_service_and_stays(shop: Path) -> None:
    admin = shop / "admin"
    with serving(shop, *ARGUMENTS("--admin", f"unix:{admin}")) as server:
        workers(server, 2)
        ask(server)
        assert operator(admin, "/readyz") == b"ready\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(admin))
            connection.sendall(
                b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            assert readAll(connection).startswith(b"HTTP/1.1 20")
        for _ in range(2):
            server.waitFor(r"worker \d+: draining 0 connections")
        with pytest.raises(ConnectionRefusedError):
            ask(server)
        assert operator(admin, "/readyz") == b"draining\n"
        assert metric(operator(admin, "/metrics"), "ka_twisted_requests_total") == 1
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.soak
def test_rolled_under_two_hundred_connections_no_request_fails(shop: Path) -> None:
    with serving(shop, *ARGUMENTS()) as server:
        workers(server, 2)
        with load("127.0.0.1", port(server), connections=200) as clients:
            while clients.result.requests < 200_000:
                server.process.send_signal(signal.SIGHUP)
                server.waitFor("the configuration was reloaded")
                clients.waitFor(5_000)
        assert clients.result.failures == []
        assert server.end(signal.SIGTERM) == 0
