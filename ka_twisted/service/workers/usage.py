"""What a process holds, for its supervisor to decide when it is to be replaced."""

from __future__ import annotations

import os
import resource
import sys


def residentBytes() -> int:
    """The resident memory of this process; where the kernel does not tell, the most that it ever was."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
