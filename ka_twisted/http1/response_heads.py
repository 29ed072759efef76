"""
Heads of responses out of received bytes, as a client reads them; interim ones are heads like any other.

What a head means for the connection and where its body ends is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Limits
from ..core.errors import RemoteProtocolError
from ..core.headers import Headers
from . import grammar
from .buffer import ReceiveBuffer
from .field_sections import Pairs, parse_section

_PREFIX = b"HTTP/"
_EMPTY_LINE = b"\r\n"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """
    A response head as received.

    :ivar minor: of the version ``HTTP/1.minor``.
    :ivar status: 100 to 999; see `status_class`.
    :ivar phrase: the reason phrase, perhaps empty.
    """

    minor: int
    status: int
    phrase: bytes
    headers: Headers

    @property
    def interim(self) -> bool:
        """Whether a final response is still to follow. 101 is final: it ends HTTP (RFC 9110 15.2.2)."""
        return self.status < 200 and self.status != 101

    @property
    def status_class(self) -> int:
        """1 to 5; a status of 600 and up is taken for a 5xx (RFC 9110 15; ledger H-27)."""
        return min(self.status // 100, 5)


class ResponseHeadReader:
    """
    The heads of the responses on one connection, one after another.

    However the bytes are cut into segments, it gives the same heads and the same error: lines are judged one by one,
    when they are whole or too long. Where RFC 9112 leaves a client room it is lenient: runs of blanks and no phrase in
    the status line (ledger H-27), lone LF (H-07), folded values (H-22), blanks before the colon (H-24).

    :param limits: on the status line, the section, and the empty lines ahead of a status line.
    :param lone_lf: whether LF alone ends a line: not for a proxy, whose reader may see other lines than it does.
    """

    __slots__ = ("_blank_lines", "_limits", "_lone_lf", "_pairs", "_size", "_status")

    def __init__(self, limits: Limits, *, lone_lf: bool = True) -> None:
        self._limits = limits
        self._lone_lf = lone_lf
        self._reset()

    def _reset(self) -> None:
        self._blank_lines = 0
        #: Minor version, status and phrase of a head whose section is not complete, its fields so far, their bytes.
        self._status: tuple[int, int, bytes] | None = None
        self._pairs: Pairs = []
        self._size = 0

    def begun(self, buffer: ReceiveBuffer) -> bool:
        """Whether part of a head is there: at the end of input, that response was cut short (ledger R-11)."""
        return self._status is not None or buffer.data[buffer.position :] not in (b"", b"\r")

    def read(self, buffer: ReceiveBuffer) -> ResponseHead | None:
        """
        The next head that is complete; None: more bytes are needed.

        :raises RemoteProtocolError: 502 for what is none, or is larger than the limits; the reader is of no use then.
        """
        if self._status is None:
            self._status = self._read_status_line(buffer)
            if self._status is None:
                return None
            self._read_section_at_once(buffer)
        while (line := self._line(buffer, self._limits.maxHeaderBytes - self._size)) is not None:
            if not line:
                minor, status, phrase = self._status
                head = ResponseHead(minor, status, phrase, Headers(self._pairs))
                self._reset()
                return head
            self._add_field(line)
        return None

    def _read_status_line(self, buffer: ReceiveBuffer) -> tuple[int, int, bytes] | None:
        while buffer.data.startswith(_EMPTY_LINE, buffer.position):
            self._blank_lines += 1
            if self._blank_lines > self._limits.blankLines:
                raise _refused("not the status line of an HTTP/1 response", "RFC 9112 4", "H-27")
            buffer.move_to(buffer.position + 2)
        if not self.begun(buffer):
            return None
        found = buffer.data[buffer.position : buffer.position + len(_PREFIX)]
        if not _PREFIX.startswith(found):
            raise _refused("not the status line of an HTTP/1 response", "RFC 9112 4", "H-27")
        line = self._line(buffer, self._limits.maxLine + 2)
        if line is None:
            return None
        match = grammar.status_line.fullmatch(line)
        if match is None or match[1] != b"1" or match[3] < b"100":
            raise _refused("not the status line of an HTTP/1 response", "RFC 9112 4", "H-27")
        return int(match[2]), int(match[3]), match[4] or b""

    def _read_section_at_once(self, buffer: ReceiveBuffer) -> None:
        """Take the fields of a section that is all there, in order, and within its limits; leave its empty line."""
        start = buffer.position
        if buffer.data.startswith(_EMPTY_LINE, start):
            return
        end = buffer.data.find(b"\r\n\r\n", start) + 2
        if end < 2 or end - start > self._limits.maxHeaderBytes:
            return
        pairs = parse_section(buffer.data[start:end])
        if pairs is None or len(pairs) > self._limits.maxHeaderFields:
            return
        self._pairs = pairs
        self._size = end - start
        buffer.move_to(end)

    def _line(self, buffer: ReceiveBuffer, limit: int) -> bytes | None:
        """
        The next line without its end, consumed; None when its end is not there yet.

        :param limit: bytes of the line with its end, but for an empty line.
        """
        start = buffer.position
        end = buffer.data.find(b"\n", start) + 1
        line = buffer.data[start : end or len(buffer.data)]
        if len(line) > limit and line not in (b"\r\n", b"\n", b"\r"):
            raise _refused("the response head is too large", "RFC 9110 15.6.3", "H-26")
        if not end:
            return None
        buffer.move_to(end)
        if line.endswith(_EMPTY_LINE):
            size, line = len(line), line[:-2]
        elif self._lone_lf:
            size, line = len(line), line[:-1]
        else:
            raise _refused("a line of the response head ends in LF alone", "RFC 9112 2.2", "H-07")
        if self._status is not None and line:
            self._size += size
        return line

    def _add_field(self, line: bytes) -> None:
        pairs = self._pairs
        folded = grammar.folded_line.fullmatch(line)
        if folded is not None and pairs:
            name, value = pairs[-1]
            pairs[-1] = name, (value + b" " + folded[1].strip(b" \t")).strip(b" \t")
            return
        match = grammar.lenient_field_line.fullmatch(line)
        if match is None:
            raise _refused("a line of the response head is no header field", "RFC 9112 5", "H-25")
        if len(pairs) == self._limits.maxHeaderFields:
            raise _refused("the response head is too large", "RFC 9110 15.6.3", "H-26")
        pairs.append((match[1], match[2].strip(b" \t")))


def parse_response_head(head: bytes) -> ResponseHead:
    """
    Read one whole response head, with its empty line and nothing behind it; every line ends in CRLF.

    :raises RemoteProtocolError: 502 when it is none.
    """
    buffer = ReceiveBuffer()
    buffer.append(head)
    found = ResponseHeadReader(_UNLIMITED, lone_lf=False).read(buffer)
    if found is None or len(buffer):
        raise _refused("the response head does not end in an empty line", "RFC 9112 2.1", "R-11")
    return found


def _refused(message: str, clause: str, row: str) -> RemoteProtocolError:
    return RemoteProtocolError(502, message, clause, row=row)


_UNLIMITED = Limits(maxLine=1 << 20, maxHeaderBytes=1 << 20, maxHeaderFields=1 << 20, blankLines=0)
