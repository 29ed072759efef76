"""
The service behind ``twistd keepalive``.

When the ports are claimed: twistd makes the service, then forks, changes directories and writes its
process id, and only then starts the service. An error that comes so late is a traceback and leaves
files behind. Therefore `makeService` claims the ports itself where nothing will change any more
(``twistd -n``); otherwise it tries all of them, closes them again, and leaves the claim to the
start.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.reasons import CloseReason
from ..server.factory import KeepAliveFactory
from .announce import announce
from .listening import (
    Endpoints,
    ListenError,
    closeAll,
    closeNow,
    describeAddress,
    describeFailure,
    isRepeatable,
    listenNow,
    rehearse,
)
from .loading import oneLine
from .options import Options, refuse
from .signals import StopSignals

__all__ = ["KeepAliveService", "Options", "makeService"]

_log = Logger()


class KeepAliveService(Service):
    """
    Serves one factory on several endpoints: all of them, or none.

    :param endpoints: pairs of a text for people and the endpoint itself.
    :param accessLog: has ``start()``, which raises OSError when it cannot, and ``stop()``; or None.
    :param reactor: provides IReactorCore, IReactorTime and IReactorFromThreads.
    """

    name = "keepalive"

    def __init__(
        self,
        factory: KeepAliveFactory,
        endpoints: Endpoints,
        *,
        reactor: Any,
        accessLog: Any = None,
    ) -> None:
        self.factory = factory
        self.ports: list[IListeningPort] = []
        self._endpoints = endpoints
        self._accessLog = accessLog
        self._reactor = reactor
        self._claimed = False
        self._pending: list[Deferred[Any]] = []
        self._signals = StopSignals(reactor, self.hurry)

    def claim(self) -> None:
        """
        Open the access log and listen on every endpoint.

        No connection is accepted before the reactor runs.

        :raises ListenError: for the first thing that fails; what was claimed before it is released.
        """
        if self._claimed:
            return
        self._openLog()
        try:
            for text, endpoint in self._endpoints:
                self._listen(text, endpoint)
        except ListenError:
            closeNow(self._closePorts(), self._reactor)
            self._closeLog()
            raise
        self._claimed = True

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self.claim()

    def startService(self) -> None:
        self.claim()  # `twist` knows no privileged start
        super().startService()
        for port in self.ports:
            _log.info("listening on {address}", address=describeAddress(port.getHost()))
        announce(_log, self.factory.timeouts, self.factory.limits, self.factory.tcpKeepAlive)
        self._reactor.callWhenRunning(self._signals.install)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, let the requests in service finish, then close the access log.

        :return: fires when the last connection is gone, after ``Timeouts.drain`` seconds at most.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """Cut the connections that a stop is still waiting for."""
        connections = list(self.factory.connections)
        _log.info("stopping at once: {count} connections are cut", count=len(connections))
        for connection in connections:
            connection.abort(CloseReason.DRAINING.at(connection.state))

    async def _stop(self) -> None:
        for waiting in self._pending:
            waiting.cancel()
        await DeferredList(self._closePorts())
        _log.info("draining {count} connections", count=self.factory.connectionCount)
        await self.factory.drain(self.factory.timeouts.drain)
        self._closeLog()
        self._signals.uninstall()
        self._claimed = False

    def _openLog(self) -> None:
        if self._accessLog is not None:
            try:
                self._accessLog.start()
            except OSError as error:
                raise ListenError(f"the access log cannot be written: {oneLine(error)}") from error

    def _closeLog(self) -> None:
        if self._accessLog is not None:
            self._accessLog.stop()

    def _listen(self, text: str, endpoint: IStreamServerEndpoint) -> None:
        outcome = listenNow(endpoint, self.factory)
        if isinstance(outcome, Failure):
            raise ListenError(describeFailure(text, outcome))
        if isinstance(outcome, Deferred):
            self._pending.append(outcome)
            outcome.addCallback(self._listeningLater).addErrback(self._failedLater, text)
        else:
            self.ports.append(outcome)

    def _listeningLater(self, port: IListeningPort) -> None:
        self.ports.append(port)
        _log.info("listening on {address}", address=describeAddress(port.getHost()))

    def _failedLater(self, failure: Failure, text: str) -> None:
        """An endpoint that took its time has failed: all or none holds for it as well."""
        if self.running:
            _log.critical("{problem}; stopping", problem=describeFailure(text, failure))
            self._reactor.stop()

    def _closePorts(self) -> list[Deferred[Any]]:
        ports, self.ports = self.ports, []
        return closeAll(ports)


def makeService(options: Options) -> KeepAliveService:
    """
    Make the service that the options describe, under twistd with its ports claimed or tried.

    :raises SystemExit: with one sentence, when a port or the access log cannot be had.
    """
    from twisted.internet import reactor

    accessLog = _accessLog(options, reactor)
    try:
        factory = KeepAliveFactory(
            options.handler,
            timeouts=options.timeouts,
            limits=options.limits,
            tcpKeepAlive=options.tcpKeepAlive,
            observers=() if accessLog is None else (accessLog,),
        )
    except ValueError as error:  # the platform has no such TCP keep-alive
        refuse(oneLine(error))
    service = KeepAliveService(factory, options.endpoints, reactor=reactor, accessLog=accessLog)
    if options.parent is not None:
        try:
            if _isSettled(options.parent):
                service.claim()
            else:
                texts = filter(isRepeatable, options["listen"])
                rehearse([(text, options.endpoint(text)) for text in texts], reactor)
        except ListenError as error:
            refuse(str(error))
    return service


def _isSettled(runner: Any) -> bool:
    """Whether the process that makes the service also runs it, where it is now."""
    return bool(runner.get("nodaemon", True)) and all(
        runner.get(name) in (None, "", ".") for name in ("chroot", "rundir", "umask")
    )


def _accessLog(options: Options, reactor: Any) -> Any:
    if options["access-log"] is None:
        return None
    from ..observe.accesslog import AccessLog

    try:
        return AccessLog(options["access-log"], format=options["log-format"], reactor=reactor)
    except OSError as error:
        refuse(f"the access log cannot be written: {oneLine(error)}")
