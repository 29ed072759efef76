"""
Waiting for what an application returned: Deferreds, and coroutines that await Deferreds.

Where an asyncio event loop runs the reactor, coroutines may await what asyncio has as well: there each is a task.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any

from twisted.internet.defer import Deferred


def waiting(result: Awaitable[Any]) -> Deferred[Any]:
    """A Deferred of what an awaitable gives. A coroutine is started; cancelling the Deferred cancels it."""
    if isinstance(result, Deferred):
        return result
    running = result if isinstance(result, Coroutine) else _awaiting(result)
    loop = runningLoop()
    return Deferred.fromCoroutine(running) if loop is None else task(running, loop)


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class Started:
    """
    A coroutine that has been started: it has returned, or waits for something.

    :param running: is started. What it raises before it waits comes out of here.
    """

    __slots__ = ("_awaited", "_context", "_running", "value", "waits")

    def __init__(self, running: Coroutine[Any, Any, Any]) -> None:
        self._running = running
        self._context = copy_context()
        self.waits = True
        try:
            self._awaited = self._context.run(running.send, None)
        except StopIteration as stop:
            self.waits = False
            self.value = stop.value

    def rest(self) -> Deferred[Any]:
        """A Deferred of what the coroutine returns."""
        return self._context.run(Deferred.fromCoroutine, _resumed(self._running, self._awaited))


@coroutine
def _resumed(running: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that has been started and waits for something."""
    resume: Callable[[Any], Any]
    while True:
        try:
            value = yield awaited
        except GeneratorExit:
            running.close()
            raise
        except BaseException as error:
            resume, value = running.throw, error
        else:
            resume = running.send
        try:
            awaited = resume(value)
        except StopIteration as stop:
            return stop.value


# -- asyncio -----------------------------------------------------------------------------------------------------------

#: The event loop of asyncio that runs the reactor; None where none does.
runningLoop: Callable[[], asyncio.AbstractEventLoop | None] = asyncio._get_running_loop
#: Whether tasks can begin at once, without a turn of the loop (Python 3.12).
_EAGER = sys.version_info >= (3, 12)


def task(running: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Deferred[Any]:
    """
    Run a coroutine as a task. It may await futures of asyncio and Deferreds alike.

    :return: of what it returns; cancelling it cancels the task.
    """
    bridge = _bridge(running, loop)
    if _EAGER:
        made: asyncio.Task[Any] = asyncio.Task(bridge, loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
    else:
        made = loop.create_task(bridge)
    if not made.done():
        return Deferred.fromFuture(made)
    finished: Deferred[Any] = Deferred()
    try:
        finished.callback(made.result())
    except BaseException:
        finished.errback()
    return finished


async def _bridge(running: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
    return await _driven(running, loop)


@coroutine
def _driven(running: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, Any]:
    """Let a coroutine await Deferreds within a task, which knows futures alone."""
    resume: Callable[[Any], Any] = running.send
    value: Any = None
    while True:
        try:
            awaited = resume(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = (yield from awaited.asFuture(loop)) if isinstance(awaited, Deferred) else (yield awaited)
        except GeneratorExit:
            running.close()
            raise
        except BaseException as error:
            resume, value = running.throw, error
        else:
            resume = running.send
