"""A response that is pushed: written piece by piece, whenever the application has something."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer
from twisted.internet.task import cooperate
from zope.interface import implementer

from ..core.errors import LocalProtocolError
from ..core.headers import FieldText, trailer_fields
from .stream import ServerStream

#: What a registered producer may be.
Producer = IPushProducer | IPullProducer


@implementer(IConsumer)
class ResponseWriter:
    """
    The body of a response that `Request.start` has begun.

    Write, and `finish`. Whoever makes much of it waits for `whenWritable` while `congested`, or registers a producer,
    which is then paused and resumed. When the client has gone nothing is written any more, and nothing is raised: see
    `Request.finished`.
    """

    __slots__ = ("_ended", "_paused", "_producer", "_pulling", "_stream", "_trailers")

    def __init__(self, stream: ServerStream, trailers: Iterable[FieldText]) -> None:
        self._stream = stream
        self._trailers = tuple(trailers)
        self._producer: Producer | None = None
        self._pulling = False
        self._paused = False
        self._ended = False

    @property
    def congested(self) -> bool:
        """Whether the client does not take what is written, and whoever makes it should wait for `whenWritable`."""
        return not self._stream.over and self._stream.congested

    def whenWritable(self) -> Deferred[None]:
        """Fires once more can be sent: at once, unless `congested`; fails when the connection is lost."""
        if self.congested:
            return self._stream.whenWritable()
        ready: Deferred[None] = Deferred()
        ready.callback(None)
        return ready

    def write(self, data: bytes) -> None:
        """
        Send some of the body.

        :raises LocalProtocolError: after `finish` or `abort`; for anything but bytes.
        """
        if self._ended:
            raise LocalProtocolError("the response has been finished")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise LocalProtocolError(f"a body is made of bytes, not of {type(data).__name__}")
        if self._stream.over:
            return
        self._stream.write(bytes(data))
        if self._producer is not None and not self._pulling and not self._paused and self._stream.congested:
            self._paused = True
            cast(IPushProducer, self._producer).pauseProducing()
            self._stream.whenWritable().addCallbacks(self._resume, lambda _: None)

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
        self._end(lambda: self._stream.finish(pairs))

    def abort(self) -> None:
        """End the response unfinished, and with it the connection: the client can tell that it is not whole."""
        self._end(self._stream.abort)

    def _end(self, last: Callable[[], None]) -> None:
        if self._ended:
            raise LocalProtocolError("the response has been finished")
        self._ended = True
        self._producer = None
        if not self._stream.over:
            last()
            self._stream.conclude()
            self._stream.flush()

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
        """
        See `IConsumer.registerProducer`.

        :param streaming: whether it writes until it is paused (`IPushProducer`), or only when it is asked to
            (`IPullProducer`).
        :raises RuntimeError: while another one is registered.
        """
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if self._ended or self._stream.over:
            producer.stopProducing()
            return
        self._producer = producer
        self._pulling = not streaming
        if self._pulling:
            cooperate(self._pull(cast(IPullProducer, producer))).whenDone().addErrback(lambda _: None)

    def unregisterProducer(self) -> None:
        """See `IConsumer.unregisterProducer`."""
        self._producer = None

    def _pull(self, producer: IPullProducer) -> Iterable[Deferred[None] | None]:
        while self._producer is producer and not self._stream.over:
            producer.resumeProducing()
            yield self._stream.whenWritable() if self.congested else None

    def _resume(self, _: None) -> None:
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()
