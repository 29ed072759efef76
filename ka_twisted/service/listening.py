"""Ports: had at once or not at all, tried without being kept, and described on one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from .loading import oneLine

#: Pairs of a text for people and the endpoint itself.
Endpoints = Iterable[tuple[str, IStreamServerEndpoint]]

#: Endpoints that can be listened on twice. A socket that was handed over, as by systemd, is gone
#: once it was closed.
_REPEATABLE = ("tcp:", "tcp6:", "ssl:", "unix:")


class ListenError(Exception):
    """A port, or the access log, cannot be had; the text is one sentence."""


class _Rehearsal(Factory):
    """Never sees a connection: its ports are closed before the reactor runs."""

    noisy = False

    def logPrefix(self) -> str:
        return "rehearsal"


def isRepeatable(text: str) -> bool:
    """Whether an endpoint with this description can be rehearsed."""
    return text.startswith(_REPEATABLE)


def rehearse(endpoints: Endpoints, reactor: Any) -> None:
    """
    Listen on every endpoint, all at once, and close them again, before the reactor runs.

    :raises ListenError: for the first that fails.
    """
    factory = _Rehearsal()
    ports: list[Any] = []
    try:
        for text, endpoint in endpoints:
            outcome = listenNow(endpoint, factory)
            if isinstance(outcome, Failure):
                raise ListenError(describeFailure(text, outcome))
            ports.append(outcome)
    finally:
        closeNow(closeAll(ports), reactor)


def listenNow(
    endpoint: IStreamServerEndpoint, factory: Any
) -> IListeningPort | Failure | Deferred[IListeningPort]:
    """Listen: the port, why there is none, or the Deferred of an endpoint that needs time."""
    outcome: list[IListeningPort | Failure] = []
    atOnce = True

    def settle(result: Any) -> Any:
        if not atOnce:
            return result
        outcome.append(result)
        return None

    try:
        waiting: Deferred[Any] = endpoint.listen(factory)
    except Exception:
        return Failure()
    waiting.addBoth(settle)
    atOnce = False
    return outcome[0] if outcome else waiting


def closeAll(ports: Sequence[IListeningPort]) -> list[Deferred[Any]]:
    """Stop listening on ports; what comes back fires when each is closed."""
    closing = [port.stopListening() for port in ports]
    return [waiting for waiting in closing if waiting is not None]


def closeNow(closing: Sequence[Deferred[Any]], reactor: Any) -> None:
    """See ports closed although the reactor does not run: it closes them in its next turns."""
    for _ in range(10):
        if all(waiting.called for waiting in closing):
            return
        reactor.iterate(0)


def describeFailure(text: str, failure: Failure) -> str:
    """One sentence about an endpoint that cannot be listened on."""
    error: Any = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    if error == "Cannot acquire lock":  # Twisted's words for a UNIX socket in use
        return f"cannot listen on {text}: Address already in use"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot listen on {text}: {error.strerror}"
    return f"cannot listen on {text}: {oneLine(error) if isinstance(error, Exception) else error}"


def describeAddress(address: Any) -> str:
    """An address as people write it."""
    host = getattr(address, "host", None)
    if host is not None:
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    name = getattr(address, "name", None)
    return f"unix:{name.decode('utf-8', 'replace')}" if isinstance(name, bytes) else str(address)
