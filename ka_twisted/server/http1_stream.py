"""An exchange over HTTP/1 as a stream: `stream.ServerStream` on top of `http1.exchange.Exchange`, in one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.errors import LocalProtocolError
from ..core.framing import Delimiter
from ..core.headers import NO_FIELDS, ResponseFields
from ..core.persistence import Persistence
from ..http1 import persistence
from ..http1.exchange import Exchange
from ..http1.server import ServerConnection
from ..http1.states import Expectation
from ..interfaces import IConnection
from ..net.output import OutputStream, SocketOutput
from . import handling
from .hooks import Hooks
from .request import Request
from .settings import ServerSettings
from .stream import BodyReceiver, StreamUser

_log = Logger()
#: Bytes of a body that are gathered within a turn before they are sent, and it shows whether the client takes them.
_SEND_NOW = 16384


class StreamDriver(Protocol):
    """What a stream needs of the driver of its connection: see `http1_driver.Http1Driver`."""

    id: int
    settings: ServerSettings
    core: ServerConnection
    hooks: Hooks
    output: OutputStream
    pumping: bool
    closed: bool

    def arm(self, deadline: Deadline, seconds: float) -> None: ...

    def disarm(self, deadline: Deadline) -> None: ...

    def pump(self) -> None: ...

    def settle(self) -> None: ...

    def send(self, output: Sequence[bytes]) -> None: ...

    def backed(self) -> None: ...

    def whenWritable(self, stream: Http1Stream) -> Deferred[None]: ...

    def handOver(self, stream: Http1Stream, successor: IProtocol, data: bytes) -> None: ...


class Http1Stream(Exchange):
    """See `stream.ServerStream` and `http1.exchange.Exchange`."""

    carrier: ServerConnection
    user: StreamUser | None = None
    #: Who reads the request's body.
    receiver: BodyReceiver | None = None
    #: Whether the application is done with it: then it has no connection any more.
    concluded = False

    @property
    def _driver(self) -> StreamDriver:
        driver: StreamDriver = self.carrier.owner
        return driver

    @property
    def connection(self) -> IConnection:
        """See `stream.ServerStream.connection`."""
        return cast(IConnection, self._driver.hooks)

    @property
    def settings(self) -> ServerSettings:
        """See `stream.ServerStream.settings`."""
        return self._driver.settings

    @property
    def clock(self) -> IReactorTime:
        """See `stream.ServerStream.clock`."""
        return self._driver.settings.clock

    @property
    def expectedPersistence(self) -> Persistence:
        """See `stream.ServerStream.expectedPersistence`."""
        if not self.concluded and self.carrier.draining:
            return persistence.DRAINING
        assert self.head.persistence is not None
        return self.head.persistence

    # -- the request's body --------------------------------------------------------------------------------------------

    def readBody(self, receiver: BodyReceiver) -> None:
        """See `stream.ServerStream.readBody`."""
        if self.concluded:
            raise LocalProtocolError("the request has been answered")
        driver = self._driver
        if driver.closed:
            raise LocalProtocolError("the connection is gone")
        self.begin_body()
        driver.disarm(Deadline.EXPECTATION)
        self.receiver = receiver
        self.flowing = True
        driver.pump()

    def pauseBody(self) -> None:
        """See `stream.ServerStream.pauseBody`."""
        self.flowing = False

    # -- the response --------------------------------------------------------------------------------------------------

    def start(
        self,
        status: int,
        fields: ResponseFields = NO_FIELDS,
        length: int | None = None,
        trailers: Sequence[bytes] = (),
    ) -> None:
        """See `stream.ServerStream.start`."""
        super().start(status, fields, length, trailers)
        self.responded = self._driver.settings.now()

    def write(self, data: bytes) -> None:
        """See `stream.ServerStream.write`."""
        before = self.bytes_sent // _SEND_NOW
        super().write(data)
        driver = self._driver
        if not driver.pumping:
            driver.settle()
        elif self.bytes_sent // _SEND_NOW > before and (output := self.carrier.take_output()):
            driver.send(output)

    def switchTo(self, protocol: bytes, fields: ResponseFields, successor: IProtocol) -> None:
        """See `stream.ServerStream.switchTo`."""
        driver = self._driver
        driver.handOver(self, successor, self.switch(protocol, fields))

    def handle(self, request: StreamUser, result: object) -> None:
        """See `stream.ServerStream.handle`."""
        assert isinstance(request, Request)
        driver = self._driver
        try:
            handling.answer(request, result)
        except BaseException:
            handling.fail(request, Failure())
        driver.pump()

    def conclude(self) -> None:
        """See `stream.ServerStream.conclude`. What remains are the facts: nothing that is alive."""
        driver: StreamDriver = self.carrier.owner
        connection: IConnection = driver.hooks  # type: ignore[assignment]
        if self.handshake is not Expectation.NONE:
            driver.disarm(Deadline.EXPECTATION)
        user, self.user = self.user, None
        if user is not None:
            user.streamConcluded(connection)
        if self.request_body is not None:
            self.request_body.flowing = False
            self.receiver = None
        self.concluded = True
        del self.carrier
        settings = driver.settings
        if settings.observers:
            self.ended = settings.now()
            for observer in settings.observers:
                try:
                    observer.exchangeFinished(connection, self)
                except BaseException:
                    settings.logObserver(observer, connection, self.number)
        if not driver.pumping:
            driver.pump()

    # -- flow ----------------------------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """See `stream.ServerStream.congested`."""
        if self.concluded:
            return False
        if self.held is None:
            return self._driver.output.pending
        return self.carrier.held_bytes > self._driver.settings.limits.maxHeldBytes

    def whenWritable(self) -> Deferred[None]:
        """See `stream.ServerStream.whenWritable`."""
        if self.concluded:
            return fail(LocalProtocolError("nothing more is sent"))
        return self._driver.whenWritable(self)

    @property
    def sendsFiles(self) -> bool:
        """See `stream.ServerStream.sendsFiles`."""
        if self.concluded or self.held is not None or self.response_framing is None:
            return False
        return self.response_framing.delimiter is Delimiter.LENGTH and isinstance(self._driver.output, SocketOutput)

    def sendFile(self, descriptor: int, offset: int, count: int) -> int:
        """See `stream.ServerStream.sendFile`."""
        driver = self._driver
        output = driver.output
        assert isinstance(output, SocketOutput)
        if waiting := self.carrier.take_output():
            output.write(waiting)
        sent = output.sendFile(descriptor, offset, count)
        self.written_past(sent)
        if output.pending:
            driver.backed()
        return sent

    def flush(self) -> None:
        """See `stream.ServerStream.flush`."""
        if not self.concluded:
            self._driver.pump()

    # -- time ----------------------------------------------------------------------------------------------------------

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """See `stream.ServerStream.arm`."""
        self._driver.arm(deadline, seconds)

    def disarm(self, deadline: Deadline) -> None:
        """See `stream.ServerStream.disarm`."""
        if not self.concluded:
            self._driver.disarm(deadline)


class Http1Connection(ServerConnection):
    """The protocol layer's side of a connection whose exchanges are streams, and whose application has a say."""

    __slots__ = ()

    exchange_class = Http1Stream

    def review(self, exchange: Exchange, decision: Persistence) -> Persistence:
        """Show a decision to the application."""
        driver: StreamDriver = self.owner
        assert isinstance(exchange, Http1Stream)
        if not driver.settings.reviews or not isinstance(exchange.user, Request):
            return decision  # without a user, the connection answers by itself
        try:
            reviewed = driver.hooks.persistenceDecided(exchange.user, decision)
            if isinstance(reviewed, Persistence):
                return reviewed
            raise TypeError(f"persistenceDecided returns a Persistence, not {reviewed!r}")
        except BaseException:
            _log.failure("persistenceDecided failed on connection {id}; the decision stands", id=driver.id)
            return decision
