"""
Bodies on their way out: taken from the application no faster than the connection takes them.

A body is an iterable or async iterable of ``bytes``, a binary file or anything else with a ``read``, or an
`IBodyProducer`. It is written to a `Sink`, whatever protocol that speaks.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, BinaryIO, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer

from ..core.errors import LocalProtocolError
from .files import FILE_CHUNK, descriptorAt
from .producing import ProducerConsumer
from .sinks import FAIR, Sink

__all__ = ["BodySource", "Sink", "begun", "discard", "isBody", "send", "statedLength"]

_log = Logger()
#: A body as an application may give it.
BodySource = AsyncIterable[bytes] | Iterable[bytes] | IBodyProducer | BinaryIO
#: Starts a coroutine; cancelling the Deferred cancels it.
Run = Callable[[Coroutine[Any, Any, None]], Deferred[None]]


def isBody(value: object) -> bool:
    """Whether this can be sent as a body, as far as can be told without reading it."""
    return isinstance(value, (AsyncIterable, Iterable)) or IBodyProducer.providedBy(value) or hasattr(value, "read")


def statedLength(body: object) -> int | None:
    """The length that an `IBodyProducer` states; None for anything else."""
    if not IBodyProducer.providedBy(body):
        return None
    length = cast(Any, body).length
    return None if length is UNKNOWN_LENGTH else int(length)


def send(sink: Sink, body: BodySource, run: Run = Deferred.fromCoroutine) -> Deferred[None]:
    """
    Send a body, and close it.

    :param run: starts the coroutine that takes an async body, which may await whatever that supports.
    :return: fires once all of it has been handed over; fails with what the body raised. What it raises when it is
        closed is logged instead: the body is out by then. Cancelling it stops the body.
    """
    if IBodyProducer.providedBy(body):
        return ProducerConsumer(sink).consume(body)
    if hasattr(body, "read") and not isinstance(body, AsyncIterable):
        return Deferred.fromCoroutine(_transfer(sink, cast(BinaryIO, body)))
    start = run if isinstance(body, AsyncIterable) else Deferred.fromCoroutine
    return start(_iterate(sink, body, _chunks(body)))


def discard(body: BodySource, run: Run = Deferred.fromCoroutine) -> Deferred[None]:
    """
    Let go of a body that will not be sent.

    :param run: as for `send`.
    :return: fires once it is closed; does not fail.
    """
    if IBodyProducer.providedBy(body):
        try:
            body.stopProducing()
        except BaseException:
            pass  # it never began, and need not know how to stop
    start = run if isinstance(body, AsyncIterable) else Deferred.fromCoroutine
    return start(_close(body))


async def begun(body: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
    """The same body, with its first piece made already."""
    chunks = body.__aiter__()
    try:
        first = await chunks.__anext__()
    except StopAsyncIteration:
        first = b""
    except BaseException:
        await _close(chunks)
        raise
    return _following(first, chunks)


async def _following(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for data in chunks:
            yield data
    finally:
        await _close(chunks)


def _chunks(body: Any) -> Iterator[bytes] | AsyncIterator[bytes]:
    if isinstance(body, AsyncIterable):
        return body.__aiter__()
    return iter(cast("Iterable[bytes]", body))


async def _iterate(sink: Sink, body: object, chunks: Iterator[bytes] | AsyncIterator[bytes]) -> None:
    taken = 0
    try:
        while True:
            try:
                data = await chunks.__anext__() if isinstance(chunks, AsyncIterator) else next(chunks)
            except (StopIteration, StopAsyncIteration):
                return
            if not isinstance(data, bytes):
                data = _bytes(data)
            sink.write(data)
            taken = await _paced(sink, taken + len(data))
    finally:
        await _close(chunks)
        if body is not chunks:
            await _close(body)


async def _paced(sink: Sink, taken: int) -> int:
    """
    Wait where the sink is congested, or others have waited long enough.

    :param taken: bytes that were written since the last wait.
    :return: the same, from now on.
    """
    if sink.congested:
        await sink.whenWritable()
        return 0
    if taken >= FAIR:
        await deferLater(sink.clock, 0)
        return 0
    return taken


async def _transfer(sink: Sink, file: BinaryIO) -> None:
    """Send a file: straight from the kernel where that can be done, else as it is read."""
    try:
        await _transferDirectly(sink, file)
    except BaseException:
        await _close(file)
        raise
    await _iterate(sink, file, _pieces(file, sink.remaining))


async def _transferDirectly(sink: Sink, file: BinaryIO) -> None:
    """Have the kernel send a file from where it stands, as far as it can, and leave it standing behind that."""
    direct = descriptorAt(file) if sink.sendsFiles else None
    if direct is None:
        return
    raw, descriptor, position = direct
    taken = 0
    try:
        while remaining := sink.remaining:
            try:
                sent = sink.sendFile(descriptor, position, min(remaining, FAIR))
            except OSError:
                return  # it cannot be done with this one
            position += sent
            if not sent and not sink.congested:
                return
            taken = await _paced(sink, taken + sent)
    finally:
        raw.seek(position)


def _pieces(file: BinaryIO, remaining: int | None) -> Iterator[bytes]:
    """What is to be sent of a file: no more than was stated, also when it has grown."""
    while remaining is None or remaining > 0:
        data = file.read(FILE_CHUNK if remaining is None else min(remaining, FILE_CHUNK))
        if data is None:
            raise LocalProtocolError("a body cannot be a file that does not block: it has nothing to be read now")
        if not data:
            return
        yield data
        if remaining is not None:
            remaining -= len(data)


def _bytes(data: object) -> bytes:
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise LocalProtocolError(f"a body is made of bytes, not of {type(data).__name__}")


async def _close(body: object) -> None:
    """
    Let a body release what it holds: generators and files.

    What it raises is logged: what had to be sent of it is sent, or has failed for a reason of its own.
    """
    close = getattr(body, "aclose", None) or getattr(body, "close", None)
    if close is None:
        return
    try:
        closing = close()
        if isinstance(closing, Awaitable):
            await closing
    except GeneratorExit:
        raise
    except BaseException:
        _log.failure("the body of a response could not be closed: {body!r}", body=body)
