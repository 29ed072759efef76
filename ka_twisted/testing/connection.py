"""Handlers without a server: requests are asked of them in memory, and no version of HTTP is spoken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ..core.exchange import Exchange
from ..core.forwarded import TrustedProxies
from ..core.headers import FieldText, Headers, check_field
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..interfaces import IConnection, IConnectionRegistry
from ..server import handling
from ..server.hooks import Handler
from ..server.protocol import KeepAliveProtocol
from ..server.request import Request
from ..server.settings import ServerSettings
from ..server.stream import StreamUser
from .clocks import advance, settle
from .head import MemoryHead, bodyFraming
from .responses import ParsedResponse
from .stream import MemoryStream, tooLarge
from .transport import MemoryTransport

#: The fields of a request, as an application's are given.
RequestFields = Iterable[tuple[FieldText, FieldText]]


class MemoryExchange:
    """
    A request, while its body is sent and its response comes: the client's side of a `MemoryStream`.

    :ivar stream: the server's.
    """

    def __init__(self, connection: MemoryConnection, stream: MemoryStream) -> None:
        self._connection = connection
        self.stream = stream

    @property
    def response(self) -> ParsedResponse | None:
        """The final response, as far as it has come; None while there is none."""
        return self.stream.response

    @property
    def interims(self) -> list[ParsedResponse]:
        """The interim responses so far, 100 included."""
        return list(self.stream.interims)

    @property
    def switched(self) -> bytes | None:
        """What another protocol has sent, when the stream was handed over to one."""
        transport = self.stream.transport
        return None if transport is None else bytes(transport.delivered)

    def send(self, data: bytes) -> None:
        """Send some of the body; or, behind a switch, of whatever is spoken then."""
        if self.stream.transport is not None:
            self.stream.transport.arrive(data)
        else:
            self.stream.receive(data)
        self._connection.settle()

    def end(self, trailers: RequestFields = ()) -> None:
        """The body ends. With fewer bytes than stated it breaks off."""
        self.stream.receiveEnd(Headers(check_field(*pair) for pair in trailers))
        self._connection.settle()

    def stall(self) -> None:
        """Stop reading the response."""
        self.stream.stall()

    def resume(self) -> None:
        """Read all of the response that comes."""
        self.stream.resume()
        self._connection.settle()

    def reset(self) -> None:
        """Be gone: the handler is cancelled."""
        if self.stream.transport is not None:
            self.stream.transport.leave(reset=True)
        self.stream.cancel(Failure(ConnectionLost()))
        self._connection.settle()

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way is called when it is due."""
        self._connection.advance(seconds)


@implementer(IConnection, IConnectionRegistry)
class MemoryConnection:
    """
    What carries requests in memory. It is opened by the first, and has no end.

    :param handler: answers requests, as for `KeepAliveFactory`.
    :param protocol: a class whose hooks are asked.
    :param clock: its time; one of its own by default.
    :param settings: further arguments of `KeepAliveFactory`, as far as they are about requests.
    :ivar clock: moves when `advance` is called.
    """

    id = 1
    secure = False
    version = "1"
    opened = 0.0
    bytesReceived = bytesSent = lateBytes = 0
    lastDecision: Persistence | None = None
    closeReason: CloseReason | None = None
    peer = IPv4Address("TCP", "127.0.0.1", 40001)
    host = IPv4Address("TCP", "127.0.0.1", 8080)

    def __init__(
        self,
        handler: Handler,
        *,
        protocol: type[KeepAliveProtocol] = KeepAliveProtocol,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.time = clock or Clock()
        self.clock: IReactorTime = self.time
        self.settings = ServerSettings(handler, reactor=self.time, **settings)
        self.hooks = protocol()
        self.hooks.factory = self.settings
        self.requestCount = 0
        self._streams: list[MemoryStream] = []

    def ask(
        self,
        method: str = "GET",
        target: str = "/",
        headers: RequestFields = (),
        body: bytes | None = b"",
        *,
        length: int | None = None,
        host: str = "test",
        expects: bool = False,
        takesTrailers: bool = False,
        switchesTo: str = "",
        stalled: bool = False,
    ) -> MemoryExchange:
        """
        Ask a request.

        :param headers: pairs of names and values.
        :param body: the whole of it; None: it is sent by `MemoryExchange.send` and ended by `MemoryExchange.end`.
        :param length: states the length of a body that is sent later; None: it is not known.
        :param host: the authority that is asked for.
        :param expects: whether the body is withheld until it is invited (RFC 9110 10.1.1).
        :param takesTrailers: whether the client takes trailers.
        :param switchesTo: the protocol that the client offers to switch to.
        :param stalled: whether the client does not read before `MemoryExchange.resume`.
        :raises ValueError: for a field that is none.
        """
        self.requestCount += 1
        head = MemoryHead(
            method.encode("ascii"),
            target.encode("ascii"),
            Headers(check_field(*pair) for pair in headers),
            authority=host.encode("ascii"),
            upgrades=(switchesTo.encode("ascii"),) if switchesTo else (),
            expects=expects,
            wants_trailers=takesTrailers,
        )
        stream = MemoryStream(self.requestCount, head, bodyFraming(length if body is None else len(body)), self)
        self._streams.append(stream)
        if stalled:
            stream.stall()
        if body:
            stream.receive(body)
        self._begin(stream)
        self.settle()
        return MemoryExchange(self, stream)

    def _begin(self, stream: MemoryStream) -> None:
        request = Request(stream)
        stream.user = request
        if (refusal := tooLarge(stream)) is not None:
            stream.refuse(refusal)
            stream.conclude()
        else:
            handling.begin(self.hooks, request, self.settings)

    def drain(self) -> None:
        """See `IConnection.drain`: there is nothing to be closed behind what is in service."""

    def abort(self, reason: CloseReason = CloseReason.APPLICATION_ABORT) -> None:
        """See `IConnection.abort`: all that is in service ends."""
        self.closeReason = reason
        for stream in list(self._streams):
            stream.cancel(Failure(ConnectionAborted()))

    def settle(self) -> None:
        """Let everything be done that is to be done now."""
        settle(self.time)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way is called when it is due."""
        advance(self.time, seconds)

    # -- see IConnection and IConnectionRegistry -----------------------------------------------------------------------

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """See `IConnection.exchanges`."""
        return tuple(self._streams)

    @property
    def age(self) -> float:
        """See `IConnection.age`."""
        return self.time.seconds()

    @property
    def state(self) -> str:
        """See `IConnection.state`."""
        return "responding" if self._streams else "idle"

    @property
    def registry(self) -> IConnectionRegistry:
        """See `IConnection.registry`: it is its own."""
        registry: IConnectionRegistry = self
        return registry

    @property
    def trustedProxies(self) -> TrustedProxies | None:
        """See `ServerSettings.trustedProxies`."""
        return self.settings.trustedProxies

    @property
    def connections(self) -> tuple[IConnection, ...]:
        """See `IConnectionRegistry.connections`."""
        connection: IConnection = self
        return (connection,)

    def seconds(self) -> float:
        """See `IConnectionRegistry.seconds`."""
        return self.time.seconds()

    # -- what streams ask ----------------------------------------------------------------------------------------------

    def decide(self, user: StreamUser | None, decision: Persistence) -> Persistence:
        """Show a decision to the hooks, as any connection does."""
        if isinstance(user, Request):
            decision = self.hooks.persistenceDecided(user, decision)
        self.lastDecision = decision
        return decision

    def finished(self, stream: MemoryStream) -> None:
        """A stream is over."""
        if stream in self._streams:
            self._streams.remove(stream)
        for observer in self.settings.observers:
            observer.exchangeFinished(self, stream)

    def transportFor(self, successor: IProtocol) -> MemoryTransport:
        """A transport for a protocol that takes over."""
        transport = MemoryTransport(self.time, self.peer, self.host)
        transport.protocol = successor
        transport.startReading()
        successor.makeConnection(transport)
        return transport


def ask(handler: Handler, method: str = "GET", target: str = "/", *arguments: Any, **named: Any) -> MemoryExchange:
    """
    Ask a handler a request, without a server.

    ::

        asked = ask(lambda request: b"hello")
        assert asked.response.body == b"hello"

    :param arguments: see `MemoryConnection.ask`; the settings of a server are given to `MemoryConnection`.
    """
    return MemoryConnection(handler).ask(method, target, *arguments, **named)
