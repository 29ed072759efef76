"""
Tasks of asyncio that begin at once, before Python 3.12 brought them.

Python's own task is used, in its version that is written in Python; only its beginning is another. The private names
are those of Python 3.10 and 3.11, which do not change any more.
"""

from __future__ import annotations

import asyncio
from asyncio import tasks
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

_PyTask: Any = tasks._PyTask  # type: ignore[attr-defined]
_current: dict[asyncio.AbstractEventLoop, Any] = tasks._current_tasks  # type: ignore[attr-defined]


class EagerTask(_PyTask):  # type: ignore[misc]
    """
    A task whose first step is made when it is made: one that does not wait is done at once.

    :param running: the coroutine.
    :param rest: makes a coroutine of the rest of one, given what it waits for, and the loop.
    """

    # The initial values of a task. The constructors that set them otherwise cost more than the first step.
    _name = "handler"
    _num_cancels_requested = 0
    _must_cancel = False
    _fut_waiter = None
    _context: Context
    _coro: Coroutine[Any, Any, Any]

    def __init__(
        self,
        running: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        rest: Callable[[Coroutine[Any, Any, Any], Any, asyncio.AbstractEventLoop], Coroutine[Any, Any, Any]],
    ) -> None:
        self._loop = loop
        self._callbacks: list[Any] = []
        self._coro = running
        self._context = context = copy_context()
        # A loop makes none of these; another task may, and is then the current one again afterwards.
        maker = _current.get(loop)
        _current[loop] = self
        try:
            awaited = context.run(running.send, None)
        except StopIteration as stop:
            self._result = stop.value  # as `set_result`, less a look for callbacks
            self._state = "FINISHED"
        except asyncio.CancelledError:
            super(_PyTask, self).cancel()
        except BaseException as error:
            super(_PyTask, self).set_exception(error)
        else:
            del _current[loop]
            tasks._register_task(self)
            self._coro = rest(running, awaited, loop)
            self._Task__step()
        finally:
            if maker is not None:
                _current[loop] = maker
            else:
                _current.pop(loop, None)
