"""How many cores this process may use: what the scheduler lets it run on, within the quota of its control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path

#: Where the groups of a process are named, and where they are.
_OWN = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")


def usableCores(own: Path = _OWN, mounted: Path = _MOUNTED) -> int:
    """
    The cores that we may use, at least one: a container has those of its quota, not all of the machine.

    :param own: the file that names the control groups of the process.
    :param mounted: the folder of all control groups.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(ceil(quota) for quota in _quotas(own, mounted))]))


def _quotas(own: Path, mounted: Path) -> Iterator[float]:
    """The cores that each group around the process allows, where it has a limit."""
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2: one hierarchy
            root = mounted
        elif "cpu" in controllers.split(","):
            root = mounted / controllers if (mounted / controllers).is_dir() else mounted / "cpu"
        else:
            continue
        group = root / path.lstrip("/")
        # Each of them limits those below it. In a container its own group is mounted at the root.
        for folder in (group, *group.parents):
            quota = _quota(folder)
            if quota:
                yield quota
            if folder == root:
                break


def _quota(group: Path) -> float:
    """The cores that a group allows by itself; 0: it sets no limit."""
    quota, _, period = _text(group / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    try:
        return max(0.0, int(quota) / int(period))
    except (ValueError, ZeroDivisionError):
        return 0.0  # "max", or no such file


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
