"""
Request heads out of received bytes.

Heads that come whole are read at once; those that come in pieces or break a rule, line by line, with the same verdict.
A kept-alive client repeats itself, so a reader remembers the last header section and what it meant, and once that has
repeated, the last head as a whole. Both are memos of pure functions, one each.
"""

from __future__ import annotations

from ..core.errors import RemoteProtocolError
from . import framing, grammar
from .buffer import ReceiveBuffer
from .caches import ServerCaches
from .field_sections import FieldSectionReader, parse_section
from .request_fields import RequestFields, read_fields
from .request_heads import RequestHead
from .request_lines import check_target, refuse_request_line

_EMPTY_LINE = b"\r\n"
_SLASH = 0x2F
_NO_HEAD = RequestHead(b"", b"", True, None)


class RequestBuffer(ReceiveBuffer):
    """
    The bytes that a client has sent, and the heads of its requests out of them, one after another.

    :ivar repeated: the last head that was ordinary and like the one before it, None where there was none.
    :ivar head: what it meant.
    :ivar blank_lines: empty lines met since the last head.
    """

    __slots__ = ("_caches", "_fields", "_line", "_section", "blank_lines", "head", "repeated")

    def __init__(self, caches: ServerCaches) -> None:
        super().__init__()
        self._caches = caches
        self.blank_lines = 0
        #: The last header section that came in one piece.
        self._fields: RequestFields | None = None
        #: A request line whose fields are not complete or not understood, and the reader that has some of them.
        self._line: tuple[bytes, bytes, bool] | None = None
        self._section: FieldSectionReader | None = None
        self.repeated: bytes | None = None
        self.head = _NO_HEAD

    def read_head(self) -> RequestHead | None:
        """
        The next head that is complete.

        :return: None when more bytes are needed; see `head_begun`.
        :raises RemoteProtocolError: when what came is none; see `refused_head`.
        """
        if self._section is not None:
            return self._read_lines(self._section)
        data, start = self.data, self.position
        limits = self._caches.limits
        match = grammar.request_line.match(data, start)
        if match is None or match.end() - start - 2 > limits.maxLine or len(match[1]) > limits.maxMethod:
            return self._read_unmatched_line()
        method, target, minor = match.groups()
        self._line = line = (method, target, minor != b"0")
        begin = match.end()
        end = data.find(b"\r\n\r\n", begin - 2) + 2
        if end > 1:
            block = data[begin:end]
            fields = self._fields
            repeats = fields is not None and block == fields.block and line[2] is fields.http11
            if not repeats or method in framing.BODILESS:
                fields = self._read_block(block, method, line[2])
            if fields is not None:
                self.move_to(end + 2)
                head = self._complete(line, fields)
                if repeats and head.pipelinable and head.fast_path:
                    self.repeated, self.head = self._caches.shared_head(data[start : end + 2], head)
                return head
        section = FieldSectionReader("header section", limits.maxHeaderBytes, limits.maxHeaderFields, "")
        self._section = section
        self.move_to(begin)
        return self._read_lines(section)

    @property
    def refused_head(self) -> RequestHead:
        """As much as could be read of a head that was refused."""
        return _NO_HEAD if self._line is None else RequestHead(*self._line, None)

    def _complete(self, line: tuple[bytes, bytes, bool], fields: RequestFields) -> RequestHead:
        """A head is complete, and its section means something."""
        method, target, http11 = line
        if target[0] != _SLASH or method == b"CONNECT":
            check_target(method, target)
        self._line = self._section = None
        self.blank_lines = 0
        return RequestHead(method, target, http11, fields)

    def _read_block(self, block: bytes, method: bytes, http11: bool) -> RequestFields | None:
        """A whole header section at once; None when it breaks a rule, which is then found line by line."""
        caches = self._caches
        bodiless = method in framing.BODILESS  # what these mean depends on the method
        fields = None if bodiless else caches.known_section(block, http11)
        if fields is None:
            pairs = parse_section(block) if len(block) <= caches.limits.maxHeaderBytes else None
            if pairs is None or len(pairs) > caches.limits.maxHeaderFields:
                return None
            fields = read_fields(pairs, http11, caches.limits, caches.policy, method, block)
            if bodiless:
                return fields
            caches.remember_section(fields)
        self._fields = fields
        return fields

    def _read_lines(self, section: FieldSectionReader) -> RequestHead | None:
        """A head that came in pieces, or that breaks a rule."""
        pairs = section.read(self)
        if pairs is None:
            return None
        assert self._line is not None
        method, _, http11 = self._line
        fields = read_fields(pairs, http11, self._caches.limits, self._caches.policy, method)
        return self._complete(self._line, fields)

    def _read_unmatched_line(self) -> RequestHead | None:
        """A request line that did not match: blank lines before it, or not complete, or not acceptable."""
        while self.data.startswith(_EMPTY_LINE, self.position):
            self.blank_lines += 1
            if self.blank_lines > self._caches.limits.blankLines:
                raise RemoteProtocolError(400, "too many empty lines", "RFC 9112 2.2", row="H-05")
            self.move_to(self.position + 2)
            if not self.data.startswith(_EMPTY_LINE, self.position):
                return self.read_head()
        if self.head_begun:
            refuse_request_line(self.data[self.position :], self._caches.limits)
        return None

    @property
    def head_begun(self) -> bool:
        """Whether part of a head is there. Half of an empty line is no part of a request (ledger H-05)."""
        return self._section is not None or self.data[self.position :] not in (b"", b"\r")
