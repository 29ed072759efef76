"""
What a server listens on, and what is behind each port: it can be replaced while the port stays.

OpenPorts are prepared, then settled: a new configuration gets all of its ports, or the old one keeps its own.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...net.ports import PortEnd, closePorts, welcomeSegments
from ..errors import ListenError
from .balance import Share
from .binding import adopt, closeNow, describeAddress, describeFailure, listenNow, removeLeftovers, storeName

_log = Logger()

#: Connections that the kernel keeps until they are accepted, where the endpoint does not say. Twisted's 50 are few
#: where hundreds of clients connect anew at once, as they do when a server is replaced.
BACKLOG = 1024


class FactorySwitch(Factory):
    """The factory of a port, which passes each new connection on to what is behind it at that time."""

    noisy = False
    current: IProtocolFactory | None = None

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        """See `IProtocolFactory.buildProtocol`."""
        return None if self.current is None else self.current.buildProtocol(addr)  # type: ignore[arg-type]

    def logPrefix(self) -> str:
        """What Twisted logs of the port."""
        return "HTTP"


class OpenPort:
    """
    An endpoint that is listened on.

    :ivar port: None as long as the endpoint takes its time.
    :ivar end: how the port is closed, once there is one.
    :ivar inherited: whether the socket was handed over, and is listened on by others before or after us.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.switch = FactorySwitch()
        self.port: IListeningPort | None = None
        self.end: PortEnd | None = None
        self.inherited = False
        self.waiting: Deferred[Any] | None = None

    def close(self) -> Deferred[Any]:
        """Listen no more, now; fires when that is so."""
        end = self.giveUp()
        return succeed(None) if end is None else end.close()

    def giveUp(self) -> PortEnd | None:
        """Wait for the endpoint no more, and leave the port to be closed; None: there is none."""
        if self.waiting is not None:
            self.waiting.cancel()
        self.port = None
        end, self.end = self.end, None
        return end


#: Endpoints that are open, by their description and how often it came before.
OpenPorts = dict[tuple[str, int], OpenPort]


class Ports:
    """
    What a server listens on: all of it, or nothing. Endpoints that stay keep their sockets.

    :param inherited: descriptors of sockets that listen already, by `storeName`; those that are used are taken out.
    :param passive: whether nothing is ever accepted here: the sockets are for others to listen on.
    :param share: of what comes, where others accept from the same queues.
    :param endpointOf: makes an endpoint of its description.
    :param late: called with a sentence when an endpoint that took its time fails.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        inherited: dict[str, list[int]] | None = None,
        passive: bool = False,
        share: Share | None = None,
        endpointOf: Callable[[str], IStreamServerEndpoint] | None = None,
        late: Callable[[str], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._inherited = {} if inherited is None else inherited
        self._passive = passive
        self._share = share
        self._endpointOf = endpointOf or (lambda text: serverFromString(reactor, text))
        self._late = late or (lambda problem: _log.error("{problem}", problem=problem))
        self.open: OpenPorts = {}
        self._closing: set[Deferred[None]] = set()
        #: Whether connections are accepted; before `accept` is called they wait in the queues of the sockets.
        self.accepting = True

    def __iter__(self) -> Iterator[OpenPort]:
        return iter(self.open.values())

    def prepare(self, texts: Iterable[str], behind: Iterable[IProtocolFactory] | None = None) -> OpenPorts:
        """
        Listen on what is not listened on yet; nothing is accepted before the reactor's next turn.

        :param behind: what makes the protocols of connections to new ports, one for each text: also of those to ports
            that are closed again because another fails.
        :return: all openPorts, old and new, for `settle`.
        :raises ListenError: for the first that fails; then nothing has changed.
        """
        wanted: OpenPorts = {}
        fresh: list[OpenPort] = []
        seen: Counter[str] = Counter()
        try:
            for text, factory in zip(texts, repeat(None) if behind is None else behind, strict=False):
                key = (text, seen[text])
                seen[text] += 1
                if key in self.open:
                    wanted[key] = self.open[key]
                else:
                    wanted[key] = self._opened(text, factory)
                    fresh.append(wanted[key])
        except ListenError:
            self._closeInVain(fresh)
            raise
        return wanted

    @property
    def unclaimed(self) -> dict[str, list[int]]:
        """What is left of the sockets that were handed over: no endpoint has asked for them yet."""
        return self._inherited

    def settle(self, wanted: OpenPorts) -> list[OpenPort]:
        """
        Take over what was prepared.

        :return: what is not wanted any more; it is still open.
        """
        gone = [openPort for key, openPort in self.open.items() if key not in wanted]
        self.open = wanted
        return gone

    def forget(self, wanted: OpenPorts) -> None:
        """Close what was prepared in vain."""
        self._closeInVain([openPort for key, openPort in wanted.items() if key not in self.open])

    def accept(self) -> None:
        """Accept connections from now on, where `accepting` was off."""
        if not self.accepting:
            self.accepting = True
            for openPort in self:
                port: Any = openPort.port
                if port is not None:
                    port.startReading()

    def refuseNew(self, some: Iterable[OpenPort] | None = None) -> bool:
        """
        Let no more connections begin.

        :param some: on these ports; None: on all.
        :return: whether some that have begun may still come, for `net.ports.QUEUED` seconds.
        """
        return (
            sum(openPort.end is not None and openPort.end.refuseNew() for openPort in (self if some is None else some))
            > 0
        )

    async def close(self) -> None:
        """Listen on nothing any more, once all that has come so far is accepted."""
        gone, self.open = self.open, {}
        self.finish(gone.values())
        while self._closing:
            await DeferredList([*self._closing])

    def finish(self, gone: Iterable[OpenPort]) -> Deferred[None]:
        """Close ports that `settle` has given, once all that has come to them is accepted; fires when that is so."""
        ends = [end for openPort in gone if (end := openPort.giveUp()) is not None]
        closing: Deferred[None] = Deferred.fromCoroutine(closePorts(ends, self._wait))
        self._closing.add(closing)
        closing.addErrback(lambda failure: _log.failure("a port was not closed in order", failure))
        closing.addBoth(lambda _: self._closing.discard(closing))
        return closing

    @property
    def closing(self) -> Deferred[Any]:
        """Fires when all ports are closed that are to be: until then their addresses are in use."""
        return DeferredList([*self._closing])

    def closeNow(self) -> None:
        """Listen on nothing any more, before the reactor runs."""
        gone, self.open = self.open, {}
        closeNow([openPort.close() for openPort in gone.values()], self._reactor)

    def _closeInVain(self, openPorts: Iterable[OpenPort]) -> None:
        if getattr(self._reactor, "running", False):
            self.finish(openPorts)
        else:
            closeNow([openPort.close() for openPort in openPorts], self._reactor)

    def _wait(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = deferLater(self._reactor, seconds, lambda: None)
        return waiting

    def _opened(self, text: str, factory: IProtocolFactory | None) -> OpenPort:
        openPort = OpenPort(text)
        openPort.switch.current = factory
        outcome = self._listen(openPort)
        if isinstance(outcome, Failure):
            raise ListenError(describeFailure(text, outcome))
        if isinstance(outcome, Deferred):
            if self._passive:
                outcome.addErrback(lambda _: None).cancel()
                raise ListenError(f"cannot listen on {text} with workers: the endpoint is not ready at once")
            openPort.waiting = outcome
            outcome.addCallback(self._ready, openPort).addErrback(self._failed, openPort)
        else:
            openPort.port = outcome
            self._prepareSocket(openPort)
        return openPort

    def _listen(self, openPort: OpenPort) -> Any:
        text = openPort.text
        handed = self._inherited.get(storeName(text))
        try:
            if handed:
                openPort.inherited = True
                return self._adopted(handed.pop(0), openPort)
            endpoint = self._endpointOf(text)
            if isinstance(endpoint, AdoptedStreamServerEndpoint):
                openPort.inherited = True
                if endpoint.addressFamily == socket.AF_UNIX:
                    return self._adopted(endpoint.fileno, openPort)
        except Exception:
            return Failure()
        removeLeftovers(text)
        return listenNow(endpoint, openPort.switch)

    def _adopted(self, descriptor: int, openPort: OpenPort) -> IListeningPort:
        port = adopt(self._reactor, descriptor, openPort.switch)
        os.close(descriptor)
        return port

    def _prepareSocket(self, openPort: OpenPort) -> None:
        port: Any = openPort.port
        openPort.end = PortEnd(port, shared=openPort.inherited, accepts=not self._passive)
        if self._passive or not self.accepting:
            port.stopReading()
        if isinstance(port, tcp.Port):
            if openPort.inherited:
                welcomeSegments(port.socket)  # who had it before may have been stopped, and this is the next
            elif "backlog=" not in openPort.text:
                port.socket.listen(BACKLOG)
            if self._share is not None:
                self._share.govern(port)

    def _ready(self, port: IListeningPort, openPort: OpenPort) -> None:
        openPort.waiting = None
        openPort.port = port
        self._prepareSocket(openPort)
        _log.info("listening on {address}", address=describeAddress(port.getHost()))

    def _failed(self, failure: Failure, openPort: OpenPort) -> None:
        openPort.waiting = None
        if openPort in self.open.values():
            self._late(describeFailure(openPort.text, failure))
