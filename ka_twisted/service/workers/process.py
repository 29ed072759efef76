"""A worker as its supervisor sees it: a process, what it is told and asked, and what it says."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from itertools import count
from random import random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ...observe.linefile import LineFile
from ...observe.records import ConnectionJson
from ..configuration.values import Configuration
from ..errors import oneLine
from ..jsonlog import TRACEBACK
from ..listening.balance import LoadTable
from .channel import Channel, Message, attach
from .frames import Damage, FrameReader
from .worker import ACCESS_LOG, CHANNEL, LOAD_TABLE, LOG, SOCKETS, SOCKETS_AT_ONCE, STDERR

#: Seconds within which a worker has to answer a question.
ANSWER_WITHIN = 2.0
#: What systemd tells a service and no other process.
_NOT_INHERITED = (
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "FDSTORE",
)
#: Names that an event of a worker cannot have once more.
_TAKEN = frozenset(("self", "level", "format", "pid", "text"))
#: What comes to nothing when the process ends.
_BEGINNING = ("loaded", "ready")
#: Bytes of a line on the standard error that are logged as one.
_LONG_LINE = 1 << 20


class WorkerFailed(Exception):
    """A worker did not become ready; the text is one sentence that says why."""


class WorkerProcess(ProcessProtocol):
    """
    A worker process.

    :param configuration: what it serves.
    :param loadTable: where the workers note how many connections they have.
    :param ended: called with this, and how it ended, once the process is gone.
    :param leaving: called with this when it goes by itself, and serves only what it has taken up.
    :param reported: called with this after each report of what it has done.
    :ivar began: by the reactor's clock.
    :ivar accessLog: takes the lines of its access log; None: it writes them itself. To be set before `spawn`.
    :ivar pid: of the process, once it was started.
    :ivar droppedEvents: of its log, which the supervisor could not read in time.
    :ivar answered: requests, where their number is limited.
    :ivar memory: in bytes, where that is limited.
    :ivar counts: what it has counted, as it last reported.
    :ivar records: of its last closed connections, once it has reported them.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        configuration: Configuration,
        loadTable: LoadTable,
        *,
        ended: Callable[[WorkerProcess, str], None],
        leaving: Callable[[WorkerProcess], None],
        reported: Callable[[WorkerProcess], None],
    ) -> None:
        self.configuration = configuration
        self.pid: int | None = None
        self.isLoaded = self.isReady = self.isLeaving = self.isClosed = self.isDrained = False
        self.readySince = 0.0
        self.openConnections = self.accepted = self.answered = self.memory = self.droppedEvents = 0
        self.counts: Any = None
        self.records: list[ConnectionJson] = []
        #: Checks in a row between which nothing was received from it.
        self.missedChecks = 0
        self._reactor = reactor
        self._sockets: socket.socket | None = None
        self._loadTable = loadTable
        self._slot = 0
        self._ended = ended
        self._leaving = leaving
        self._reported = reported
        self.began = reactor.seconds()
        #: The part of its greatest age after which it is replaced: not all that began together end together.
        self.ageShare = 1 - random() / 10
        self._channel = Channel(self._received, self._channelClosed)
        self._problem = ""
        self._isGone = False
        self._waiting: dict[str, list[Deferred[None]]] = {
            "loaded": [],
            "ready": [],
            "closed": [],
            "drained": [],
            "ended": [],
        }
        self._questions: dict[int, Deferred[Any]] = {}
        self._numbers = count(1)
        self._logReader = FrameReader()
        self._errorLine = b""
        self.accessLog: LineFile | None = None
        self._accessLine = b""

    def spawn(self) -> None:
        """
        Begin to load what is served: `serve` has it served.

        :raises OSError: when there can be no more processes.
        """
        self._slot = self._loadTable.slot()
        try:
            self._spawn()
        except OSError:
            self._loadTable.free(self._slot)
            if self._sockets is not None:
                self._sockets.close()
            raise
        self._channel.send(
            command="load",
            slot=self._slot,
            path=sys.path,
            PYTHONPATH=os.environ.get("PYTHONPATH"),
            configuration=base64.b64encode(pickle.dumps(self.configuration)).decode("ascii"),
            accessLog=self.accessLog is not None,
        )

    def serve(self, sockets: Iterable[tuple[str, int]]) -> None:
        """
        Serve.

        :param sockets: names and descriptors of what it listens on, in the order of the listeners.
        """
        ours, self._sockets = self._sockets, None
        if ours is None:
            return  # it is gone
        names, descriptors = zip(*sockets, strict=True)
        with ours:
            try:
                for first in range(0, len(descriptors), SOCKETS_AT_ONCE):
                    socket.send_fds(ours, [b"s"], descriptors[first : first + SOCKETS_AT_ONCE])
            except OSError:
                return  # it is about to be gone
        self._channel.send(command="serve", sockets=names)

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        self._sockets, sockets = socket.socketpair()
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            attach(self._reactor, ours.fileno(), self._channel)
            descriptors: dict[int, Any] = {
                0: nothing,
                1: 1,
                STDERR: "r",
                CHANNEL: theirs.fileno(),
                LOG: "r",
                LOAD_TABLE: self._loadTable.descriptor,
                SOCKETS: sockets.fileno(),
            }
            if self.accessLog is not None:
                descriptors[ACCESS_LOG] = "r"
            arguments = [sys.executable, "-m", f"{__package__}.worker", type(self._reactor).__module__]
            self._reactor.spawnProcess(
                self, sys.executable, arguments, env=_environment(), path=None, childFDs=descriptors
            )
        finally:
            ours.close()
            theirs.close()
            sockets.close()
            os.close(nothing)

    # Commands.

    def leave(self) -> None:
        """Others serve from now on: end, without losing a request."""
        self.isLeaving = True
        self._channel.send(command="leave")

    def stop(self) -> None:
        """End."""
        self._channel.send(command="stop")

    def drain(self) -> Deferred[None]:
        """Go out of service, and stay; fires when that is done."""
        self.isLeaving = True
        if not self.isDrained:
            self._channel.send(command="drain")
        return self.when("drained")

    def stopNow(self) -> None:
        """Wait for no connection any more."""
        self._channel.send(command="stopNow")

    def reopenLog(self) -> None:
        """Go on in a new access log of the same name."""
        self._channel.send(command="reopen")

    def abort(self) -> None:
        """End with the stacks of its threads on standard error, which needs no turn of the event loop."""
        self._signal(signal.SIGABRT)

    def kill(self) -> None:
        """End at once, also when its event loop is blocked."""
        self._signal(signal.SIGKILL)

    def giveUp(self, problem: str) -> None:
        """End at once, because it does not become ready: the problem says why."""
        self._problem = self._problem or problem
        self.kill()

    def _signal(self, number: int) -> None:
        try:
            if self.transport is not None:
                self.transport.signalProcess(number)
        except ProcessExitedAlready:
            pass

    def ask(self, what: str, *arguments: Any) -> Deferred[Any]:
        """
        Ask for what a method of its `IServerView` tells.

        :return: fires with that, or with None when it does not answer in time.
        """
        if not self.isReady or self._isGone:
            return succeed(None)
        number = next(self._numbers)
        answer: Deferred[Any] = Deferred()
        self._questions[number] = answer
        answer.addTimeout(ANSWER_WITHIN, self._reactor)
        answer.addErrback(lambda _: None)
        answer.addBoth(self._answered, number)
        self._channel.send(command="ask", what=what, arguments=arguments, id=number)
        return answer

    async def recount(self) -> None:
        """Ask for its counts."""
        self.counts = await self.ask("counts") or self.counts

    def _answered(self, value: Any, number: int) -> Any:
        del self._questions[number]
        return value

    def when(self, what: str) -> Deferred[None]:
        """
        Fires when it has ``loaded`` its applications, is ``ready``, has ``closed`` its ports, is ``drained`` or
        ``ended``; or when it is gone.

        `WorkerFailed` is what comes instead of having loaded them and of being ready.
        """
        if {
            "loaded": self.isLoaded,
            "ready": self.isReady,
            "closed": self.isClosed,
            "drained": self.isDrained,
            "ended": False,
        }[what]:
            return succeed(None)
        if self._isGone:
            return fail(self._failure()) if what in _BEGINNING else succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting[what].append(waiting)
        return waiting

    # What it reports.

    def _received(self, message: Message) -> None:
        self.missedChecks = 0
        getattr(self, f"_event_{message['event']}")(message)

    def _event_loaded(self, message: Message) -> None:
        self.isLoaded = True
        self._fire("loaded")

    def _event_ready(self, message: Message) -> None:
        self.isReady = True
        self.readySince = self._reactor.seconds()
        self._fire("ready")

    def _event_failed(self, message: Message) -> None:
        self._problem = message["problem"]

    def _event_load(self, message: Message) -> None:
        self.openConnections, self.accepted = message["open"], message["accepted"]
        self.answered, self.memory = message["answered"], message["memory"]
        self._reported(self)

    def _event_closed(self, message: Message) -> None:
        self.isClosed = True
        self._fire("closed")

    def _event_drained(self, message: Message) -> None:
        self.isDrained = True
        self._fire("drained")

    def _event_leaving(self, message: Message) -> None:
        self.isLeaving = True
        self._leaving(self)

    def _event_answer(self, message: Message) -> None:
        question = self._questions.get(message["id"])
        if question is not None:
            question.callback(message["value"])

    def _event_last(self, message: Message) -> None:
        self.counts = message["counts"] or self.counts
        self.records = message["closed"] or []
        self._channel.close()

    def _channelClosed(self) -> None:
        self._channel.transport = None

    def _fire(self, what: str) -> None:
        waiting, self._waiting[what] = self._waiting[what], []
        for deferred in waiting:
            deferred.callback(None)

    def _failure(self) -> WorkerFailed:
        return WorkerFailed(self._problem)

    # What Twisted says of the process.

    def connectionMade(self) -> None:
        """See `ProcessProtocol`."""
        self.pid = self.transport.pid  # type: ignore[union-attr]

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """See `IProcessProtocol`: events of its log, or lines that were written past it."""
        if childFD == LOG:
            for item in self._logReader.feed(data):
                self._logged(item)
        elif childFD == ACCESS_LOG:
            whole, feed, self._accessLine = (self._accessLine + data).rpartition(b"\n")
            if self.accessLog is not None and whole:
                self.accessLog.write(whole + feed)
        elif childFD == STDERR:
            *lines, self._errorLine = (self._errorLine + data).split(b"\n")
            for line in lines:
                self._wrote(line)
            if len(self._errorLine) > _LONG_LINE:
                self._wrote(self._errorLine)
                self._errorLine = b""

    def _wrote(self, line: bytes) -> None:
        """Log a line of its standard error."""
        self._log.error("worker {pid}: {text}", pid=self.pid, text=line.decode("utf-8", "replace"))

    def _logged(self, item: bytes | Damage) -> None:
        """Log an event of its log."""
        if isinstance(item, Damage):
            self._log.error("worker {pid}: {count} bytes of its log are damaged", pid=self.pid, count=item.skipped)
            return
        try:
            event = json.loads(item)
            if "dropped" in event:
                self._dropped(event["dropped"])
                return
            level, text = LogLevel.lookupByName(event["level"]), _encodable(event["text"])
            about = {name: _encodable(value) for name, value in event["about"].items() if name not in _TAKEN}
            if (traceback := event.get("traceback")) is not None:
                about[TRACEBACK] = traceback = _encodable(traceback)
                text = f"{text}\n{traceback}" if text else traceback
            Logger(event["namespace"]).emit(level, "worker {pid}: {text}", pid=self.pid, text=text, **about)
        except Exception as error:
            self._log.error(
                "worker {pid}: an event of its log cannot be read: {problem}",
                pid=self.pid,
                problem=f"{type(error).__name__}: {oneLine(error)}",
            )

    def _dropped(self, count: int) -> None:
        self.droppedEvents += count
        self._log.warn(
            "worker {pid}: {count} events of its log were dropped, the pipe was full", pid=self.pid, count=count
        )

    def processEnded(self, reason: Failure) -> None:
        """See `IProcessProtocol`."""
        self._isGone = True
        self._loadTable.free(self._slot)
        for damage in self._logReader.close():
            self._logged(damage)
        if self._errorLine:
            self._wrote(self._errorLine)
        how = _howItEnded(reason.value)
        self._problem = self._problem or f"it exited before, {how}"
        self._channel.close()
        for answer in list(self._questions.values()):
            answer.callback(None)
        if self._sockets is not None:
            self._sockets.close()
        failed = [waiting for what in _BEGINNING for waiting in self._waiting[what]]
        for what in _BEGINNING:
            self._waiting[what] = []
        self._ended(self, how)
        for waiting in failed:
            waiting.errback(self._failure())
        for what in ("closed", "drained", "ended"):
            self._fire(what)


def _encodable(text: str) -> str:
    """A text that every log can write: it may have surrogates, which no encoding has."""
    return text.encode("utf-8", "backslashreplace").decode()


def _howItEnded(reason: Any) -> str:
    if isinstance(reason, ProcessDone):
        return "with status 0"
    signal = getattr(reason, "signal", None)
    return f"on signal {signal}" if signal else f"with status {getattr(reason, 'exitCode', None)}"


def _environment() -> dict[str, str]:
    """Ours, without what is for us alone, and with the path on which our modules were found."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {**environment, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
