"""
Whom a request is for that a proxy passes on: ``Forwarded`` (RFC 7239) and ``X-Forwarded-For``.

Anyone can write these fields. Each proxy appends the address of its own peer on the right, so what the right-most
trusted ones say is read, and nothing further to the left than the first address that is not trusted itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice
from typing import NamedTuple

from .grammar import tchar

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address
#: An address with a port, 0 where none is told; None: something else, or nothing that can be read.
_Hop = tuple[_Address, int] | None

#: Reads the hops of one line of a field, the right-most first.
_Reader = Callable[[bytes], Iterator[_Hop]]

#: Bytes of all fields of one name, and hops in them, past which they are not read.
MAX_BYTES = 8192
MAX_HOPS = 64
_LAST_PORT = 65535

_FORWARDED, _FORWARDED_FOR = b"forwarded", b"x-forwarded-for"
#: RFC 7239 4: a parameter, without blanks round its equals sign.
_PAIR = re.compile(
    rf'({tchar}+)=(?:({tchar}+)|"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)")'.encode("latin-1"),
)
_BETWEEN = re.compile(rb"[ \t]*,[ \t]*")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
#: RFC 7239 6: the port may be hidden, too.
_NODE = re.compile(rb"(?:([0-9.]{7,15})|\[([0-9A-Fa-f:.]{2,45})\])(?::(?:([0-9]{1,5})|_[0-9A-Za-z._-]+))?")
#: What ``X-Forwarded-For`` has without brackets.
_BARE = re.compile(rb"[0-9A-Fa-f]*:[0-9A-Fa-f:.]{1,45}")


class Client(NamedTuple):
    """
    Whom a request is for.

    :ivar host: the address; one of IPv4 never in the form of one of IPv6.
    :ivar port: 0 where no proxy tells it.
    """

    host: str
    port: int


class TrustedProxies:
    """
    Finds the clients behind the proxies of some networks. Nothing here raises, whatever fields hold.

    :param networks: where the proxies are.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks = tuple(networks)

    def trusts(self, host: str | None) -> bool:
        """
        Whether what this peer says of others is believed.

        :param host: its address; None: it is on a UNIX socket, where those who may connect are let in by its mode.
        """
        if host is None:
            return True
        try:
            return self._contains(_canonical(ip_address(host)))
        except ValueError:
            return False

    def client(self, fields: Iterable[tuple[bytes, bytes]]) -> Client | None:
        """
        Whom a request is for that a trusted peer has sent.

        :param fields: names and values of its header section.
        :return: the right-most address that is not trusted itself, the left-most where all are; None: the fields do not
            tell, are malformed where they are read, or contradict each other.
        """
        forwarded: list[bytes] = []
        others: list[bytes] = []
        for name, value in fields:
            if len(name) == len(_FORWARDED) and name.lower() == _FORWARDED:
                forwarded.append(value)
            elif len(name) == len(_FORWARDED_FOR) and name.lower() == _FORWARDED_FOR:
                others.append(value)
        found = self._found(forwarded, _elements) if forwarded else None
        if not others:
            return found
        other = self._found(others, _members)
        if not forwarded:
            return other
        # A proxy that writes one of them may pass on the other as its client wrote it.
        return found if found is not None and other is not None and found.host == other.host else None

    def _found(self, lines: list[bytes], read: _Reader) -> Client | None:
        if sum(map(len, lines)) > MAX_BYTES:
            return None
        last: Client | None = None
        for count, hop in enumerate(islice(_backwards(lines, read), MAX_HOPS + 1)):
            if hop is None or count == MAX_HOPS:
                return None
            last = Client(str(hop[0]), hop[1])
            if not self._contains(hop[0]):
                break
        return last

    def _contains(self, address: _Address) -> bool:
        return any(address in network for network in self.networks)


def _backwards(lines: list[bytes], read: _Reader) -> Iterator[_Hop]:
    for line in reversed(lines):
        yield from read(line)


def _members(line: bytes) -> Iterator[_Hop]:
    """The hops of a line of ``X-Forwarded-For``."""
    for member in reversed(line.split(b",")):
        if text := member.strip(b" \t"):
            yield _address(text, 0) if _BARE.fullmatch(text) else _node(text)


def _elements(line: bytes) -> Iterator[_Hop]:
    """The hops of a line of ``Forwarded``: one that is not known for each that is hidden, or does not tell."""
    elements = _parsed(line)
    if elements is None:
        yield None
        return
    for element in reversed(elements):
        yield _node(element.get(b"for", b""))


def _parsed(line: bytes) -> list[dict[bytes, bytes]] | None:
    """The parameters of each element of ``Forwarded``, by name in lower case; None where it is malformed."""
    elements: list[dict[bytes, bytes]] = []
    element: dict[bytes, bytes] = {}
    position, end = 0, len(line)
    while True:
        if pair := _PAIR.match(line, position):
            name = pair[1].lower()
            if name in element:  # RFC 7239 4: once in each element
                return None
            element[name] = pair[2] if pair[3] is None else _ESCAPE.sub(rb"\1", pair[3])
            position = pair.end()
        comma = _BETWEEN.match(line, position)
        if comma is None and position < end:
            if line[position] != ord(";"):
                return None
            position += 1
            continue
        if element:
            elements.append(element)
        if comma is None:
            return elements
        element, position = {}, comma.end()


def _node(text: bytes) -> _Hop:
    """A node with an address (RFC 7239 6); None for one that is unknown or hidden, and for what is none."""
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    return _address(match[1] or match[2], int(match[3] or 0), version=4 if match[1] else 6)


def _address(text: bytes, port: int, version: int = 6) -> _Hop:
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        return None
    if address.version != version or port > _LAST_PORT:
        return None
    return _canonical(address), port


def _canonical(address: _Address) -> _Address:
    """An address of IPv4 in its own form."""
    return getattr(address, "ipv4_mapped", None) or address
