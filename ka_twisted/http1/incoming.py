"""
A message body as it comes in: of a request at a server, of a response at a client.

Readers take from a `ReceiveBuffer` what they can and keep their place. However the bytes are cut into segments, they
deliver the same body and the same error: what is judged is judged line by line, in order. `IncomingBody` adds who takes
the bytes.
"""

from __future__ import annotations

from typing import Protocol

from ..config import Limits
from ..core.errors import BodyTooLarge, IncompleteBody, RemoteProtocolError
from ..core.framing import Delimiter, Framing
from ..core.headers import FORBIDDEN_TRAILERS, NO_HEADERS, Headers
from ..core.reasons import CloseReason
from . import grammar, states
from .buffer import ReceiveBuffer
from .field_sections import FieldSectionReader
from .states import Body, BodyEvent


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
    def remaining(self) -> int | None:
        """Bytes of the body still to come, None where they cannot be known."""


class LengthReader:
    """A body of known length (RFC 9112 6.3 (6))."""

    __slots__ = ("remaining",)
    trailers = NO_HEADERS

    def __init__(self, length: int) -> None:
        self.remaining = length

    @property
    def complete(self) -> bool:
        return not self.remaining

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """See `BodyReader.read`."""
        data = buffer.take(self.remaining)
        self.remaining -= len(data)
        return data


class CloseReader:
    """A response body that ends when the connection does (RFC 9112 6.3 (8)); who sees the end sets `complete`."""

    __slots__ = ("complete",)
    trailers = NO_HEADERS
    remaining = None

    def __init__(self) -> None:
        self.complete = False

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """See `BodyReader.read`."""
        return buffer.take(len(buffer))


class ChunkedReader:
    """
    A chunked body (RFC 9112 7.1), with extensions checked and skipped and trailers kept apart.

    :param limits: bounds on lines, extensions and trailers.
    :param max_body: bound on the decoded bytes; 0: none.
    :param response: whether the body is a server's: faults have the status 502.
    """

    __slots__ = (
        "_chunk",
        "_crlf",
        "_error",
        "_extensions",
        "_limits",
        "_max_body",
        "_response",
        "_retry_after",
        "_section",
        "_total",
        "complete",
        "trailers",
    )
    remaining = None

    def __init__(self, limits: Limits, max_body: int = 0, retry_after: int = 0, *, response: bool = False) -> None:
        self.complete = False
        self.trailers = NO_HEADERS
        self._limits = limits
        self._max_body = max_body
        self._retry_after = retry_after
        self._response = response
        self._chunk = 0  # bytes of the chunk still to come
        self._crlf = False  # the CRLF behind chunk data is due
        self._total = 0
        self._extensions = 0
        self._section: FieldSectionReader | None = None
        self._error: RemoteProtocolError | None = None

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """See `BodyReader.read`."""
        if self._error is not None:
            raise self._error.fact()
        pieces: list[bytes] = []
        try:
            while not self.complete and self._advance(buffer, pieces):
                pass
        except RemoteProtocolError as error:
            self._error = error.fact()
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
            raise self._fault("chunk data is not followed by CRLF", "RFC 9112 7.1")
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
            raise self._fault("a chunk-size line is too long", "RFC 9112 7.1.1")
        if not end:
            return False
        match = grammar.chunk_line.fullmatch(buffer.data, start, end)
        if match is None:
            raise self._fault("a chunk-size line is malformed", "RFC 9112 7.1")
        self._extensions += len(match[2])
        if limits.maxChunkExtensions and self._extensions > limits.maxChunkExtensions:
            raise self._fault("too many chunk extensions", "RFC 9112 7.1.1")
        self._chunk = int(match[1], 16)
        self._total += self._chunk
        if self._max_body and self._total > self._max_body:
            raise self._too_large()
        buffer.move_to(end)
        if not self._chunk:
            self._section = FieldSectionReader(
                "trailer section",
                limits.maxTrailerBytes,
                limits.maxTrailerFields,
                "C-06" if self._response else "D2-26",
                trailers=True,
                response=self._response,
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

    def _fault(self, message: str, clause: str) -> RemoteProtocolError:
        if self._response:
            return RemoteProtocolError(502, message, clause, row="C-06")
        return RemoteProtocolError(400, message, clause, row="D2-22")

    def _too_large(self) -> RemoteProtocolError:
        if self._response:
            return self._fault(f"the response body is larger than {self._max_body} bytes", "RFC 9110 15.6.3")
        return BodyTooLarge(self._max_body, row="D2-24", retry_after=self._retry_after)


def body_reader(framing: Framing, limits: Limits, *, response: bool = False) -> BodyReader:
    """The reader for a body with this framing; `Delimiter.NONE` has none."""
    if framing.delimiter is Delimiter.CHUNKED:
        return ChunkedReader(limits, limits.maxBodyBytes, limits.bodyRetryAfter, response=response)
    if framing.delimiter is Delimiter.CLOSE:
        return CloseReader()
    assert framing.length is not None
    return LengthReader(framing.length)


class IncomingBody:
    """
    One body and who takes it: the machine `states.BODY`.

    It is held until it is wanted, and read away once it will not be. Its owner calls `read` whenever bytes have come
    or the taker has become ready, until that gives nothing, and then `end_input` if the peer has ended its side.

    :param framing: of a message that has a body.
    :param response: whether the body is a server's: errors have the status 502, and close may end it.
    :ivar state: a member of `states.Body`.
    :ivar flowing: whether the taker can take bytes now; the taker's owner sets it.
    :ivar received: decoded bytes that the taker has got.
    :ivar budget: bytes that may still be read away once it is abandoned; negative when there were more.
    """

    __slots__ = ("_reader", "_response", "budget", "flowing", "received", "state")

    def __init__(self, framing: Framing, limits: Limits, *, response: bool = False) -> None:
        self._reader = body_reader(framing, limits, response=response)
        self._response = response
        self.state = Body.HELD
        self.flowing = False
        self.received = 0
        self.budget = 0

    @property
    def remaining(self) -> int | None:
        """Bytes still to come; None where they cannot be known."""
        return self._reader.remaining

    @property
    def trailers(self) -> Headers:
        """The trailer section, once the body is complete."""
        return self._reader.trailers

    @property
    def complete(self) -> bool:
        """Whether the body has come to its end, and all of it was taken or read away."""
        return self.state is Body.READ or (self.state is Body.DISCARDED and self._reader.complete)

    def want(self) -> None:
        """
        The taker reads: `read` gives it bytes while `flowing` is set. Nothing changes for a body that has been read.

        :raises LocalProtocolError: when it has been abandoned or cut.
        """
        if self.state is not Body.READ:
            self.state = states.step(states.BODY, BodyEvent.READ, self.state)

    def abandon(self, budget: int) -> None:
        """
        What is left will not be taken: it is read away, up to so many bytes. Nothing changes once that is so.

        :raises LocalProtocolError: when the body is complete or cut.
        """
        if self.state is not Body.DISCARDED:
            self.state = states.step(states.BODY, BodyEvent.ABANDON, self.state)
            self.budget = budget

    def cut(self) -> None:
        """
        The body will never be complete.

        :raises LocalProtocolError: when it is complete, or cut already.
        """
        self.state = states.step(states.BODY, BodyEvent.CUT, self.state)

    def read(self, buffer: ReceiveBuffer, *, charged: bool = True) -> bytes:
        """
        Bytes for the taker; empty when none are there, when it cannot take any, and at the end (see `complete`).

        What is read away is never given out.

        :param charged: whether bytes that are read away count against `budget`.
        :raises RemoteProtocolError: for broken framing, once all bytes before it were given; the body is cut then.
        """
        wanted = self.state is Body.WANTED
        if not (wanted and self.flowing) and self.state is not Body.DISCARDED:
            return b""
        try:
            data = self._reader.read(buffer)
        except RemoteProtocolError:
            self.cut()
            raise
        if wanted and data:
            self.received += len(data)
            return data
        if self._reader.complete:
            self.state = states.step(states.BODY, BodyEvent.END, self.state)
        elif charged:
            self.budget -= len(data)
        return b""

    def take_whole(self, buffer: ReceiveBuffer) -> bytes | None:
        """The whole of a body that is held, of known length, and all in hand, which completes it; None for another."""
        remaining = self._reader.remaining
        if self.state is not Body.HELD or remaining is None or remaining > len(buffer.data) - buffer.position:
            return None
        data = self._reader.read(buffer)
        self.received = remaining
        self.state = states.step(states.BODY, BodyEvent.TAKE, self.state)
        return data

    def end_input(self) -> None:
        """
        The peer has ended its side, and `read` has taken all that came before.

        A response that close ends is complete with it (RFC 9112 6.3 (8)); its taker learns so by its next `read`.

        :raises IncompleteBody: for any other that is not complete; it is cut then.
        """
        if self.complete or self.state is Body.CUT:
            return
        if isinstance(self._reader, CloseReader):
            self._reader.complete = True
            return
        error = incomplete_body(response=self._response)
        error.received, error.remaining = self.received, self.remaining
        self.cut()
        raise error


def incomplete_body(*, response: bool = False, row: str = "") -> IncompleteBody:
    """The error for a message whose sender left inside its body (RFC 9112 8)."""
    if response:
        reason = CloseReason.PEER_CLOSED_MID_RESPONSE.at("reading a body")
        return IncompleteBody(502, "the response ends inside its body", "RFC 9112 8", row=row or "R-11", reason=reason)
    return IncompleteBody(
        400,
        "the request ends inside its body",
        "RFC 9112 8",
        row=row or "D2-29",
        reason=CloseReason.PEER_CLOSED_MID_REQUEST.at("reading a body"),
        breaks_response=False,
    )
