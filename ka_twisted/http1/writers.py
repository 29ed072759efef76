"""Writers: the bytes of one response body, as its framing has them."""

from __future__ import annotations

from typing import Protocol

from ..core.framing import Delimiter, Framing


class BodyWriter(Protocol):
    """What writes one message body, appending bytes to a list."""

    #: Bytes handed over beyond what the framing can carry, and therefore dropped.
    excess: int

    @property
    def rest(self) -> int | None:
        """Bytes of the body that are still to come; None where the framing does not say."""

    def write(self, data: bytes, out: list[bytes]) -> int:
        """Append the bytes of some body; returns how many bytes of the body went out."""

    def finish(self, out: list[bytes], trailers: bytes = b"") -> bool:
        """Append the end of the body; False when it would be unfinished (fewer bytes than stated)."""


class LengthWriter:
    """Stated length: the excess is dropped, a lack is an unfinished message (ledger L-11)."""

    __slots__ = ("excess", "rest")

    def __init__(self, length: int) -> None:
        self.rest = length
        self.excess = 0

    def write(self, data: bytes, out: list[bytes]) -> int:
        """See `BodyWriter.write`."""
        if len(data) > self.rest:
            self.excess += len(data) - self.rest
            data = data[: self.rest]
        if data:
            out.append(data)
            self.rest -= len(data)
        return len(data)

    def finish(self, out: list[bytes], trailers: bytes = b"") -> bool:
        """See `BodyWriter.finish`."""
        return not self.rest


class ChunkedWriter:
    """Chunks (RFC 9112 7.1): one for each piece, then the last chunk and the trailers."""

    __slots__ = ()
    excess = 0
    rest = None

    def write(self, data: bytes, out: list[bytes]) -> int:
        """See `BodyWriter.write`."""
        if data:
            out += (b"%x\r\n" % len(data), data, b"\r\n")
        return len(data)

    def finish(self, out: list[bytes], trailers: bytes = b"") -> bool:
        """See `BodyWriter.finish`."""
        out.append(b"0\r\n%b\r\n" % trailers)
        return True


class CloseWriter:
    """The close ends the body (RFC 9112 6.3 (8))."""

    __slots__ = ()
    excess = 0
    rest = None

    def write(self, data: bytes, out: list[bytes]) -> int:
        """See `BodyWriter.write`."""
        if data:
            out.append(data)
        return len(data)

    def finish(self, out: list[bytes], trailers: bytes = b"") -> bool:
        """See `BodyWriter.finish`."""
        return True


class NoBodyWriter:
    """No bytes at all: HEAD, 1xx, 204, 205, 304 (ledger L-01)."""

    __slots__ = ("excess",)
    rest = 0

    def __init__(self) -> None:
        self.excess = 0

    def write(self, data: bytes, out: list[bytes]) -> int:
        """See `BodyWriter.write`."""
        self.excess += len(data)
        return 0

    def finish(self, out: list[bytes], trailers: bytes = b"") -> bool:
        """See `BodyWriter.finish`."""
        return True


def body_writer(framing: Framing) -> BodyWriter:
    """The writer for a body with this framing."""
    if framing.delimiter is Delimiter.CHUNKED:
        return _CHUNKED
    if framing.delimiter is Delimiter.CLOSE:
        return _CLOSE
    if framing.delimiter is Delimiter.NONE or framing.length is None:
        return NoBodyWriter()
    return LengthWriter(framing.length)


_CHUNKED = ChunkedWriter()
_CLOSE = CloseWriter()
