"""What transports need of the reactor that they belong to, so that neither module imports the other."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class TransportReactor(Protocol):
    """
    A reactor on uvloop.

    :ivar eventLoop: the loop that it runs.
    :ivar transports: the connections that are open.
    :ivar contexts: Twisted's stack of logging contexts in the thread that runs the loop.
    """

    eventLoop: asyncio.AbstractEventLoop
    transports: set[Any]
    contexts: list[Any]
