"""A response that is pushed: written piece by piece, whenever the application has something."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProducer
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import LocalProtocolError
from ..core.headers import FieldText, trailer_fields
from ..net.producing import PacedConsumer
from .stream import ServerStream

_log = Logger()


def logExcess(size: int) -> None:
    """Say that an application has sent more than it stated, or a body where there is none (ledger D4-16)."""
    _log.error("{size} bytes of a response that has no room for them were dropped", size=size)


class ResponseWriter(PacedConsumer):
    """
    The body of a response that `Request.start` has begun.

    Write, and `finish`. An application that writes much waits for `whenWritable` while `congested`, or registers a
    producer, which is then paused and resumed. When the client has gone nothing is written any more, and nothing is
    raised: see `Request.finished`.
    """

    def __init__(self, stream: ServerStream, trailers: Iterable[FieldText], *, sendsTrailers: bool) -> None:
        super().__init__(stream)
        self._stream = stream
        self._trailers = tuple(trailers)
        self._sendsTrailers = sendsTrailers

    @property
    def congested(self) -> bool:
        """Whether the client does not take what is written, so that it is better to wait for `whenWritable`."""
        return not self._stream.over and self._stream.congested

    def whenWritable(self) -> Deferred[None]:
        """Fires once more can be sent: at once, unless `congested`; fails when the connection is lost."""
        return self._stream.whenWritable() if self.congested else succeed(None)

    def write(self, data: bytes) -> None:
        """
        Send some of the body.

        :raises LocalProtocolError: after `finish` or `abort`; for anything but bytes.
        """
        if self._done:
            raise LocalProtocolError("the response has been finished")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise LocalProtocolError(f"a body is made of bytes, not of {type(data).__name__}")
        if not self._stream.over:
            super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send some of the body, in pieces."""
        self.write(b"".join(data))

    def finish(self, trailers: Iterable[tuple[FieldText, FieldText]] = ()) -> None:
        """
        End the response. With fewer bytes than were stated it is aborted instead.

        :param trailers: values of the fields that `Request.start` was told of.
        :raises LocalProtocolError: when it has been ended before; for a trailer that was not announced.
        """
        pairs = trailer_fields(trailers, self._trailers)
        self._end(lambda: self._stream.finish(pairs if self._sendsTrailers else ()))

    def abort(self) -> None:
        """End the response unfinished, and with it the connection: the client can tell that it is not whole."""
        self._end(self._stream.abort)

    def _end(self, last: Callable[[], None]) -> None:
        if self._done:
            raise LocalProtocolError("the response has been finished")
        self._forget()
        stream = self._stream
        if stream.over:
            return
        if stream.excess and stream.method != b"HEAD":
            logExcess(stream.excess)
        last()
        stream.conclude()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        See `IConsumer.registerProducer`.

        :param streaming: whether it writes until it is paused (`IPushProducer`), or only when it is asked to
            (`IPullProducer`).
        :raises RuntimeError: while another one is registered.
        """
        if self._push is not None or self._pull is not None:
            raise RuntimeError("a producer is registered already")
        if self._stream.over:
            producer.stopProducing()
        else:
            super().registerProducer(producer, streaming)

    def stopProducer(self) -> None:
        """The client has gone: a producer that is registered is not needed any more. What it raises is logged."""
        producer = self._push or self._pull
        self.unregisterProducer()
        if producer is not None:
            try:
                producer.stopProducing()
            except BaseException:
                _log.failure("the producer of a response could not be stopped: {producer!r}", producer=producer)

    def producerFailed(self, failure: Failure) -> None:
        """A producer has raised: the response ends unfinished, unless it has ended."""
        _log.failure("the producer of a response failed", failure)
        if not self._done:
            self.abort()
