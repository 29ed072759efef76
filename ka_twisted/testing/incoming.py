"""The body of a request in memory: pieces that wait until they are asked for."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import BodyTooLarge, LocalProtocolError, RemoteProtocolError
from ..core.headers import NO_HEADERS, Headers
from ..server.stream import BodyReceiver


class IncomingBody:
    """
    A body on its way from the client to the application.

    :param length: its bytes; None: not known.
    :param limit: bytes; a longer one fails with `BodyTooLarge`. 0: none.
    :param failed: is called when a read meets the failure of the body, and, with None, when one that is thrown away
        fails.
    :ivar delivered: bytes that were.
    :ivar trailers: of a body that has come whole.
    """

    def __init__(
        self, length: int | None, limit: int, failed: Callable[[BodyReceiver | None, RemoteProtocolError], None]
    ) -> None:
        self._failed = failed
        self._length = length
        self._limit = limit
        self._waiting = bytearray()
        self._came = 0
        self._ended = length == 0
        self._error: RemoteProtocolError | None = None
        self._receiver: BodyReceiver | None = None
        self._asked = self._discarded = False
        self.delivered = 0
        self.trailers = NO_HEADERS
        #: Whether nothing of it is left to be read.
        self.consumed = length == 0

    @property
    def unread(self) -> bool:
        """Whether it has not been asked for, and is not being thrown away."""
        return not (self._asked or self._discarded or self.consumed)

    @property
    def missing(self) -> bool:
        """Whether fewer bytes came than were stated."""
        return self._length is not None and self._came < self._length

    # The application.

    def takeWhole(self) -> bytes | None:
        """All of it, when its length is known and it is in hand; else None."""
        if self._length is None or self.missing or self.delivered or self._error is not None or self._discarded:
            return None
        data = bytes(self._waiting)
        self._waiting.clear()
        self.delivered = len(data)
        self._asked = self.consumed = True
        return data

    def readInto(self, receiver: BodyReceiver) -> None:
        """
        Deliver the next bytes, once.

        :raises LocalProtocolError: when it was thrown away.
        """
        if self._discarded:
            raise LocalProtocolError("the body is not there any more: it was not asked for in time")
        self._asked = True
        self._receiver = receiver
        self._deliver()

    def pause(self) -> None:
        """Deliver nothing before it is asked for."""
        self._receiver = None

    def discard(self) -> None:
        """The rest is not wanted."""
        self._discarded = True
        self._receiver = None
        self._waiting.clear()

    # The client.

    def receive(self, data: bytes) -> None:
        """Some bytes come; those beyond a stated length are none of it."""
        if self._length is not None:
            data = data[: self._length - self._came]
        self._came += len(data)
        if self._limit and self._came > self._limit and self._error is None:
            self._error = BodyTooLarge(self._limit)
        elif not self._discarded:
            self._waiting += data
        if self._length is not None and not self.missing:
            self._ended = True
        self._deliver()

    def end(self, trailers: Headers) -> None:
        """Its end comes."""
        self._ended = True
        self.trailers = trailers
        self._deliver()

    def fail(self, error: RemoteProtocolError) -> None:
        """The end will never come."""
        self._error = self._error or error
        self._deliver()

    def _deliver(self) -> None:
        receiver = self._receiver
        if receiver is None:
            if self._discarded and self._error is not None:
                self._failed(None, self._error)
            return
        if self._waiting:
            self._receiver = None
            data = bytes(self._waiting)
            self._waiting.clear()
            self.delivered += len(data)
            receiver.received(data)
        elif self._error is not None:
            self._receiver = None
            self._failed(receiver, self._error)
        elif self._ended:
            self._receiver = None
            self.consumed = True
            receiver.ended()
