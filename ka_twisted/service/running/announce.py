"""What the log says at the start: the timers and limits in force, whoever set them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from twisted.logger import Logger

from ...config import Limits, TcpKeepAlive, Timeouts


def announce(log: Logger, timeouts: Timeouts, limits: Limits, tcpKeepAlive: TcpKeepAlive | None) -> None:
    """Log every timer in seconds, every limit, and what is promised to clients."""
    timers = {**_values(timeouts), "firstRequest": timeouts.first}
    timers.pop("idleGrace")
    promised = timeouts.advertised
    log.info(
        "timers in seconds: {timers}; promised to clients: {promised}",
        timers=_listed(timers, zero="off"),
        promised="nothing" if promised is None else f"idle {promised}",
        timeouts=timeouts,
    )
    log.info("limits: {bounds}", bounds=_listed(_values(limits), zero="none"), limits=limits)
    log.info(
        "TCP keep-alive: {probes}",
        probes=_probes(tcpKeepAlive),
    )


def _probes(it: TcpKeepAlive | None) -> str:
    return "off" if it is None else f"after {it.idle} s, {it.count} probes, {it.interval} s apart"


def _values(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def _listed(values: Mapping[str, Any], *, zero: str) -> str:
    return ", ".join(f"{name} {_plain(value) if value else zero}" for name, value in values.items())


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
