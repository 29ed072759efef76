"""The names of `ka_twisted.testing`, where they once were."""

from .client import MemoryClient
from .responses import ParsedResponse, parseResponses
from .server import MemoryServer
from .transport import MemoryTransport

__all__ = ["MemoryClient", "MemoryServer", "MemoryTransport", "ParsedResponse", "parseResponses"]
