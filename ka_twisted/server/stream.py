"""
The seam: one exchange as requests, handlers and bodies see it, whatever carries it.

`Request`, `handling`, bodies, the push writer and upgrades are written against `ServerStream` and
`interfaces.IConnection`, and nothing else. HTTP/1's is `http1_stream.Http1Stream`; the one in memory is public in
`testing`. A stream is also its `core.exchange.Exchange`: the facts.

What `http1` or another sans-IO layer provides is in snake_case; what needs a transport or a clock in Twisted's
camelCase. Responses leave when the connection comes to rest: an answer that is given outside of a call from the
connection is followed by `flush`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.python.failure import Failure

from ..config import Limits, Timeouts
from ..core.deadlines import Deadline
from ..core.errors import RemoteProtocolError
from ..core.exchange import RequestHead
from ..core.framing import Framing
from ..core.headers import Headers, ResponseFields
from ..core.persistence import Persistence
from ..interfaces import IConnection


def apart(reason: Failure) -> Failure:
    """
    The reason why a connection was lost, as an exception of its own.

    Twisted gives the same exception to all that lose their connections. Raised by each that waits for something, it
    would keep the frames of all of them, for ever.
    """
    value = reason.value
    assert value is not None
    kind = type(value)
    own: BaseException = kind.__new__(kind, *value.args)
    own.__dict__.update(value.__dict__)
    own.__dict__.pop("__failure__", None)  # Twisted's, of one that has been awaited
    return Failure(own)


class BodyReceiver(Protocol):
    """Takes a request's body as it comes; see `ServerStream.readBody`."""

    def received(self, data: bytes) -> None:
        """Some of it, at least a byte. Nothing more comes before it is asked for again."""

    def ended(self) -> None:
        """Its end."""

    def failed(self, error: BaseException) -> None:
        """The end will never come. The first reason stands."""


class StreamUser(Protocol):
    """Who answers on a stream: it is told once, either way."""

    def streamConcluded(self, connection: IConnection) -> None:
        """Nothing more will be written, and the stream forgets its connection."""

    def streamCancelled(self, reason: Failure) -> None:
        """The client does not wait for the response any more, or will never get it; `streamConcluded` follows."""


class StreamSettings(Protocol):
    """What is asked of the settings of a stream."""

    @property
    def timeouts(self) -> Timeouts:
        """How long the application may take."""

    @property
    def limits(self) -> Limits:
        """How much is read away, and held."""


class ServerStream(Protocol):
    """
    One exchange of a server.

    Methods raise `LocalProtocolError` where the state of the exchange does not allow them.

    :ivar user: what is to be told of its end; None: nothing.
    :ivar responded: when the head of a response was made whose body followed it.
    """

    user: StreamUser | None

    # -- facts: see `core.exchange.Exchange` ---------------------------------------------------------------------------

    number: int
    responded: float

    @property
    def head(self) -> RequestHead: ...

    @property
    def method(self) -> bytes: ...

    @property
    def target(self) -> bytes: ...

    @property
    def version(self) -> str: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def trailers(self) -> Headers: ...

    @property
    def framing(self) -> Framing: ...

    @property
    def response_framing(self) -> Framing | None: ...

    @property
    def persistence(self) -> Persistence | None: ...

    @property
    def status(self) -> int | None: ...

    @property
    def error(self) -> RemoteProtocolError | None: ...

    @property
    def bytes_sent(self) -> int: ...

    # -- where it is ---------------------------------------------------------------------------------------------------

    @property
    def connection(self) -> IConnection:
        """The connection that carries it."""

    @property
    def settings(self) -> StreamSettings:
        """What is set for it."""

    @property
    def clock(self) -> IReactorTime:
        """The reactor, or whatever keeps the time in its place."""

    @property
    def expectedPersistence(self) -> Persistence:
        """What becomes of the connection by an ordinary response to a request that is wholly read."""

    @property
    def answered(self) -> bool:
        """Whether a final response has begun, or is not wanted any more."""

    @property
    def over(self) -> bool:
        """Whether nothing more will be written."""

    @property
    def completed(self) -> bool:
        """Whether the response was written whole."""

    # -- the request's body --------------------------------------------------------------------------------------------

    @property
    def withheld(self) -> bool:
        """Whether the client waits for a decision before it sends the body (RFC 9110 10.1.1)."""

    @property
    def unread(self) -> bool:
        """Whether there is a body that has not been asked for, and is not being thrown away."""

    @property
    def consumed(self) -> bool:
        """Whether nothing of the body is left to be read."""

    def accept(self) -> None:
        """Invite a withheld body, once."""

    def take_body(self) -> bytes | None:
        """The whole of a body whose length is known and that is in hand, consumed; None for any other."""

    def readBody(self, receiver: BodyReceiver) -> None:
        """Have the next bytes of the body delivered, once; a withheld body is invited."""

    def pauseBody(self) -> None:
        """Deliver nothing before `readBody` asks for it: the client is held back."""

    def abandon_body(self) -> None:
        """The rest of the body is not wanted."""

    # -- the response --------------------------------------------------------------------------------------------------

    def respond(self, status: int, fields: ResponseFields, body: bytes) -> int:
        """
        Answer with a whole response: 200 to 599.

        :return: bytes of the body that had no room in it, and were dropped; 0 for HEAD, which asks for none.
        """

    def start(
        self, status: int, fields: ResponseFields = ..., length: int | None = None, trailers: Sequence[bytes] = ()
    ) -> None:
        """
        Begin a response whose body follows.

        :param length: bytes of the body; None: not known.
        :param trailers: the names of the fields that will follow it.
        """

    def write(self, data: bytes) -> None:
        """Send some body. What is beyond a stated length is dropped, and counted in `excess`."""

    def finish(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """End the response; with fewer bytes than stated it is aborted instead."""

    def abort(self) -> None:
        """End the response unfinished, so that the client can tell."""

    def interim(self, status: int, fields: ResponseFields = ...) -> None:
        """Send an interim response, 102 to 199."""

    def switchTo(self, protocol: bytes, fields: ResponseFields, successor: IProtocol) -> None:
        """Leave HTTP: answer 101, and let another protocol have the transport."""

    def handle(self, request: StreamUser, result: object) -> None:
        """Answer a request with whatever a handler may return."""

    def conclude(self) -> None:
        """The application is done with it: tell its user and the observers, and `flush`. It then holds but facts."""

    @property
    def excess(self) -> int:
        """Bytes of the response's body that had no room in it."""

    # -- flow: with `write`, a sink for bodies (`net.bodies.Sink`) -----------------------------------------------------

    @property
    def remaining(self) -> int | None:
        """Bytes of a stated length that are still to come; None where no length is stated."""

    @property
    def congested(self) -> bool:
        """Whether the source of the body should wait for `whenWritable`."""

    def whenWritable(self) -> Deferred[None]:
        """Fires once more can be sent; fails when the connection is lost."""

    @property
    def sendsFiles(self) -> bool:
        """Whether the kernel could send the rest of the body from a file."""

    def sendFile(self, descriptor: int, offset: int, count: int) -> int:
        """
        Have the kernel send some of the body from a file.

        :return: bytes that went; 0 when the file has no more, or while the stream is `congested`.
        :raises OSError: when this file cannot be sent in this way.
        """

    def flush(self) -> None:
        """Send what was answered, and go on with what waited for it."""

    # -- time ----------------------------------------------------------------------------------------------------------

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """Let a deadline pass so many seconds from now; 0: never."""

    def disarm(self, deadline: Deadline) -> None:
        """Forget such a deadline."""
