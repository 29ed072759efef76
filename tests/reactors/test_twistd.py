"""``twistd --reactor uvloop``: with uvloop, and without."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.twistd import PATIENCE, PROJECT, TWISTD, environment, readAll, run, serving

_CALL = "from twisted.scripts.twistd import run; run()"


def test_it_serves_the_playground(tmp_path: Path) -> None:
    pytest.importorskip("uvloop", reason="the reactor needs uvloop")
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {_CALL}"
    with serving(tmp_path, command=(sys.executable, "-c", code, "--reactor", "uvloop")) as server:
        assert "reactor class: ka_twisted.reactors.uvloop.UvloopReactor" in "".join(server.said)
        with server.connect() as connection:
            connection.sendall(b"GET /whoami HTTP/1.1\r\nHost: shop\r\n\r\n" * 3)
            connection.sendall(b"GET /whoami HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
            assert readAll(connection).count(b"HTTP/1.1 200 OK\r\n") == 4
        assert server.end(signal.SIGTERM) == 0


def test_it_is_in_the_list_of_reactors(tmp_path: Path) -> None:
    assert "\n    uvloop\t" in run(tmp_path, "--help-reactors").stdout


def test_without_uvloop_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    code = f"import sys; sys.modules['uvloop'] = None; {_CALL}"
    done = subprocess.run(
        [sys.executable, "-c", code, "-n", "--reactor", "uvloop", "keepalive"],
        cwd=tmp_path,
        env=environment(TWISTD),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("The uvloop reactor needs the package uvloop")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
