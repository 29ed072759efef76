"""
Every private name of Twisted that this package uses; nothing else here. They may change with any version of Twisted.

Checked on Twisted 24.7.0 and 26.10.0, by ``tests/net/test_private.py``: run it on a new version first.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar, cast

from twisted.internet import abstract
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.python.logfile import LogFile

try:
    from twisted.internet._newtls import startTLS
except ImportError:  # no pyOpenSSL
    startTLS = None  # type: ignore[assignment]

_Port = TypeVar("_Port")

__all__ = [
    "INHERITED",
    "V1Parser",
    "V2Parser",
    "acceptedOn",
    "adoptedPort",
    "boundPath",
    "bufferedBytes",
    "movedAway",
    "neverShutDown",
    "rotatedBy",
    "startTLS",
]

#: Private attributes and methods that subclasses elsewhere in the package override or read on themselves, by the class
#: of Twisted that has them: a subclass cannot leave them to another module.
INHERITED = {
    "twisted.internet.asyncioreactor.AsyncioSelectorReactor": (
        "_insertNewDelayedCalls",
        "_installSignalHandlers",
        "_onTimer",
        "_pendingTimedCalls",
        "_reallyStartRunning",
        "_reschedule",
    ),
    "twisted.internet.tcp.Client": ("_connectDone",),
    "twisted.internet.tcp.Connector": ("_makeTransport",),
    "twisted.internet.tcp.Port": ("_preexistingSocket", "_shouldShutdown"),
    "twisted.internet.unix.Client": ("_connectDone", "_getLogPrefix"),
    "twisted.internet.unix.Connector": ("_makeTransport",),
    "twisted.internet.unix.Port": ("_preexistingSocket", "_shouldShutdown"),
}


def bufferedBytes(transport: abstract.FileDescriptor) -> int:
    """Bytes that a transport of Twisted's own holds and has not passed to the kernel yet."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def neverShutDown(port: Any) -> None:
    """Have a port only close its listening socket when it stops: a shutdown would end it for other processes, too."""
    port._shouldShutdown = False


def boundPath(port: Any) -> bytes | None:
    """The path that a `twisted.internet.unix.Port` is bound to; None: its name is not one of the file system's."""
    path: bytes = port._bindPath
    return path if not path.startswith(b"\0") else None


def acceptedOn(port: Any) -> int:
    """The number of the TCP port that a `twisted.internet.tcp.Port` listens on."""
    return int(port._realPortNumber)


def adoptedPort(kind: type[_Port], reactor: Any, descriptor: int, *arguments: Any) -> _Port:
    """
    A port of this class on a socket that listens already. It does not accept connections before ``startListening``.

    :param arguments: for TCP the address family, then the factory; for UNIX sockets the factory.
    """
    make: Any = kind
    return cast(_Port, make._fromListeningDescriptor(reactor, descriptor, *arguments))


def rotatedBy(handler: object) -> LogFile | None:
    """The log file that twistd rotates in its handler of SIGUSR1; None: it has none, or this is another handler."""
    cells = getattr(handler, "__closure__", None) or ()
    return next((cell.cell_contents for cell in cells if isinstance(cell.cell_contents, LogFile)), None)


def movedAway(logFile: LogFile) -> bool:
    """Whether another file has the name of a log file by now, or none has, as after logrotate(8)."""
    try:
        named = os.stat(logFile.path)
    except OSError:
        return True
    return not os.path.samestat(named, os.fstat(logFile._file.fileno()))
