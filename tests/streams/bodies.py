"""Bodies that the tests send, and that know what became of them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from tests.streams.providers import Service

PIECE = b"0123456789abcdef" * 512


class Source:
    """
    A body of so many pieces.

    :ivar made: pieces made so far.
    :ivar closed: how often it was let go.
    """

    def __init__(self, count: int, piece: bytes = PIECE) -> None:
        self.count = count
        self.piece = piece
        self.made = 0
        self.closed = 0

    @property
    def whole(self) -> bytes:
        return self.piece * self.count

    def iterator(self) -> Iterator[bytes]:
        try:
            while self.made < self.count:
                self.made += 1
                yield self.piece
        finally:
            self.closed += 1

    async def asynchronous(self) -> AsyncIterator[bytes]:
        try:
            while self.made < self.count:
                self.made += 1
                yield self.piece
        finally:
            self.closed += 1

    async def slow(self, service: Service) -> AsyncIterator[bytes]:
        """A second for each piece."""
        try:
            while self.made < self.count:
                await service.later(1)
                self.made += 1
                yield self.piece
        finally:
            self.closed += 1

    def file(self) -> CountedFile:
        return CountedFile(self)

    def producer(self, length: Any = UNKNOWN_LENGTH) -> Producer:
        return Producer(self, length)


class CountedFile(io.BytesIO):
    def __init__(self, source: Source) -> None:
        super().__init__(source.whole)
        self._source = source

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._source.made += len(data) // len(self._source.piece)
        return data

    def close(self) -> None:
        if not self.closed:
            self._source.closed += 1
        super().close()


@implementer(IBodyProducer)
class Producer:
    """Writes while it is not paused."""

    def __init__(self, source: Source, length: Any) -> None:
        self._source = source
        self.length = length
        self._paused = False
        self._consumer: Any = None
        self._done: Deferred[None] = Deferred()

    def startProducing(self, consumer: Any) -> Deferred[None]:
        self._consumer = consumer
        self._produce()
        return self._done

    def _produce(self) -> None:
        while not self._paused and self._source.made < self._source.count:
            self._source.made += 1
            self._consumer.write(self._source.piece)
        if self._source.made == self._source.count and not self._done.called:
            self._source.closed += 1
            self._done.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._produce()

    def stopProducing(self) -> None:
        self._paused = True
        self._source.closed += 1
