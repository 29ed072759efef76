"""Requests per second at saturation."""

from __future__ import annotations

from collections.abc import Mapping

from .. import wrk
from ..figures import Case, Sample
from ..peers import CEILINGS, PEERS, Peer, chosen, present
from ..processes import running
from ..session import Chart, Experiment, Kind, Settings, Task, Tell

ABOUT = """\
As many requests as a server answers: {connections} kept-alive connections, each of which sends its next request (or its
next sixteen) when it is answered. The application does nothing, so this is what a server itself spends on a request; an
application with work to do sees less of the difference.

"Constant answer" is no server but a ceiling: a Twisted protocol that answers the same bytes for every empty line that
arrives, and looks at nothing else. On the default reactor it sends them at once, without the reactor's queue."""


def experiment(settings: Settings, tell: Tell) -> Experiment:
    """Every scenario, every server."""
    peers = present(chosen((*PEERS, *CEILINGS), settings.peers), tell)
    cases = {scenario: Case(scenario.name, "requests/s") for scenario in wrk.SCENARIOS}

    def task(scenario: wrk.Scenario, case: Case, peer: Peer) -> Task:
        def measure() -> Mapping[str, Sample]:
            with running(peer) as server:
                found = wrk.saturate(server, scenario, connections=settings.connections, seconds=settings.seconds)
            return {case.name: found}

        return Task(scenario.name, peer.name, (case,), measure)

    return Experiment(
        "http1",
        "Requests per second",
        ABOUT.format(connections=settings.connections),
        tuple(Chart(scenario.title, Kind.RANKING, (case,)) for scenario, case in cases.items()),
        tuple(task(scenario, case, peer) for scenario, case in cases.items() for peer in peers),
    )
