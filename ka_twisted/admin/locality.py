"""Who can reach an endpoint, as far as its description tells."""

from __future__ import annotations

import re
from ipaddress import ip_address

#: The parts of a description: what a backslash precedes has no meaning of its own.
_PARTS = re.compile(r"(?:\\.|[^:\\])*", re.DOTALL)


def isLocal(endpointText: str) -> bool:
    """
    Whether only this machine can connect to a server endpoint: TCP on a loopback address, or a UNIX socket.

    :param endpointText: the description of a Twisted endpoint. Of one whose meaning is not plain the answer is False.
    """
    kind, *rest = _PARTS.findall(endpointText)
    if kind.lower() == "unix":
        return True
    interfaces = [part.partition("=")[2] for part in rest if part.startswith("interface=")]
    return kind.lower() in ("tcp", "tcp6") and len(interfaces) == 1 and isLoopback(interfaces[0].replace("\\", ""))


def isLoopback(host: str) -> bool:
    """Whether this is a loopback address; a name is none."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
