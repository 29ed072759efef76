"""An HTTP server framework for Twisted whose subject is the connection."""

from .config import Limits, Policy, TcpKeepAlive, Timeouts
from .core.persistence import Persistence
from .core.reasons import CloseReason
from .server.factory import KeepAliveFactory
from .server.protocol import KeepAliveProtocol
from .server.request import Request
from .server.response import Response, Switch
from .server.serving import Serving, serve
from .server.sites import Sites
from .service.embedded import KeepAliveService

__all__ = [
    "CloseReason",
    "KeepAliveFactory",
    "KeepAliveProtocol",
    "KeepAliveService",
    "Limits",
    "Persistence",
    "Policy",
    "Request",
    "Response",
    "Serving",
    "Sites",
    "Switch",
    "TcpKeepAlive",
    "Timeouts",
    "serve",
]
