"""The command: ``python -m benchmarks http1`` and ``python -m benchmarks memory``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import load, memory, report
from .load import SCENARIOS, LoadFailed, Scenario
from .peers import OURS, Peer, PeerFailed, check_answer, running, select


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
    peers = present(select(options.peers))
    scenarios = [scenario for scenario in SCENARIOS if options.scenario in (None, scenario.name)]
    cpus = sorted(os.sched_getaffinity(0))
    server, client = (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)
    if server is None:
        progress("only one processor: server and load share it, and the figures say little")
    figures = report.Figures()
    for number in range(1, options.rounds + 1):
        for scenario in scenarios:
            for peer in peers:
                progress(f"round {number} of {options.rounds}, {scenario.title}: {peer.name}")
                measure(figures, peer, scenario, options, server, client)
    table = report.rows(figures)
    print(report.text(report.HEADINGS, table))
    settings = {"rounds": options.rounds, "seconds": options.seconds, "connections": options.connections}
    if options.markdown:
        options.markdown.write_text(report.markdown(report.HEADINGS, table) + "\n")
    if options.json:
        options.json.write_text(report.as_json(figures, settings))
    return 0 if any(OURS in peers for peers in figures.loads.values()) else 1


def measure(
    figures: report.Figures,
    peer: Peer,
    scenario: Scenario,
    options: argparse.Namespace,
    server: int | None,
    client: int | None,
) -> None:
    """One run of one server."""
    try:
        with running(peer, server) as (port, _):
            load.run(port, scenario, connections=options.connections, seconds=1, cpu=client)  # to warm up
            result = load.run(
                port, scenario, connections=options.connections, seconds=options.seconds, cpu=client
            )
            check_answer(port)
    except PeerFailed as error:
        progress(f"{peer.name} failed: {error}")
    else:
        figures.add(scenario, peer.name, result)


def idle_memory(options: argparse.Namespace) -> int:
    """Octets for each idle connection."""
    table = []
    for peer in present(select(options.peers)):
        progress(f"{options.connections} idle connections: {peer.name}")
        try:
            table.append((peer.name, "idle, kept alive", f"{memory.per_connection(peer, options.connections):,.0f}"))
        except PeerFailed as error:
            progress(f"{peer.name} failed: {error}")
    headings = ("server", "connections", "octets each")
    print(report.text(headings, table))
    if options.markdown:
        options.markdown.write_text(report.markdown(headings, table) + "\n")
    return 0


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="ka_twisted beside its peers, in one run")
    commands = parser.add_subparsers(required=True)
    rate = commands.add_parser("http1", help="requests per second, with wrk")
    rate.add_argument("--rounds", type=int, default=3)
    rate.add_argument("--seconds", type=int, default=4, help="of each run")
    rate.add_argument("--connections", type=int, default=64)
    rate.add_argument("--scenario", choices=[scenario.name for scenario in SCENARIOS])
    rate.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    rate.set_defaults(run=http1)
    idle = commands.add_parser("memory", help="memory per idle connection")
    idle.add_argument("--connections", type=int, default=5000)
    idle.set_defaults(run=idle_memory)
    for command in (rate, idle):
        command.add_argument("--peers", metavar="A,B", help="only these, and ours")
        command.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = arguments().parse_args(argv)
    try:
        return int(options.run(options))
    except (LoadFailed, ValueError, PeerFailed) as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
