"""The image: no engine is needed to see that it can be built, what it runs, and how that ends."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import test_kubernetes as kubernetes
from tests.service.twistd import PATIENCE, PROJECT, Server, environment, readAll

CONTAINERFILE = PROJECT / "deploy" / "container" / "Containerfile"
IGNORED = PROJECT / ".containerignore"
#: Where the image has its environment.
PREFIX = "/opt/ka_twisted"


@dataclass(frozen=True)
class Instruction:
    """
    A line of a Containerfile.

    :ivar stage: the number of the FROM above it.
    :ivar flags: what begins with two dashes.
    """

    stage: int
    name: str
    flags: tuple[str, ...]
    text: str

    @property
    def words(self) -> list[str]:
        """What is given in the exec form, which no shell reads."""
        found: list[str] = json.loads(self.text)
        return found


def instructions() -> list[Instruction]:
    """All of them."""
    text = re.sub(r"^\s*#.*\n", "", CONTAINERFILE.read_text("utf-8"), flags=re.MULTILINE)
    found: list[Instruction] = []
    stage = -1
    for line in filter(None, map(str.strip, text.replace("\\\n", " ").splitlines())):
        name, _, rest = line.partition(" ")
        flags = re.match(r"(?:--\S+\s+)*", rest)
        assert flags is not None
        stage += name == "FROM"
        found.append(Instruction(stage, name, tuple(flags[0].split()), rest[flags.end() :].strip()))
    return found


ALL = instructions()


def only(name: str) -> Instruction:
    [found] = [each for each in ALL if each.name == name]
    return found


def test_only_known_instructions_are_used() -> None:
    known = "FROM WORKDIR RUN COPY ENV USER EXPOSE HEALTHCHECK STOPSIGNAL ENTRYPOINT CMD"
    assert {each.name for each in ALL} == set(known.split())
    assert ALL[0].name == "FROM"


def test_both_stages_begin_with_the_same_release_of_an_interpreter_that_is_supported() -> None:
    """The environment leads to the interpreter that has made it."""
    first, second = [each.text.split() for each in ALL if each.name == "FROM"]
    assert first[1:] == ["AS", "build"]
    assert second == first[:1]
    [version] = re.findall(r"/python:(3\.\d+)-slim-\w+$", first[0])
    assert f"Programming Language :: Python :: {version}" in (PROJECT / "pyproject.toml").read_text("utf-8")


def kept(path: str) -> bool:
    """Whether the build sees a file of the project."""
    seen = True
    for line in filter(None, IGNORED.read_text("utf-8").splitlines()):
        if line.startswith("#"):
            continue
        pattern, again = line.lstrip("!").removeprefix("**/"), line.startswith("!")
        parts = [path, *path.split("/")] if "**/" in line else [path, path.split("/")[0]]
        if any(fnmatch.fnmatch(part, pattern) for part in parts):
            seen = again
    return seen


def copied() -> Iterator[tuple[str, str]]:
    """What is copied from the project, and whereto."""
    for each in ALL:
        if each.name == "COPY" and not each.flags:
            *sources, target = each.text.split()
            yield from ((source, target) for source in sources)


def test_what_is_copied_is_there_and_seen() -> None:
    for source, _ in copied():
        assert (PROJECT / source).exists(), source
        assert kept(source), source
        if (PROJECT / source).is_dir():
            assert any(kept(str(path.relative_to(PROJECT))) for path in (PROJECT / source).rglob("*.py"))


def test_what_setup_names_is_copied_and_seen() -> None:
    named = re.findall(r'\["(ka_twisted/[^"*]+)"\]', (PROJECT / "setup.py").read_text("utf-8"))
    assert named
    for path in named:
        assert (PROJECT / path).is_file()
        assert path.split("/")[0] in {source for source, _ in copied()}
        assert kept(path)


def test_nothing_else_is_seen() -> None:
    wanted = {source for source, _ in copied()}
    for path in PROJECT.iterdir():
        assert kept(path.name) == (path.name in wanted), path.name
    assert not kept("ka_twisted/__pycache__/config.cpython-313.pyc")
    assert not kept("twisted/plugins/dropin.cache")


def test_the_image_has_the_environment_and_not_its_sources() -> None:
    [copy] = [each for each in ALL if each.stage == 1 and each.name == "COPY"]
    assert copy.flags == ("--from=build",)
    assert copy.text == f"{PREFIX} {PREFIX}"
    assert not [each for each in ALL if each.stage == 1 and each.name == "RUN"]


def test_it_runs_as_somebody_else_than_root_whom_the_manifests_know() -> None:
    user, _, group = only("USER").text.partition(":")
    context = kubernetes.POD["securityContext"]
    assert (int(user), int(group)) == (context["runAsUser"], context["runAsGroup"])
    assert int(user) > 0
    names = [each.name for each in ALL]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_the_server_gets_the_signal() -> None:
    """No shell is in between."""
    assert only("STOPSIGNAL").text == "SIGTERM"
    assert only("ENTRYPOINT").words[0] == f"{PREFIX}/bin/twistd"
    assert "-n" in only("ENTRYPOINT").words
    assert only("CMD").words[:2] == ["--listen", "tcp:8080"]
    assert healthcheck()[0] == f"{PREFIX}/bin/python"


def test_ports_are_those_of_the_manifests() -> None:
    ports = [port["containerPort"] for port in kubernetes.CONTAINER["ports"]]
    assert list(map(int, only("EXPOSE").text.split())) == ports


def healthcheck() -> list[str]:
    name, _, words = only("HEALTHCHECK").text.partition(" ")
    assert name == "CMD"
    found: list[str] = json.loads(words)
    return found


# -- the same steps, without an engine ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the first stage makes, by its own steps."""
    folder = tmp_path_factory.mktemp("image")
    source, prefix = folder / "source", folder / "prefix"
    source.mkdir()
    for each in ALL:
        if each.stage == 0 and each.name == "COPY":
            *names, target = each.text.split()
            for name in names:
                copy(PROJECT / name, source / target if (PROJECT / name).is_dir() else source / name)
        elif each.stage == 0 and each.name == "RUN":
            command = each.text.replace(PREFIX, str(prefix)).replace("python -m venv", f"{sys.executable} -m venv")
            done = subprocess.run(
                ["/bin/sh", "-c", command], cwd=source, env=clean(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout
    return prefix


def copy(source: Path, target: Path) -> None:
    def ignore(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not kept(str((Path(folder) / name).relative_to(PROJECT)))]

    if source.is_dir():
        shutil.copytree(source, target, ignore=ignore)
    else:
        shutil.copy(source, target)


def clean() -> dict[str, str]:
    """The variables of the image, and those by which packages are found here."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**given, **dict(pair.split("=") for pair in only("ENV").text.split())}


def freePort() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def running(image: Path, folder: Path, ports: dict[str, str]) -> Iterator[Server]:
    """What the image runs, from the moment it listens; the file system is read-only where that can be had."""
    words = [*only("ENTRYPOINT").words, *only("CMD").words]
    for number, free in ports.items():
        words = [word.replace(number, free) for word in words]
    command = [word.replace(PREFIX, str(image)) for word in words]
    readOnly = ("unshare", "--mount", "/bin/sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh")
    allowed = subprocess.run([*readOnly, "true"], capture_output=True, check=False).returncode == 0
    process = subprocess.Popen(
        [*(readOnly if allowed else ()), *command], cwd=folder, env=clean(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        server = Server(process)
        server.waitFor("TCP keep-alive: ")
        yield server
    finally:
        process.kill()
        process.communicate()


@pytest.mark.packaging
def test_what_the_image_runs_is_well_serves_and_ends_at_the_signal(image: Path, tmp_path: Path) -> None:
    ports = {"8080": str(freePort()), "9090": str(freePort())}
    with running(image, tmp_path, ports) as server:
        check = [word.replace(PREFIX, str(image)).replace("9090", ports["9090"]) for word in healthcheck()]
        well = subprocess.run(check, env=environment(check), capture_output=True, timeout=PATIENCE, check=False)
        assert well.returncode == 0, well.stderr
        with socket.create_connection(("127.0.0.1", int(ports["8080"])), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /status/200 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
            assert readAll(connection).startswith(b"HTTP/1.1 200 ")
        assert server.end(signal.SIGTERM) == 0
        assert not re.search("Traceback|cache", "".join(server.said)), server.said
    assert subprocess.run(check, env=environment(check), capture_output=True, check=False).returncode == 1
