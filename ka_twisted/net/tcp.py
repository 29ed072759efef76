"""The options of TCP connections that Twisted leaves to its users: the kernel's keep-alive probes and their times."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import ITCPTransport

from ..config import TcpKeepAlive


def isTcp(transport: Any) -> bool:
    """
    Whether a transport runs on TCP, so that its options can be set.

    A UNIX stream of Twisted's has the methods as well, and no use for them.
    """
    return ITCPTransport.providedBy(transport) and isinstance(transport.getHost(), (IPv4Address, IPv6Address))


def setTcpKeepAlive(transport: Any, setting: TcpKeepAlive | None) -> None:
    """
    Switch the kernel's keep-alive probes of one TCP connection on or off (RFC 1122 4.2.3.6).

    :param transport: see `isTcp`; TLS and other wrappers are looked through.
    :param setting: their times; None: off.
    """
    transport.setTcpKeepAlive(setting is not None)
    if setting is None:
        return
    while not isinstance(handle := getattr(transport, "socket", None), socket.socket):
        if (transport := getattr(transport, "transport", None)) is None:
            return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, setting.idle)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, setting.interval)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, setting.count)


def checkTcpKeepAlive(setting: TcpKeepAlive | None) -> None:
    """
    See that the platform can do what the setting asks.

    :raises ValueError: when it cannot (ledger T-01).
    """
    needed = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    if setting is not None and not all(hasattr(socket, name) for name in needed):
        raise ValueError("this platform cannot set the intervals of TCP keep-alive")
