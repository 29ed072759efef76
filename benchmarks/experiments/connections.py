"""The rate of a few connections while many others are open."""

from __future__ import annotations

from collections.abc import Mapping

from .. import wrk
from ..crowd import Crowd
from ..figures import Case, Sample
from ..peers import PEERS, Peer, chosen, present
from ..processes import running
from ..session import Chart, Experiment, Kind, Settings, Task, Tell

ABOUT = """\
As many requests as a server answers on {connections} connections, one at a time on each, while others are open on which
one request was answered and nothing happens since. In each round a server starts with {least:,} idle connections and
goes on to {most:,}; the last table is by how much its memory has grown meanwhile, for each of them."""


def experiment(settings: Settings, tell: Tell) -> Experiment:
    """Every server, with ever more idle connections."""
    least, most = settings.crowds[0], settings.crowds[-1]
    rates = {
        count: Case(f"{count} idle", "requests/s", label=f"{count:,} idle", at=float(count))
        for count in settings.crowds
    }
    memory = Case("memory", "bytes", more=False)

    def task(peer: Peer) -> Task:
        def measure() -> Mapping[str, Sample]:
            found, held = {}, []
            with running(peer) as server, Crowd(server.port) as crowd:
                for count, case in rates.items():
                    crowd.grow(count)
                    found[case.name] = wrk.saturate(
                        server, wrk.KEPT_ALIVE, connections=settings.connections, seconds=settings.seconds
                    )
                    crowd.check()
                    held.append(server.memory())
            found[memory.name] = Sample((held[-1] - held[0]) / (most - least))
            return found

        return Task(f"up to {most:,} idle connections", peer.name, (*rates.values(), memory), measure)

    return Experiment(
        "connections",
        "Many open connections",
        ABOUT.format(connections=settings.connections, least=least, most=most),
        (
            Chart("requests per second beside idle connections", Kind.LINES, tuple(rates.values()), "idle connections"),
            Chart("memory for each idle connection", Kind.RANKING, (memory,)),
        ),
        tuple(task(peer) for peer in present(chosen(PEERS, settings.peers), tell)),
    )
