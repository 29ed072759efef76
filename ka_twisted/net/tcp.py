"""What Twisted leaves to its users of TCP: addresses in one form, the kernel's keep-alive probes and their times."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, ITCPTransport

from ..config import TcpKeepAlive

#: How the kernel begins the addresses of IPv4 clients on a socket of IPv6 (RFC 4291 2.5.5.2).
_MAPPED = "::ffff:"


def canonical(address: IAddress) -> IAddress:
    """An address in the one form in which it is compared, counted and logged: one of IPv4 never as one of IPv6."""
    if isinstance(address, IPv6Address) and address.host.startswith(_MAPPED) and "." in address.host:
        return IPv4Address(address.type, address.host.removeprefix(_MAPPED), address.port)
    return address


def peerOf(transport: Any) -> IAddress:
    """Where the peer of a transport is, in the form of `canonical`."""
    return canonical(transport.getPeer())


def isTcp(transport: Any) -> bool:
    """
    Whether a transport runs on TCP, so that its options can be set.

    A UNIX stream of Twisted's has the methods as well, and no use for them. The socket says which it is: addresses may
    be what a PROXY header claims.
    """
    if not ITCPTransport.providedBy(transport):
        return False
    handle = socketOf(transport)
    if handle is not None:
        return handle.family in (socket.AF_INET, socket.AF_INET6)
    return isinstance(transport.getHost(), (IPv4Address, IPv6Address))


def socketOf(transport: Any) -> socket.socket | None:
    """The socket under a transport, TLS and other wrappers looked through; None: there is none to be seen."""
    while not isinstance(handle := getattr(transport, "socket", None), socket.socket):
        if (transport := getattr(transport, "transport", None)) is None:
            return None
    return handle


def setTcpKeepAlive(transport: Any, setting: TcpKeepAlive | None) -> None:
    """
    Switch the kernel's keep-alive probes of one TCP connection on or off (RFC 1122 4.2.3.6).

    :param transport: see `isTcp`; TLS and other wrappers are looked through.
    :param setting: their times; None: off.
    """
    transport.setTcpKeepAlive(setting is not None)
    if setting is None:
        return
    if (handle := socketOf(transport)) is None:
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
