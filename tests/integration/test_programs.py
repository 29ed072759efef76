"""Clients that others have written, against the playground of a ``twistd keepalive``."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.service.twistd import PATIENCE, Server, serving

SIZE = 5_000_000


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a playground is served."""
    with serving(tmp_path_factory.mktemp("playground")) as server:
        yield f"http://127.0.0.1:{_port(server)}"


def _port(server: Server) -> int:
    with server.connect() as probe:
        return int(probe.getpeername()[1])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of five megabytes."""
    path = tmp_path_factory.mktemp("files") / "five-megabytes"
    path.write_bytes(bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256))
    return path


def call(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def curl(*arguments: object) -> tuple[int, int, int, str, str]:
    """Run curl: its exit status, the last status, the bytes it uploaded, the body, and what it told."""
    done = call("curl", "-sv", "-w", "\n%{http_code} %{size_upload}", *arguments)
    body, _, line = done.stdout.rpartition("\n")
    status, uploaded = line.split()
    return done.returncode, int(status), int(uploaded), body, done.stderr


EXPECT = ("-H", "Expect: 100-continue")


@pytest.mark.ledger("X-04", "D3-09")
@pytest.mark.program("curl")
def test_curl_sends_what_it_is_invited_to_send(playground: str, file: Path) -> None:
    code, status, uploaded, body, said = curl("-T", file, *EXPECT, f"{playground}/upload?limit=10000000")
    assert (code, status, uploaded) == (0, 200, SIZE)
    assert json.loads(body) == {"bytes": SIZE, "sha256": sha256(file.read_bytes()).hexdigest()}
    assert "< HTTP/1.1 100 Continue" in said
    assert re.search("left intact", said)


@pytest.mark.ledger("X-04", "D3-12")
@pytest.mark.program("curl")
def test_curl_sends_nothing_when_it_is_not(playground: str, file: Path) -> None:
    code, status, uploaded, body, said = curl("-T", file, *EXPECT, f"{playground}/upload?limit=1000000")
    assert (code, status, uploaded) == (0, 413, 0)
    assert body == f"{SIZE} bytes are more than the limit of 1000000\n"
    assert "100 Continue" not in said


@pytest.mark.parametrize(
    "fields", [("Expect:",), ("Expect:", "Transfer-Encoding: chunked")], ids=["counted", "chunked"]
)
@pytest.mark.ledger("P-11", "L-32")
@pytest.mark.program("curl")
def test_curl_gets_its_413_when_it_asks_nobody(playground: str, file: Path, fields: tuple[str, ...]) -> None:
    options = [option for value in fields for option in ("-H", value)]
    code, status, _, body, said = curl("-T", file, *options, f"{playground}/upload?limit=1000000")
    assert (code, status) == (0, 413)
    assert body.endswith(("limit of 1000000\n", "limit of 1000000 bytes\n"))
    assert "reset" not in said


@pytest.mark.ledger("L-10")
@pytest.mark.program("curl")
def test_curl_gets_back_what_it_sends_in_chunks(playground: str, file: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    code, status, uploaded, _, _ = curl(
        "-T", file, "-H", "Transfer-Encoding: chunked", "-o", back, f"{playground}/echo"
    )
    assert (code, status) == (0, 200)
    assert uploaded >= SIZE
    assert back.read_bytes() == file.read_bytes()


@pytest.mark.ledger("P-01", "P-02")
@pytest.mark.program("curl")
def test_curl_asks_again_on_the_same_connection(playground: str) -> None:
    done = call("curl", "-s", "-w", "\n%{num_connects}\n", *[f"{playground}/whoami"] * 3)
    assert re.findall(r"^([0-9])$", done.stdout, re.MULTILINE) == ["1", "0", "0"]
    numbers = [json.loads(line)["request"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert numbers == [1, 2, 3]


@pytest.mark.ledger("K-01", "K-04", "D1-15")
@pytest.mark.program("ab")
def test_ab_keeps_its_connections_over_http10(playground: str) -> None:
    done = call("ab", "-k", "-q", "-n", 1000, "-c", 20, f"{playground}/")
    assert done.returncode == 0, done.stderr
    figures = dict(re.findall(r"^([A-Z][\w -]+):\s+(\S+)", done.stdout, re.MULTILINE))
    assert figures["Complete requests"] == "1000"
    assert figures["Failed requests"] == "0"
    assert figures["Keep-Alive requests"] == "1000"
    assert "Non-2xx responses" not in figures


@pytest.mark.ledger("D1-09")
@pytest.mark.program("ab")
def test_ab_without_keep_alive_gets_a_connection_each(playground: str) -> None:
    done = call("ab", "-q", "-n", 200, "-c", 10, f"{playground}/status/200")
    assert done.returncode == 0, done.stderr
    figures = dict(re.findall(r"^([A-Z][\w -]+):\s+(\S+)", done.stdout, re.MULTILINE))
    assert figures["Complete requests"] == "200"
    assert figures["Failed requests"] == "0"
    assert "Keep-Alive requests" not in figures


@pytest.mark.ledger("K-01", "D1-15")
@pytest.mark.program("ab")
def test_ab_posts_over_kept_connections(playground: str, tmp_path: Path) -> None:
    posted = tmp_path / "posted"
    posted.write_bytes(b"x" * 3000)
    done = call("ab", "-k", "-q", "-n", 400, "-c", 10, "-p", posted, "-T", "text/plain", f"{playground}/echo")
    assert done.returncode == 0, done.stderr
    figures = dict(re.findall(r"^([A-Z][\w -]+):\s+(\S+)", done.stdout, re.MULTILINE))
    assert figures["Complete requests"] == "400"
    assert figures["Failed requests"] == "0"
    assert figures["Keep-Alive requests"] == "400"
    assert figures["Document Length"] == "3000"
