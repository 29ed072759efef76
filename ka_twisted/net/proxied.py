"""
The PROXY protocol: balancers say ahead of a connection where it comes from, and those that are trusted are believed.

The header is read by Twisted's parsers. The protocol behind it is made once the header is complete, and gets the
transport itself, which from then on has the addresses of the header: a wrapper would cost every write a detour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, cast

from twisted.internet.address import IPv4Address as Ip4
from twisted.internet.address import IPv6Address as Ip6
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from .private import V1Parser, V2Parser
from .registry import ConnectionRegistry
from .stages import ConnectionStage, ConnectionStageFactory
from .tcp import canonical

Network = IPv4Network | IPv6Network

#: How the two versions begin.
_V1, _V2 = b"PROXY ", V2Parser.PREFIX
#: What a balancer may say for itself, which Twisted's parser takes only with something behind it.
_UNKNOWN = b"PROXY UNKNOWN\r\n"
#: Bytes before which a header of version 2 does not say how long it is.
_V2_FIXED = 16
_LAST_PORT = 65535


class ProxiedFactory(ConnectionStageFactory):
    """
    Reads the PROXY header of connections from trusted peers; those from others begin with HTTP or TLS.

    A connection over a UNIX socket is one from a trusted peer. The other parameters: see `ConnectionStageFactory`.

    :param networks: where the peers are that are believed.
    """

    def __init__(
        self,
        factory: IProtocolFactory,
        networks: Iterable[Network],
        *,
        seconds: float,
        reactor: IReactorTime,
        failed: Callable[[str], object] = lambda word: None,
        registry: ConnectionRegistry[Any] | None = None,
    ) -> None:
        super().__init__(factory, seconds, reactor, failed, registry)
        self.networks = tuple(networks)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See `IProtocolFactory.buildProtocol`."""
        if self.trusts(addr):
            return ProxyHeader(self)
        return self.following.buildProtocol(addr)

    def trusts(self, address: IAddress | None) -> bool:
        """Whether what this peer says of others is believed."""
        if isinstance(address, UNIXAddress):
            return True
        host = _host(address)
        return host is not None and any(host in network for network in self.networks)


class ProxyHeader(ConnectionStage):
    """A connection, until its header is complete."""

    def __init__(self, factory: ProxiedFactory) -> None:
        super().__init__(factory)
        self._data = b""
        self._following: Any = None

    @property
    def countedHost(self) -> object:
        """See `ConnectionStage.countedHost`: a balancer that is trusted has as many connections as it needs."""
        return None

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        if self._following is not None:
            self._following.dataReceived(data)
            return
        self._data += data
        try:
            parsed = _parse(self._data)
        except Exception:  # Twisted's parsers raise what comes: whatever it is, this is no header
            self.refuse("bad PROXY header")
            return
        if parsed is not None:
            self._data = b""
            self._handOver(*parsed)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        if self._following is not None:
            self._following.connectionLost(reason)
        else:
            super().connectionLost(reason)

    def _handOver(self, source: IAddress | None, destination: IAddress | None, rest: bytes) -> None:
        self.over()
        transport = self.transport
        if source is not None and destination is not None:
            transport.getPeer = lambda: source
            transport.getHost = lambda: destination
        self._following = protocol = self._factory.following.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.loseConnection()
            return
        if getattr(transport, "protocol", None) is self:
            transport.protocol = protocol  # else this one passes on what comes
        protocol.makeConnection(transport)
        if rest:
            protocol.dataReceived(rest)


def _parse(data: bytes) -> tuple[IAddress | None, IAddress | None, bytes] | None:
    """
    Source, destination, and what follows the header; None while it is not complete.

    Without addresses it is the balancer itself that speaks: LOCAL, UNKNOWN.

    :raises Exception: when this does not begin with a header.
    """
    if data.startswith(_UNKNOWN):
        return None, None, data[len(_UNKNOWN) :]
    if data.startswith(_V1):
        parser: V1Parser | V2Parser = V1Parser()
    elif data.startswith(_V2):
        if len(data) < _V2_FIXED:
            return None
        parser = V2Parser()
    elif _V1.startswith(data) or _V2.startswith(data):
        return None
    else:
        raise ValueError("no PROXY header")
    info, rest = parser.feed(data)
    if info is None:
        return None
    return _checked(info.source), _checked(info.destination), rest or b""


def _checked(address: Any) -> IAddress | None:
    """
    An address of a header, written as the kernel writes those of connections: limits and logs compare the text.

    :raises Exception: when it is none.
    """
    if isinstance(address, (Ip4, Ip6)):
        family = AF_INET6 if isinstance(address, Ip6) else AF_INET
        if not 0 <= address.port <= _LAST_PORT:
            raise ValueError("no port")
        host = inet_ntop(family, inet_pton(family, address.host))
        return canonical(type(address)(address.type, host, address.port))
    return address  # type: ignore[no-any-return]


def _host(address: object) -> IPv4Address | IPv6Address | None:
    """The IP address in an address."""
    try:
        return ip_address(getattr(canonical(cast(IAddress, address)), "host", ""))
    except ValueError:
        return None
