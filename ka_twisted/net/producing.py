"""Bodies that write themselves: an `IBodyProducer`, and the producers that it may register in its place."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IProducer, IPullProducer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from .sinks import FAIR, Sink

_log = Logger()


@implementer(IConsumer)
class PacedConsumer:
    """
    Takes what producers write, on its way to a sink.

    While the sink is congested, a push producer is paused. A pull producer (`twisted.protocols.basic.FileSender`) is
    asked for more as long as the sink takes it.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._done = False
        self._push: IPushProducer | None = None
        self._pull: IPullProducer | None = None
        self._written = 0
        #: Whether the sink is congested, and `_resume` is called when it is not.
        self._paused = False
        #: Whether the pull producer was asked and has not written anything yet.
        self._asked = False
        self._call: IDelayedCall | None = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer.registerProducer`."""
        if self._done:
            producer.stopProducing()
            return
        self._push = cast(IPushProducer, producer) if streaming else None
        self._pull = None if streaming else cast(IPullProducer, producer)
        self._asked = False
        if self._pull is not None:
            self._pullLater()

    def unregisterProducer(self) -> None:
        """See `IConsumer.unregisterProducer`."""
        self._push = self._pull = None
        self._stopPulling()

    def write(self, data: bytes) -> None:
        """See `IConsumer.write`: what comes after the end is dropped."""
        if self._done:
            return
        self._written += len(data)
        self._sink.write(data if isinstance(data, bytes) else bytes(data))
        if self._asked:
            self._asked = False
            self._pullLater()
        elif self._push is not None and not self._paused and self._sink.congested:
            self._waitUntilWritable()
            self._push.pauseProducing()

    def producerFailed(self, failure: Failure) -> None:
        """A producer has raised when it was asked for more."""
        raise NotImplementedError

    def _waitUntilWritable(self) -> None:
        self._paused = True
        self._sink.whenWritable().addCallbacks(self._resume, lambda _: None)  # it fails when this will be cancelled

    def _resume(self, _: None) -> None:
        self._paused = False
        if self._push is None:
            self._pullSome()
            return
        try:
            self._push.resumeProducing()
        except BaseException:
            self.producerFailed(Failure())

    def _pullLater(self) -> None:
        if self._call is None and not self._paused:
            self._call = self._sink.clock.callLater(0, self._pullSome)

    def _pullSome(self) -> None:
        """Ask for more until the sink is congested, the producer writes nothing, or others are to have their turn."""
        self._stopPulling()
        enough = self._written + FAIR
        while self._pull is not None and not self._done:
            if self._sink.congested:
                self._waitUntilWritable()
                return
            if self._written >= enough:
                self._pullLater()
                return
            before = self._written
            try:
                self._pull.resumeProducing()
            except BaseException:
                self.producerFailed(Failure())
                return
            if self._written == before:
                self._asked = True  # it goes on when it has written
                return

    def _stopPulling(self) -> None:
        if self._call is not None:
            call, self._call = self._call, None
            if call.active():
                call.cancel()

    def _forget(self) -> None:
        """Take nothing more, and ask for nothing."""
        self._done = True
        self._push = self._pull = None
        self._stopPulling()


class ProducerConsumer(PacedConsumer):
    """What an `IBodyProducer` writes to. It is paused itself, or the push producer that it has registered is."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._body: Any = None
        self._sending: Deferred[Any] | None = None
        self._finished: Deferred[None] = Deferred(self._cancelled)

    def consume(self, body: IBodyProducer) -> Deferred[None]:
        """
        Have a body written to us.

        :return: fires when the body says that it is complete, fails with what it raises. Cancelling it stops the body.
        """
        self._body = self._push = body
        self._sending = maybeDeferred(_start, body, self)
        self._sending.addCallbacks(lambda _: self._end(None), self._end)
        self._pullSome()
        return self._finished

    def producerFailed(self, failure: Failure) -> None:
        """See `PacedConsumer.producerFailed`."""
        self._end(failure)
        self._stop()

    def _end(self, result: Failure | None) -> None:
        if self._done:  # what follows from being stopped
            return
        self._forget()
        if result is None:
            self._finished.callback(None)
        else:
            self._finished.errback(result)

    def _cancelled(self, _: Deferred[None]) -> None:
        self._forget()
        self._stop()

    def _stop(self) -> None:
        """Stop the body; what it raises is logged."""
        try:
            self._body.stopProducing()
        except BaseException:
            _log.failure("the body of a response could not be stopped: {body!r}", body=self._body)
        if self._sending is not None:
            self._sending.cancel()


def _start(body: IBodyProducer, consumer: IConsumer) -> Deferred[Any]:
    started = body.startProducing(consumer)
    if not isinstance(started, Deferred):
        raise TypeError(f"startProducing returns a Deferred, not {started!r}")
    return started
