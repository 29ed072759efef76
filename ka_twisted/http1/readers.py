"""
Incremental readers: field sections and message bodies.

Each reads from a `ReceiveBuffer` what it can and keeps its place. However the bytes are cut into segments, it delivers
the same body and the same error: whatever is judged is judged line by line, in order.
"""

from __future__ import annotations

from typing import Protocol

from ..config import Limits
from ..core.errors import BodyTooLarge, RemoteProtocolError
from ..core.framing import Delimiter, Framing
from ..core.headers import FORBIDDEN_TRAILERS, NO_HEADERS, Headers
from . import grammar
from .buffer import ReceiveBuffer


class FieldSectionReader:
    """
    The field lines of one section, up to its empty line (RFC 9112 5).

    :raises RemoteProtocolError: 431 for a section beyond its limits, 400 for a line that is no field.
    """

    __slots__ = ("_kind", "_max_bytes", "_max_fields", "_pairs", "_row", "_size", "_trailers")

    def __init__(self, kind: str, max_bytes: int, max_fields: int, row: str = "", *, trailers: bool = False) -> None:
        self._kind = kind
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._row = row
        self._trailers = trailers
        self._pairs: list[tuple[bytes, bytes]] = []
        self._size = 0

    def read(self, buffer: ReceiveBuffer) -> list[tuple[bytes, bytes]] | None:
        """The pairs of the section once its empty line is there; None: more bytes are needed."""
        while (end := buffer.data.find(b"\n", buffer.position) + 1) > 0:
            line = buffer.data[buffer.position : end]
            if line == b"\r\n":
                buffer.move_to(end)
                return self._pairs
            self._size += len(line)
            if self._size > self._max_bytes:
                raise self._too_large(f"larger than {self._max_bytes} bytes")
            match = grammar.field_line.fullmatch(line)
            if match is None:
                raise self._fault(400, f"a line of the {self._kind} is no header field", "RFC 9112 5", self._row)
            if self._max_fields and len(self._pairs) == self._max_fields:
                raise self._too_large(f"longer than {self._max_fields} fields")
            self._pairs.append((match[1], match[2].strip(b" \t")))
            buffer.move_to(end)
        pending = len(buffer)
        if self._size + pending > self._max_bytes and buffer.data[buffer.position :] != b"\r":
            raise self._too_large(f"larger than {self._max_bytes} bytes")
        return None

    def _too_large(self, how: str) -> RemoteProtocolError:
        return self._fault(431, f"the {self._kind} is {how}", "RFC 6585 5", self._row or "H-26")

    def _fault(self, status: int, message: str, clause: str, row: str) -> RemoteProtocolError:
        return RemoteProtocolError(status, message, clause, row=row, breaks_response=not self._trailers)


class BodyReader(Protocol):
    """What reads one message body."""

    @property
    def complete(self) -> bool:
        """Whether the end of the body was consumed."""

    @property
    def trailers(self) -> Headers:
        """The trailer section of a complete body."""

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """
        Decoded bytes, as many as are there; empty when more input is needed or the body is complete.

        :raises RemoteProtocolError: once all bytes before the fault were delivered.
        """

    @property
    def rest(self) -> int | None:
        """Bytes of the body still to come, None where they cannot be known."""


class LengthReader:
    """A body of known length (RFC 9112 6.3 (6))."""

    __slots__ = ("rest",)
    trailers = NO_HEADERS

    def __init__(self, length: int) -> None:
        self.rest = length

    @property
    def complete(self) -> bool:
        return not self.rest

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """See `BodyReader.read`."""
        data = buffer.take(self.rest)
        self.rest -= len(data)
        return data


class CloseReader:
    """A response body that ends when the connection does (RFC 9112 6.3 (8)); whoever sees the end sets `complete`."""

    __slots__ = ("complete",)
    trailers = NO_HEADERS
    rest = None

    def __init__(self) -> None:
        self.complete = False

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """See `BodyReader.read`."""
        return buffer.take(len(buffer))


class ChunkedReader:
    """
    A chunked body (RFC 9112 7.1), with extensions checked and skipped and trailers kept apart.

    :param limits: bounds on lines, extensions, trailers and, with ``max_body``, on the decoded bytes.
    """

    __slots__ = (
        "_chunk",
        "_crlf",
        "_error",
        "_extensions",
        "_limits",
        "_max_body",
        "_retry_after",
        "_section",
        "_total",
        "complete",
        "trailers",
    )
    rest = None

    def __init__(self, limits: Limits, max_body: int = 0, retry_after: int = 0) -> None:
        self.complete = False
        self.trailers = NO_HEADERS
        self._limits = limits
        self._max_body = max_body
        self._retry_after = retry_after
        self._chunk = 0  # bytes of the chunk still to come
        self._crlf = False  # the CRLF behind chunk data is due
        self._total = 0
        self._extensions = 0
        self._section: FieldSectionReader | None = None
        self._error: RemoteProtocolError | None = None

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """See `BodyReader.read`."""
        if self._error is not None:
            raise self._error
        pieces: list[bytes] = []
        try:
            while not self.complete and self._advance(buffer, pieces):
                pass
        except RemoteProtocolError as error:
            self._error = error
            if not pieces:  # what came before the fault is delivered first
                raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _advance(self, buffer: ReceiveBuffer, pieces: list[bytes]) -> bool:
        """One step; False when more bytes are needed."""
        if self._section is not None:
            return self._read_trailers(buffer)
        if self._crlf:
            return self._read_crlf(buffer)
        if not self._chunk:
            return self._read_size(buffer)
        data = buffer.take(self._chunk)
        if not data:
            return False
        pieces.append(data)
        self._chunk -= len(data)
        self._crlf = not self._chunk
        return True

    def _read_crlf(self, buffer: ReceiveBuffer) -> bool:
        found = buffer.data[buffer.position : buffer.position + 2]
        if not b"\r\n".startswith(found):
            raise RemoteProtocolError(400, "chunk data is not followed by CRLF", "RFC 9112 7.1", row="D2-22")
        if len(found) < 2:
            return False
        buffer.move_to(buffer.position + 2)
        self._crlf = False
        return True

    def _read_size(self, buffer: ReceiveBuffer) -> bool:
        limits = self._limits
        start = buffer.position
        end = buffer.data.find(b"\n", start) + 1
        if (end or len(buffer.data) + 1) - start - 2 > limits.maxChunkLine:
            raise RemoteProtocolError(400, "a chunk-size line is too long", "RFC 9112 7.1.1", row="D2-22")
        if not end:
            return False
        match = grammar.chunk_line.fullmatch(buffer.data, start, end)
        if match is None:
            raise RemoteProtocolError(400, "a chunk-size line is malformed", "RFC 9112 7.1", row="D2-22")
        self._extensions += len(match[2])
        if limits.maxChunkExtensions and self._extensions > limits.maxChunkExtensions:
            raise RemoteProtocolError(400, "too many chunk extensions", "RFC 9112 7.1.1", row="D2-22")
        self._chunk = int(match[1], 16)
        self._total += self._chunk
        if self._max_body and self._total > self._max_body:
            raise BodyTooLarge(self._max_body, row="D2-24", retry_after=self._retry_after)
        buffer.move_to(end)
        if not self._chunk:
            self._section = FieldSectionReader(
                "trailer section", limits.maxTrailerBytes, limits.maxTrailerFields, "D2-26", trailers=True
            )
        return True

    def _read_trailers(self, buffer: ReceiveBuffer) -> bool:
        assert self._section is not None
        pairs = self._section.read(buffer)
        if pairs is None:
            return False
        if pairs:
            self.trailers = Headers(pair for pair in pairs if pair[0].lower() not in FORBIDDEN_TRAILERS)
        self.complete = True
        return True


def body_reader(framing: Framing, limits: Limits) -> BodyReader:
    """The reader for a body with this framing; `Delimiter.NONE` has none."""
    if framing.delimiter is Delimiter.CHUNKED:
        return ChunkedReader(limits, limits.maxBodyBytes, limits.bodyRetryAfter)
    if framing.delimiter is Delimiter.CLOSE:
        return CloseReader()
    assert framing.length is not None
    return LengthReader(framing.length)
