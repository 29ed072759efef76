"""A request body as the application reads it: nothing is read before it asks, nothing is held that it did not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed

from ..core.errors import BodyTooLarge, LocalProtocolError, ProtocolError
from ..core.headers import Headers
from ..http1.exchange import Exchange
from ..http1.states import Body

if TYPE_CHECKING:
    from .protocol import KeepAliveProtocol


class RequestBody:
    """
    The bytes of one request body.

    Iterate over it with ``async for``, or use `readChunk` and `read`. The first read invites a body that the client
    withholds (RFC 9110 10.1.1). While nobody reads, the client is held back by the transport's flow control.
    """

    __slots__ = ("_connection", "_error", "_exchange", "_pushed_back", "_waiting")

    def __init__(self, connection: KeepAliveProtocol, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._waiting: Deferred[bytes] | None = None
        self._error: BaseException | None = None
        self._pushed_back = b""

    @property
    def trailers(self) -> Headers:
        """The trailer section, once the body has been read to its end. Never merged into the headers."""
        return self._exchange.trailers

    def readChunk(self) -> Deferred[bytes]:
        """
        The next bytes, as many as there are; empty at the end.

        :return: fails with `IncompleteBody` or another `RemoteProtocolError` when the body breaks off or breaks its
            framing, with ``ConnectionLost`` when the peer has gone; `LocalProtocolError` while another read is under
            way, or after the response.
        """
        if self._pushed_back:
            data, self._pushed_back = self._pushed_back, b""
            return succeed(data)
        if self._error is not None:
            return fail(self._error)
        exchange = self._exchange
        if exchange.body in (Body.ABSENT, Body.READ):
            return succeed(b"")
        if self._waiting is not None:
            return fail(LocalProtocolError("the body is being read already"))
        waiting: Deferred[bytes] = Deferred(self._cancel)
        self._waiting = waiting
        try:
            self._connection.readBody(exchange)
        except ProtocolError as error:
            self._waiting = None
            return fail(error)
        return waiting

    def read(self, limit: int | None = None) -> Deferred[bytes]:
        """
        The whole body.

        :param limit: in bytes; a longer body fails with `BodyTooLarge`, which a handler may let pass: it is
            answered 413, and a withheld body is not invited.
        """
        exchange = self._exchange
        announced = exchange.framing.length
        if limit is not None and announced is not None and announced > limit:
            return fail(BodyTooLarge(limit))
        if announced == 0:
            return succeed(b"")
        if not self._pushed_back and (whole := self._connection.core.take_whole_body(exchange)) is not None:
            return succeed(whole)
        return Deferred.fromCoroutine(self._readAll(limit))

    async def _readAll(self, limit: int | None) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while data := await self.readChunk():
            size += len(data)
            if limit is not None and size > limit:
                self._connection.core.abandon_body(self._exchange)
                raise BodyTooLarge(limit)
            pieces.append(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pushBack(self, data: bytes) -> None:
        """Have these bytes be read again, before any others."""
        self._pushed_back = data + self._pushed_back

    def __aiter__(self) -> RequestBody:
        return self

    async def __anext__(self) -> bytes:
        data = await self.readChunk()
        if not data:
            raise StopAsyncIteration
        return data

    def _cancel(self, waiting: Deferred[bytes]) -> None:
        """The reader does not want to wait any more; the body stays where it is."""
        self._exchange.flowing = False
        self._waiting = None

    # What the connection tells.

    def received(self, data: bytes) -> None:
        """Bytes came; nothing more is delivered before somebody asks."""
        self._exchange.flowing = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(data)
        else:
            self.pushBack(data)

    def ended(self) -> None:
        """The end came."""
        self.received(b"")

    def failed(self, error: BaseException) -> None:
        """The end will never come. The first reason stands."""
        if self._error is None:
            self._error = error
        self._exchange.flowing = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(error)
