"""The command: ``python -m benchmarks paired REV``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from .. import report as tables
from .. import wrk
from ..environment import environment
from ..processes import LoadFailed, PeerFailed, allow_descriptors, processors
from ..session import Progress
from . import measure, report
from .revision import BuildFailed, Environment, built, this_tree


def natural(text: str) -> int:
    """
    A number of at least one.

    :raises ValueError: for anything else.
    """
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def some_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Names out of these with commas between them, in their order here."""

    def read(text: str) -> tuple[str, ...]:
        wanted = {name.strip() for name in text.split(",")}
        if unknown := sorted(wanted.difference(known)):
            raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}, but {', '.join(known)}")
        return tuple(name for name in known if name in wanted)

    return read


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks paired",
        description="This tree beside another commit of it: processor time per request, memory of an idle connection.",
    )
    parser.add_argument("revision", metavar="REV", help="the commit to compare with, in any way that git names it")
    parser.add_argument("--rounds", type=natural, default=7, metavar="N", help="pairs of each figure (7)")
    parser.add_argument("--seconds", type=natural, default=1, metavar="N", help="of each run; two runs a pair (1)")
    parser.add_argument("--connections", type=natural, default=64, metavar="N", help="that the load uses (64)")
    parser.add_argument("--idle", type=natural, default=5000, metavar="N", help="idle connections (5000)")
    only = ", ".join(measure.LOADS)
    parser.add_argument(
        "--only", type=some_of(measure.LOADS), default=measure.LOADS, metavar="A,B", help=f"of the loads {only}"
    )
    parser.add_argument(
        "--reactors", type=some_of(measure.REACTORS), default=measure.REACTORS, metavar="A,B", help="default, uvloop"
    )
    parser.add_argument(
        "--limit", type=float, metavar="R", default=float("inf"), help="exit with status 1 when a ratio is above this"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    return parser


def tell(sentence: str) -> None:
    """Say something on the terminal; the figures go to the standard output."""
    print(sentence, file=sys.stderr, flush=True)


def prepared(options: argparse.Namespace) -> dict[str, Environment]:
    """
    Both environments.

    :raises BuildFailed: when there is not one of them.
    :raises LoadFailed: when wrk is needed and missing.
    """
    if set(options.only) - {measure.IDLE}:
        wrk.require()
    if processors() == (None, None):
        tell("only one processor: server and load share it, and the figures say little")
    allow_descriptors()
    both = {measure.OLD: built(options.revision, tell), measure.NEW: this_tree()}
    for name, each in both.items():
        tell(f"{name}: {each.name}, {each.package()}")
    return both


def main(argv: Sequence[str]) -> int:
    """
    Run the command.

    :return: its exit status: 0 when everything was measured, and no ratio is above the limit.
    """
    options = arguments().parse_args(argv)
    reactors = [name for name in options.reactors if name != "uvloop" or find_spec("uvloop")]
    if len(reactors) < len(options.reactors):
        tell("skipping the reactor uvloop: uvloop is missing (pip install '.[uvloop]')")
    try:
        if options.json:
            options.json.touch()
        both = prepared(options)
        measure.warm(both.values(), reactors)
    except (BuildFailed, LoadFailed, PeerFailed, OSError) as error:
        tell(f"python -m benchmarks paired: {error}")
        return 1
    take = partial(measure.measure, both, connections=options.connections, seconds=options.seconds, idle=options.idle)
    progress = Progress(options.rounds * len(reactors) * len(options.only))
    figures = measure.run(reactors, options.only, options.rounds, take, progress)
    names = {side: f"{side} ({each.name})" for side, each in both.items()}
    for reactor in reactors:
        print(f"\n{tables.text(report.table(figures, reactor, options.only, names))}")
    cases = [measure.case(reactor, load) for reactor in reactors for load in options.only]
    if options.json:
        commits = {side: each.name for side, each in both.items()}
        about = {"commits": commits, "rounds": options.rounds, "seconds": options.seconds, "environment": environment()}
        options.json.write_text(report.as_json(figures, cases, about))
    exceeding = report.above(figures, cases, options.limit)
    if exceeding:
        tell(f"above the limit of {options.limit}, or not measured: {', '.join(exceeding)}")
    return int(bool(exceeding) or figures.failed)
