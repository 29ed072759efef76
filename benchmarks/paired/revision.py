"""Another commit of this project, installed in an environment of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

from ..peers import HERE

ROOT = HERE.parent
#: Its version is what differs between the two environments.
_OURS = "ka-twisted"
#: Written last: without it the environment was not finished, and is made anew.
_FINISHED = "finished"


class BuildFailed(Exception):
    """The commit does not exist, or cannot be installed."""


@dataclass(frozen=True)
class Environment:
    """
    A Python that can import one ka_twisted.

    :ivar name: of the commit, for the tables.
    :ivar variables: of the environment of each process that is started with it.
    """

    name: str
    python: str
    variables: dict[str, str] = field(default_factory=dict)

    def package(self) -> Path:
        """
        The folder of the ka_twisted that a server run in it will use.

        :raises BuildFailed: when it cannot be imported.
        """
        script = "import sys; del sys.path[0]; import ka_twisted; print(ka_twisted.__path__[0])"
        return Path(_run([self.python, "-c", script], variables=self.variables).strip())


def this_tree() -> Environment:
    """
    The files as they are, with the Python and the dependencies of this process.

    What is compiled of them is kept in the cache, not in the tree. Files that are no checkout of git, as of an archive,
    have no name of a commit.
    """
    described = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    name = _run(described, cwd=ROOT).strip() if (ROOT / ".git").exists() else "these files"
    compiled = {"PYTHONPYCACHEPREFIX": str(cache() / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    return Environment(name, sys.executable, {"PYTHONPATH": str(ROOT), **compiled})


def commit(revision: str) -> str:
    """
    The name of a commit in full.

    :raises BuildFailed: when there is none.
    """
    try:
        return _run(["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], cwd=ROOT).strip()
    except BuildFailed:
        raise BuildFailed(f"there is no commit {revision!r} here") from None


def constraints() -> str:
    """The versions of what is installed here, so that only ka_twisted itself differs."""
    found = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name != _OURS)


def cache() -> Path:
    """Where environments are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ka_twisted" / "paired"


def built(revision: str, tell: Callable[[str], None], folder: Path | None = None) -> Environment:
    """
    The environment of a commit: made once for a commit, a Python and a set of dependencies, then kept in the cache.

    The commit's files come out of git, not through a checkout: the tree, the index and the list of worktrees stay
    as they are.

    :param folder: instead of `cache`.
    :raises BuildFailed: when it cannot be made.
    """
    name, versions = commit(revision), constraints()
    digest = hashlib.sha256(f"{sys.version}\n{sys.prefix}\n{versions}".encode()).hexdigest()[:12]
    place = (folder or cache()) / f"{name[:12]}-{digest}"
    environment = Environment(name[:10], str(place / "bin" / "python"), {"PYTHONPATH": ""})
    if not (place / _FINISHED).exists():
        tell(f"installing {name[:10]} in {place}")
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        _install(name, versions, place)
        (place / _FINISHED).touch()
    if not environment.package().is_relative_to(place):
        raise BuildFailed(f"{environment.python} imports {environment.package()}, not its own ka_twisted")
    return environment


def _install(name: str, versions: str, place: Path) -> None:
    _run([sys.executable, "-m", "venv", str(place)])
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        tree, listed = Path(temporary) / "tree", Path(temporary) / "constraints.txt"
        tree.mkdir()
        listed.write_text(versions)
        archive = Path(temporary) / "tree.tar"
        _run(["git", "archive", "--format=tar", f"--output={archive}", name], cwd=ROOT)
        shutil.unpack_archive(archive, tree)
        wanted = f"{tree}[uvloop]" if "\nuvloop==" in versions else str(tree)
        _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "-c", str(listed), wanted])


def _run(line: Sequence[str], *, cwd: Path | None = None, variables: dict[str, str] | None = None) -> str:
    """
    What a program prints.

    :raises BuildFailed: with the last of what it said, when it fails.
    """
    environment = {**os.environ, **(variables or {})}
    try:
        done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True)
    except OSError as error:
        raise BuildFailed(f"{line[0]}: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise BuildFailed(f"{Path(line[0]).name} failed: {said[-1]}")
    return done.stdout
