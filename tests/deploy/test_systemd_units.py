"""The units: one template, which systemd takes without a word, and rates as well closed off."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ka_twisted.config import Timeouts
from ka_twisted.service.systemd.install import Installation
from ka_twisted.service.systemd.units import Socket, Unit, listenTables, quoted
from tests import programs
from tests.deploy import units
from tests.service.test_install import installService
from tests.service.twistd import Server, environment, readAll

ANALYZE = programs.find("systemd-analyze")
needsSystemd = pytest.mark.program("systemd-analyze")
#: Tenths; systemd calls up to 2.0 safe in words, up to 4.9 OK.
EXPOSURE = 20


def analyze(*arguments: str) -> str:
    """Run systemd-analyze, which has to succeed; what it says."""
    done = subprocess.run(
        [str(ANALYZE), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def verify(folder: Path) -> None:
    """Have systemd read all units of a directory; it has nothing to say."""
    paths = [str(path) for path in sorted(folder.iterdir()) if path.suffix in (".service", ".socket")]
    assert paths
    said = analyze("verify", "--man=no", "--recursive-errors=no", *paths)
    assert str(folder) not in said, said
    assert not [path for path in paths if Path(path).name in said], said


def rate(service: Path) -> None:
    analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", str(service))


def put(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_the_files_are_what_the_template_makes() -> None:
    """``python -m tests.deploy.units`` writes them anew."""
    found = {
        str(path.relative_to(units.FOLDER)): path.read_text("utf-8")
        for path in units.FOLDER.rglob("*")
        if path.is_file()
    }
    assert found == units.texts()


@needsSystemd
def test_systemd_takes_the_files(tmp_path: Path) -> None:
    put(tmp_path, units.texts(command=sys.executable))
    verify(tmp_path)
    verify(tmp_path / "several-sockets")


@needsSystemd
def test_systemd_is_heard_where_a_unit_is_wrong(tmp_path: Path) -> None:
    texts = units.unit(command=sys.executable).files()
    put(tmp_path, {name: text.replace("KillMode=mixed", "KillMode=quickly") for name, text in texts.items()})
    with pytest.raises(AssertionError, match="kill mode"):
        verify(tmp_path)


@needsSystemd
def test_the_service_is_well_closed_off() -> None:
    rate(units.FOLDER / "ka_twisted.service")
    rate(units.FOLDER / "several-sockets" / "ka_twisted.service")


@needsSystemd
def test_generated_units_are_taken(tmp_path: Path) -> None:
    for name, arguments in {
        "plain": (),
        "low": ("--listen", "tcp:80"),
        "socket": ("--socket", "0.0.0.0:80"),
        "sockets": ("--socket", "web=0.0.0.0:80", "--socket", "web6=[::]:80", "--socket", "local=/run/app.socket"),
        "account": ("--run-as", "shop"),
        "user": ("--user",),
    }.items():
        root = tmp_path / name
        installService("--root", str(root), "--write", *arguments, command=(sys.executable,))
        [folder] = {path.parent for path in root.rglob("*.service")}
        verify(folder)
        if name != "user":  # a user's manager cannot close off as much
            rate(folder / "ka_twisted.service")


def lines(unit: Unit) -> list[str]:
    return unit.files()[f"{unit.name}.service"].splitlines()


def make(**given: object) -> list[str]:
    return lines(Unit("shop", ["/usr/bin/twistd"], "/etc/shop.toml", "/srv", **given))  # type: ignore[arg-type]


def test_a_newer_systemd_waits_for_reloads() -> None:
    assert "Type=notify" in make(version=252)
    assert "ExecReload=kill -HUP $MAINPID" in make(version=252)
    assert "Type=notify-reload" in make(version=253)
    assert not [line for line in make(version=253) if line.startswith("ExecReload=")]


def test_low_ports_take_one_capability() -> None:
    assert {"CapabilityBoundingSet=", "PrivateUsers=yes"} <= set(make())
    low = make(lowPorts=True)
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE" in low
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in low
    assert "PrivateUsers=yes" not in low


def test_stopping_takes_as_long_as_draining() -> None:
    assert "TimeoutStopSec=45s" in make()
    assert "TimeoutStopSec=142s" in make(timeouts=Timeouts(drainDelay=10, drain=120, linger=2))


def test_tls_takes_memory_that_is_written_and_executed() -> None:
    assert "MemoryDenyWriteExecute=yes" in make()
    assert "MemoryDenyWriteExecute=no" in make(tls=True)


def test_a_users_service_has_no_account_of_its_own() -> None:
    found = make(user=True)
    assert "WantedBy=default.target" in found
    assert "DynamicUser=yes" not in found
    assert "NoNewPrivileges=yes" in found
    assert found.count("NoNewPrivileges=yes") == make().count("NoNewPrivileges=yes") == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tcp:8080:interface=127.0.0.1", "tcp:8080:interface=127.0.0.1"),
        ("/opt/my server/bin", '"/opt/my server/bin"'),
        ("50%", "50%%"),
        ("$HOME", "$$HOME"),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("two\nlines", r'"two\nlines"'),
        ("", '""'),
        ("semi;colon", '"semi;colon"'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, expected: str) -> None:
    assert quoted(word) == expected


@needsSystemd
def test_quoted_words_are_one_word_for_systemd(tmp_path: Path) -> None:
    folder = tmp_path / "a 100% odd place"
    folder.mkdir()
    program = folder / "twistd"
    program.symlink_to(sys.executable)
    put(tmp_path, Unit("odd", [str(program)], '/etc/a $HOME "b".toml', str(folder)).files())
    verify(tmp_path)


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("0.0.0.0:80", "INET"),
        ("[::1]:80", "INET6"),
        ("80", "INET6"),
        ("/run/app.socket", "UNIX"),
        ("@app", "UNIX"),
    ],
)
def test_a_sockets_family_is_that_of_its_address(address: str, domain: str) -> None:
    assert Socket("web", address).endpoint == f"systemd:domain={domain}:name=web"


def test_listeners_are_toml() -> None:
    assert listenTables(["tcp:80", 'unix:/a"b']) == (
        '\n[[listen]]\nendpoint = "tcp:80"\n\n[[listen]]\nendpoint = "unix:/a\\"b"\n'
    )


WITHOUT_EXECUTABLE_MEMORY = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, since Linux 6.3
    sys.exit("this kernel cannot forbid it")
import mmap
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    sys.exit("it is not forbidden")
except PermissionError:
    pass
from twisted.scripts.twistd import run
run()
"""


def test_the_server_needs_no_memory_that_is_written_and_executed(tmp_path: Path) -> None:
    """What MemoryDenyWriteExecute= forbids, forbidden by the kernel's own means."""
    arguments = ["-n", "--pidfile=", "keepalive", "--listen", "tcp:0:interface=127.0.0.1"]
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_EXECUTABLE_MEMORY, *arguments],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        server = Server(process)
        try:
            server.waitFor("TCP keep-alive: ")
        except AssertionError:
            if "cannot forbid it" in "".join(server.said):
                pytest.skip("the kernel is older than 6.3")
            raise
        with server.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
            assert readAll(connection).startswith(b"HTTP/1.1 200 ")
        assert server.end(signal.SIGTERM) == 0
    finally:
        process.kill()
        process.communicate()


def test_this_installation_is_known() -> None:
    here = Installation.here()
    assert re.search(r"twistd", " ".join(here.command))
    assert sys.prefix in here.places
    assert here.systemd >= 200
