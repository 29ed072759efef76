"""
What a server listens on, and what is behind each port: it can be replaced while the port stays.

Openings are prepared, then settled: a new configuration gets all of its ports, or the old one keeps its own.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...net.private import neverShutDown
from ..workers.balance import Share
from .backlog import turnAway
from .binding import ListenError, adopt, closeNow, describeAddress, describeFailure, listenNow, storeName

_log = Logger()

#: Connections that the kernel keeps until they are accepted, where the endpoint does not say. Twisted's 50 are few
#: where hundreds of clients connect anew at once, as they do when a server is replaced.
BACKLOG = 1024


class FactorySwitch(Factory):
    """The factory of a port, which passes each new connection on to what is behind it at that time."""

    noisy = False
    inner: IProtocolFactory | None = None

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        """See `IProtocolFactory.buildProtocol`."""
        return None if self.inner is None else self.inner.buildProtocol(addr)  # type: ignore[arg-type]

    def logPrefix(self) -> str:
        """What Twisted logs of the port."""
        return "HTTP"


class Opening:
    """
    An endpoint that is listened on.

    :ivar port: None as long as the endpoint takes its time.
    :ivar lent: whether the socket was handed over, and is listened on by others before or after us.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.door = FactorySwitch()
        self.port: IListeningPort | None = None
        self.lent = False
        self.waiting: Deferred[Any] | None = None

    def close(self) -> Deferred[Any]:
        """Listen no more; fires when that is so."""
        if self.waiting is not None:
            self.waiting.cancel()
        port, self.port = self.port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)

    def turnAway(self) -> bool:
        """Let no more connections begin; whether some may still wait to be accepted."""
        return isinstance(self.port, tcp.Port) and not self.lent and turnAway(self.port.socket)


#: Endpoints that are open, by their description and how often it came before.
Openings = dict[tuple[str, int], Opening]


class Ports:
    """
    What a server listens on: all of it, or nothing. Endpoints that stay keep their sockets.

    :param inherited: descriptors of sockets that listen already, by `storeName`; those that are used are taken out.
    :param silent: whether nothing is ever accepted here: the sockets are for others to listen on.
    :param share: of what comes, where others accept from the same queues.
    :param endpointOf: makes an endpoint of its description.
    :param late: called with a sentence when an endpoint that took its time fails.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        inherited: dict[str, list[int]] | None = None,
        silent: bool = False,
        share: Share | None = None,
        endpointOf: Callable[[str], IStreamServerEndpoint] | None = None,
        late: Callable[[str], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._inherited = {} if inherited is None else inherited
        self._silent = silent
        self._share = share
        self._endpointOf = endpointOf or (lambda text: serverFromString(reactor, text))
        self._late = late or (lambda problem: _log.error("{problem}", problem=problem))
        self.open: Openings = {}

    def __iter__(self) -> Iterator[Opening]:
        return iter(self.open.values())

    def prepare(self, texts: Iterable[str]) -> Openings:
        """
        Listen on what is not listened on yet; nothing is accepted before the reactor's next turn.

        :return: all openings, old and new, for `settle`.
        :raises ListenError: for the first that fails; then nothing has changed.
        """
        wanted: Openings = {}
        fresh: list[Opening] = []
        seen: Counter[str] = Counter()
        try:
            for text in texts:
                key = (text, seen[text])
                seen[text] += 1
                if key in self.open:
                    wanted[key] = self.open[key]
                else:
                    wanted[key] = self._opened(text)
                    fresh.append(wanted[key])
        except ListenError:
            self._abandon(fresh)
            raise
        return wanted

    @property
    def unasked(self) -> dict[str, list[int]]:
        """What is left of the sockets that were handed over: no endpoint has asked for them yet."""
        return self._inherited

    def settle(self, wanted: Openings) -> list[Opening]:
        """
        Take over what was prepared.

        :return: what is not wanted any more; it is still open.
        """
        gone = [opening for key, opening in self.open.items() if key not in wanted]
        self.open = wanted
        return gone

    def forget(self, wanted: Openings) -> None:
        """Close what was prepared in vain."""
        self._abandon([opening for key, opening in wanted.items() if key not in self.open])

    def close(self) -> list[Deferred[Any]]:
        """Listen on nothing any more; what comes back fires when that is so."""
        gone, self.open = self.open, {}
        return [opening.close() for opening in gone.values()]

    def closeNow(self) -> None:
        """Likewise, before the reactor runs."""
        closeNow(self.close(), self._reactor)

    def _abandon(self, openings: Iterable[Opening]) -> None:
        closing = [opening.close() for opening in openings]
        if not getattr(self._reactor, "running", False):
            closeNow(closing, self._reactor)

    def _opened(self, text: str) -> Opening:
        opening = Opening(text)
        outcome = self._listen(opening)
        if isinstance(outcome, Failure):
            raise ListenError(describeFailure(text, outcome))
        if isinstance(outcome, Deferred):
            if self._silent:
                outcome.addErrback(lambda _: None).cancel()
                raise ListenError(f"cannot listen on {text} with workers: it takes its time")
            opening.waiting = outcome
            outcome.addCallback(self._ready, opening).addErrback(self._failed, opening)
        else:
            opening.port = outcome
            self._prepareSocket(opening)
        return opening

    def _listen(self, opening: Opening) -> Any:
        text = opening.text
        handed = self._inherited.get(storeName(text))
        try:
            if handed:
                opening.lent = True
                return self._adopted(handed.pop(0), opening)
            endpoint = self._endpointOf(text)
            if isinstance(endpoint, AdoptedStreamServerEndpoint):
                opening.lent = True
                if endpoint.addressFamily == socket.AF_UNIX:
                    return self._adopted(endpoint.fileno, opening)
        except Exception:
            return Failure()
        return listenNow(endpoint, opening.door)

    def _adopted(self, descriptor: int, opening: Opening) -> IListeningPort:
        port = adopt(self._reactor, descriptor, opening.door)
        os.close(descriptor)
        return port

    def _prepareSocket(self, opening: Opening) -> None:
        port: Any = opening.port
        if self._silent:
            port.stopReading()
        if isinstance(port, tcp.Port):
            if "backlog=" not in opening.text and not opening.lent:
                port.socket.listen(BACKLOG)
            # Others may have the socket as well, to whom a shutdown would happen too.
            neverShutDown(port)
            if self._share is not None:
                self._share.govern(port)

    def _ready(self, port: IListeningPort, opening: Opening) -> None:
        opening.waiting = None
        opening.port = port
        self._prepareSocket(opening)
        _log.info("listening on {address}", address=describeAddress(port.getHost()))

    def _failed(self, failure: Failure, opening: Opening) -> None:
        opening.waiting = None
        if opening in self.open.values():
            self._late(describeFailure(opening.text, failure))
