"""
A Twisted reactor on uvloop's event loop, whose TCP and UNIX streams are uvloop's own transports.

It is Twisted's asyncio reactor otherwise: asyncio code runs in it, and datagrams, processes, threads and standard input
and output are what they are there. ``twistd --reactor uvloop`` or `install` installs it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from contextlib import suppress
from math import ceil, inf
from time import monotonic
from typing import Any

import uvloop
from twisted.internet import error, process
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorSocket, IReactorTCP, IReactorUNIX
from twisted.internet.main import installReactor
from twisted.python import context
from zope.interface import implementer

from ..net.private import adoptedPort
from .ports import Connector, Port, UNIXConnector, UNIXPort, adopted
from .transport import UvloopTransport

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


@implementer(IReactorTCP, IReactorUNIX, IReactorSocket)
class UvloopReactor(AsyncioSelectorReactor):
    """
    The reactor.

    :param eventLoop: one of uvloop's; a new one is made, and made asyncio's current one, where none is given.
    :ivar eventLoop: the loop.
    :ivar transports: the connections that are open.
    :ivar contexts: Twisted's stack of logging contexts in the thread that runs the loop.
    """

    def __init__(self, eventLoop: asyncio.AbstractEventLoop | None = None) -> None:
        if eventLoop is None:
            eventLoop = uvloop.new_event_loop()
            asyncio.set_event_loop(eventLoop)
        self.eventLoop = eventLoop
        self.transports: set[UvloopTransport] = set()
        self.contexts: list[Any] = context.theContextTracker.currentContext().contexts
        #: When the loop is to wake up for the next delayed call, in our seconds.
        self._wakeUpAt = inf
        self._timer: asyncio.Handle | None = None
        super().__init__(eventLoop)

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """See `ReactorBase.startRunning`."""
        self.contexts = context.theContextTracker.currentContext().contexts
        super().startRunning(installSignalHandlers)

    def _reallyStartRunning(self) -> None:
        super()._reallyStartRunning()
        # While it runs, uvloop reads all signals' numbers itself, so that the pipe by which Twisted hears of SIGCHLD
        # stays empty. It calls the handlers.
        if self._installSignalHandlers and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, lambda *_: self.callFromThread(process.reapAllProcesses))
            signal.siginterrupt(signal.SIGCHLD, False)

    # IReactorProcess

    def spawnProcess(self, *arguments: Any, **named: Any) -> Any:
        """See `IReactorProcess.spawnProcess`."""
        spawned = super().spawnProcess(*arguments, **named)
        # asyncio's subprocesses, on uvloop, take SIGCHLD away from Python: hear of the end of ours without it.
        if spawned.pid is not None and hasattr(os, "pidfd_open"):
            with suppress(OSError):
                descriptor = os.pidfd_open(spawned.pid)
                self.eventLoop.add_reader(descriptor, self._processEnded, descriptor)
        return spawned

    def _processEnded(self, descriptor: int) -> None:
        self.eventLoop.remove_reader(descriptor)
        os.close(descriptor)
        process.reapAllProcesses()

    def iterate(self, delay: float = 0.0) -> None:
        """See `IReactorCore.iterate`."""
        if delay > 0:
            self.eventLoop.call_later(delay, self.eventLoop.stop)
        else:
            self.eventLoop.stop()  # after one turn
        self.eventLoop.run_forever()

    # IReactorFDSet: a connection may be taken out of the reactor and put back

    def addReader(self, reader: Any) -> None:
        """See `IReactorFDSet.addReader`."""
        if isinstance(reader, UvloopTransport):
            reader.startReading()
        else:
            super().addReader(reader)

    def removeReader(self, reader: Any) -> None:
        """See `IReactorFDSet.removeReader`."""
        if isinstance(reader, UvloopTransport):
            reader.stopReading()
        else:
            super().removeReader(reader)

    def getReaders(self) -> list[Any]:
        """See `IReactorFDSet.getReaders`."""
        return [*super().getReaders(), *(transport for transport in self.transports if transport.reading)]

    def getWriters(self) -> list[Any]:
        """See `IReactorFDSet.getWriters`."""
        return [*super().getWriters(), *(transport for transport in self.transports if transport.unsentBytes())]

    def removeAll(self) -> list[Any]:
        """See `IReactorFDSet.removeAll`."""
        active = [transport for transport in self.transports if transport.reading or transport.unsentBytes()]
        for transport in active:
            transport.stopReading()
        self.transports.clear()
        return [*super().removeAll(), *active]

    # IReactorTCP, IReactorUNIX, IReactorSocket

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See `IReactorTCP.listenTCP`."""
        listening = Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30.0, bindAddress: Any = None
    ) -> Connector:
        """See `IReactorTCP.connectTCP`."""
        connector = Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> UNIXPort:
        """See `IReactorUNIX.listenUNIX`."""
        listening = UNIXPort(address, factory, backlog, mode, self, wantPID)
        listening.startListening()
        return listening

    def connectUNIX(self, address: Any, factory: Any, timeout: float = 30, checkPID: bool = False) -> UNIXConnector:
        """See `IReactorUNIX.connectUNIX`."""
        connector = UNIXConnector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Port | UNIXPort:
        """See `IReactorSocket.adoptStreamPort`."""
        _checkFamily(addressFamily)
        listening: Port | UNIXPort
        if addressFamily == socket.AF_UNIX:
            listening = adoptedPort(UNIXPort, self, fileDescriptor, factory)
        else:
            listening = adoptedPort(Port, self, fileDescriptor, addressFamily, factory)
        listening.startListening()
        return listening

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See `IReactorSocket.adoptStreamConnection`."""
        _checkFamily(addressFamily)
        return adopted(fileDescriptor, addressFamily, factory, self)

    # IReactorTime

    def callLater(self, delay: float, callable: Any, *args: object, **kwargs: object) -> DelayedCall:
        """See `IReactorTime.callLater`."""
        call = super(AsyncioSelectorReactor, self).callLater(delay, callable, *args, **kwargs)
        if call.time < self._wakeUpAt:
            self._wakeUp(call.time)
        return call

    def _onTimer(self) -> None:
        self._wakeUpAt = inf
        self._timer = None
        self.runUntilCurrent()
        self._reschedule()

    def _reschedule(self) -> None:
        self._insertNewDelayedCalls()
        if self._pendingTimedCalls and self._pendingTimedCalls[0].time < self._wakeUpAt:
            self._wakeUp(self._pendingTimedCalls[0].time)

    def _wakeUp(self, when: float) -> None:
        """Have the loop wake up at that time, and not at the one that was set before."""
        if self._timer is not None:
            self._timer.cancel()
        self._wakeUpAt = when
        delay = when - self.seconds()
        if delay <= 0:
            self._timer = self.eventLoop.call_soon(self._onTimer)
            return
        # The loop counts whole milliseconds: find the first that is not too early, or we would be woken twice.
        now = monotonic() * 1000
        self._timer = self.eventLoop.call_later((ceil(now + delay * 1000) - int(now)) / 1000, self._onTimer)


def _checkFamily(family: int) -> None:
    if family not in _FAMILIES:
        raise error.UnsupportedAddressFamily(family)


def install(eventLoop: asyncio.AbstractEventLoop | None = None) -> None:
    """
    Make it the reactor of this process.

    :param eventLoop: one of uvloop's, to be run by the reactor; a new one by default.
    """
    installReactor(UvloopReactor(eventLoop))
