"""The command: ``python -m benchmarks http1`` and ``python -m benchmarks memory``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from . import load, memory, report
from .load import SCENARIOS, Load, LoadFailed, Scenario
from .peers import OURS, Peer, PeerFailed, check_answer, running, select

#: The exit status of what a signal ended is 128 and its number.
_INTERRUPTED = 128 + signal.SIGINT


def progress(text: str) -> None:
    """Tell what is being done."""
    print(text, file=sys.stderr, flush=True)


def present(peers: Sequence[Peer]) -> list[Peer]:
    """The peers that can be run; what the others lack is told."""
    found = []
    for peer in peers:
        if peer.missing:
            progress(f"skipping {peer.name}: {', '.join(peer.missing)} is missing ({peer.install})")
        else:
            found.append(peer)
    return found


def http1(options: argparse.Namespace) -> int:
    """Requests a second, in rounds that alternate between the servers."""
    load.require()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    peers = present(select(options.peers))
    scenarios = [scenario for scenario in SCENARIOS if options.scenario in (None, scenario.name)]
    figures = report.Figures()
    interrupted = False
    try:
        rounds(figures, peers, scenarios, options)
    except KeyboardInterrupt:
        interrupted = True
        progress("interrupted; this was measured before")
    table = report.rows(figures)
    print(report.text(report.HEADINGS, table))
    settings = {"rounds": options.rounds, "seconds": options.seconds, "connections": options.connections}
    if options.markdown:
        options.markdown.write_text(report.markdown(report.HEADINGS, table) + "\n")
    if options.json:
        options.json.write_text(report.as_json(figures, settings))
    if interrupted:
        return _INTERRUPTED
    ours = any(OURS in measured for measured in figures.loads.values())
    return 0 if ours and not figures.failed else 1


def rounds(
    figures: report.Figures, peers: Sequence[Peer], scenarios: Sequence[Scenario], options: argparse.Namespace
) -> None:
    """All runs; one that fails is noted, and the others go on."""
    cpus = sorted(os.sched_getaffinity(0))
    server, client = (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)
    if server is None:
        progress("only one processor: server and load share it, and the figures say little")
    for number in range(1, options.rounds + 1):
        for scenario in scenarios:
            for peer in peers:
                progress(f"round {number} of {options.rounds}, {scenario.title}: {peer.name}")
                try:
                    result = measure(peer, scenario, options.connections, options.seconds, server, client)
                except (PeerFailed, LoadFailed) as error:
                    progress(f"{peer.name} failed: {error}")
                    figures.fail(number, scenario, peer.name, str(error))
                else:
                    figures.add(number, scenario, peer.name, result)


def measure(
    peer: Peer, scenario: Scenario, connections: int, seconds: int, server: int | None, client: int | None
) -> Load:
    """
    One run of one server, which answers as it should before and after; failures while it warms up count too.

    :raises PeerFailed, LoadFailed: when there is no figure to be had.
    """
    with running(peer, server) as (port, _):
        warm = load.run(port, scenario, connections=connections, seconds=1, cpu=client)
        result = load.run(port, scenario, connections=connections, seconds=seconds, cpu=client)
        check_answer(port)
    return replace(result, failures=result.failures + warm.failures)


def idle_memory(options: argparse.Namespace) -> int:
    """Octets for each idle connection."""
    found: dict[str, memory.Idle] = {}
    failed: dict[str, str] = {}
    for peer in present(select(options.peers)):
        progress(f"{options.connections} idle connections: {peer.name}")
        try:
            found[peer.name] = memory.measure(peer, options.connections)
        except PeerFailed as error:
            progress(f"{peer.name} failed: {error}")
            failed[peer.name] = str(error)
    table = report.idle_rows(found, failed)
    print(report.text(report.IDLE_HEADINGS, table))
    if options.markdown:
        options.markdown.write_text(report.markdown(report.IDLE_HEADINGS, table) + "\n")
    if options.json:
        options.json.write_text(report.idle_json(found, failed, {"connections": options.connections}))
    return 1 if failed or OURS not in found else 0


def natural(text: str) -> int:
    """
    A number of at least one.

    :raises ValueError: for anything else.
    """
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="ka_twisted beside its peers, in one run")
    commands = parser.add_subparsers(required=True)
    rate = commands.add_parser("http1", help="requests per second, with wrk")
    rate.add_argument("--rounds", type=natural, default=3)
    rate.add_argument("--seconds", type=natural, default=4, help="of each run")
    rate.add_argument("--connections", type=natural, default=64)
    rate.add_argument("--scenario", choices=[scenario.name for scenario in SCENARIOS])
    rate.add_argument("--quick", action="store_true", help="one round of one second: does it run at all?")
    rate.set_defaults(run=http1)
    idle = commands.add_parser("memory", help="memory per idle connection")
    idle.add_argument("--connections", type=natural, default=5000)
    idle.set_defaults(run=idle_memory)
    for command in (rate, idle):
        command.add_argument("--peers", metavar="A,B", help="only these, and ours")
        command.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
        command.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    return parser


def terminated(number: int, frame: FrameType | None) -> None:
    """Leave in order, so that the server that runs is stopped."""
    raise SystemExit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = arguments().parse_args(argv)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        progress("interrupted")
        return _INTERRUPTED
    except (LoadFailed, ValueError, PeerFailed) as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    for leaving in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(leaving, terminated)
    sys.exit(main())
