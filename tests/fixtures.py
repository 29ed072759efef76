"""Fixtures of the Twisted side for the ``conftest.py`` of its folders: no test leaves an error that it did not want."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests import logs


@pytest.fixture(autouse=True)
def logged() -> Iterator[logs.Logged]:
    """What was logged; see `tests.logs.Logged`."""
    with logs.logged() as log:
        yield log


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_unhandled() -> Iterator[None]:
    """Deferreds tell of unhandled errors when they are collected: for each module, that is done once."""
    yield
    with logs.logged():
        gc.collect()
