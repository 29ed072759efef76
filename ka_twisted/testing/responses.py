"""Responses as a client reads them: bytes become values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..config import Limits
from ..core.framing import Delimiter, Framing
from ..core.headers import NO_HEADERS, Headers
from ..http1.buffer import ReceiveBuffer
from ..http1.incoming import body_reader
from ..http1.response_heads import ResponseHead, ResponseHeadReader


@dataclass(frozen=True)
class ParsedResponse:
    """
    A response as a client reads it.

    :ivar body: decoded.
    :ivar complete: False when the connection ended, or the bytes so far end, inside the body.
    """

    status: int
    headers: Headers
    body: bytes
    trailers: Headers = NO_HEADERS
    minor: int = 1
    complete: bool = True


def parseResponses(data: bytes, methods: Iterable[bytes] = (), *, ended: bool = False) -> list[ParsedResponse]:
    """
    Read bytes as the sequence of responses that they are, interim ones included.

    :param methods: of the requests, in order, where some were HEAD.
    :param ended: whether the connection has ended, which ends a response without other framing.
    :raises RemoteProtocolError: when they are none.
    """
    return [response for response, _ in eachResponse(data, methods, ended=ended)]


def eachResponse(
    data: bytes, methods: Iterable[bytes] = (), *, ended: bool = False
) -> Iterator[tuple[ParsedResponse, int]]:
    """See `parseResponses`; each response comes with the number of bytes up to its end."""
    buffer = ReceiveBuffer()
    buffer.append(data)
    pending = iter(methods)
    method: bytes | None = None
    reader = ResponseHeadReader(_UNLIMITED, lone_lf=False)
    while (head := reader.read(buffer)) is not None:
        if method is None:
            method = next(pending, b"GET")
        leaves = leavesHttp(head.status, method)
        framing = None if leaves else _framing(head, method)
        if head.status >= 200:
            method = None
        response = _readBody(head, framing, buffer, ended)
        yield response, len(data) - len(buffer)
        if leaves or not response.complete:
            break


def leavesHttp(status: int, method: bytes) -> bool:
    """Whether what follows a response is no HTTP any more (RFC 9110 7.8, 9.3.6)."""
    return status == 101 or (method == b"CONNECT" and 200 <= status < 300)


def _framing(head: ResponseHead, method: bytes) -> Framing | None:
    """How the body of a response ends; None where there is none."""
    if head.status < 200 or head.status in (204, 304) or method == b"HEAD":
        return None
    if b"transfer-encoding" in head.headers:
        return Framing(Delimiter.CHUNKED, None, "", "")
    lengths = head.headers.values(b"content-length")
    if lengths:
        return Framing(Delimiter.LENGTH, int(lengths[0]), "", "")
    return Framing(Delimiter.CLOSE, None, "", "")


def _readBody(head: ResponseHead, framing: Framing | None, buffer: ReceiveBuffer, ended: bool) -> ParsedResponse:
    if framing is None or framing.length == 0:
        return ParsedResponse(head.status, head.headers, b"", minor=head.minor)
    reader = body_reader(framing, _UNLIMITED)
    pieces = []
    while piece := reader.read(buffer):
        pieces.append(piece)
    complete = ended if framing.delimiter is Delimiter.CLOSE else reader.complete
    return ParsedResponse(head.status, head.headers, b"".join(pieces), reader.trailers, head.minor, complete)


_UNLIMITED = Limits(
    maxLine=1 << 20,
    maxHeaderBytes=1 << 20,
    maxHeaderFields=1 << 20,
    maxChunkLine=1 << 20,
    maxChunkExtensions=0,
    maxTrailerBytes=1 << 20,
    maxTrailerFields=0,
    blankLines=0,
)
