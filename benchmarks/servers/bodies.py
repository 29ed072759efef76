"""The bodies of the large downloads from memory, by their paths."""

from __future__ import annotations

MEMORY = {f"/memory/{octets}": b"x" * octets for octets in (1 << 16, 1 << 26)}
