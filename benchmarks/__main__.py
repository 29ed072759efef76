"""
The command: ``python -m benchmarks`` measures everything, ``python -m benchmarks http1 memory`` some of it;
``python -m benchmarks paired REV`` compares this tree with another commit (see `benchmarks.paired`).
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

from . import plots, report, wrk
from .environment import environment
from .experiments import EXPERIMENTS, WITH_WRK
from .paired import command as paired
from .peers import OURS, names
from .processes import LoadFailed, allow_descriptors, processors
from .session import Experiment, Progress, Settings, run

#: The exit status of what a signal ended is 128 and its number.
_INTERRUPTED = 128 + signal.SIGINT
#: Enough to see that all of it runs.
_QUICK = Settings(rounds=1, seconds=1, idle=200, crowds=(0, 200), rates=(1000,))


def tell(sentence: str) -> None:
    """Say something on the terminal; the figures go to the standard output."""
    print(sentence, file=sys.stderr, flush=True)


def natural(text: str) -> int:
    """
    A number of at least one.

    :raises ValueError: for anything else.
    """
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def rates(text: str) -> tuple[int, ...]:
    """
    Numbers of at least one with commas between them, in order.

    :raises ValueError: for anything else.
    """
    return tuple(sorted(set(map(natural, text.split(",")))))


def crowds(text: str) -> tuple[int, ...]:
    """
    Two or more numbers with commas between them, in order; memory is told by their difference.

    :raises ValueError: for anything else.
    """
    numbers = sorted(set(map(int, text.split(","))))
    if numbers[0] < 0 or len(numbers) < 2:
        raise ValueError
    return tuple(numbers)


def peer_names(text: str) -> frozenset[str]:
    """
    Names of peers with commas between them.

    :raises argparse.ArgumentTypeError: for one that there is not.
    """
    try:
        return names(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def experiment_name(text: str) -> str:
    """
    The name of an experiment.

    :raises argparse.ArgumentTypeError: when there is none.
    """
    if text not in EXPERIMENTS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}, but {', '.join(EXPERIMENTS)}")
    return text


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{OURS} beside its peers, in one run on one machine.",
        epilog="python -m benchmarks paired --help: this tree beside another commit of it.",
    )
    every = ", ".join(EXPERIMENTS)
    parser.add_argument(
        "experiments", nargs="*", type=experiment_name, metavar="EXPERIMENT", help=f"{every}; without any, all of them"
    )
    settings = parser.add_argument_group("how much is measured")
    usual = Settings()
    settings.add_argument("--quick", action="store_true", help="see that it runs: one round, one second, small numbers")
    settings.add_argument("--peers", type=peer_names, metavar="A,B", help=f"only these, and {OURS}")
    for name, kind, what in (
        ("rounds", natural, "how often each figure is taken"),
        ("seconds", natural, "of each run"),
        ("connections", natural, "that the load uses"),
        ("idle", natural, "idle connections, in memory"),
        ("crowds", crowds, "idle connections, in connections"),
        ("rates", rates, "requests a second, in latency"),
    ):
        default = getattr(usual, name)
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        settings.add_argument(f"--{name}", type=kind, metavar="N", help=f"{what} ({shown})")
    written = parser.add_argument_group("what is written, beside the tables on the terminal")
    written.add_argument("--output", type=Path, metavar="DIR", help="results.md, results.json, and plots (SVG, PNG)")
    written.add_argument("--json", type=Path, metavar="FILE", help="every figure")
    written.add_argument("--markdown", type=Path, metavar="FILE", help="the tables, without plots")
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """The usual ones, the quick ones over them, and over all what was asked for."""
    asked: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(Settings)}
    given = {name: value for name, value in asked.items() if value is not None}
    return replace(_QUICK if options.quick else Settings(), **given)


def planned(wanted: Sequence[str], settings: Settings) -> list[Experiment]:
    """These experiments, or all; who is skipped is told once."""
    told: set[str] = set()

    def once(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            tell(sentence)

    return [EXPERIMENTS[name](settings, once) for name in dict.fromkeys(wanted or EXPERIMENTS)]


def drawable(options: argparse.Namespace) -> bool:
    """
    Whether there will be plots; why not is told, before anything is measured.

    :raises OSError: when something else that is to be written cannot be.
    """
    for file in (options.json, options.markdown):
        if file is not None:
            file.touch()
    if options.output is None:
        return False
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        plots.require()
    except plots.NoPlots as error:
        tell(str(error))
        return False
    return True


def write(
    options: argparse.Namespace, experiments: Sequence[Experiment], settings: Settings, command: str, drawings: bool
) -> None:
    """The tables to the terminal, and everything to the files that were asked for."""
    for experiment in experiments:
        for table in report.tables(experiment):
            print(f"\n{experiment.title}: {report.text(table)}")
    about = report.About(command, f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC", environment())
    figures = report.as_json(experiments, about, settings)
    if options.json:
        options.json.write_text(figures)
    if options.markdown:
        options.markdown.write_text(report.page(experiments, about, settings, drawings=False))
    if options.output:
        (options.output / "results.json").write_text(figures)
        (options.output / "results.md").write_text(report.page(experiments, about, settings, drawings))
    if drawings:
        for experiment in experiments:
            plots.draw(experiment, options.output)


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :return: its exit status: 0 when ours was measured everywhere and nothing failed.
    """
    line = sys.argv[1:] if argv is None else list(argv)
    if line[:1] == ["paired"]:
        return paired.main(line[1:])
    options = arguments().parse_args(line)
    settings = settings_of(options)
    if processors() == (None, None):
        tell("only one processor: server and load share it, and the figures say little")
    try:
        if WITH_WRK & set(options.experiments or EXPERIMENTS):
            wrk.require()
        drawings = drawable(options)
    except (LoadFailed, OSError) as error:
        tell(f"python -m benchmarks: {error}")
        return 1
    allow_descriptors()
    experiments = planned(options.experiments, settings)
    progress = Progress(settings.rounds * sum(len(experiment.tasks) for experiment in experiments))
    interrupted = False
    try:
        run(experiments, settings.rounds, progress)
    except KeyboardInterrupt:
        interrupted = True
        tell("interrupted; this was measured before")
    write(options, experiments, settings, command_line(argv), drawings)
    if interrupted:
        return _INTERRUPTED
    return int(any(experiment.figures.failed or OURS not in experiment.figures.measured for experiment in experiments))


def command_line(argv: Sequence[str] | None) -> str:
    """What was run, as one would type it."""
    return shlex.join(["python", "-m", "benchmarks", *(sys.argv[1:] if argv is None else argv)])


def terminated(number: int, frame: FrameType | None) -> None:
    """Leave in order, so that the server that runs is stopped."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for leaving in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(leaving, terminated)
    sys.exit(main())
