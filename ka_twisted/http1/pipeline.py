"""
One exchange, and the order in which exchanges share their connection.

Responses leave in the order of their requests, always. Light requests (safe, without a body or an Upgrade) run side by
side; any other waits until all before it are answered, and those behind it wait for it (RFC 9112 9.3.2, ledger N-02).
"""

from __future__ import annotations

from typing import Any

from ..core import exchange as core_exchange
from ..core.headers import NO_HEADERS, Headers
from .incoming import BodyReader
from .messages import RequestFields, RequestHead
from .outgoing import BodyWriter
from .states import Answer, Body, Expectation

# Before Python 3.12 it takes a while to find a member of an Enum by its name.
_AWAITED, _STREAMING = Answer.AWAITED, Answer.STREAMING


class Exchange(core_exchange.Exchange):
    """
    A request and what becomes of it, over HTTP/1.

    Written to by its `server.ServerConnection` alone, but for `owner`, `started`, `responded`, `ended` and `flowing`.
    """

    head: RequestHead
    #: Who takes the request body.
    body: Body = Body.ABSENT
    #: The 100-continue handshake.
    handshake: Expectation = Expectation.NONE
    #: How far the response is.
    answer: Answer
    #: Whether the application can take bytes of the body now.
    flowing: bool = False
    reader: BodyReader | None = None
    writer: BodyWriter | None = None
    #: Output that waits for earlier responses; None: it goes out directly.
    held: list[bytes] | None
    #: Whatever the connection's owner keeps with it.
    owner: Any

    def __init__(self, number: int, head: RequestHead) -> None:
        self.number = number
        self.head = head
        self.answer = _AWAITED
        self.held = self.owner = None
        self.responded = 0.0
        self.depth = 1

    @property
    def http11(self) -> bool:
        """Whether the client speaks HTTP/1.1 or later, not 1.0."""
        return self.head.http11

    @property
    def fields(self) -> RequestFields | None:
        """What the header section means; None where it could not be read."""
        return self.head.fields

    @property
    def trailers(self) -> Headers:  # type: ignore[override]
        """The trailer section of a complete body."""
        return NO_HEADERS if self.reader is None else self.reader.trailers

    @property
    def answered(self) -> bool:
        """Whether a final response has begun, or is not wanted any more."""
        return self.answer is not _AWAITED

    @property
    def over(self) -> bool:
        """Whether nothing more will be written."""
        return self.answer is not _AWAITED and self.answer is not _STREAMING


class Pipeline:
    """
    The exchanges in service, oldest first, and the bytes of their responses in the order of their requests.

    :ivar output: bytes that may leave now; None when there are none: an idle connection holds nothing.
    :ivar held_bytes: bytes that wait for earlier responses.
    """

    __slots__ = ("exchanges", "held_bytes", "output")

    def __init__(self) -> None:
        self.exchanges: tuple[Exchange, ...] = ()
        self.output: list[bytes] | None = None
        self.held_bytes = 0

    def admits(self, exchange: Exchange, depth: int) -> bool:
        """Whether the exchange may start beside those in service."""
        exchanges = self.exchanges
        return not exchanges or (
            len(exchanges) < depth and exchanges[-1].head.pipelinable and exchange.head.pipelinable
        )

    def put(self, exchange: Exchange, parts: list[bytes]) -> None:
        """Add bytes to the response of an exchange."""
        if exchange.held is None:
            if self.output is None:
                self.output = parts
            else:
                self.output += parts
        else:
            exchange.held += parts
            self.held_bytes += sum(map(len, parts))

    def add(self, exchange: Exchange) -> None:
        """Take an exchange into service, behind the others."""
        if self.exchanges:
            exchange.held = []
            exchange.depth = len(self.exchanges) + 1
        self.exchanges += (exchange,)

    def next_first(self) -> Exchange | None:
        """Remove the oldest exchange, which is over; the next one's bytes may leave."""
        self.exchanges = self.exchanges[1:]
        if not self.exchanges:
            return None
        first = self.exchanges[0]
        if first.held is not None:
            self.held_bytes -= sum(map(len, first.held))
            held, first.held = first.held, None
            self.put(first, held)
        return first

    def drop(self, place: int) -> tuple[Exchange, ...]:
        """Take out the exchanges from this place on."""
        dropped = self.exchanges[place:]
        self.exchanges = self.exchanges[:place]
        self.held_bytes -= sum(len(part) for other in dropped for part in other.held or ())
        return dropped

    def take_output(self) -> list[bytes]:
        """The bytes that may leave now, handed over."""
        output, self.output = self.output, None
        return output or []
