"""
Timers that fit the balancer in front (``--behind``).

The side that closes an idle connection risks that a request is on its way to it. A balancer sends that request anew, if
at all, only when it is sure that it may; a balancer that closes first loses nothing. Hence a server waits longer than
its balancer does, everywhere: between requests, within a body that a slow client still sends to the balancer, and
within a response that a slow client still takes from it. The head of a request is left out, because each of these
balancers has it whole before it chooses a server.

The balancers' numbers are those of their own defaults. Who has changed them there sets ours to more than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timer:
    """
    A timer of ours, and the balancer's that it has to outlast.

    :ivar option: ours, as the command line calls it.
    :ivar seconds: its value behind this balancer.
    :ivar theirs: after how many seconds the balancer ends the same by itself.
    :ivar why: what sets that number, and what the balancer does then.
    """

    option: str
    seconds: float
    theirs: float
    why: str


PROFILES: Mapping[str, tuple[Timer, ...]] = {
    "nginx": (
        Timer("idle-timeout", 75, 60, "nginx closes an idle connection to a server (keepalive_timeout upstream)"),
        # Only where proxy_request_buffering is off; otherwise bodies come in one piece.
        Timer("body-timeout", 75, 60, "nginx gives up a client that sends nothing (client_body_timeout)"),
        # nginx reads ahead of a slow client, up to proxy_max_temp_file_size; then it waits for it.
        Timer("write-timeout", 75, 60, "nginx gives up a client that takes nothing (send_timeout)"),
    ),
    "haproxy": (
        # HAProxy has no default for this; 50 s are in the file that its packages install. It has no timer for an idle
        # connection to a server: one that belongs to a client goes with it; of those that are spare, half are closed
        # every 5 s (pool-purge-delay), hence one in a thousand is left after these 50 s.
        Timer(
            "idle-timeout", 75, 50, "HAProxy gives up an idle client, and the connection kept for it (timeout client)"
        ),
        Timer("body-timeout", 75, 50, "HAProxy gives up a client that sends nothing (timeout client)"),
        Timer("write-timeout", 75, 50, "HAProxy gives up a client that takes nothing (timeout client)"),
    ),
    "alb": (
        # One number for both of its sides; what the server closes first, the client sees as 502.
        Timer("idle-timeout", 75, 60, "the load balancer closes an idle connection (idle_timeout.timeout_seconds)"),
        Timer(
            "body-timeout",
            75,
            60,
            "the load balancer gives up a client that sends nothing (idle_timeout.timeout_seconds)",
        ),
        Timer(
            "write-timeout",
            75,
            60,
            "the load balancer gives up a client that takes nothing (idle_timeout.timeout_seconds)",
        ),
    ),
    "envoy": (
        Timer("idle-timeout", 3900, 3600, "Envoy closes an idle connection to a server (idle_timeout of the cluster)"),
        Timer("body-timeout", 330, 300, "Envoy gives up a client that sends nothing (stream_idle_timeout)"),
        Timer("write-timeout", 330, 300, "Envoy gives up a client that takes nothing (stream_idle_timeout)"),
    ),
}


def contradiction(timer: Timer, value: float, place: object) -> str | None:
    """
    What is wrong with a value that was set behind the balancer; None: nothing.

    :param value: seconds; 0 outlasts everything.
    :param place: where it was set; its text begins the sentence.
    """
    if not value or value > timer.theirs:
        return None
    return f"{place} {plain(value)} is not longer than the {plain(timer.theirs)} s after which {timer.why}"


def plain(seconds: Any) -> str:
    """A number without needless zeros."""
    return f"{seconds:g}"
