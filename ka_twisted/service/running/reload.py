"""
Reloads: one at a time, each with a word on how it went, and certificates also when their files change.

What a reload does is decided in `serving`, and by the supervisor of `workers`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..configuration.values import Configuration
from ..errors import RECOVERABLE, ConfigurationError, oneLine

_log = Logger()


class Reloader:
    """
    Puts a new configuration into effect, or leaves the old one.

    Who asks while a reload is under way gets another one after it; all who ask meanwhile share that.

    :param read: reads the configuration anew.
    :param change: puts it into effect, or raises one of `RECOVERABLE` and has changed nothing.
    :param told: called with whether it went well.
    """

    def __init__(
        self,
        read: Callable[[], Configuration],
        change: Callable[[Configuration], Coroutine[Any, Any, None]],
        told: Callable[[bool], None],
    ) -> None:
        self._read = read
        self._change = change
        self._received = told
        self._lock = DeferredLock()
        self._next: Deferred[None] | None = None

    def request(self) -> Deferred[None]:
        """Reload; fires when that is over, however it went."""
        if self._next is not None:
            return self._next
        requested: Deferred[None] = self._lock.run(self._begin)
        if not requested.called:  # it has to wait for the lock
            self._next = requested
        return requested

    def _begin(self) -> Deferred[None]:
        self._next = None  # what is asked for from now on may be about other files
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        well = False
        try:
            await self._change(self._read())
            well = True
            _log.info("the configuration was reloaded")
        except RECOVERABLE as error:
            _log.error("the configuration was not reloaded, the old one stays: {problem}", problem=oneLine(error))
        except Exception:
            _log.failure("the configuration was not reloaded, the old one stays")
        self._received(well)


class CertificateWatch:
    """
    Looks every few seconds whether the files of TLS were replaced, as a renewal of certificates does.

    :param changed: tells it.
    :param reload: reads them, or raises `ConfigurationError`.
    """

    SECONDS = 5.0

    def __init__(self, reactor: IReactorTime, changed: Callable[[], bool], reload: Callable[[], None]) -> None:
        self._changed = changed
        self._reload = reload
        self._loop = LoopingCall(self._check)
        self._loop.clock = reactor
        self._problem = ""

    def start(self) -> None:
        """Begin to look."""
        self._loop.start(self.SECONDS, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def _check(self) -> None:
        try:
            if not self._changed():
                return
            self._reload()
        except ConfigurationError as error:
            # The files are looked at again, for they may be replaced one by one. It is said once.
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("the certificates were not reloaded, the old ones stay: {problem}", problem=self._problem)
        except Exception:
            _log.failure("the certificates were not reloaded, the old ones stay")
        else:
            self._problem = ""
            _log.info("the certificates were reloaded: their files have changed")
