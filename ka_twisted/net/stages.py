"""What comes before the protocol of a connection, in a bounded time: a PROXY header, a TLS handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.targets import authority
from .registry import Admission, ConnectionRegistry
from .tcp import peerOf

#: The word for a connection that is ended because there are too many.
CROWDED = "too many connections"
#: Words of which the log says nothing: a client, or a health check, that leaves; a shutdown; a limit, which is counted.
_QUIET = (CROWDED, "draining", "reset")
#: Failures that are logged one by one in so many seconds; the others are counted.
_LOGGED, _WINDOW = 10, 60.0

_log = Logger()


class ConnectionStageFactory(Factory):
    """
    A factory ahead of another.

    :param factory: makes the protocols that follow.
    :param seconds: for the stage; 0: as long as it takes.
    :param failed: called once for each connection that ends within its stage, with a word that says why.
    :param registry: counts the connections in their stage, and may turn them away; None: they do not count.
    """

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        seconds: float,
        reactor: IReactorTime,
        failed: Callable[[str], object] = lambda word: None,
        registry: ConnectionRegistry[Any] | None = None,
    ) -> None:
        self.following: Any = factory
        self.seconds = seconds
        self.reactor = reactor
        self.failed = failed
        self.registry = registry
        self._logged = self._unlogged = 0
        self._windowEnd = 0.0

    def report(self, problem: str, peer: IAddress, detail: str) -> None:
        """
        A connection has ended within its stage: tell, and log, but no flood.

        :param problem: a word.
        :param detail: what is known beyond it; empty: nothing.
        """
        self.failed(problem)
        if problem in _QUIET:
            return
        now = self.reactor.seconds()
        if now >= self._windowEnd:
            if self._unlogged:
                _log.info("{count} more connections failed before HTTP began", count=self._unlogged)
            self._logged = self._unlogged = 0
            self._windowEnd = now + _WINDOW
        if self._logged == _LOGGED:
            self._unlogged += 1
            return
        self._logged += 1
        _log.info(
            "the connection of {peer} failed before HTTP began: {problem}",
            peer=_place(peer),
            problem=f"{problem} ({detail})" if detail else problem,
        )

    def doStart(self) -> None:
        """See `IProtocolFactory.doStart`."""
        self.following.doStart()

    def doStop(self) -> None:
        """See `IProtocolFactory.doStop`."""
        self.following.doStop()


def _place(address: IAddress) -> str:
    host = getattr(address, "host", None)
    return "a client of a UNIX socket" if host is None else authority(host, getattr(address, "port", 0))


class ConnectionStage(Protocol):
    """
    A connection until its stage is over.

    :ivar problem: why it fails, once that is known.
    :ivar registry: counts it; None: it does not count.
    """

    transport: Any

    def __init__(self, factory: ConnectionStageFactory) -> None:
        self._factory = factory
        self._late: IDelayedCall | None = None
        #: Whether it is beyond the limits.
        self._crowded = False
        self.problem = ""
        self.registry = factory.registry

    @property
    def countedHost(self) -> object:
        """The host that this counts for; None: for none."""
        return getattr(peerOf(self.transport), "host", None)

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        seconds = self._factory.seconds
        if self.registry is not None:
            admission = self.registry.enter(self, self.countedHost)
            if admission is Admission.DROPPED:
                self.refuse(CROWDED)
                return
            if admission is Admission.REFUSED:
                refused = self.registry.timeouts.refused
                seconds = min(seconds or refused, refused or seconds)
                self._crowded = True
        if seconds:
            self._late = self._factory.reactor.callLater(seconds, self._expired)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.over()
        problem = self.problem or self.explain(reason.value)
        self._factory.report(problem, peerOf(self.transport), "" if self.problem else self.detail(reason.value))

    def detail(self, error: BaseException | None) -> str:
        """What the library beneath says of an error; empty: nothing."""
        return ""

    def explain(self, error: BaseException | None) -> str:
        """The word for a connection that was lost without our doing."""
        return "reset"

    def over(self) -> None:
        """The stage is over, and what follows has its place: the time does not matter any more."""
        self._untime()
        if self.registry is not None:
            self.registry.leave(self)

    def _untime(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    @property
    def timed(self) -> bool:
        """Whether the connection will be ended if nothing else ends it."""
        return self._late is not None

    def refuse(self, problem: str) -> None:
        """End the connection, for this reason unless another is known."""
        self._untime()
        self.problem = self.problem or problem
        self.transport.abortConnection()

    def drain(self) -> None:
        """See `registry.Stage.drain`."""
        self.refuse("draining")

    def _expired(self) -> None:
        self._late = None
        self.refuse(CROWDED if self._crowded else "timeout")
