"""
Waiting for what an application returned: Deferreds, and coroutines that await Deferreds.

Where an asyncio event loop runs the reactor, coroutines may await what asyncio has as well: there each is a task.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from .steps import rest


def waiting(result: Awaitable[Any]) -> Deferred[Any]:
    """A Deferred of what an awaitable gives. A coroutine is started; cancelling the Deferred cancels it."""
    if isinstance(result, Deferred):
        return result
    running = result if isinstance(result, Coroutine) else _awaiting(result)
    loop = runningLoop()
    if loop is None:
        return Deferred.fromCoroutine(running)
    try:
        given = firstStep(running, loop)
    except BaseException:
        return fail()
    return given if isinstance(given, TaskResult) else succeed(given)


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def resumed(running: Coroutine[Any, Any, Any], awaited: Any, context: Context) -> Deferred[Any]:
    """
    A Deferred of what a coroutine gives that has been started, and waits for something.

    :param awaited: what it waits for, as its ``send`` has returned it.
    :param context: that it was started in.
    """
    return context.run(Deferred.fromCoroutine, rest(running, awaited))


# -- asyncio -----------------------------------------------------------------------------------------------------------

#: The event loop of asyncio that runs the reactor; None where none does.
runningLoop: Callable[[], asyncio.AbstractEventLoop | None] = asyncio._get_running_loop
#: Whether tasks can begin at once, without a turn of the loop (Python 3.12).
_EAGER = sys.version_info >= (3, 12)
if not _EAGER:
    from .eager import EagerTask, begin


def firstStep(running: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
    """
    Begin a coroutine as a task, at once. It may await futures of asyncio and Deferreds alike.

    :return: what the coroutine gives, or raises, if it does not wait; else a `TaskResult`.
    """
    if _EAGER:
        task = asyncio.Task(_bridge(running, loop), loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
        return outcome(task) if task.done() else TaskResult(task, loop)
    given = begin(running, loop, _rest)
    return TaskResult(given, loop) if given.__class__ is EagerTask else given


async def _rest(running: Coroutine[Any, Any, Any], awaited: Any, loop: asyncio.AbstractEventLoop) -> Any:
    return await _driven(rest(running, awaited), loop)


class Exit:
    """
    A `SystemExit` or `KeyboardInterrupt` of a coroutine, as the result of its task.

    Raised by a task, they would end the loop, and the server with it.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def outcome(task: asyncio.Task[Any]) -> Any:
    """What a task that has ended gives, or raises."""
    value = task.result()
    if value.__class__ is Exit:
        raise value.error
    return value


class TaskResult(Deferred[Any]):
    """
    What a task gives. Cancelled, it fires when the task has ended, with what that made of it.

    :param task: is cancelled in the next turn of its loop: what it waits for may have come already. It then meets
        `asyncio.CancelledError`, unless what it waits for has come by then.
    """

    def __init__(self, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._task = task
        self._loop = loop
        if task.done():
            self.take(task)
        else:
            task.add_done_callback(self.take)

    def cancel(self) -> None:
        """See `Deferred.cancel`."""
        if not self.called:
            self._loop.call_soon(self._task.cancel)

    def take(self, task: asyncio.Task[Any]) -> None:
        """The task has ended."""
        try:
            value = outcome(task)
        except BaseException:
            self.errback()
        else:
            self.callback(value)


async def _bridge(running: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
    return await _driven(running, loop)


@coroutine
def _driven(running: Any, loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, Any]:
    """Let a coroutine await Deferreds within a task, which knows futures alone."""
    resume: Callable[[Any], Any] = running.send
    value: Any = None
    while True:
        try:
            awaited = resume(value)
        except StopIteration as stop:
            return stop.value
        except (SystemExit, KeyboardInterrupt) as error:
            return Exit(error)
        try:
            if isinstance(awaited, Deferred):
                yield from _fired(awaited, loop)
            else:
                yield awaited
        except GeneratorExit:
            running.close()
            raise
        except BaseException as error:
            if isinstance(awaited, Deferred):
                awaited.addErrback(lambda failure: None)  # it failed just before: the coroutine hears of this instead
            resume, value = running.throw, error
        else:
            resume, value = running.send, None


def _fired(awaited: Deferred[Any], loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """A future that is done when a Deferred has fired, and leaves its result to the task that awaits that."""
    future: asyncio.Future[None] = loop.create_future()

    def fired(result: Any) -> Any:
        if future.cancelled():
            return None  # the coroutine has been told
        future.set_result(None)
        return result

    awaited.addBoth(fired)
    future.add_done_callback(lambda future: awaited.cancel() if future.cancelled() else None)
    return future
