"""twistd itself with a configuration file."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.service.twistd import PATIENCE, readAll, run, serving


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with two applications and a configuration, from which twistd is not started."""
    (tmp_path / "shop.py").write_text(
        "def front(request): return 'front'\n"
        "def api(request): return request.path\n"
    )  # fmt: skip
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shop.toml").write_text(
        "access-log = 'requests.log'\n"
        "behind = 'nginx'\n"
        "[timeouts]\n"
        "idle = 45\n"
        "[[site]]\n"
        "app = 'shop:front'\n"
        "host = 'shop.test'\n"
        "[[site]]\n"
        "app = 'shop:api'\n"
        "host = 'shop.test'\n"
        "prefix = '/api'\n"
    )
    return tmp_path


def test_the_sites_of_a_file_are_served(shop: Path) -> None:
    with serving(shop, "--config", "etc/shop.toml") as server:
        with server.connect() as connection:
            connection.sendall(
                b"GET /api/%2F HTTP/1.1\r\nHost: shop.test\r\n\r\n"
                b"GET /apis HTTP/1.1\r\nHost: shop.test\r\n\r\n"
                b"GET / HTTP/1.1\r\nHost: else.test\r\nConnection: close\r\n\r\n"
            )
            answers = readAll(connection)
        assert server.end(signal.SIGTERM) == 0
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"421"]
    assert re.findall(rb"\r\n\r\n(/api/%2F|front)", answers) == [b"/api/%2F", b"front"]
    log = "".join(server.said)
    assert "etc/shop.toml:4: timeouts.idle 45 is not longer than the 60 s after which nginx closes" in log
    assert "firstRequest 45, idle 45, header 10, body 75" in log
    assert len((shop / "etc" / "requests.log").read_text().splitlines()) == 3


def test_a_check_of_a_file_listens_on_nothing_and_writes_nothing(shop: Path) -> None:
    before = sorted(os.listdir(shop / "etc"))
    done = run(shop, "keepalive", "--config", "etc/shop.toml", "--check")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "configuration is valid")
    assert done.stderr.startswith("keepalive: warning: etc/shop.toml:4: timeouts.idle 45 is not longer than the 60 s")
    assert sorted(os.listdir(shop / "etc")) == before


@pytest.mark.parametrize("how", [["-n", "keepalive"], ["keepalive"], ["-n", "keepalive", "--check"]], ids=" ".join)
def test_a_wrong_file_is_one_sentence_and_status1(shop: Path, how: list[str]) -> None:
    (shop / "etc" / "shop.toml").write_text("workers = 0\n[timeouts]\nidel = 3\n")
    done = run(shop, *how, "--config", "etc/shop.toml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "keepalive: etc/shop.toml:3: timeouts.idel is unknown; did you mean timeouts.idle?\n"


@pytest.mark.parametrize("workers", ["0", "1"])
def test_variables_set_up_a_server_and_last_over_a_reload(
    shop: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shop / "etc" / "shop.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    for name, value in {
        "CONFIG": "etc/shop.toml",
        "LISTEN": "localhost:0 ./shop.socket",
        "IDLE_TIMEOUT": "20",
        "WORKERS": workers,
        "VERBOSE": "1",
        "IDEL": "3",
    }.items():
        monkeypatch.setenv(f"KA_TWISTED_{name}", value)
    with serving(shop, listen="") as server:
        assert asked(server.connect()) == b"front"
        assert asked(connected(shop / "shop.socket")) == b"front"
        file.write_text(file.read_text("utf-8").replace("shop:front", "shop:api").replace("idle = 45", "idle = 50"))
        server.process.send_signal(signal.SIGHUP)
        server.waitFor("configuration was reloaded")
        assert asked(server.connect()) == b"/"
        assert asked(connected(shop / "shop.socket")) == b"/"
        assert server.end(signal.SIGTERM) == 0
    log = "".join(server.said)
    # At the start and after the reload, from the variable and not from the file.
    assert len(re.findall(r"^\s*timeouts\.idle +20 ", log, re.MULTILINE)) == 2
    assert log.count("KA_TWISTED_IDEL is unknown and has no effect; did you mean KA_TWISTED_IDLE_TIMEOUT?") == 2
    assert not (shop / "shop.socket").exists()


def test_a_wrong_variable_is_one_sentence_and_status1(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KA_TWISTED_IDLE_TIMEOUT", "soon")
    done = run(shop, "-n", "keepalive")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "keepalive: KA_TWISTED_IDLE_TIMEOUT wants a number, not 'soon'\n"


def asked(connection: socket.socket) -> bytes:
    """The body of the answer to one request."""
    with connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
        return readAll(connection).partition(b"\r\n\r\n")[2]


def connected(path: Path) -> socket.socket:
    """A connection to a UNIX socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(path))
    return connection
