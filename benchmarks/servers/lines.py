"""A LineReceiver that reads each line of a request, and answers a constant to the empty one."""

from __future__ import annotations

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from .constant import ANSWER


class Answering(LineReceiver):
    """Answers."""

    def lineReceived(self, line: bytes) -> None:
        """See `LineReceiver.lineReceived`."""
        if not line:
            self.transport.write(ANSWER)  # type: ignore[union-attr]


def answering() -> Factory:
    """Protocols that answer."""
    return Factory.forProtocol(Answering)
