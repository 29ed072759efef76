"""
Whether an application can be loaded, found out in a process of its own: this one has imported nothing before, and
whatever begins at the import ends with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from .loading import ApplicationError, loadApplication


@contextmanager
def sourcesAlone() -> Iterator[None]:
    """
    Import from sources, and neither read nor write byte code.

    Python takes byte code for that of a source with the same size and the same time in seconds. Where files are
    deployed with times that do not change, a check would look at what was there before.
    """
    before = sys.dont_write_bytecode, sys.pycache_prefix
    # Nothing is there, nor can it be.
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.path.join(os.devnull, "none")
    try:
        yield
    finally:
        sys.dont_write_bytecode, sys.pycache_prefix = before


def checkAfresh(name: str, reactorModule: str) -> None:
    """
    Load an application in a new process, as a worker would.

    :param name: ``module:attribute``.
    :param reactorModule: the module of the reactor that is installed there.
    :raises ApplicationError: when it cannot be loaded.
    """
    ours, theirs = os.pipe()
    path = os.pathsep.join(path or os.getcwd() for path in sys.path)
    with open(ours, encoding="utf-8") as verdict:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, name, reactorModule, str(theirs)],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,
                pass_fds=[theirs],
            )
        finally:
            os.close(theirs)
        problem = verdict.read()
    status = process.wait()
    if problem != _LOADED:
        raise ApplicationError(problem or f"{name} cannot be loaded: its process exited with status {status}")


_LOADED = "loaded"


def _main(name: str, reactorModule: str, descriptor: str) -> None:
    os.set_inheritable(int(descriptor), False)
    install = getattr(import_module(reactorModule), "install", None)
    if install is not None:
        install()
    try:
        with sourcesAlone():
            loadApplication(name)
        outcome = _LOADED
    except ApplicationError as error:
        outcome = str(error)
    os.write(int(descriptor), outcome.encode("utf-8", "backslashreplace"))
    sys.stderr.flush()
    os._exit(0)  # what the import has begun would keep it


if __name__ == "__main__":
    _main(*sys.argv[1:])
