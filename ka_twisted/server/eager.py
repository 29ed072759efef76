"""
Tasks of asyncio that begin at once, before Python 3.12 brought them.

Python's own task is used, in its version that is written in Python; only its beginning is another. The private names
are those of Python 3.10 and 3.11, which do not change any more.
"""

from __future__ import annotations

import asyncio
from asyncio import tasks
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from .steps import rest

_PyTask: Any = tasks._PyTask  # type: ignore[attr-defined]


class EagerTask(_PyTask):  # type: ignore[misc]
    """A task whose first step is made when it is made: one that does not wait is done at once."""

    def __init__(self, running: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        super(_PyTask, self).__init__(loop=loop)
        self._name = "handler"
        self._num_cancels_requested = 0
        self._must_cancel = False
        self._fut_waiter = None
        self._context = copy_context()
        self._coro: Any = running
        # Unlike a loop, whoever makes this task may be another one, which stays the current task.
        maker = tasks._current_tasks.pop(loop, None)  # type: ignore[attr-defined]
        try:
            self._begin(running, loop)
        finally:
            if maker is not None:
                tasks._current_tasks[loop] = maker  # type: ignore[attr-defined]

    def _begin(self, running: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        future: Any = super(_PyTask, self)
        tasks._enter_task(loop, self)
        try:
            awaited = self._context.run(running.send, None)
        except StopIteration as stop:
            future.set_result(stop.value)
            return
        except asyncio.CancelledError:
            future.cancel()
            return
        except BaseException as error:
            future.set_exception(error)
            return
        finally:
            tasks._leave_task(loop, self)
        tasks._register_task(self)
        self._coro = _rest(running, awaited)
        self._Task__step()


async def _rest(running: Coroutine[Any, Any, Any], awaited: Any) -> Any:
    return await rest(running, awaited)
