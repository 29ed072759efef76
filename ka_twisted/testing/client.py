"""A client of a server in memory: what it does, and what it sees of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core.errors import RemoteProtocolError
from ..core.reasons import CloseReason
from ..server.protocol import KeepAliveProtocol
from .responses import ParsedResponse, eachResponse, leavesHttp
from .transport import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryClient:
    """
    A client of a `MemoryServer`; made by `MemoryServer.connect`.

    :ivar protocol: the server's protocol of this connection.
    """

    def __init__(
        self,
        protocol: KeepAliveProtocol,
        transport: MemoryTransport,
        *,
        settle: Callable[[], None],
        methods: Callable[[], dict[int, bytes]],
    ) -> None:
        #: Lets the reactor turn until nothing is left to be done now.
        self.settle = settle
        self._methods = methods
        self._transport = transport
        self.protocol = protocol
        #: What `take` has taken of a response whose end has not come.
        self._begun = b""
        #: Final responses that `take` has taken.
        self._taken = 0
        self._leftHttp = False

    def send(self, data: bytes, pieces: int | None = None) -> None:
        """
        Send bytes.

        :param pieces: size of the segments in which they arrive; None: one segment.
        """
        step = pieces or len(data) or 1
        for start in range(0, len(data), step):
            self._transport.arrive(data[start : start + step])
        self.settle()

    def halfClose(self) -> None:
        """End our side; go on receiving."""
        self._transport.arrive(None)
        self.settle()

    def disconnect(self) -> None:
        """
        Close the connection in order, and be gone.

        As with a socket, the server sees our side end (``readConnectionLost``), and no more than that until it sends:
        that is answered by a reset. With bytes that we have not read, the close is a reset itself.
        """
        self._transport.leave()
        self.settle()

    def reset(self) -> None:
        """Reset the connection, and be gone."""
        self._transport.leave(reset=True)
        self.settle()

    def stall(self, window: int = 0) -> None:
        """Stop reading, once so many more bytes have come."""
        self._transport.window = window

    def resume(self, size: int | None = None) -> None:
        """Read so many more bytes; None: whatever comes."""
        self._transport.give(size)
        self.settle()

    @property
    def received(self) -> bytes:
        """All that has come since the last `take`."""
        return bytes(self._transport.delivered)

    def take(self) -> bytes:
        """
        All that has come since the last `take`.

        The responses that are complete by now are taken with it; one that is not stays in `responses`, whole.
        """
        data = bytes(self._transport.delivered)
        self._begun += data
        self._transport.delivered.clear()
        end = 0
        pending = self._pending()
        method = next(pending)
        try:
            for response, position in self._eachResponse():
                if not response.complete:
                    break
                end = position
                self._leftHttp = leavesHttp(response.status, method)
                if response.status >= 200:
                    self._taken += 1
                    method = next(pending)
        except RemoteProtocolError:
            pass  # it stays, for `responses` to say so
        self._begun = b"" if self._leftHttp else self._begun[end:]
        return data

    @property
    def responses(self) -> list[ParsedResponse]:
        """The final responses that came, those taken with `take` apart; see `parseResponses`."""
        return [response for response in self.allResponses if response.status >= 200]

    @property
    def allResponses(self) -> list[ParsedResponse]:
        """The same, interim responses included."""
        return [response for response, _ in self._eachResponse()]

    def _eachResponse(self) -> Iterator[tuple[ParsedResponse, int]]:
        if self._leftHttp:
            return iter(())
        return eachResponse(self._begun + self.received, self._pending(), ended=self.ended)

    def _pending(self) -> Iterator[bytes]:
        """The methods of the requests whose responses have not been taken, in order."""
        methods = self._methods()
        number = self._taken
        while True:
            number += 1
            yield methods.get(number, b"GET")

    @property
    def transport(self) -> MemoryTransport:
        """The server's end of the connection."""
        return self._transport

    @property
    def ended(self) -> bool:
        """Whether the server has ended its side, or the whole."""
        return self._transport.ended

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return not self._transport.connected

    @property
    def wasReset(self) -> bool:
        """Whether the server ended it by a reset."""
        return self._transport.wasReset

    @property
    def paused(self) -> bool:
        """Whether the server holds us back by flow control."""
        return self._transport.holdsBack

    @property
    def closeReason(self) -> CloseReason | None:
        """Why the connection ends or has ended; None while it does not."""
        return self.protocol.closeReason
