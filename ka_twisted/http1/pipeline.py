"""
The order in which exchanges share their connection.

Responses leave in the order of their requests, always. Pipelinable requests (safe, without a body or an Upgrade) run
side by side; any other waits until all before it are answered, and those behind it wait for it (RFC 9112 9.3.2, ledger
N-02).
"""

from __future__ import annotations

from .exchange import Exchange
from .request_heads import RequestHead


class Pipeline:
    """
    The exchanges in service, oldest first, and the bytes of their responses in the order of their requests.

    :ivar output: bytes that may leave now; None when there are none: an idle connection holds nothing.
    :ivar held_bytes: bytes that wait for earlier responses.
    """

    __slots__ = ("exchanges", "held_bytes", "output")

    def __init__(self) -> None:
        self.exchanges: tuple[Exchange, ...] = ()
        self.output: list[bytes] | None = None
        self.held_bytes = 0

    def admits(self, head: RequestHead, depth: int) -> bool:
        """Whether a request with this head may start beside those in service."""
        exchanges = self.exchanges
        return not exchanges or (len(exchanges) < depth and exchanges[-1].head.pipelinable and head.pipelinable)

    def put(self, exchange: Exchange, parts: list[bytes]) -> None:
        """Add bytes to the response of an exchange."""
        if exchange.held is None:
            if self.output is None:
                self.output = parts
            else:
                self.output += parts
        else:
            exchange.held += parts
            self.held_bytes += sum(map(len, parts))

    def add(self, exchange: Exchange) -> None:
        """Take an exchange into service, behind the others."""
        if self.exchanges:
            exchange.held = []
            exchange.depth = len(self.exchanges) + 1
        self.exchanges += (exchange,)

    def next_first(self) -> Exchange | None:
        """Remove the oldest exchange, which is over; the next one's bytes may leave."""
        self.exchanges = self.exchanges[1:]
        if not self.exchanges:
            return None
        first = self.exchanges[0]
        if first.held is not None:
            self.held_bytes -= sum(map(len, first.held))
            held, first.held = first.held, None
            self.put(first, held)
        return first

    def drop(self, place: int) -> tuple[Exchange, ...]:
        """Take out the exchanges from this place on."""
        dropped = self.exchanges[place:]
        self.exchanges = self.exchanges[:place]
        for exchange in dropped:
            if exchange.held:
                self.held_bytes -= sum(map(len, exchange.held))
                exchange.held = []  # nothing of it will leave
        return dropped

    def take_output(self) -> list[bytes]:
        """The bytes that may leave now, handed over."""
        output, self.output = self.output, None
        return output or []
