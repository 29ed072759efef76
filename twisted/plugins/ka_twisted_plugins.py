"""What ka_twisted registers with Twisted. Nothing else: each ``twistd`` command loads this."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

keepalive = ServiceMaker(
    "ka_twisted HTTP server",
    "ka_twisted.service.tap",
    "An HTTP server that knows why each of its connections lives or ends.",
    "keepalive",
)
uvloop = Reactor(
    "uvloop",
    "ka_twisted.reactors.twistd",
    "uvloop's event loop, with its own transports for TCP and UNIX streams (needs the package uvloop).",
)
