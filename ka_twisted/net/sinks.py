"""What bodies are written to."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

#: Bytes that a body that never waits may hand over before the reactor gets a turn.
FAIR = 1 << 20


class Sink(Protocol):
    """What a body is written to: a stream of some version of HTTP, of a server or of a client."""

    def write(self, data: bytes) -> None:
        """
        Send some of the body.

        :raises ProtocolError: when nothing more can be sent.
        """

    @property
    def congested(self) -> bool:
        """Whether to wait for `whenWritable` before more is written."""

    def whenWritable(self) -> Deferred[None]:
        """Fires once more can be written; fails when the connection is lost."""

    @property
    def sendsFiles(self) -> bool:
        """Whether `sendFile` can be used for this body."""

    def sendFile(self, descriptor: int, offset: int, count: int) -> int:
        """
        Have the kernel send some of the body from a file.

        :return: bytes taken; 0: none now, or the file has no more. `congested` tells them apart.
        :raises OSError: when this file cannot be sent in this way.
        """

    @property
    def remaining(self) -> int | None:
        """Bytes of a stated length still to come; None: no length was stated."""

    @property
    def clock(self) -> IReactorTime:
        """Gives other connections a turn while a long body is sent."""
