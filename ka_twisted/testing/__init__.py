"""Doubles for tests of what is built with this package: no network, no waiting. See `memory`."""

from .memory import MemoryClient, MemoryServer, MemoryTransport, ParsedResponse, parseResponses

__all__ = ["MemoryClient", "MemoryServer", "MemoryTransport", "ParsedResponse", "parseResponses"]
