"""Programs that some tests need and that a machine may lack."""

from __future__ import annotations

import os
import shutil

#: Where servers are installed that are not for every user.
_SYSTEM = os.pathsep.join(["/usr/sbin", "/usr/local/sbin"])


def find(name: str) -> str | None:
    """The path of a program; None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=_SYSTEM)
