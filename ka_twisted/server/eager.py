"""
Tasks of asyncio that begin at once, before Python 3.12 brought them.

Python's own task is used, in its version that is written in Python; only its beginning is another. The private names
are those of Python 3.10 and 3.11, which do not change any more.
"""

from __future__ import annotations

import asyncio
from asyncio import tasks
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

_new: Callable[[type[Any]], Any] = object.__new__
_PyTask: Any = tasks._PyTask  # type: ignore[attr-defined]
_current: dict[asyncio.AbstractEventLoop, Any] = tasks._current_tasks  # type: ignore[attr-defined]


class EagerTask(_PyTask):  # type: ignore[misc]
    """A task that `begin` has made."""

    # The initial values of a task. The constructors that set them otherwise cost more than the first step.
    _name = "handler"
    _num_cancels_requested = 0
    _must_cancel = False
    _fut_waiter = None

    def __del__(self) -> None:
        if self._state != "FINISHED" or self._Future__log_traceback:  # else there is nothing to complain about
            super().__del__()


def begin(
    running: Coroutine[Any, Any, Any],
    loop: asyncio.AbstractEventLoop,
    rest: Callable[[Coroutine[Any, Any, Any], Any, asyncio.AbstractEventLoop], Coroutine[Any, Any, Any]],
) -> Any:
    """
    Make the first step of a coroutine as a task.

    :param rest: makes a coroutine of the rest of one, given what it waits for, and the loop.
    :return: what the coroutine gives, or raises, if it does not wait; else the `EagerTask`, under way.
    """
    task = _new(EagerTask)
    task._loop = loop
    task._callbacks = []
    task._coro = running
    task._context = context = copy_context()
    # A loop makes none of these; another task may, and is then the current one again afterwards.
    maker = _current.get(loop)
    _current[loop] = task
    try:
        awaited = context.run(running.send, None)
    except StopIteration as stop:
        task._result = value = stop.value  # as `set_result`, less a look for callbacks
        task._state = "FINISHED"
        return value
    except asyncio.CancelledError:
        super(_PyTask, task).cancel()
        raise
    except BaseException as error:
        super(_PyTask, task).set_exception(error)
        task._Future__log_traceback = False
        raise
    else:
        del _current[loop]
        tasks._register_task(task)
        task._coro = rest(running, awaited, loop)
        task._Task__step()
        return task
    finally:
        if maker is not None:
            _current[loop] = maker
        else:
            _current.pop(loop, None)
