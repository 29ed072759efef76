"""
Everything of a server that holds a descriptor: how many there may be, in all and of one peer; and their common end.

A connection is first in its stages (PROXY header, TLS handshake), and then one of the `connections`, of which their
protocols report. It has one place throughout: a stage gives it up in the call in which what follows takes it.
"""

from __future__ import annotations

from collections.abc import KeysView
from enum import Enum
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from ..config import Limits, Timeouts
from ..core.reasons import CloseReason
from ..interfaces import IConnectionRegistry


class Admission(Enum):
    """What becomes of a connection that was accepted (ledger P-15)."""

    #: It is served.
    ADMITTED = "admitted"
    #: It is beyond the limits, and may wait for ``Timeouts.refused`` for the request that is answered with 503.
    REFUSED = "refused"
    #: It is beyond the limits, and so many are refused already that it has to be ended now.
    DROPPED = "dropped"


#: The usual one. Before Python 3.12 it takes a while to find a member of an Enum by its name.
ADMITTED = Admission.ADMITTED


class Member(Protocol):
    """A connection of a registry, whatever it speaks: also one that was handed over to another protocol."""

    @property
    def state(self) -> str:
        """What it is doing; see `CloseReason.state`."""

    def retire(self) -> None:
        """A shutdown is announced: the next response closes the connection."""

    def drain(self) -> object:
        """Finish what is in service, and close. It is left alone until the deadline of the drain."""

    def abort(self, reason: CloseReason) -> None:
        """End now."""


class Stage(Protocol):
    """A connection before its protocol."""

    registry: Any

    def drain(self) -> object:
        """End: nothing was taken up."""


M = TypeVar("M", bound=Member)


@implementer(IConnectionRegistry)
class ConnectionRegistry(Generic[M]):
    """
    The connections of one server.

    :param clock: times the deadline of a drain.
    :ivar connections: those whose protocol is there, in the order in which they were accepted; a live view.
    :ivar perPeer: how many are admitted of each host, where ``Limits.maxConnectionsPerPeer`` is set.
    :ivar countsPeers: whether the hosts of connections matter: where they do not, None can be given for each.
    :ivar retiring: whether `retire` was called.
    :ivar draining: whether `drain` was called.
    """

    def __init__(self, limits: Limits, timeouts: Timeouts, clock: IReactorTime) -> None:
        self._limits = limits
        self._most = limits.maxConnections or inf
        self.countsPeers = limits.maxConnectionsPerPeer > 0
        self.timeouts = timeouts
        self._clock = clock
        #: The hosts that they count for.
        self._open: dict[M, object] = {}
        self._stages: dict[Stage, object] = {}
        self._refused: set[object] = set()
        self._drained: list[Deferred[None]] = []
        self._cutting: IDelayedCall | None = None
        self.connections: KeysView[M] = self._open.keys()
        self.perPeer: dict[object, int] = {}
        self.retiring = self.draining = False

    def seconds(self) -> float:
        """See `IConnectionRegistry.seconds`."""
        return self._clock.seconds()

    @property
    def held(self) -> int:
        """How many hold a descriptor: connections, and those in their stages."""
        return len(self._open) + len(self._stages)

    def open(self, connection: M, host: object) -> Admission:
        """
        A connection has its protocol.

        :param host: of its peer; None where there is no such thing: then only the limit on all counts.
        """
        if not self.countsPeers and len(self._open) + len(self._stages) - len(self._refused) < self._most:
            self._open[connection] = None
            return ADMITTED
        return self._place(self._open, connection, host)

    def close(self, connection: M) -> None:
        """A connection is gone. `settle` follows, once its end has been told."""
        if self.countsPeers or self._refused:
            self._leave(self._open, connection)
        else:
            self._open.pop(connection, None)

    def settle(self) -> None:
        """A drain is over when nothing is left."""
        if self._drained and not self.held:
            self._finishDraining()

    def enter(self, stage: Stage, host: object) -> Admission:
        """A connection was accepted that has something before its protocol; see `open`."""
        return self._place(self._stages, stage, host)

    def leave(self, stage: Stage) -> None:
        """It is gone, or its protocol begins."""
        self._leave(self._stages, stage)
        self.settle()

    def passStages(self, successor: ConnectionRegistry[M]) -> None:
        """Another server takes the place of this one, and the connections that are in their stages yet."""
        for stage, host in list(self._stages.items()):
            self.leave(stage)
            stage.registry = successor
            successor.enter(stage, host)

    def _place(self, members: dict[Any, object], member: object, host: object) -> Admission:
        limits = self._limits
        crowded = self.held - len(self._refused) >= self._most
        if not limits.maxConnectionsPerPeer:
            host = None
        elif host is not None and not crowded:
            count = self.perPeer.get(host, 0)
            crowded = count >= limits.maxConnectionsPerPeer
            if not crowded:
                self.perPeer[host] = count + 1
        if not crowded:
            members[member] = host
            return ADMITTED
        members[member] = None
        dropped = len(self._refused) >= limits.maxRefused
        self._refused.add(member)
        return Admission.DROPPED if dropped else Admission.REFUSED

    def _leave(self, members: dict[Any, object], member: object) -> None:
        if member not in members:
            return
        host = members.pop(member)
        self._refused.discard(member)
        if host is not None:
            self.perPeer[host] -= 1
            if not self.perPeer[host]:
                del self.perPeer[host]

    def retire(self) -> None:
        """
        Prepare to shut down without losing a request: every response from now on closes its connection.

        Idle connections stay open, and new ones are accepted: a client in the midst of sending is not cut off, and
        a balancer has time to turn away. `drain` ends them.
        """
        self.retiring = True
        for connection in list(self.connections):
            connection.retire()

    def drain(self, seconds: float | None = None) -> Deferred[None]:
        """
        Shut down gracefully: idle connections close at once, those in use after what they have taken up.

        :param seconds: after which what is left is cut; 0: never; None: ``Timeouts.drain``.
        :return: fires when the last connection is gone.
        """
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        for stage in list(self._stages):
            stage.drain()
        if not self.held:
            return succeed(None)
        drained: Deferred[None] = Deferred(self._drained.remove)
        self._drained.append(drained)
        if seconds is None:
            seconds = self.timeouts.drain
        if seconds:
            if self._cutting is not None:
                self._cutting.cancel()
            self._cutting = self._clock.callLater(seconds, self._cutAtDeadline)
        return drained

    def cut(self) -> int:
        """End everything now; how many connections there were."""
        connections = list(self.connections)
        for connection in connections:
            connection.abort(CloseReason.DRAINING.at(connection.state))
        for stage in list(self._stages):
            stage.drain()
        return len(connections)

    def _cutAtDeadline(self) -> None:
        self._cutting = None
        self.cut()

    def _finishDraining(self) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)
