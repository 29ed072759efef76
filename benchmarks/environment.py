"""What was measured, and on what."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .peers import HERE

_PACKAGES = ("ka_twisted", "twisted", "uvloop", "uvicorn", "httptools", "granian", "aiohttp", "freastal")
_PROGRAMS = {"wrk": "-v", "node": "--version", "nginx": "-v"}


def environment() -> dict[str, str]:
    """Kernel, processors and versions."""
    found = {
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": str(os.cpu_count()),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if commit := _commit():
        found["commit"] = commit
    for program, option in _PROGRAMS.items():
        if shutil.which(program):
            done = subprocess.run([program, option], capture_output=True, text=True, timeout=10)
            if number := re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr):
                found[program] = number[0]
    return found


def _processor() -> str:
    """The model of the processor; an empty text where the system does not tell."""
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    model = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return model[1] if model else ""


def _commit() -> str:
    """The commit of the sources, with a mark when they differ from it; empty where there is no git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
