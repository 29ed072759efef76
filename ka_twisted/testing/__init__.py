"""
Doubles for tests of what is built with this package: no network, no waiting.

`MemoryServer` runs real connections of a real `KeepAliveFactory`; only the socket and the time are made up. Clients
send in pieces, stall as readers, half-close, leave and reset; what they receive can be read as bytes or as parsed
responses.
"""

from .client import MemoryClient
from .connection import MemoryConnection, MemoryExchange, ask
from .responses import ParsedResponse, parseResponses
from .server import MemoryServer
from .stream import MemoryStream
from .transport import MemoryTransport

__all__ = [
    "MemoryClient",
    "MemoryConnection",
    "MemoryExchange",
    "MemoryServer",
    "MemoryStream",
    "MemoryTransport",
    "ParsedResponse",
    "ask",
    "parseResponses",
]
