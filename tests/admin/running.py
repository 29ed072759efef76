"""A server with an operator's page, in a process: on ports of loopback, or in memory with a clock."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from ka_twisted import KeepAliveFactory, Limits, Request, Response, Timeouts
from ka_twisted.admin import AdminHandler, LocalView
from ka_twisted.observe.connections import ConnectionLog
from ka_twisted.observe.metrics import Metrics
from ka_twisted.testing import MemoryServer

#: Sun, 01 Nov 2026 12:00:00 UTC.
NOON = 1793534400.0


class Listener:
    endpoint = "tcp:8080"


class Settings:
    """What a configuration tells the page."""

    def __init__(self, timeouts: Timeouts, limits: Limits) -> None:
        self.timeouts = timeouts
        self.limits = limits
        self.listeners = [Listener()]
        self.workers = 0


class Running:
    """
    What is to be operated: a factory with its observers, and what stands for its service.

    :param reactor: the clock.
    """

    started = NOON - 3600

    def __init__(self, reactor: Any, handler: Any = None, **settings: Any) -> None:
        self.ready = True
        self.state = "serving"
        self.metrics, self.log = Metrics(), ConnectionLog()
        self.factory = KeepAliveFactory(
            handler or answer, observers=[self.metrics, self.log], reactor=reactor, **settings
        )
        self.configuration = Settings(self.factory.timeouts, self.factory.limits)
        self.view = LocalView(self.metrics, self.log, self)

    def drain(self) -> Deferred[None]:
        """Go out of service."""
        self.ready, self.state = False, "draining"
        return self.factory.drain(0)


def answer(request: Request) -> Any:
    """``/slow?SECONDS`` takes its time, ``/fail`` is a 500; everything else: hello."""
    if request.path == "/slow":
        return deferLater(request.connection.clock, float(request.query), lambda: b"slow")
    if request.path == "/fail":
        return Response(500)
    return b"hello\n"


class Operated:
    """A running server in memory, its users and its operators, on one clock."""

    def __init__(self, token: str = "", *, handler: Any = None, view: Any = None, **settings: Any) -> None:
        clock = Clock()
        self.running = Running(clock, handler, **settings)
        self.users = MemoryServer(factory=lambda _: self.running.factory)
        self.users.clock = clock
        self.admin = AdminHandler(view or self.running.view, token, clock, lambda: NOON + clock.seconds())
        patient = Timeouts(write=0)
        self.operators = MemoryServer(factory=lambda _: KeepAliveFactory(self.admin, reactor=clock, timeouts=patient))
        self.operators.clock = clock
        self.clock = clock
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.users.advance(seconds)
