"""Clients that speak HTTP/1.1: what they send, and how they read what comes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from ka_twisted.testing import ParsedResponse, parseResponses
from tests.streams.providers import Answer, Asked, ConnectedClient, Fields

#: Fields that are about the connection, its framing, or the time.
APART = {"connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "date"}


class Http1Client(ConnectedClient):
    """
    A client on a connection that carries bytes.

    :ivar methods: of the requests so far.
    """

    def __init__(self) -> None:
        self.methods: list[bytes] = []

    @abstractmethod
    def sendBytes(self, data: bytes) -> None:
        """Send bytes."""

    @property
    @abstractmethod
    def received(self) -> bytes:
        """All bytes that have come."""

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
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in fields)]
        chunked = body is None and length is None
        if body or length is not None:
            lines.append(f"Content-Length: {length if body is None else len(body)}")
        options = []
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        if expects:
            lines.append("Expect: 100-continue")
        if takesTrailers:
            lines.append("TE: trailers")
            options.append("TE")
        if switchesTo:
            lines.append(f"Upgrade: {switchesTo}")
            options.append("Upgrade")
        if options:
            lines.append("Connection: " + ", ".join(options))
        self.methods.append(method.encode())
        asked = Http1Asked(self, len(self.methods) - 1, chunked)
        self.sendBytes("\r\n".join((*lines, "", "")).encode() + (body or b""))
        return asked

    @property
    def responses(self) -> list[ParsedResponse]:
        """All that has come."""
        return parseResponses(self.received, self.methods, ended=self.ended)


class Http1Asked(Asked):
    def __init__(self, client: Http1Client, place: int, chunked: bool) -> None:
        self._client = client
        self._place = place
        self._chunked = chunked

    def send(self, data: bytes) -> None:
        raw = self._chunked and self.switched is None
        self._client.sendBytes(b"%x\r\n%b\r\n" % (len(data), data) if raw else data)

    def end(self, trailers: Fields = ()) -> None:
        if self._chunked:
            lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
            self._client.sendBytes(b"0\r\n%b\r\n" % lines.encode())

    def breakOff(self) -> None:
        self._client.finishSending()

    def cancel(self) -> None:
        self._client.reset()

    def _own(self) -> list[ParsedResponse]:
        """The responses to this request."""
        place, own = 0, []
        for response in self._client.responses:
            if place == self._place:
                own.append(response)
            place += response.status >= 200
        return own

    @property
    def interims(self) -> list[Answer]:
        return [asAnswer(response) for response in self._own() if response.status < 200 and response.status != 101]

    @property
    def answer(self) -> Answer | None:
        for response in self._own():
            if response.status >= 200:
                return asAnswer(response)
        return None

    @property
    def switched(self) -> bytes | None:
        if any(response.status == 101 for response in self._own()):
            return self._client.received.partition(b"HTTP/1.1 101 ")[2].partition(b"\r\n\r\n")[2]
        return None


def asAnswer(response: ParsedResponse) -> Answer:
    """A response without what is the connection's."""
    return Answer(
        response.status,
        _texts(response.headers),
        response.body,
        _texts(response.trailers),
        response.complete,
    )


def _texts(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs if name.lower() not in APART}
