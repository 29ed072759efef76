"""
An exchange in memory: `server.stream.ServerStream` without a connection and without the bytes of any version of HTTP.

A response is kept as values, a request's body as pieces. What belongs to a connection is not here: it does not
persist, has no limits but those of a body, and is not drained. See `connection` for the client's side of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn, Protocol, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.errors import BodyTooLarge, LocalProtocolError, RemoteProtocolError
from ..core.exchange import Exchange
from ..core.framing import Delimiter, Framing
from ..core.headers import NO_FIELDS, NO_HEADERS, Headers, ResponseFields
from ..core.persistence import ASKED_BY_US, Persistence
from ..core.reasons import KeepReason
from ..core.semantics import BODILESS_STATUSES
from ..http1.incoming import incomplete_body
from ..http1.responses import error_response
from ..interfaces import IConnection
from ..server import handling
from ..server.request import Request
from ..server.settings import ServerSettings
from ..server.stream import BodyReceiver, StreamUser
from .head import UNKNOWN, MemoryHead
from .incoming import IncomingBody
from .responses import ParsedResponse
from .transport import MemoryTransport

#: Bytes that a client may leave unread before the stream is congested.
_HIGH_WATER = 65536

_KEEP = Persistence(True, KeepReason.HTTP11_DEFAULT, "RFC 9112 9.3", "")
_BODILESS = Framing(Delimiter.NONE, None, "", "RFC 9110 6.4.1")


class StreamCarrier(Protocol):
    """What a stream needs of what carries it, an `interfaces.IConnection`: see `connection.MemoryConnection`."""

    settings: ServerSettings
    clock: IReactorTime

    def decide(self, user: StreamUser | None, decision: Persistence) -> Persistence: ...

    def finished(self, stream: MemoryStream) -> None: ...

    def transportFor(self, successor: IProtocol) -> MemoryTransport: ...


class MemoryStream(Exchange):
    """
    A `server.stream.ServerStream` in memory. Clients have a `MemoryExchange`.

    :ivar incoming: the request's body.
    :ivar interims: the interim responses so far.
    :ivar transport: that another protocol was given; None: none was.
    """

    head: MemoryHead
    user: StreamUser | None = None

    def __init__(self, number: int, head: MemoryHead, framing: Framing, carrier: StreamCarrier) -> None:
        super().__init__(number, head)
        self.framing = framing
        self._carrier = carrier
        self.incoming = IncomingBody(framing.length, carrier.settings.limits.maxBodyBytes, self._bodyFailed)
        self.withheld = head.expected.expects_continue
        self.interims: list[ParsedResponse] = []
        self.transport: MemoryTransport | None = None
        self.answered = self.over = self.completed = False
        self.excess = 0
        self.remaining: int | None = None
        self._concluded = False
        self._fields = NO_HEADERS
        self._sent = bytearray()
        self._responseTrailers = NO_HEADERS
        self._stalled = False
        #: Bytes of the response that the client has taken.
        self._taken = 0
        self._waiters: list[Deferred[None]] = []
        self._alarms: dict[Deadline, object] = {}
        self.started = self.clock.seconds()

    # -- where it is ---------------------------------------------------------------------------------------------------

    @property
    def connection(self) -> IConnection:
        """See `ServerStream.connection`."""
        return cast(IConnection, self._carrier)

    @property
    def settings(self) -> ServerSettings:
        """See `ServerStream.settings`."""
        return self._carrier.settings

    @property
    def clock(self) -> IReactorTime:
        """See `ServerStream.clock`."""
        return self._carrier.clock

    @property
    def expectedPersistence(self) -> Persistence:
        """See `ServerStream.expectedPersistence`."""
        return _KEEP

    # -- the request's body --------------------------------------------------------------------------------------------

    @property
    def trailers(self) -> Headers:  # type: ignore[override]
        """See `ServerStream.trailers`."""
        return self.incoming.trailers

    @property
    def unread(self) -> bool:
        """See `ServerStream.unread`."""
        return self.incoming.unread

    @property
    def consumed(self) -> bool:
        """See `ServerStream.consumed`."""
        return self.incoming.consumed

    def accept(self) -> None:
        """See `ServerStream.accept`."""
        if self.over:
            raise LocalProtocolError("the request has been answered")
        if self.withheld:
            self.withheld = False
            if not self.answered:
                self.interims.append(ParsedResponse(100, NO_HEADERS, b""))

    def take_body(self) -> bytes | None:
        """See `ServerStream.take_body`."""
        return None if self.over else self._received(self.incoming.takeWhole())

    def _received(self, data: bytes | None) -> bytes | None:
        self.bytes_received += len(data or b"")
        return data

    def readBody(self, receiver: BodyReceiver) -> None:
        """See `ServerStream.readBody`."""
        if self.over:
            raise LocalProtocolError("the request has been answered")
        self.accept()
        self.disarm(Deadline.EXPECTATION)
        self.incoming.readInto(receiver)
        self.bytes_received = self.incoming.delivered

    def pauseBody(self) -> None:
        """See `ServerStream.pauseBody`."""
        self.incoming.pause()

    def abandon_body(self) -> None:
        """See `ServerStream.abandon_body`."""
        self.incoming.discard()

    def _bodyFailed(self, receiver: BodyReceiver | None, error: RemoteProtocolError) -> None:
        """What is read, or thrown away, will never come: it is answered for it, unless a response has begun."""
        if not self.answered:
            self.refuse(error)
        elif not self.over and error.breaks_response:
            self.abort()
        if receiver is not None:
            receiver.failed(error)
        if self.over and not self._concluded:  # else the application has ended the response by now
            handling.cancel(self, Failure(error))
            self.conclude()

    def refuse(self, error: RemoteProtocolError) -> None:
        """Answer a fault of the client's."""
        self.error = error.fact()
        self.respond(error.status, *error_response(error))

    # -- the response --------------------------------------------------------------------------------------------------

    def respond(self, status: int, fields: ResponseFields, body: bytes) -> int:
        """See `ServerStream.respond`."""
        bodiless = self.method == b"HEAD" or status in BODILESS_STATUSES
        if not bodiless and fields.length is not None and fields.length != len(body):
            self.start(status, fields, fields.length)
            self.write(body)
            self.finish()
            return self.excess
        length = fields.length if bodiless and fields.length is not None else len(body)
        self._begin(status, fields, length if length or not bodiless else None)
        self.response_framing = None
        if not bodiless:
            self._send(body)
        self._complete()
        return len(body) if bodiless and self.method != b"HEAD" else 0

    def start(
        self,
        status: int,
        fields: ResponseFields = NO_FIELDS,
        length: int | None = None,
        trailers: Sequence[bytes] = (),
    ) -> None:
        """See `ServerStream.start`."""
        if length is None:
            length = fields.length
        self._begin(status, fields, length)
        if self.method == b"HEAD" or status in BODILESS_STATUSES:
            self.response_framing = _BODILESS
        else:
            self.remaining = length
            self.response_framing = UNKNOWN if length is None else Framing(Delimiter.LENGTH, length, "", "")
        self.responded = self.clock.seconds()

    def _begin(self, status: int, fields: ResponseFields, length: int | None) -> None:
        if self.answered or not 200 <= status < 600:
            self._cannotAnswer(status)
        pairs = list(fields.pairs)
        if length is not None and status != 204:
            pairs.append((b"Content-Length", b"%d" % length))
        if status == 426 and fields.upgrade:
            pairs.append((b"Upgrade", fields.upgrade))
        self.answered = True
        self.withheld = False
        if self.incoming.unread:  # nothing will ask for it any more
            self.incoming.discard()
        self.status = status
        self.persistence = self._carrier.decide(self.user, ASKED_BY_US if fields.asks_close else _KEEP)
        self._fields = Headers(pairs)

    def _cannotAnswer(self, status: int) -> NoReturn:
        if self.answered:
            raise LocalProtocolError("the request has been answered")
        raise LocalProtocolError(f"not the status of a final response: {status}")

    def write(self, data: bytes) -> None:
        """See `ServerStream.write`."""
        self._streaming("body data")
        if self.response_framing is _BODILESS:
            self.excess += len(data)
            return
        if self.remaining is not None:
            self.excess += max(0, len(data) - self.remaining)
            data = data[: self.remaining]
            self.remaining -= len(data)
        self._send(data)

    def _send(self, data: bytes) -> None:
        self.bytes_sent += len(data)
        self._sent += data
        if not self._stalled:
            self._taken = len(self._sent)

    def finish(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """See `ServerStream.finish`."""
        self._streaming("the end of a body")
        if self.remaining:
            self.abort()
            return
        self._responseTrailers = Headers(trailers)
        self._complete()

    def _streaming(self, what: str) -> None:
        if self.over or not self.answered:
            raise LocalProtocolError(f"{what}: no response is under way")

    def _complete(self) -> None:
        self.over = self.completed = True
        self.incoming.discard()

    def abort(self) -> None:
        """See `ServerStream.abort`."""
        self.answered = self.over = True
        self.incoming.discard()

    def interim(self, status: int, fields: ResponseFields = NO_FIELDS) -> None:
        """See `ServerStream.interim`."""
        if self.answered or not 102 <= status < 200:
            raise LocalProtocolError(f"not an interim response: {status}")
        self.interims.append(ParsedResponse(status, Headers(fields.pairs), b""))

    def switchTo(self, protocol: bytes, fields: ResponseFields, successor: IProtocol) -> None:
        """See `ServerStream.switchTo`."""
        if protocol.lower() not in (name.lower() for name in self.head.upgrades):
            raise LocalProtocolError(f"the client did not offer {protocol!r}")
        if self.answered or not self.consumed:
            raise LocalProtocolError("the request is answered, or not complete")
        self.answered = self.over = self.completed = True
        self.status = 101
        self._fields = Headers(fields.pairs)
        self.conclude()
        self.transport = self._carrier.transportFor(successor)

    def handle(self, request: StreamUser, result: object) -> None:
        """See `ServerStream.handle`."""
        assert isinstance(request, Request)
        try:
            handling.answer(request, result)
        except BaseException:
            handling.fail(request, Failure())

    def conclude(self) -> None:
        """See `ServerStream.conclude`."""
        if self._concluded:
            return
        self._concluded = True
        self.disarm(Deadline.EXPECTATION)
        user, self.user = self.user, None
        if user is not None:
            user.streamConcluded(self.connection)
        self.ended = self.clock.seconds()
        self._carrier.finished(self)

    # -- flow ----------------------------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """See `ServerStream.congested`."""
        return not self.over and len(self._sent) - self._taken > _HIGH_WATER

    def whenWritable(self) -> Deferred[None]:
        """See `ServerStream.whenWritable`."""
        if self.over:
            return fail(LocalProtocolError("nothing more is sent"))
        if not self.congested:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    @property
    def sendsFiles(self) -> bool:
        """See `ServerStream.sendsFiles`: there is no kernel here."""
        return False

    def sendFile(self, descriptor: int, offset: int, count: int) -> int:
        """See `ServerStream.sendFile`."""
        raise OSError("a stream in memory sends no files")

    def flush(self) -> None:
        """See `ServerStream.flush`: nothing is kept back."""

    # -- time ----------------------------------------------------------------------------------------------------------

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """See `ServerStream.arm`."""
        self.disarm(deadline)
        if seconds:
            self._alarms[deadline] = self.clock.callLater(seconds, self._expired, deadline)

    def disarm(self, deadline: Deadline) -> None:
        """See `ServerStream.disarm`."""
        alarm = self._alarms.pop(deadline, None)
        if alarm is not None:
            alarm.cancel()  # type: ignore[attr-defined]

    def _expired(self, deadline: Deadline) -> None:
        del self._alarms[deadline]
        if self.withheld and not self.over:
            self.overdue = True
            self.accept()

    # -- what the client does and sees ---------------------------------------------------------------------------------

    @property
    def response(self) -> ParsedResponse | None:
        """The final response, as far as the client has taken it."""
        if self.status is None or self.status == 101:
            return None
        # The end of a body of a stated length, or of none, can be seen before it is said.
        ends = self.completed or self.remaining == 0 or self.response_framing is _BODILESS
        whole = ends and self._taken == len(self._sent)
        body = bytes(self._sent[: self._taken])
        trailers = self._responseTrailers if whole else NO_HEADERS
        return ParsedResponse(self.status, self._fields, body, trailers, complete=whole)

    def receive(self, data: bytes) -> None:
        """Some of the request's body comes."""
        self.withheld = False
        self.incoming.receive(data)
        self.bytes_received = self.incoming.delivered

    def receiveEnd(self, trailers: Headers) -> None:
        """The request's body ends."""
        self.withheld = False
        missing = self.incoming.missing
        if missing:
            self.incoming.fail(incomplete_body())
        else:
            self.incoming.end(trailers)

    def stall(self) -> None:
        """The client stops reading."""
        self._stalled = True

    def resume(self) -> None:
        """The client reads all that comes."""
        self._stalled = False
        self._taken = len(self._sent)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def cancel(self, reason: Failure) -> None:
        """The client has gone."""
        if not self.over:
            self.answered = self.over = True
            self._stalled = True
            handling.cancel(self, reason)
            self.incoming.discard()
            self.conclude()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(reason)


def tooLarge(stream: MemoryStream) -> BodyTooLarge | None:
    """The refusal of a request whose stated length is beyond the limit."""
    limit, length = stream.settings.limits.maxBodyBytes, stream.framing.length
    return BodyTooLarge(limit) if limit and length is not None and length > limit else None
