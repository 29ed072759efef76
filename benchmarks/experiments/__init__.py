"""The experiments, by their names: each makes its tasks from the settings."""

from __future__ import annotations

from collections.abc import Callable

from ..session import Experiment, Settings, Tell
from . import bodies, connections, http1, latency, memory, reactors

EXPERIMENTS: dict[str, Callable[[Settings, Tell], Experiment]] = {
    "http1": http1.experiment,
    "latency": latency.experiment,
    "connections": connections.experiment,
    "memory": memory.experiment,
    "bodies": bodies.experiment,
    "reactors": reactors.experiment,
}
#: Those that need wrk.
WITH_WRK = {"http1", "connections", "reactors"}
