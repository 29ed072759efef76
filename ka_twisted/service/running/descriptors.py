"""
Descriptors: as many as the connections need that are allowed, or as many connections as there are descriptors for.

Some are kept for logs, the admin page and reloads: they work also when clients have all the rest.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import Logger

from ...config import Limits

try:
    import resource
except ImportError:  # no POSIX: there is no such limit to be seen
    resource = None  # type: ignore[assignment]

#: Descriptors that no connection gets: they are for listeners, logs, the admin page, files that are read, the next
#: configuration, and connections beyond the limit, which are accepted by the hundred and closed a turn later.
RESERVE = 256

_log = Logger()


def affordable(limits: Limits) -> Limits:
    """
    Raise this process's limit on descriptors as far as the connections need it and it may be raised.

    :return: the limits, with fewer connections where that is not enough: the log says so, with both figures.
    """
    available = _raised(limits.maxConnections + limits.maxRefused + RESERVE if limits.maxConnections else None)
    if available is None:
        return limits
    reserve = min(RESERVE, available // 2)
    refused = min(limits.maxRefused, available // 8)
    room = max(1, available - reserve - refused)
    if 0 < limits.maxConnections <= room:
        return limits
    if limits.maxConnections:
        _log.warn(
            "{wanted} connections are allowed (max-connections), but this process may have only {available} file "
            "descriptors (ulimit -n): at most {room} connections are accepted",
            wanted=limits.maxConnections,
            available=available,
            room=room,
        )
    return replace(limits, maxConnections=room, maxRefused=refused)


def _raised(wanted: int | None) -> int | None:
    """How many descriptors there are, once the soft limit is as high as is wanted; None: without limit."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = hard if wanted is None or (hard != resource.RLIM_INFINITY and wanted > hard) else wanted
    if soft != resource.RLIM_INFINITY and (goal == resource.RLIM_INFINITY or goal > soft):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
            soft = goal
        except (OSError, ValueError):
            pass  # the kernel allows less than it says
    return None if soft == resource.RLIM_INFINITY else soft
