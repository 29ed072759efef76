"""
What a handler may rely on is tested over everything that can carry a request: see `Provider`.

Nothing in the tests speaks the bytes of a version of HTTP. A provider of another version makes the same of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ka_twisted import CloseReason, KeepAliveFactory
from ka_twisted.core.exchange import Exchange
from ka_twisted.interfaces import IConnection, IConnectionObserver

Fields = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """
    A response, as far as every version of HTTP has it.

    :ivar fields: by names in lower case, without those that are about the connection.
    :ivar complete: whether the end of the body has come.
    """

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    complete: bool = True


class Asked(ABC):
    """A request of a client, while its body is sent and its response comes."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send some of the body; or, behind a switch, of whatever is spoken then."""

    @abstractmethod
    def end(self, trailers: Fields = ()) -> None:
        """The body ends."""

    @abstractmethod
    def breakOff(self) -> None:
        """Our side ends before a body of a stated length does."""

    @abstractmethod
    def cancel(self) -> None:
        """The response is not wanted any more; the client is gone at once."""

    @property
    @abstractmethod
    def interims(self) -> list[Answer]:
        """The interim responses so far."""

    @property
    @abstractmethod
    def answer(self) -> Answer | None:
        """The final response so far."""

    @property
    @abstractmethod
    def switched(self) -> bytes | None:
        """What has come since the connection, or the stream, was handed over; None: it was not."""

    @property
    def body(self) -> bytes:
        """The body of the final response, which has come whole."""
        answer = self.answer
        assert answer is not None
        assert answer.complete
        return answer.body

    @property
    def status(self) -> int | None:
        """The status of the final response."""
        return None if self.answer is None else self.answer.status


class Client(ABC):
    """A client."""

    @abstractmethod
    def ask(
        self,
        method: str,
        target: str,
        fields: Fields = (),
        body: bytes | None = b"",
        *,
        length: int | None = None,
        expects: bool = False,
        takesTrailers: bool = False,
        switchesTo: str = "",
    ) -> Asked:
        """
        Send a request.

        :param body: the whole of it; None: it is sent by `Asked.send`, and ended by `Asked.end`.
        :param length: states the length of a body that is sent later; None: it is not known.
        :param expects: whether the body is withheld until it is invited (then it is sent by `Asked.send`).
        :param takesTrailers: whether trailers are wanted with the response.
        :param switchesTo: the protocol that the client offers to go on with.
        """

    @abstractmethod
    def stall(self) -> None:
        """Stop reading."""

    @abstractmethod
    def resume(self) -> None:
        """Read all that comes."""


class ConnectedClient(Client):
    """A client on a connection of its own."""

    @abstractmethod
    def finishSending(self) -> None:
        """End our side; go on receiving."""

    @abstractmethod
    def leave(self) -> None:
        """Close the connection in order."""

    @abstractmethod
    def reset(self) -> None:
        """Reset the connection."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the server has ended its side of the connection, or the whole."""


@implementer(IConnectionObserver)
class Observer:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.reasons: list[CloseReason] = []
        self.open = 0

    def connectionOpened(self, connection: IConnection) -> None:
        self.open += 1

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        self.open -= 1
        self.reasons.append(reason)


class Service(ABC):
    """
    What answers requests, with its clients.

    :ivar clock: its time.
    :ivar observer: what its observers are told.
    """

    clock: IReactorTime
    observer: Observer

    @abstractmethod
    def connect(self) -> Client:
        """Have another client."""

    @abstractmethod
    def settle(self) -> None:
        """Let everything happen that can happen now."""

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""

    def ask(self, method: str, target: str = "/", *arguments: Any, **named: Any) -> Asked:
        """Send a request on a connection of its own; see `Client.ask`."""
        return self.connect().ask(method, target, *arguments, **named)

    def later(self, seconds: float, result: Any = None) -> Deferred[Any]:
        """Fires after some time."""
        waiting: Deferred[Any] = Deferred()
        self.clock.callLater(seconds, lambda: waiting.called or waiting.callback(result))
        return waiting


class Server(Service):
    """A server whose connections are real enough to be closed, limited and drained."""

    factory: KeepAliveFactory

    @abstractmethod
    def connect(self) -> ConnectedClient:
        """Open a connection."""

    @property
    def reasons(self) -> list[str]:
        """The names of why connections were closed, in that order."""
        return [reason.name for reason in self.observer.reasons]


#: Makes a server with connections.
ServerProvider = Callable[..., Server]
#: Makes what answers: handler, and further arguments of `KeepAliveFactory`.
Provider = Callable[..., Service]
