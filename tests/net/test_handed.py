"""A transport that was handed over is the transport, is counted, and stays with the one that has handed it over."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from zope.interface import alsoProvides

from ka_twisted.net.handed import HandedTransport
from ka_twisted.net.output import unsent
from tests.net.polling import Poller


class Wire:
    """A transport of Twisted's on a socket that was handed over, and the other end."""

    def __init__(self) -> None:
        one, self.other = socket.socketpair()
        one.setblocking(False)
        self.other.settimeout(5)
        self.reactor = Poller()
        self.counted: list[int] = []
        self.owner = Protocol()
        reactor: Any = self.reactor
        self.transport: Any = tcp.Connection(one, self.owner, reactor)
        self.transport.connected = True
        self.successor = Protocol()
        self.handed: Any = HandedTransport(self.transport, self.successor, self.counted.append)


def test_what_is_written_is_counted_and_sent() -> None:
    wire = Wire()
    wire.handed.write(b"one")
    wire.handed.writeSequence(iter([b"two", b"three"]))
    assert wire.counted == [3, 8]
    assert unsent(wire.handed) == 11
    wire.reactor.poll()
    assert wire.other.recv(100) == b"onetwothree"


def test_it_provides_what_the_transport_does() -> None:
    wire = Wire()
    for interface in (ITCPTransport, IHalfCloseableDescriptor):
        assert interface.providedBy(wire.handed) is interface.providedBy(wire.transport)
    assert not ISSLTransport.providedBy(wire.handed)
    transport = StringTransport()
    alsoProvides(transport, ISSLTransport)
    assert ISSLTransport.providedBy(HandedTransport(transport, Protocol(), print))
    assert not ISSLTransport.providedBy(HandedTransport(StringTransport(), Protocol(), print))


def test_another_protocol_in_its_place_leaves_the_connection_where_it_is() -> None:
    wire = Wire()
    assert wire.handed.protocol is wire.successor
    other = Protocol()
    wire.handed.protocol = other
    assert wire.handed.protocol is other
    assert wire.transport.protocol is wire.owner


def test_all_else_is_the_transports() -> None:
    wire = Wire()
    wire.handed.bufferSize = 1234
    assert wire.transport.bufferSize == wire.handed.bufferSize == 1234
    assert wire.handed.socket is wire.transport.socket
    assert repr(wire.transport) in repr(wire.handed)
    with pytest.raises(AttributeError, match="nothing"):
        _ = wire.handed.nothing
    wire.handed.loseConnection()
    wire.reactor.poll()
    assert not wire.transport.connected
