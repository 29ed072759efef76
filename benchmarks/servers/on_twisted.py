"""Runs a factory of this package on one of Twisted's reactors: ``MODULE:FUNCTION PORT REACTOR [FOLDER]``."""

import sys
from importlib import import_module
from pathlib import Path

from twisted.application.reactors import installReactor


def main(application: str, port: str, name: str, *folder: str) -> None:
    """Listen, and run."""
    installReactor(name)
    from twisted.internet import reactor

    module, _, function = application.partition(":")
    factory = getattr(import_module(f"benchmarks.servers.{module}"), function)(*map(Path, folder))
    reactor.listenTCP(int(port), factory, backlog=1024, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
