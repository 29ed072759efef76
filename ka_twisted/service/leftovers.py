"""
What a process that is gone has left behind: its pid file, and the paths and locks of its UNIX sockets.

Process ids come again: in a container that is restarted, the next server has the very id that the last one had. So an
id says little; what it is the id of does.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from twisted.logger import Logger

_log = Logger()


def isAnotherServer(pid: int) -> bool:
    """Whether a process lives that has this id, is not this one, and is a twistd, as far as can be told."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is of another user
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
    return b"twist" in command


def removePidFile(path: str) -> None:
    """Remove a pid file, unless another server has written it, or it is none: Twisted says what is wrong then."""
    try:
        pid = int(Path(path).read_text("ascii"))
    except (OSError, ValueError):
        return
    if not isAnotherServer(pid):
        _remove(path)


def removeSocket(path: str) -> None:
    """Remove the path of a UNIX socket that no process listens on, and its lock."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    lock = f"{path}.lock"
    try:
        if isAnotherServer(int(os.readlink(lock))):
            return
    except (OSError, ValueError):
        pass  # it has none
    if _isListenedOn(path):
        return
    if os.path.islink(lock):
        _remove(lock)
    _remove(path)


def _isListenedOn(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) != errno.ECONNREFUSED


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        _log.warn("{path}, left by a process that is gone, cannot be removed: {error}", path=path, error=error)
    else:
        _log.info("removed {path}, left by a process that is gone", path=path)
