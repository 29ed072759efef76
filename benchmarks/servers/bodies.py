"""The bodies of the large downloads from memory, by their paths."""

from __future__ import annotations

MEMORY = {f"/memory/{data}": b"x" * data for data in (1 << 16, 1 << 26)}
