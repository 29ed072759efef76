"""Two servers under the same load in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from .. import wrk
from ..crowd import Crowd
from ..figures import Case, Figures, Sample
from ..peers import HERE, Peer
from ..processes import LoadFailed, PeerFailed, Server, running
from ..session import Progress
from .revision import Environment

OLD, NEW = "old", "new"
REACTORS = ("default", "uvloop")
SCENARIOS = (
    *wrk.SCENARIOS,
    wrk.Scenario("upload", "a form of 1 KiB", "upload.lua", "/upload"),
    wrk.Scenario("download", "a response of 64 KiB", None, "/download"),
)
#: The name of the case that measures memory, not time.
IDLE = "idle"
LOADS = (*(scenario.name for scenario in SCENARIOS), IDLE)
#: Seconds of load before anything is measured, and connections before memory is.
_WARM_SECONDS = 1
_WARM_CONNECTIONS = 100


def case(reactor: str, load: str) -> Case:
    """What is measured: one load on one reactor."""
    return Case(f"{reactor} {load}", "bytes" if load == IDLE else "µs", more=False, label=load)


def order(number: int) -> tuple[str, str, str, str]:
    """
    Whose turn it is in a round, beginning with 1.

    Each runs twice, one inside the other, so that what grows slower or faster at a steady pace does so for both; the
    next round begins with the other.
    """
    first, second = (OLD, NEW) if number % 2 else (NEW, OLD)
    return first, second, second, first


def peer(environment: Environment, reactor: str, number: int) -> Peer:
    """The server of an environment; both have the same seed for hashes in one round, and another in the next."""

    def command(port: int, folder: Path) -> list[str]:
        return [environment.python, str(HERE / "servers" / "paired.py"), str(port), reactor]

    variables = {**environment.variables, "PYTHONHASHSEED": str(number)}
    return Peer(environment.name, command, variables=variables)


def warm(environments: Iterable[Environment], reactors: Iterable[str]) -> None:
    """
    Start each server once, so that all that it imports is compiled.

    What a compilation frees, the first connections would fill, and seem to need less memory.

    :raises PeerFailed: when a server does not start, or does not do as it should.
    """
    for environment in environments:
        for reactor in reactors:
            with running(peer(environment, reactor, 0)):
                pass


def time_per_request(
    servers: Mapping[str, Server], scenario: wrk.Scenario, number: int, *, connections: int, seconds: int
) -> dict[str, Sample]:
    """
    Microseconds of processor time, of the user and of the system, that each server spends on a request.

    :raises PeerFailed, LoadFailed: when there is no figure to be had, or any response was not as it should be.
    """
    for server in servers.values():
        wrk.run(server.port, scenario, connections=connections, seconds=_WARM_SECONDS)
    computed, requests = dict.fromkeys(servers, 0.0), dict.fromkeys(servers, 0)
    for name in order(number):
        server = servers[name]
        before = server.processor_time()
        load = wrk.run(server.port, scenario, connections=connections, seconds=seconds)
        computed[name] += server.processor_time() - before
        requests[name] += load.requests
        if load.failures:
            raise LoadFailed(f"{load.failures} failures of {load.requests} requests on the {name} server")
    return {name: Sample(computed[name] / requests[name] * 1e6) for name in servers}


def memory_per_connection(servers: Mapping[str, Server], number: int, *, idle: int) -> dict[str, Sample]:
    """
    Bytes of anonymous memory by which each server grows for a connection that had one request answered.

    :raises PeerFailed: when a server does not hold as many.
    """
    found = {}
    for name in order(number)[:2]:
        server = servers[name]
        with Crowd(server.port) as crowd:
            crowd.grow(_WARM_CONNECTIONS)
            before = server.anonymous_memory()
            crowd.grow(_WARM_CONNECTIONS + idle)
            found[name] = Sample((server.anonymous_memory() - before) / idle)
            crowd.check()
    return found


def measure(
    environments: Mapping[str, Environment],
    reactor: str,
    load: str,
    number: int,
    *,
    connections: int,
    seconds: int,
    idle: int,
) -> dict[str, Sample]:
    """
    One pair of figures, of two servers that were started for it.

    :raises PeerFailed, LoadFailed: when there is none to be had.
    """
    with ExitStack() as over:
        servers = {
            name: over.enter_context(running(peer(environment, reactor, number)))
            for name, environment in environments.items()
        }
        if load == IDLE:
            return memory_per_connection(servers, number, idle=idle)
        scenario = next(each for each in SCENARIOS if each.name == load)
        return time_per_request(servers, scenario, number, connections=connections, seconds=seconds)


#: Gives a pair of figures for a reactor, a load and the number of the round.
Measure = Callable[[str, str, int], Mapping[str, Sample]]


def run(reactors: Iterable[str], loads: Iterable[str], rounds: int, take: Measure, progress: Progress) -> Figures:
    """Every load on every reactor in every round; one that fails is noted, and the others go on."""
    figures = Figures()
    planned = [(reactor, load) for reactor in reactors for load in loads]
    try:
        for number in range(1, rounds + 1):
            for reactor, load in planned:
                progress.begin(f"round {number} of {rounds}, {load} on {reactor}")
                progress.end(_attempt(figures, reactor, load, number, take))
    except KeyboardInterrupt:
        progress.end("interrupted; what was measured before follows")
    return figures


def _attempt(figures: Figures, reactor: str, load: str, number: int, take: Measure) -> str:
    what = case(reactor, load)
    try:
        samples = take(reactor, load, number)
    except (PeerFailed, LoadFailed, OSError) as error:
        for name in (OLD, NEW):
            figures.fail(what, name, number, str(error))
        return f"failed: {error}"
    for name, sample in samples.items():
        figures.add(what, name, number, sample)
    old, new = samples[OLD].value, samples[NEW].value
    return f"{old:,.4g} -> {new:,.4g} {what.unit}, {new / old:.3f}"
