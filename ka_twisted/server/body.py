"""A request body as the application reads it: nothing is read before it asks, nothing is held that it did not take."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from ..core.errors import BodyTooLarge, LocalProtocolError, ProtocolError
from ..core.headers import Headers
from .stream import ServerStream


class RequestBody:
    """
    The bytes of one request body.

    Iterate over it with ``async for``, or use `readChunk` and `read`. The first read invites a body that the client
    withholds (RFC 9110 10.1.1). While nothing is read, the client is held back by flow control.
    """

    __slots__ = ("_error", "_pushed_back", "_stream", "_waiting")

    def __init__(self, stream: ServerStream) -> None:
        self._stream = stream
        self._waiting: Deferred[bytes] | None = None
        self._error: BaseException | None = None
        self._pushed_back = b""

    @property
    def trailers(self) -> Headers:
        """The trailer section, once the body has been read to its end. Never merged into the headers."""
        return self._stream.trailers

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
        if self._stream.consumed:
            return succeed(b"")
        if self._waiting is not None:
            return fail(LocalProtocolError("the body is being read already"))
        waiting: Deferred[bytes] = Deferred(self._cancel)
        self._waiting = waiting
        try:
            self._stream.readBody(self)
        except ProtocolError as error:
            self._waiting = None
            return fail(error)
        return waiting

    def read(self, limit: int | None = None) -> Deferred[bytes]:
        """
        The whole body.

        :param limit: in bytes; a longer body fails with `BodyTooLarge`, which a handler may let pass: it is answered
            413, and a withheld body is not invited.
        """
        stream = self._stream
        stated = stream.framing.length
        if limit is not None and stated is not None and stated > limit:
            return fail(BodyTooLarge(limit))
        if stated == 0:
            return succeed(b"")
        if not self._pushed_back and (whole := stream.take_body()) is not None:
            return succeed(whole)
        return Deferred.fromCoroutine(self._readAll(limit))

    async def _readAll(self, limit: int | None) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while data := await self.readChunk():
            size += len(data)
            if limit is not None and size > limit:
                self._stream.abandon_body()
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
        self._stream.pauseBody()
        self._waiting = None

    # -- what the stream tells: see `stream.BodyReceiver` --------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes came; nothing more is delivered before the next read."""
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
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(error)
