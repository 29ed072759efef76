"""
The service behind ``twistd keepalive``.

When the ports are claimed: twistd makes the service, then forks, changes directories and writes its
process id, and only then starts the service. An error that comes so late is a traceback and leaves
files behind. Therefore `makeService` claims the ports itself where nothing will change any more
(``twistd -n``); otherwise it tries all of them, closes them again, and leaves the claim to the
start.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, cast

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime

from .configuration.options import Options, refuse
from .configuration.values import Configuration
from .errors import RECOVERABLE, oneLine
from .listening.binding import describeAddress, isRepeatable, rehearse, storeName
from .running.lifecycle import LifeCycle
from .running.serving import Server
from .running.terminal import DrainProgress, tellServing
from .systemd.notify import Notifier, listenFds, startEnvironment
from .workers.supervisor import Supervisor

__all__ = ["Options", "Server", "makeService"]


def makeService(options: Options) -> LifeCycle:
    """
    Make the service that the options describe, under twistd with its ports claimed or tried.

    :raises SystemExit: with one sentence, when a port or the access log cannot be had.
    """
    from twisted.internet import reactor

    environment = startEnvironment()
    inherited = listenFds(environment)
    serviceClass: Any = Supervisor if options.configuration.workers else Server
    try:
        service: LifeCycle = serviceClass(
            options.configuration,
            reactor=reactor,
            read=options.read,
            inherited=inherited,
            notifier=Notifier.fromEnvironment(environment),
        )
        if options.parent is not None:
            if _isSettled(options.parent):
                service.claim()
            else:
                texts = [text for text in _texts(service.configuration) if storeName(text) not in inherited]
                rehearse([(text, serverFromString(reactor, text)) for text in texts], reactor)
    except RECOVERABLE as error:
        refuse(oneLine(error))
    service.onFailed = lambda problem: _failed(service, problem)
    service.progress = DrainProgress(cast(IReactorTime, reactor), lambda: service.connectionCount)
    _tell(service, options.parent)
    return service


def _tell(service: LifeCycle, runner: Any) -> None:
    """Have a terminal told where it listens: at once where the process leaves the terminal, else when it is ready."""
    if runner is not None and not runner.get("nodaemon", True):
        tellServing((listener.endpoint for listener in service.configuration.listeners), runner.get("pidfile") or "")
    else:
        service.onReady = lambda: tellServing((describeAddress(port.getHost()) for port in service.ports), None)


def _failed(service: LifeCycle, problem: str) -> None:
    """
    Stop, and have the process end with one sentence and status 1.

    Twisted's runner ends with status 0 whenever its reactor was stopped: the status is set behind its back.
    """
    service.stopFailed(problem)
    atexit.register(_exit, problem)


def _exit(problem: str) -> NoReturn:
    for stream in (sys.__stdout__, sys.__stderr__):  # twistd has replaced the others by its log
        if stream is not None:
            stream.flush()
    print(f"keepalive: {problem}", file=sys.__stderr__, flush=True)
    os._exit(1)


def _isSettled(runner: Any) -> bool:
    """Whether the process that makes the service also runs it, where it is now."""
    return bool(runner.get("nodaemon", True)) and all(
        runner.get(name) in (None, "", ".") for name in ("chroot", "rundir", "umask")
    )


def _texts(configuration: Configuration) -> Iterator[str]:
    """The endpoints that can be tried beforehand."""
    texts = [listener.endpoint for listener in configuration.listeners]
    if configuration.admin is not None:
        texts.append(configuration.admin.endpoint)
    return filter(isRepeatable, texts)
