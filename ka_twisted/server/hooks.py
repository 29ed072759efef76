"""What applications are to a server: handlers, what they return, and the hooks of a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.internet.interfaces import IProtocol

from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from .request import Request
from .response import Response, Result, Switch

#: Answers a request. It is called on the reactor's thread as soon as the request's head is complete.
Handler = Callable[[Request], Result]

#: What is decided about an offer to switch: the protocol that takes over, or a `Switch` with further fields for the
#: 101; a `Response` to refuse with; None to answer as if nothing had been offered.
Upgrade = IProtocol | Switch | Response | None
#: Decides about an offer to switch to a protocol, now or later.
UpgradeHandler = Callable[[Request], Upgrade | Awaitable[Upgrade]]

#: What is decided about a body that the client withholds: True to invite it, False to refuse it (417), a `Response` to
#: refuse it with, None to leave it to the handler.
Verdict = bool | Response | None


class Hooks(Protocol):
    """What a connection asks of the application: see `protocol.KeepAliveProtocol`, which documents them."""

    def requestReceived(self, request: Request) -> None: ...

    def continueExpected(self, request: Request) -> Verdict | Awaitable[Verdict]: ...

    def persistenceDecided(self, request: Request, decision: Persistence) -> Persistence: ...

    def connectionClosed(self, reason: CloseReason) -> None: ...
