"""
A message body as it goes out: of a response from a server, of a request from a client.

Writers make the bytes that a framing needs. `OutgoingBody` adds what becomes of more or less than was stated.
"""

from __future__ import annotations

from typing import Protocol

from ..core.errors import LocalProtocolError
from ..core.framing import Delimiter, Framing


class BodyWriter(Protocol):
    """What writes one message body, appending bytes to a list."""

    #: Bytes handed over beyond what the framing can carry, and therefore dropped.
    excess: int

    @property
    def remaining(self) -> int | None:
        """Bytes of the body that are still to come; None where the framing does not say."""

    def write(self, data: bytes, out: list[bytes]) -> int:
        """Append the bytes of some body; returns how many bytes of the body went out."""

    def finish(self, out: list[bytes], trailers: bytes = b"") -> bool:
        """Append the end of the body; False when it would be unfinished (fewer bytes than stated)."""


class LengthWriter:
    """Stated length: the excess is dropped, a lack is an unfinished message (ledger L-11)."""

    __slots__ = ("excess", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.excess = 0

    def write(self, data: bytes, out: list[bytes]) -> int:
        """See `BodyWriter.write`."""
        if len(data) > self.remaining:
            self.excess += len(data) - self.remaining
            data = data[: self.remaining]
        if data:
            out.append(data)
            self.remaining -= len(data)
        return len(data)

    def finish(self, out: list[bytes], trailers: bytes = b"") -> bool:
        """See `BodyWriter.finish`."""
        return not self.remaining


class ChunkedWriter:
    """Chunks (RFC 9112 7.1): one for each piece, then the last chunk and the trailers."""

    __slots__ = ()
    excess = 0
    remaining = None

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
    remaining = None

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
    remaining = 0

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


class OutgoingBody:
    """
    One body that is being sent.

    A server has promised its response: bytes beyond the stated length are dropped and counted, and a body that lacks
    some is left visibly unfinished (ledger L-11, D4-16, D4-17). A client has a caller who can still be told: it raises.

    :param strict: raise on more or less than was stated, and on trailers that cannot be sent.
    :ivar sent: bytes of the body that went out.
    :ivar finished: whether the end was written.
    """

    __slots__ = ("_strict", "_writer", "finished", "framing", "sent")

    def __init__(self, framing: Framing, *, strict: bool = False) -> None:
        self.framing = framing
        self._writer = body_writer(framing)
        self._strict = strict
        self.sent = 0
        self.finished = False

    @property
    def remaining(self) -> int | None:
        """Bytes of a stated length that are still to come; None where none is stated."""
        return self._writer.remaining

    @property
    def excess(self) -> int:
        """Bytes beyond what the framing can carry: they were dropped."""
        return self._writer.excess

    def write(self, data: bytes) -> list[bytes]:
        """
        The pieces to be sent for some of the body.

        :raises LocalProtocolError: after the end; and, where strict, for more than was stated: none of it is sent.
        """
        if self.finished:
            raise LocalProtocolError("body data behind the end of the body")
        remaining = self._writer.remaining
        if self._strict and remaining is not None and len(data) > remaining:
            raise LocalProtocolError(f"{len(data)} bytes of body data where {remaining} remain of what was stated")
        out: list[bytes] = []
        self.sent += self._writer.write(data, out)
        return out

    def sent_past(self, size: int) -> None:
        """
        So many bytes of a body of stated length were sent by other means, e.g. ``sendfile``.

        :raises LocalProtocolError: unless a length was stated that has room for them.
        """
        writer = self._writer
        if self.finished or not isinstance(writer, LengthWriter) or not 0 <= size <= writer.remaining:
            raise LocalProtocolError("body data sent past the connection, beyond a stated length")
        writer.remaining -= size
        self.sent += size

    def finish(self, trailers: bytes = b"") -> list[bytes] | None:
        """
        The pieces to be sent for the end of the body; None where it lacks bytes and has to be left unfinished.

        :param trailers: encoded lines; dropped where the body is not chunked (ledger D4-22).
        :raises LocalProtocolError: after the end; and, where strict, for a lack, and for trailers that have no place.
        """
        if self.finished:
            raise LocalProtocolError("a second end of the body")
        remaining = self._writer.remaining
        if self._strict and remaining:
            raise LocalProtocolError(f"the body ends {remaining} bytes short of what was stated")
        if self._strict and trailers and self.framing.delimiter is not Delimiter.CHUNKED:
            raise LocalProtocolError("trailers need a chunked body")
        out: list[bytes] = []
        if not self._writer.finish(out, trailers):
            return None
        self.finished = True
        return out
