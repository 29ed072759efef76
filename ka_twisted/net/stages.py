"""What has to be over on a connection before its protocol begins, in a bounded time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure


class ConnectionStageFactory(Factory):
    """
    A factory ahead of another.

    :param factory: makes the protocols that follow.
    :param seconds: for the preface of a connection; 0: as long as it takes.
    :param failed: called once for each connection that ends within its preface, with a word that says why.
    """

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        seconds: float,
        reactor: IReactorTime,
        failed: Callable[[str], object] = lambda word: None,
    ) -> None:
        self.following: Any = factory
        self.seconds = seconds
        self.reactor = reactor
        self.failed = failed

    def doStart(self) -> None:
        """See `IProtocolFactory.doStart`."""
        self.following.doStart()

    def doStop(self) -> None:
        """See `IProtocolFactory.doStop`."""
        self.following.doStop()


class ConnectionStage(Protocol):
    """
    A connection until its preface is over.

    :ivar problem: why it fails, once that is known.
    """

    transport: Any

    def __init__(self, factory: ConnectionStageFactory) -> None:
        self._factory = factory
        self._late: IDelayedCall | None = None
        self.problem = ""

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        if self._factory.seconds:
            self._late = self._factory.reactor.callLater(self._factory.seconds, self._expired)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.over()
        self._factory.failed(self.problem or self.explain(reason.value))

    def explain(self, error: BaseException | None) -> str:
        """The word for a connection that was lost without our doing."""
        return "reset"

    def over(self) -> None:
        """The preface is over: time does not matter any more."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    @property
    def timed(self) -> bool:
        """Whether the connection will be ended if nothing else ends it."""
        return self._late is not None

    def refuse(self, problem: str) -> None:
        """End the connection, for this reason unless another is known."""
        self.over()
        self.problem = self.problem or problem
        self.transport.abortConnection()

    def _expired(self) -> None:
        self._late = None
        self.refuse("timeout")
