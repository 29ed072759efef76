"""Coroutines, step by step."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any


@coroutine
def rest(running: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """
    The rest of a coroutine that has been started, and waits for something.

    :param awaited: what it waits for, as its ``send`` has returned it.
    """
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
