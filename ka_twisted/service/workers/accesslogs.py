"""
The access logs that a supervisor writes for its workers: pipes, sockets and terminals, where lines of several writers
would mix. To a regular file each worker appends by itself, which the kernel keeps apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...observe.directives import makeFormat
from ...observe.linefile import LineFile
from ...observe.outputs import wantsOneWriter
from ..configuration.values import Configuration
from ..errors import ConfigurationError, oneLine

_log = Logger()


class AccessLogs:
    """
    One writer for each path.

    :param dropped: called with the number of lines, each time that some are lost.
    """

    def __init__(self, reactor: IReactorTime, dropped: Callable[[int], object]) -> None:
        self._reactor = reactor
        self._dropped = dropped
        self._files: dict[str, LineFile] = {}

    def provide(self, configuration: Configuration) -> LineFile | None:
        """
        Open what takes the lines of workers with this configuration.

        :return: None where each of them writes by itself.
        :raises ConfigurationError: when it cannot be opened.
        """
        path = configuration.accessLog
        if path is None:
            return None
        if path not in self._files:
            if not wantsOneWriter(path):
                return None
            self._files[path] = self._opened(path)
        file = self._files[path]
        file.lostLine = makeFormat(configuration.logFormat).lost
        return file

    def _opened(self, path: str) -> LineFile:
        file = LineFile(path, self._reactor, makeFormat("combined").lost)
        file.dropped = self._dropped
        try:
            file.open()
        except OSError as error:
            raise ConfigurationError(f"the access log cannot be written: {oneLine(error)}") from error
        return file

    def keep(self, paths: Collection[str | None]) -> None:
        """Close those that are not among these."""
        for path in [path for path in self._files if path not in paths]:
            self._files.pop(path).close()

    def reopen(self) -> None:
        """Go on in new files of the same names."""
        for file in self._files.values():
            try:
                file.reopen()
            except OSError as error:
                _log.error("the access log cannot be reopened: {problem}", problem=oneLine(error))

    def close(self) -> None:
        """Close all."""
        self.keep(())
