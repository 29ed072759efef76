"""Bodies on their way out: taken from the application no faster than the client takes them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.task import deferLater
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ..core.errors import LocalProtocolError
from ..http1.pipeline import Exchange
from .response import FILE_CHUNK, BodySource

if TYPE_CHECKING:
    from .protocol import KeepAliveProtocol

#: Bytes that a body that never waits may hand over before the reactor gets a turn.
_FAIR = 1 << 20


def send(connection: KeepAliveProtocol, exchange: Exchange, body: BodySource) -> Deferred[None]:
    """
    Send a body.

    :return: fires once all of it has been handed over; fails with what the body raised. Cancelling it stops the body.
    """
    if IBodyProducer.providedBy(body):
        return _Consumer(connection, exchange).consume(body)
    if hasattr(body, "read") and not isinstance(body, AsyncIterable):
        return Deferred.fromCoroutine(_transfer(connection, exchange, cast(BinaryIO, body)))
    return Deferred.fromCoroutine(_iterate(connection, exchange, body))


def discard(body: BodySource) -> Deferred[None]:
    """Let go of a body that will not be sent."""
    if IBodyProducer.providedBy(body):
        try:
            body.stopProducing()
        except Exception:
            pass  # it never began, and need not know how to stop
    return Deferred.fromCoroutine(_close(body, body))


def producerLength(body: BodySource) -> int | None:
    """The length that an `IBodyProducer` states; None for anything else."""
    if not IBodyProducer.providedBy(body):
        return None
    length = body.length
    return None if length is UNKNOWN_LENGTH else int(length)


async def _iterate(connection: KeepAliveProtocol, exchange: Exchange, body: BodySource) -> None:
    chunks = _chunks(body)
    taken = 0
    try:
        while True:
            try:
                data = await chunks.__anext__() if isinstance(chunks, AsyncIterator) else next(chunks)
            except (StopIteration, StopAsyncIteration):
                return
            if not isinstance(data, bytes):
                data = _bytes(data)
            connection.writeBody(exchange, data)
            taken += len(data)
            if connection.congested(exchange):
                await connection.whenDrained(exchange)
                taken = 0
            elif taken >= _FAIR:
                await deferLater(connection.factory.clock, 0)
                taken = 0
    finally:
        await _close(body, chunks)


async def _transfer(connection: KeepAliveProtocol, exchange: Exchange, file: BinaryIO) -> None:
    """Send a file: straight from the kernel where that can be done, else as it is read."""
    assert exchange.writer is not None
    try:
        try:
            await _transferDirectly(connection, exchange, file)
        except OSError:
            pass  # it cannot be done with this one
        await _iterate(connection, exchange, _pieces(file, exchange.writer.remaining))
    finally:
        file.close()


async def _transferDirectly(connection: KeepAliveProtocol, exchange: Exchange, file: BinaryIO) -> None:
    """
    Have the kernel send a file from where it stands, as far as it can, and leave it standing behind that.

    :raises OSError: when it cannot be sent in this way.
    """
    assert exchange.writer is not None
    if not connection.sendsFiles(exchange):
        return
    descriptor, position = file.fileno(), file.tell()
    taken = 0
    try:
        while rest := exchange.writer.remaining:
            sent = connection.sendFile(exchange, descriptor, position, min(rest, _FAIR))
            position += sent
            taken += sent
            if connection.congested(exchange):
                await connection.whenDrained(exchange)
                taken = 0
            elif not sent:
                return
            elif taken >= _FAIR:
                await deferLater(connection.factory.clock, 0)
                taken = 0
    finally:
        file.seek(position)


def _pieces(file: BinaryIO, rest: int | None) -> Iterator[bytes]:
    """What is to be sent of a file: no more than was stated, also when it has grown."""
    while rest is None or rest > 0:
        data = file.read(FILE_CHUNK if rest is None else min(rest, FILE_CHUNK))
        if not data:
            return
        yield data
        if rest is not None:
            rest -= len(data)


async def begun(body: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
    """The same body, with its first piece made already."""
    chunks = body.__aiter__()
    try:
        first = await chunks.__anext__()
    except StopAsyncIteration:
        first = b""
    return _following(first, chunks)


async def _following(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for data in chunks:
            yield data
    finally:
        await _close(chunks, chunks)


def _chunks(body: Any) -> Iterator[bytes] | AsyncIterator[bytes]:
    if isinstance(body, AsyncIterable):
        return body.__aiter__()
    return iter(cast("Iterable[bytes]", body))


def _bytes(data: object) -> bytes:
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise LocalProtocolError(f"a body is made of bytes, not of {type(data).__name__}")


async def _close(body: Any, chunks: Any) -> None:
    """Let the body release what it holds: generators and files."""
    for thing in (chunks, body) if body is not chunks else (chunks,):
        close = getattr(thing, "aclose", None) or getattr(thing, "close", None)
        if close is not None:
            closing = close()
            if isinstance(closing, Awaitable):
                await closing


@implementer(IConsumer)
class _Consumer:
    """What an `IBodyProducer` writes to."""

    def __init__(self, connection: KeepAliveProtocol, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._producer: IPushProducer | None = None
        self._paused = False

    def consume(self, body: IBodyProducer) -> Deferred[None]:
        """Have the body written to us."""
        self._producer = cast(IPushProducer, body)
        sending: Deferred[None] = body.startProducing(self)

        def stop(_: Deferred[None]) -> None:
            body.stopProducing()
            sending.cancel()

        finished: Deferred[None] = Deferred(stop)
        sending.chainDeferred(finished)
        return finished

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A body may name another producer to be paused in its place."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Nothing is left to be paused."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """Send bytes; the producer is paused when the client does not take them."""
        if self._exchange.over:
            return
        self._connection.writeBody(self._exchange, data)
        if self._producer is not None and not self._paused and self._connection.congested(self._exchange):
            self._paused = True
            self._producer.pauseProducing()
            self._connection.whenDrained(self._exchange).addCallbacks(self._resume, lambda _: None)

    def _resume(self, _: None) -> None:
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()
