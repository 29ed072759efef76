"""Memory for a connection that does nothing."""

from __future__ import annotations

from collections.abc import Mapping

from ..crowd import Crowd
from ..figures import Case, Sample
from ..peers import PEERS, Peer, chosen, present
from ..processes import running
from ..session import Chart, Experiment, Kind, Settings, Task, Tell

ABOUT = """\
How much a server's memory (proportional set size, workers included) grows by {idle:,} kept-alive connections, on each
of which one request was answered, divided by their number. It had answered on {warm} others before the first reading,
which paid for imports, caches and pools. What the kernel holds for a socket is not counted."""

#: Connections before the first reading.
_WARM = 100


def experiment(settings: Settings, tell: Tell) -> Experiment:
    """Every server."""
    case = Case("idle", "bytes", more=False)

    def task(peer: Peer) -> Task:
        def measure() -> Mapping[str, Sample]:
            with running(peer) as server, Crowd(server.port) as crowd:
                crowd.grow(_WARM)
                before = server.memory()
                crowd.grow(_WARM + settings.idle)
                each = (server.memory() - before) / settings.idle
                crowd.check()
            return {case.name: Sample(each)}

        return Task("memory for an idle connection", peer.name, (case,), measure)

    return Experiment(
        "memory",
        "Memory per idle connection",
        ABOUT.format(idle=settings.idle, warm=_WARM),
        (Chart("one idle connection", Kind.RANKING, (case,)),),
        tuple(task(peer) for peer in present(chosen(PEERS, settings.peers), tell)),
    )
