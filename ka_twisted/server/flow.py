"""Bodies of responses: an exchange of HTTP/1 as a `net.bodies.Sink`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..http1.pipeline import Exchange
from ..net import bodies
from ..net.bodies import BodySource

if TYPE_CHECKING:
    from .protocol import KeepAliveProtocol


class ExchangeSink:
    """What the body of a response is written to; see `net.bodies.Sink`."""

    __slots__ = ("_connection", "_exchange")

    def __init__(self, connection: KeepAliveProtocol, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange

    def write(self, data: bytes) -> None:
        """See `Sink.write`."""
        self._connection.writeBody(self._exchange, data)

    @property
    def congested(self) -> bool:
        """See `Sink.congested`."""
        return self._connection.congested(self._exchange)

    def whenWritable(self) -> Deferred[None]:
        """See `Sink.whenWritable`."""
        return self._connection.whenDrained(self._exchange)

    @property
    def sendsFiles(self) -> bool:
        """See `Sink.sendsFiles`."""
        return self._connection.sendsFiles(self._exchange)

    def sendFile(self, descriptor: int, offset: int, count: int) -> int:
        """See `Sink.sendFile`."""
        return self._connection.sendFile(self._exchange, descriptor, offset, count)

    @property
    def remaining(self) -> int | None:
        """See `Sink.remaining`."""
        writer = self._exchange.writer
        return 0 if writer is None else writer.remaining

    @property
    def clock(self) -> IReactorTime:
        """See `Sink.clock`."""
        return self._connection.factory.clock


def send(connection: KeepAliveProtocol, exchange: Exchange, body: BodySource) -> Deferred[None]:
    """Send the body of a response; see `net.bodies.send`."""
    return bodies.send(ExchangeSink(connection, exchange), body)


discard = bodies.discard
begun = bodies.begun
statedLength = bodies.statedLength
