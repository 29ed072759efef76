"""Protocols that answer a constant to every empty line: what a server on Twisted could reach that did nothing else."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

from twisted.internet.protocol import Factory, Protocol

ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n"
    % formatdate(usegmt=True).encode()
)
_END = b"\r\n\r\n"


class Written(Protocol):
    """Writes its answers as protocols do. A request whose end is cut in two is not answered; wrk cuts none."""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self.transport.write(ANSWER * data.count(_END))  # type: ignore[union-attr]


class AtOnce(Protocol):
    """Sends its answers to the socket itself, as long as it takes them; then writes them."""

    transport: Any

    def connectionMade(self) -> None:
        """See `BaseProtocol.connectionMade`."""
        self._direct = True

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        answers = ANSWER * data.count(_END)
        if self._direct:
            try:
                answers = answers[self.transport.socket.send(answers) :]
            except BlockingIOError:
                pass
            self._direct = not answers
        if answers:
            self.transport.write(answers)


def written() -> Factory:
    """Protocols that write."""
    return Factory.forProtocol(Written)


def at_once() -> Factory:
    """Protocols that send at once."""
    return Factory.forProtocol(AtOnce)
