"""
What a server counts: every family of metrics, declared once.

`metrics` counts them, `counts` adds them up, `exposition` writes them for Prometheus, and the operator's page lists
them. One more is one more line here: it is counted with `Metrics.count`, and appears everywhere else by itself, but for
``docs/observability.md``, where a test looks for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ..core.deadlines import Deadline
from ..core.reasons import CloseReason

#: The values of a family's labels, in the order in which the family names them.
Labels = tuple[str, ...]

#: Before every name in Prometheus.
PREFIX = "ka_twisted_"
#: Units that a name ends in, as Prometheus wants it.
UNITS = ("", "bytes", "seconds", "lines", "ratio")


class Kind(Enum):
    """How the numbers of a family move, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """
    A metric, with a number for each combination of its labels.

    :ivar name: without `PREFIX` and without the ``_total`` of counters; ends in the unit where there is one.
    :ivar help: one sentence.
    :ivar labels: their names. A histogram has one that is not among them: the upper end of a bucket.
    :ivar unit: of `UNITS`; empty where things are counted.
    :ivar initial: combinations that are there from the start, as 0.
    :ivar buckets: of a histogram: the upper ends, each included.
    :ivar computed: made from other families, or from the state of the server, when it is read: never counted.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    initial: tuple[Labels, ...] = ()
    buckets: tuple[float, ...] = ()
    computed: bool = False

    def __post_init__(self) -> None:
        if self.unit not in UNITS or not self.name.endswith(self.unit):
            raise ValueError(f"the name {self.name} does not end in its unit {self.unit}")

    @property
    def exposedName(self) -> str:
        """The name in Prometheus."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"

    def key(self, **labels: str) -> Labels:
        """
        The values of the labels in the order of the family.

        :raises TypeError: when they are not those of the family.
        """
        if labels.keys() != {*self.labels}:
            raise TypeError(f"the labels of {self.name} are {self.labels}, not {tuple(labels)}")
        return tuple([labels[name] for name in self.labels])


_declared: list[Family] = []


def _declare(family: Family) -> Family:
    _declared.append(family)
    return family


def _counter(name: str, help: str, *labels: str, unit: str = "", initial: Iterable[Labels] = ()) -> Family:
    known = ((),) if not labels else tuple(initial)
    return _declare(Family(name, Kind.COUNTER, help, labels, unit, known))


def _gauge(
    name: str, help: str, *labels: str, unit: str = "", initial: Iterable[Labels] = (), computed: bool = False
) -> Family:
    return _declare(Family(name, Kind.GAUGE, help, labels, unit, tuple(initial), computed=computed))


def _histogram(name: str, help: str, *buckets: float, unit: str = "") -> Family:
    return _declare(Family(name, Kind.HISTOGRAM, help, unit=unit, buckets=buckets))


#: What `IConnection.state` can say.
CONNECTION_STATES = ("unused", "idle", "reading a head", "reading a body", "responding", "closing", "switched")
#: What a server can be doing.
SERVER_STATES = ("serving", "reloading", "draining")
#: The timers that end a connection, by the name of the reason that they give.
TIMERS = {deadline.reason.name: deadline.name.lower() for deadline in Deadline if deadline.reason is not None}
#: The timer that ends no connection: it invites a body.
EXPECTATION_TIMER = Deadline.EXPECTATION.name.lower()

CONNECTIONS = _gauge(
    "connections", "Open connections by state.", "state", initial=[(state,) for state in CONNECTION_STATES]
)
CONNECTIONS_OPENED = _counter("connections_opened", "Connections accepted.")
CONNECTIONS_CLOSED = _counter(
    "connections_closed",
    "Connections closed, by reason and by the side that ended them.",
    "reason",
    "by",
    initial=[(reason.name, reason.by) for reason in CloseReason.all()],
)
CONNECTIONS_USED = _counter("connections_used", "Connections that have had a request.")
CONNECTIONS_REFUSED = _counter(
    "connections_refused", "Connections closed because of a limit before HTTP began, by reason.", "reason"
)
TIMERS_FIRED = _counter(
    "timers_fired",
    "Time-outs that came into effect, by timer.",
    "timer",
    initial=[(timer,) for timer in (*TIMERS.values(), EXPECTATION_TIMER)],
)
CONNECTION_REQUESTS = _histogram(
    "connection_requests",
    "Requests of a connection, counted when it is closed.",
    *(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000),
)
IDLE_CLOSE_RACES = _counter(
    "idle_close_races",
    "Connections on which bytes arrived after they were closed as idle: most likely a request that was lost.",
)
RECEIVED_BYTES = _counter("received_bytes", "Bytes of HTTP received.", unit="bytes")
SENT_BYTES = _counter("sent_bytes", "Bytes of HTTP sent.", unit="bytes")
REQUESTS = _counter("requests", "Requests finished, by method and class of the response's status.", "method", "status")
REQUESTS_TAKEN = _counter("requests_taken", "Requests taken up, including those in service.")
TIME_TO_FIRST_BYTE = _histogram(
    "time_to_first_byte_seconds",
    "From the end of a request's head until the head of its response was made.",
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    unit="seconds",
)
PIPELINE_DEPTH = _histogram(
    "pipeline_depth",
    "Requests in service on its connection when a request was taken up, itself included.",
    *(1, 2, 4, 8, 16, 32, 64),
)
HANDSHAKE_FAILURES = _counter(
    "handshake_failures", "Connections that ended in TLS or in a PROXY header, before HTTP began, by reason.", "reason"
)
ACCESS_LOG_DROPPED = _counter(
    "access_log_dropped_lines", "Lines of the access log that were not written and are lost.", unit="lines"
)
WORKER_LOG_DROPPED = _counter(
    "worker_log_dropped_lines", "Lines of workers' logs that did not reach the supervisor's log.", unit="lines"
)
RELOADS = _counter(
    "reloads",
    "Attempts to put another configuration into effect, by outcome.",
    "outcome",
    initial=[("done",), ("failed",)],
)
WORKER_DEATHS = _counter("worker_deaths", "Workers that ended without having been told to.")
REUSE_RATIO = _gauge(
    "connection_reuse_ratio",
    "Share of all requests that came on a connection which had served one before.",
    unit="ratio",
    computed=True,
)
SERVER_STATE = _gauge("server_state", "1 for what the server is doing.", "state", computed=True)
READY = _gauge("ready", "1 while the server takes new connections, else 0.", computed=True)

#: Every family, in the order in which they are shown.
FAMILIES = tuple(_declared)
BY_NAME = {family.name: family for family in FAMILIES}
