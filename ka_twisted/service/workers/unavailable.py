"""What clients get while there is no worker: 503 from the supervisor, or an orderly close, and never silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...server.request import Request
from ...server.response import Response
from ..applications.lifespan import Lifespans
from ..configuration.values import Configuration
from ..errors import ConfigurationError, oneLine
from ..listening.ports import OpenPorts
from ..running.generation import Generation
from ..running.observers import ObserverSet

#: Seconds after which clients are asked to try again.
RETRY_AFTER = 5
#: Seconds for the first bytes of a connection that is closed unanswered: with them unread it would be reset.
_CLOSE_WITHIN = 2.0

_log = Logger()


class Unavailable:
    """
    Answers for workers that are not there. It reads the keys of TLS where this process may.

    :ivar answering: whether it does.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._generation: Generation | None = None
        #: Those whose last answers are not out yet.
        self._ending: list[Generation] = []
        self._openPorts: OpenPorts = {}

    @property
    def answering(self) -> bool:
        """Whether connections are accepted here."""
        return self._generation is not None

    def begin(self, configuration: Configuration, openPorts: OpenPorts) -> None:
        """
        Accept connections from now on.

        :param openPorts: what is listened on, in the order of the listeners.
        """
        if self.answering:
            return
        self._generation = generation = self._made(configuration)
        self._openPorts = dict(openPorts)
        for listener, openPort in zip(configuration.listeners, openPorts.values(), strict=True):
            served = listener in generation.configuration.listeners
            factory: IProtocolFactory = generation.stack(listener) if served else _Closing(self._reactor)
            openPort.switch.current = factory
            port: Any = openPort.port
            if port is not None:
                port.startReading()

    def end(self) -> Deferred[None]:
        """Leave what comes to workers; fires when the last answer is out."""
        generation, self._generation = self._generation, None
        if generation is None:
            return succeed(None)
        for openPort in self._openPorts.values():
            port: Any = openPort.port
            openPort.switch.current = None
            if port is not None:
                port.stopReading()
        self._openPorts = {}
        generation.retire()
        self._ending.append(generation)
        return generation.drain().addCallback(lambda _: self._ending.remove(generation))

    def cut(self) -> None:
        """End all connections at once."""
        for generation in self._ending:
            generation.cut()

    def _made(self, configuration: Configuration) -> Generation:
        plain = replace(configuration, accessLog=None, admin=None, workers=0)
        try:
            return self._generationOf(plain)
        except ConfigurationError as error:
            _log.warn("no response can be sent over TLS while no worker is ready: {problem}", problem=oneLine(error))
            listeners = tuple(listener for listener in plain.listeners if listener.tls is None)
            return self._generationOf(replace(plain, listeners=listeners))

    def _generationOf(self, configuration: Configuration) -> Generation:
        return Generation(configuration, ObserverSet(), Lifespans(self._reactor), self._reactor, handler=_unavailable)


def _unavailable(request: Request) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER), "Connection": "close"}
    return Response(503, "The service is temporarily unavailable.\n", headers)


class _Closing(Factory):
    """Closes each connection, once its first bytes are read."""

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def buildProtocol(self, addr: object) -> _Closed:
        """See `IProtocolFactory.buildProtocol`."""
        return _Closed(self.reactor)


class _Closed(Protocol):
    """A connection that is closed in order."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self._late = self._reactor.callLater(_CLOSE_WITHIN, self._close)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self._untime()

    def _close(self) -> None:
        self._untime()
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _untime(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
