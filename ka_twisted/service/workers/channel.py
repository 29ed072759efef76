"""What a supervisor and its workers say to each other: JSON objects, one a line, on a pair of sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

#: A message.
Message = dict[str, Any]


class Channel(LineOnlyReceiver):
    """
    One end.

    :param received: called with each message of the other end.
    :param closed: called once, when the other end is gone.
    """

    delimiter = b"\n"
    #: The records of all connections of a worker, with room to spare.
    MAX_LENGTH = 1 << 28

    def __init__(self, received: Callable[[Message], None], closed: Callable[[], None]) -> None:
        self._received = received
        self._closed = closed

    def lineReceived(self, line: bytes) -> None:
        """See `LineOnlyReceiver`."""
        self._received(json.loads(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self._closed()

    def send(self, **message: Any) -> None:
        """Send a message; it is dropped when the other end is gone."""
        if self.transport is not None:
            self.transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Send nothing more; what was sent still arrives."""
        if self.transport is not None:
            self.transport.loseConnection()


def attach(reactor: Any, descriptor: int, channel: Channel) -> None:
    """
    Let a channel speak on a connected UNIX socket.

    :param descriptor: is duplicated.
    """
    factory = Factory.forProtocol(lambda: channel)
    factory.noisy = False
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, factory)
