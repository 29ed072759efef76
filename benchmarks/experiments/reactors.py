"""What a reactor on uvloop gives to protocols, ours and others."""

from __future__ import annotations

from collections.abc import Mapping

from .. import wrk
from ..figures import Case, Sample
from ..peers import OURS, on_twisted, present
from ..processes import running
from ..session import Chart, Experiment, Kind, Settings, Task, Tell

ABOUT = """\
Four servers on Twisted's default reactor (epoll on Linux) and on `ka_twisted.reactors`' one on uvloop, under the same
load as at the top. The constant answer is written with `transport.write`, as protocols do; "LineReceiver" is Twisted's:
it reads each line of a request, and answers the empty one. The last column is how many times as many requests the same
server answers on uvloop."""

#: The name of each row, and its factory.
_APPLICATIONS = {
    OURS: "ours:hello",
    "twisted.web without log line": "twisted_web:silent",
    "LineReceiver": "lines:answering",
    "constant answer": "constant:written",
}
_REACTORS = ("default", "uvloop")
_SCENARIOS = (wrk.KEPT_ALIVE, wrk.PIPELINED)


def experiment(settings: Settings, tell: Tell) -> Experiment:
    """Every scenario, every server, on both reactors."""
    named = settings.peers
    wanted = [name for name in _APPLICATIONS if named is None or name == OURS or name.lower() in named]
    peers = {
        (name, reactor): on_twisted(f"{name} on {reactor}", _APPLICATIONS[name], reactor=reactor)
        for name in wanted
        for reactor in _REACTORS
    }
    runnable = present(peers.values(), tell)
    cases = {
        scenario: tuple(Case(f"{scenario.name} {name}", "requests/s", label=name) for name in _REACTORS)
        for scenario in _SCENARIOS
    }

    def task(scenario: wrk.Scenario, name: str, reactor: str) -> Task:
        case = cases[scenario][_REACTORS.index(reactor)]
        peer = peers[name, reactor]

        def measure() -> Mapping[str, Sample]:
            with running(peer) as server:
                found = wrk.saturate(server, scenario, connections=settings.connections, seconds=settings.seconds)
            return {case.name: found}

        return Task(f"{scenario.name} on {reactor}", name, (case,), measure)

    return Experiment(
        "reactors",
        "Two reactors",
        ABOUT,
        tuple(Chart(scenario.title, Kind.PAIR, cases[scenario]) for scenario in _SCENARIOS),
        tuple(
            task(scenario, name, reactor)
            for scenario in _SCENARIOS
            for (name, reactor), peer in peers.items()
            if peer in runnable
        ),
    )
