"""
What runs in a worker: the service of one process, on sockets that its supervisor listens on.

It does what it is told on its channel, and ends when that is closed: without a supervisor nothing would stop it.
Started as ``python -m ka_twisted.service.workers.worker REACTOR``, with descriptors as `process` hands them over.
"""

from __future__ import annotations

import base64
import faulthandler
import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from ...observe.directives import makeFormat
from ...observe.linefile import BLOCK, LineFile
from ...observe.outputs import NonBlocking
from ..configuration.values import Configuration
from ..errors import RECOVERABLE, oneLine
from ..listening.balance import LoadTable, Share
from ..systemd.journal import details
from .channel import Channel, Message, attach
from .frames import FrameWriter
from .usage import residentBytes

#: The descriptors of a worker. On one of them come those of the listeners, once it has loaded its applications.
STDERR, CHANNEL, LOG, LOAD_TABLE, SOCKETS, ACCESS_LOG = 2, 3, 4, 5, 6, 7
#: Descriptors that one message on the socket for them carries, at most (SCM_MAX_FD).
SOCKETS_AT_ONCE = 250
#: Seconds between two reports of the load, at most. They also show that the event loop is not blocked.
_LOAD = 1.0
#: Reports within the time for which the event loop may be blocked, at least.
CHECKS = 5
#: Seconds for the last reports to be sent.
_CLOSE_GRACE = 2.0
#: Seconds for the connections of a worker without a supervisor, where a drain has no deadline.
_ORPHANED = 30.0
#: Closed connections whose records are left behind.
_RECORDS = 200

#: Characters of one text in a log event.
_LONGEST = 1 << 22

_log = Logger()


class Worker:
    """
    Serves as its supervisor commands.

    :param reactor: provides what a server needs, and IReactorSocket.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._channel = Channel(self._received, self._orphaned)
        #: Once it has its sockets.
        self._service: Any = None
        self._loaded: Any = None
        self._share: Share | None = None
        self._inherited: dict[str, list[int]] = {}
        self._loop = LoopingCall(self._reportLoad)
        self._loop.clock = reactor
        #: Whether it was told to end.
        self._expected = False
        self._closing: Deferred[None] | None = None
        self._commands: dict[str, Callable[[Message], None]] = {
            "load": self._load,
            "serve": self._serve,
            "ask": self._answer,
            "drain": lambda message: self._drain(),
            "leave": lambda message: self._leave(),
            "stop": lambda message: self._stop(),
            "stopNow": lambda message: self._service and self._service.stopNow(),
            "reopen": lambda message: self._service and self._service.reopenLog(),
        }

    def begin(self, descriptor: int) -> None:
        """Listen to the supervisor."""
        attach(self._reactor, descriptor, self._channel)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._shutDown)

    # Commands of the supervisor.

    def _received(self, message: Message) -> None:
        self._commands[message["command"]](message)

    def _orphaned(self) -> None:
        self._channel.transport = None
        if self._closing is not None:
            self._closing.cancel()
        else:
            self._leave()
            if self._service is not None and not self._service.configuration.timeouts.drain:
                self._reactor.callLater(_ORPHANED, self._service.stopNow)

    def _load(self, message: Message) -> None:
        """Have all that can be had without a socket: the applications, the keys."""
        from ..running.serving import Server

        sys.path[:] = message["path"]
        if message["PYTHONPATH"] is None:
            del os.environ["PYTHONPATH"]  # it was for finding us, not for the application's own processes
        else:
            os.environ["PYTHONPATH"] = message["PYTHONPATH"]
        configuration: Configuration = pickle.loads(base64.b64decode(message["configuration"]))
        try:
            loadTable = LoadTable(LOAD_TABLE)
            os.close(LOAD_TABLE)
            self._share = Share(loadTable, message["slot"], lambda: service.connectionCount, self._reactor)
            service = Server(
                configuration,
                reactor=self._reactor,
                inherited=self._inherited,
                share=self._share,
                accessLogFile=self._accessLogFile(configuration) if message["accessLog"] else None,
            )
            service.onReady, service.onFailed = self._ready, self._fail
            service.onClosed = lambda: self._channel.send(event="closed")
            self._loaded = service
        except Exception as error:
            self._failed(error)
        else:
            self._channel.send(event="loaded")

    def _serve(self, message: Message) -> None:
        """Begin, on sockets that the supervisor has sent."""
        if self._loaded is None or self._expected:
            return  # it has failed, or was told to end
        self._service = self._loaded
        descriptors = _received(len(message["sockets"]))
        for name, descriptor in zip(message["sockets"], descriptors, strict=True):
            self._inherited.setdefault(name, []).append(descriptor)
        try:
            self._service.startService()
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, RECOVERABLE):
            self._fail(oneLine(error))
        else:
            _log.failure("the worker failed to start")
            self._fail(f"{type(error).__name__}: {oneLine(error)}")

    def _accessLogFile(self, configuration: Configuration) -> LineFile:
        """What takes the lines of the access log, where the supervisor writes it."""
        os.set_inheritable(ACCESS_LOG, False)
        lost = makeFormat(configuration.logFormat).lost
        # This worker is alone on its pipe: pieces may be of any size.
        return LineFile(
            "of the supervisor", self._reactor, lost, opener=lambda path: NonBlocking(os.dup(ACCESS_LOG), piece=BLOCK)
        )

    def _ready(self) -> None:
        self._channel.send(event="ready")
        patience = self._service.configuration.workerTimeout / CHECKS
        self._loop.start(min(_LOAD, patience or _LOAD))

    def _fail(self, problem: str) -> None:
        self._channel.send(event="failed", problem=problem)
        self._service = None
        self._stop()

    def _drain(self) -> None:
        self._expected = True
        drained: Deferred[None] = succeed(None) if self._service is None else self._service.drain()
        drained.addCallback(lambda _: self._channel.send(event="drained"))

    def _leave(self) -> None:
        self._expected = True
        if self._service is None:
            self._stop()
        else:
            self._service.drain(replaced=True).addCallback(lambda _: self._stop())
            self._reportLoad()

    def _stop(self) -> None:
        self._expected = True
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # it is stopping already

    def _answer(self, message: Message) -> None:
        Deferred.fromCoroutine(self._query(message["what"], *message["arguments"])).addErrback(
            lambda failure: _log.failure("a query of the supervisor failed", failure)
        ).addCallback(lambda value: self._channel.send(event="answer", id=message["id"], value=value))

    async def _query(self, what: str, *arguments: Any) -> Any:
        """What the operator's view of this worker tells; None where there is no operator."""
        if self._service is None or self._service.configuration.admin is None:
            return None
        value = await getattr(self._service.view(), what)(*arguments)
        return value.toJson() if what == "counts" else value

    # Reports to the supervisor.

    def _reportLoad(self) -> None:
        assert self._share is not None
        if self._service.ready:
            self._share.note()
        else:
            self._share.leave()
        answered = self._service.observerSet.answered
        self._channel.send(
            event="load",
            open=self._service.connectionCount,
            accepted=self._service.observerSet.accepted,
            answered=0 if answered is None else answered.count,
            memory=residentBytes() if self._service.configuration.workerMaxMemory else 0,
        )

    # The end.

    def _shutDown(self) -> Deferred[None]:
        if not self._expected:  # a signal was sent to this worker alone
            self._expected = True
            self._channel.send(event="leaving")
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        if self._service is not None:
            await self._service.stopService()
            self._reportLoad()
            if self._loop.running:
                self._loop.stop()
            counts, records = await self._query("counts"), await self._query("connections", _RECORDS)
            self._channel.send(event="last", counts=counts, closed=records and records["closed"])
        if self._channel.transport is not None:
            # What was said has left once the channel is closed.
            self._closing = Deferred()
            self._closing.addTimeout(_CLOSE_GRACE, self._reactor).addErrback(lambda _: None)
            self._channel.close()
            await self._closing


def _received(count: int) -> list[int]:
    """So many sockets that the supervisor has sent, in their order. None is inherited by what we start."""
    descriptors: list[int] = []
    with socket.socket(fileno=SOCKETS) as connection:
        while len(descriptors) < count:
            _, some, _, _ = socket.recv_fds(connection, 1, SOCKETS_AT_ONCE)
            if not some:
                raise OSError("the supervisor is gone")
            descriptors += some
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors


@implementer(ILogObserver)
class SupervisorLog:
    """
    An observer that passes events on to the supervisor, which logs them with all the others.

    Events are written at once where the pipe has room: they arrive even when the worker is stuck or dies right after.

    :param descriptor: of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._frames = FrameWriter(descriptor, lambda count: _payload(dropped=count))

    def __call__(self, event: LogEvent) -> None:
        text = _cut(formatEvent(event))
        failure = event.get("log_failure")
        traceback = _cut(failure.getTraceback().rstrip()) if isinstance(failure, Failure) else None
        level = event.get("log_level", LogLevel.info).name
        namespace = event.get("log_namespace", "-")
        about = {name: value[:_LONGEST] for name, value in details(event)}
        self._frames.write(_payload(level=level, namespace=namespace, text=text, traceback=traceback, about=about))

    def finish(self) -> None:
        """Wait a moment for what the supervisor has not read yet."""
        self._frames.finish(_CLOSE_GRACE)


def _cut(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... ({len(text) - _LONGEST} more characters)"


def _payload(**event: object) -> bytes:
    return json.dumps(event).encode("ascii")


def main(arguments: list[str]) -> None:
    """
    Run a worker until it is told to end.

    :param arguments: the module of the reactor.
    """
    for descriptor in (CHANNEL, LOG, LOAD_TABLE, SOCKETS):
        os.set_inheritable(descriptor, False)
    # The terminal's and the operator's signals are for the supervisor, which passes on what they mean.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: None)
    faulthandler.enable()  # a supervisor that finds this worker stuck has it say where
    import_module(arguments[0]).install()
    from twisted.internet import reactor

    log = SupervisorLog(LOG)
    globalLogBeginner.beginLoggingTo([log])
    Worker(reactor).begin(CHANNEL)
    os.close(CHANNEL)
    reactor.run()
    log.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
