"""What the log says at the start: the timers, limits and policy in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from twisted.logger import Logger

from ...config import TcpKeepAlive
from ..configuration.values import Configuration


def announce(log: Logger, configuration: Configuration) -> None:
    """Log every timer in seconds, every limit, the policy, and what is promised to clients."""
    timeouts, limits, policy = configuration.timeouts, configuration.limits, configuration.policy
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
    log.info("policy: {switches}", switches=_switches(_values(policy)), policy=policy)
    log.info("TCP keep-alive: {probes}", probes=_probes(configuration.tcpKeepAlive))


def _probes(it: TcpKeepAlive | None) -> str:
    return "off" if it is None else f"after {it.idle} s, {it.count} probes, {it.interval} s apart"


def _values(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def _listed(values: Mapping[str, Any], *, zero: str) -> str:
    return ", ".join(f"{name} {_plain(value) if value else zero}" for name, value in values.items())


def _switches(values: Mapping[str, bool]) -> str:
    return ", ".join(f"{name} {'on' if value else 'off'}" for name, value in values.items())


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
