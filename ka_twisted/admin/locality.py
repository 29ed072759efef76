"""Whether an endpoint can be reached from other machines, as far as its description says."""

from __future__ import annotations

import re
from ipaddress import ip_address

#: The parts of a description: what a backslash precedes has no meaning of its own.
_PARTS = re.compile(r"(?:\\.|[^:\\])*", re.DOTALL)


def isLocal(endpointText: str) -> bool:
    """
    Whether only this machine can connect to a server endpoint: TCP on a loopback address, or a UNIX socket.

    :param endpointText: the description of a Twisted endpoint. False where it is in doubt.
    """
    kind, *rest = _PARTS.findall(endpointText)
    if kind.lower() == "unix":
        return True
    interfaces = [part.partition("=")[2].replace("\\", "") for part in rest if part.startswith("interface=")]
    return kind.lower() in ("tcp", "tcp6") and len(interfaces) == 1 and isLoopback(interfaces[0].removesuffix("."))


def isLoopback(host: str) -> bool:
    """Whether this is a loopback address, or the name of one (RFC 6761 6.3)."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
