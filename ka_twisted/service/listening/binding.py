"""Ports: had at once or not at all, tried without being kept, taken over, and described on one line."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from ...core.targets import authority
from ...net.private import adoptedPort, neverShutDown
from ..configuration.endpoints import EndpointDescription
from ..errors import ListenError, oneLine
from ..leftovers import removeSocket

#: Pairs of a text for people and the endpoint itself.
Endpoints = Iterable[tuple[str, IStreamServerEndpoint]]

#: Endpoints that can be listened on twice. A socket that was handed over, as by systemd, is gone
#: once it was closed.
_REPEATABLE = ("tcp:", "tcp6:", "ssl:", "unix:")


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
            removeLeftovers(text)
            outcome = listenNow(endpoint, factory)
            if isinstance(outcome, Failure):
                raise ListenError(describeFailure(text, outcome))
            ports.append(outcome)
    finally:
        closeNow(closeAll(ports), reactor)


def removeLeftovers(text: str) -> None:
    """Remove what is in the way of a UNIX socket, and was left by a process that is gone."""
    it = EndpointDescription.fromString(text)
    path = it.named.get("address") or next(iter(it.arguments), "")
    if it.type == "unix" and path:
        removeSocket(path)


def listenNow(endpoint: IStreamServerEndpoint, factory: Any) -> IListeningPort | Failure | Deferred[IListeningPort]:
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
        return authority(host, address.port)
    name = getattr(address, "name", None)
    return f"unix:{name.decode('utf-8', 'replace')}" if isinstance(name, bytes) else str(address)


def storeName(text: str) -> str:
    """The name by which the socket of an endpoint is kept while its server is replaced (FDNAME of sd_notify(3))."""
    readable = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text)[:200]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def adopt(reactor: Any, descriptor: int, factory: Any) -> IListeningPort:
    """
    Listen on a socket that listens already, and that is not ours alone: it is neither shut down nor unlinked.

    :param descriptor: is duplicated.
    """
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.setblocking(False)
        family = sock.family
    if family != socket.AF_UNIX:
        port: IListeningPort = reactor.adoptStreamPort(descriptor, family, factory)
        return port
    inherited: unix.Port = adoptedPort(_inheritedPort(reactor), reactor, descriptor, factory)
    inherited.startListening()
    return inherited


def _inheritedPort(reactor: Any) -> Any:
    """The class of UNIX ports of a reactor, for sockets that were handed over and are not ours to unlink."""
    base: Any = unix.Port
    uvloop = sys.modules.get("ka_twisted.reactors.uvloop")
    if uvloop is not None and isinstance(reactor, uvloop.UvloopReactor):
        from ...reactors.ports import UNIXPort as base

    class InheritedPort(base):  # type: ignore[misc]
        """Twisted's own would change the mode of the path, and remove it when it is closed."""

        _preexistingSocket: Any

        def startListening(self) -> None:
            self.factory.doStart()
            self.socket = self._preexistingSocket
            self._preexistingSocket = None
            self.fileno = self.socket.fileno
            self.numberAccepts = 100
            neverShutDown(self)
            self.connected = True
            self.startReading()

        def connectionLost(self, reason: Any) -> None:
            tcp.Port.connectionLost(self, reason)

    return InheritedPort
