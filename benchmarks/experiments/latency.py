"""Latency at a load that is fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..figures import Case, Sample
from ..openloop import PERCENTILES
from ..peers import PEERS, Peer, chosen, present
from ..processes import check_answer, measured, running
from ..session import Chart, Experiment, Kind, Settings, Task, Tell

ABOUT = """\
How long an answer takes while requests come at a constant rate on {connections} kept-alive connections, as they do from
many independent clients. The schedule does not wait for the server: each latency counts from the moment its request was
due, whether or not a connection was free to send it, so that a pause shows in every request that it delayed
(`benchmarks/openloop.py`). Where a server answers less than is asked, "sustained" says what share it had answered when
the schedule ended; its latencies are those of a queue that grows, and say only that the rate is too high for it."""


def experiment(settings: Settings, tell: Tell) -> Experiment:
    """Every rate, every server."""
    peers = present(chosen(PEERS, settings.peers), tell)
    cases = {rate: _cases(rate) for rate in settings.rates}

    def task(rate: int, peer: Peer) -> Task:
        def measure() -> Mapping[str, Sample]:
            arguments = ["--rate", str(rate), "--seconds", str(settings.seconds)]
            with running(peer) as server:
                found = measured(
                    "openloop",
                    str(server.port),
                    *arguments,
                    *("--connections", str(settings.connections)),
                    seconds=settings.seconds,
                )
                check_answer(server.port)
            whole = Sample(0.0, int(found["failures"]), sustained=found["sustained"], stalled=found["stalled"])
            return {case.name: replace(whole, value=found[case.label]) for case in cases[rate]}

        return Task(f"{rate:,} requests/s", peer.name, cases[rate], measure)

    return Experiment(
        "latency",
        "Latency at a fixed load",
        ABOUT.format(connections=settings.connections),
        tuple(Chart(f"{rate:,} requests per second", Kind.TAILS, cases[rate], "percentile") for rate in settings.rates),
        tuple(task(rate, peer) for rate in settings.rates for peer in peers),
    )


def _cases(rate: int) -> tuple[Case, ...]:
    return tuple(
        Case(f"{rate}/s p{percent:g}", "ms", more=False, label=f"p{percent:g}", at=percent) for percent in PERCENTILES
    )
