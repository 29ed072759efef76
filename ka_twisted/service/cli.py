"""``python -m ka_twisted``: the tools beside the server, one subcommand each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: Subcommand, the module, as seen from here, that has `add_arguments(parser)` and
#: `run(namespace) -> int`, and what it is for.
SUBCOMMANDS = (
    ("completion", ".configuration.completion", "print the completion of options for bash, fish or zsh"),
    ("explain", "..explain.command", "read a request and show what it does to its connection, and why"),
    ("man", ".configuration.man", "print the manual page of twistd keepalive"),
    ("install-service", ".systemd.install", "write units of systemd and a configuration for this installation"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one subcommand.

    :param arguments: without the program's name; those of the process by default.
    :return: the exit status.
    """
    namespace = _parser().parse_args(arguments)
    run: Any = namespace.run
    try:
        status: int = run(namespace)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has seen enough. The interpreter must not flush to it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ka_twisted", description=__doc__)
    parser.add_argument("--version", action="version", version=f"ka_twisted {_version()}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module, purpose in SUBCOMMANDS:
        tool = import_module(module, __package__)
        subparser = subparsers.add_parser(name, help=purpose, description=tool.__doc__)
        tool.add_arguments(subparser)
        subparser.set_defaults(run=tool.run)
    return parser


def _version() -> str:
    try:
        return version("ka_twisted")
    except PackageNotFoundError:
        return "(not installed)"
