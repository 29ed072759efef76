"""What is installed: the distribution is built, put into a new environment, and used from there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.service.twistd import readAll, serving

PROJECT = Path(__file__).parents[1]
PLUGIN = "twisted/plugins/ka_twisted_plugins.py"

pytestmark = pytest.mark.packaging

#: What a working copy holds beside the project.
SCRAP = shutil.ignore_patterns(
    ".*_cache", ".git", ".hypothesis", ".tox", "*.egg-info", "__pycache__", "build", "dist",
    "dropin.cache", "twistd.log*", "twistd.pid",
)  # fmt: skip


def call(*command: object, cwd: Path) -> str:
    """Run a command to its end; its standard output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source distribution, and the wheel that was built from it."""
    directory = tmp_path_factory.mktemp("built")
    source = directory / "source"
    shutil.copytree(PROJECT, source, ignore=SCRAP)
    call(sys.executable, "-m", "build", "--outdir", directory, source, cwd=directory)
    return directory


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the programs of a new environment that holds the wheel and what it needs."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory, with_pip=True)
    programs = directory / "bin"
    (wheel,) = built.glob("*.whl")
    call(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=directory)
    return programs


def test_the_wheel_holds_the_package_the_plugin_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"ka_twisted/__init__.py", "ka_twisted/py.typed", PLUGIN} <= names
    outside = {name for name in names if not name.startswith("ka_twisted")}
    assert outside == {PLUGIN}, "an __init__.py under twisted/ would hide Twisted's own"
    modules = {
        str(path.relative_to(PROJECT))
        for path in (PROJECT / "ka_twisted").rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert modules <= names


def test_the_source_distribution_can_be_tested(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"} <= names
    assert {".ci/run", "pyproject.toml", "tests/quick.txt", "tests/test_packaging.py", "tox.ini"} <= names


def test_the_metadata_says_what_is_needed(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    assert "Requires-Python: >=3.10" in lines
    assert "Requires-Dist: twisted>=24.7" in lines
    extras = {line.partition(": ")[2] for line in lines if line.startswith("Provides-Extra: ")}
    assert {"tls", "http2", "uvloop", "metrics", "test", "docs"} <= extras


def test_twistd_finds_the_command(installed: Path, tmp_path: Path) -> None:
    assert "\n    keepalive " in call(installed / "twistd", "--help", cwd=tmp_path)
    assert "--idle-timeout=" in call(installed / "twistd", "keepalive", "--help", cwd=tmp_path)


def test_the_manual_page_is_where_man_looks_for_it(installed: Path, tmp_path: Path) -> None:
    page = (installed.parent / "share" / "man" / "man1" / "twistd-keepalive.1").read_text("utf-8")
    assert call(installed / "python", "-m", "ka_twisted", "man", cwd=tmp_path) == page


def test_the_version_is_that_of_the_distribution(installed: Path, built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    version = wheel.name.split("-")[1]
    for program, *arguments in (["twistd", "keepalive"], ["python", "-m", "ka_twisted"]):
        said = call(installed / program, *arguments, "--version", cwd=tmp_path)
        assert said == f"ka_twisted {version}\n"


def test_it_serves_the_playground(installed: Path, tmp_path: Path) -> None:
    command = (str(installed / "twistd"),)
    with serving(tmp_path, command=command) as server, server.connect() as connection:
        connection.sendall(b"GET /whoami HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        assert readAll(connection).startswith(b"HTTP/1.1 200 OK\r\n")
