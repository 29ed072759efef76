"""``twistd keepalive`` as a process: what it says, how it ends, what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.twistd import PATIENCE, TWISTD, environment, readAll, run, serving, waitForEnd

APPLICATION = """
async def handler(request):
    data = await request.read(limit=1000)
    return data or b"hello"

def counted(request):
    return str(request.number)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with the applications ``shop:handler`` and ``shop:counted``."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / "broken.py").write_text("raise RuntimeError('out of\\nmilk')\n")
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def assertRefused(directory: Path, sentence: str, *arguments: str) -> None:
    """Check that twistd ends with one sentence, before it served or left anything."""
    before = sorted(path.name for path in directory.iterdir() if path.name != "__pycache__")
    done = run(directory, *arguments)
    assert done.returncode == 1
    assert re.fullmatch(f"keepalive: {sentence}\n", done.stderr), done.stderr
    assert "Traceback" not in done.stdout
    assert "Usage" not in done.stdout
    assert "listening on" not in done.stdout
    after = sorted(path.name for path in directory.iterdir() if path.name != "__pycache__")
    assert after == before


MISTAKES = {
    "unknown option": (["--colour"], "option --colour not recognized"),
    "option without value": (["--listen"], "option --listen requires argument"),
    "unknown module": (["--app", "nowhere:handler"], "--app: there is no module nowhere"),
    "missing attribute": (["--app", "shop:window"], "--app: the module shop has no attribute .*"),
    "not callable": (["--app", "shop:__name__"], "--app: shop:__name__ is not callable but a str"),
    "broken module": (["--app", "broken:handler"],
                      "--app: the module broken cannot be imported: RuntimeError: out of milk"),
    "bad endpoint": (["--listen", "tcp:http"], "--listen tcp:http is not an endpoint: .*"),
    "bad interface": (["--listen", "tcp:0:interface=no.such.invalid"],
                      "cannot listen on tcp:0:interface=no.such.invalid: .*"),
    "not a number": (["--idle-timeout", "soon"], "--idle-timeout wants a number, not 'soon'"),
    "negative": (["--idle-timeout", "-1"], "--idle-timeout must not be negative or infinite: -1"),
    "unwritable log": (["--access-log", "/nowhere/log"], "--access-log /nowhere/log cannot be .*"),
    "socket in no directory": (["--listen", "unix:/nowhere/socket"],
                               "cannot listen on unix:/nowhere/socket: No such file or directory"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_status1(shop: Path, mistake: str) -> None:
    arguments, sentence = MISTAKES[mistake]
    if "--app" not in arguments:
        arguments = ["--app", "shop:handler", *arguments]
    assertRefused(shop, sentence, "-n", "keepalive", *arguments)


@pytest.mark.parametrize("how", [["-n"], [], ["-n", "--rundir", "/"]], ids=" ".join)
def test_a_port_in_use_is_one_sentence_however_twistd_runs(shop: Path, taken: int, how: list[str]) -> None:
    endpoint = f"tcp:{taken}:interface=127.0.0.1"
    arguments = ["--app", "shop:handler", "--listen", f"unix:{shop}/free", "--listen", endpoint]
    sentence = f"cannot listen on {endpoint}: Address already in use"
    assertRefused(shop, sentence, *how, "keepalive", *arguments)


@pytest.mark.parametrize("how", [["-n"], []], ids=["foreground", "daemon"])
def test_the_same_endpoint_twice_is_one_sentence(shop: Path, how: list[str]) -> None:
    endpoint = f"unix:{shop}/socket"
    sentence = f"cannot listen on {endpoint}: Address already in use"
    arguments = ["--app", "shop:handler", "--listen", endpoint, "--listen", endpoint]
    assertRefused(shop, sentence, *how, "keepalive", *arguments)


def test_what_is_not_permitted_is_one_sentence(shop: Path) -> None:
    # No account may make a socket there, not even root.
    endpoint = "unix:/sys/socket:lockfile=0"
    if not os.path.isdir("/sys"):
        pytest.skip("there is no /sys here")
    sentence = f"cannot listen on {endpoint}: .*"
    assertRefused(shop, sentence, "-n", "keepalive", "--app", "shop:handler", "--listen", endpoint)


def test_a_daemon_cannot_log_to_standard_output(shop: Path) -> None:
    sentence = "--access-log - needs twistd -n: a daemon has no output"
    assertRefused(shop, sentence, "keepalive", "--app", "shop:handler", "--access-log", "-")


@pytest.mark.parametrize("how", [["-n"], []], ids=["foreground", "daemon"])
def test_a_check_listens_on_nothing(shop: Path, taken: int, how: list[str]) -> None:
    arguments = ["--app", "shop:handler", "--listen", f"tcp:{taken}", "--check"]
    done = run(shop, *how, "keepalive", *arguments)
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, "configuration is valid", "")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_check_looks_at_sources_and_leaves_no_byte_code(
    shop: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    source, byteCode = shop / "stale.py", shop / "__pycache__"
    arguments = ["keepalive", "--app", "stale:handler", "--workers", workers, "--check"]
    source.write_text("def handler(request): return b''\n")
    os.utime(source, (10**9, 10**9))
    assert run(shop, *arguments).returncode == 0
    assert not byteCode.exists()
    subprocess.run([sys.executable, "-c", "import stale"], cwd=shop, check=True)
    assert list(byteCode.glob("stale.*"))
    # Of the same size and the same time, as files are that are deployed with times that do not change.
    source.write_text("def hundler(request): return b''\n")
    os.utime(source, (10**9, 10**9))
    done = run(shop, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "keepalive: --app: the module stale has no attribute handler\n"


def test_a_check_whose_reader_has_gone_ends_well(shop: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as output:
        done = subprocess.run(
            [*TWISTD, "keepalive", "--app", "shop:handler", "--check", "--show"],
            cwd=shop,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_a_terminal_cannot_show_is_written_otherwise(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KA_TWISTED_ACCESS_LOG", "caf\u00e9\udcff.log")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(shop, "keepalive", "--app", "shop:handler", "--check", "--show")
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"{shop}/caf\\xe9\\udcff.log"' in done.stdout


def test_twistd_knows_the_command_and_its_options(tmp_path: Path) -> None:
    assert re.search(r"^ +keepalive ", run(tmp_path, "--help").stdout, re.MULTILINE)
    assert "--idle-timeout=" in run(tmp_path, "keepalive", "--help").stdout


def test_a_connection_serves_several_requests(shop: Path) -> None:
    with serving(shop, "--app", "shop:counted") as server, server.connect() as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: shop\r\n\r\nGET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
        )
        answer = readAll(connection)
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200"]
        assert re.findall(rb"\r\n\r\n(\d)", answer) == [b"1", b"2"]


def test_the_effective_timers_are_logged(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler", "--idle-timeout", "12.5") as server:
        assert "firstRequest 12.5, idle 12.5, header 10" in "".join(server.said)


def startRequest(connection: socket.socket) -> None:
    """Send a request up to the last byte of its body, and see that the server waits for that."""
    connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(b"milk")


def test_sigterm_lets_a_request_in_service_finish(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler") as server, server.connect() as connection:
        startRequest(connection)
        server.process.send_signal(signal.SIGTERM)
        server.waitFor("draining 1 connections")
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        connection.sendall(b"!")
        answer = readAll(connection)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert re.search(rb"\r\nConnection: close\r\n", answer, re.IGNORECASE)
        assert answer.endswith(b"\r\n\r\nmilk!")
        connection.close()
        assert server.process.wait() == 0
        assert not (shop / "twistd.pid").exists()


def test_sigterm_closes_idle_connections_at_once(shop: Path) -> None:
    with serving(shop, "--app", "shop:handler") as server, server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        server.process.send_signal(signal.SIGTERM)
        assert readAll(connection) == b""
        connection.close()
        assert server.process.wait() == 0


def test_the_drain_has_a_deadline(shop: Path) -> None:
    arguments = ["--app", "shop:handler", "--drain-timeout", "0.1", "--body-timeout", "0"]
    with serving(shop, *arguments) as server, server.connect() as connection:
        startRequest(connection)
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)


def test_the_second_signal_ends_the_drain(shop: Path) -> None:
    arguments = ["--app", "shop:handler", "--drain-timeout", "0", "--body-timeout", "0"]
    with serving(shop, *arguments) as server, server.connect() as connection:
        startRequest(connection)
        server.process.send_signal(signal.SIGTERM)
        server.waitFor("draining 1 connections")
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.said)


def test_the_access_log_has_a_line_for_each_request(shop: Path) -> None:
    arguments = ["--app", "shop:handler", "--access-log", "requests.log"]
    with serving(shop, *arguments) as server:
        with server.connect() as connection:
            connection.sendall(b"GET /milk HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
            readAll(connection)
        assert server.end(signal.SIGTERM) == 0
    (line,) = (shop / "requests.log").read_text().splitlines()
    assert '"GET /milk HTTP/1.1" 200 5' in line


def test_a_daemon_serves_and_ends_like_the_foreground(shop: Path) -> None:
    path = shop / "socket"
    done = run(shop, "keepalive", "--app", "shop:handler", "--listen", f"unix:{path}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int((shop / "twistd.pid").read_text())
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
            assert readAll(connection).endswith(b"\r\n\r\nhello")
    finally:
        os.kill(pid, signal.SIGTERM)
        waitForEnd(pid)
    assert "Traceback" not in (shop / "twistd.log").read_text()
    left = {entry.name for entry in shop.iterdir()}
    assert left.isdisjoint({"twistd.pid", "socket", "socket.lock"})
