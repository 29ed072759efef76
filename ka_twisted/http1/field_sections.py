"""Sections of field lines (RFC 9112 5), whole or piece by piece, with the same verdict."""

from __future__ import annotations

from ..core.errors import RemoteProtocolError
from . import grammar
from .buffer import ReceiveBuffer

Pairs = list[tuple[bytes, bytes]]


def parse_section(block: bytes) -> Pairs | None:
    """The fields of a whole section less its empty line; None unless every byte belongs to one."""
    pairs = grammar.field_line.findall(block)
    if sum([len(name) + len(value) for name, value in pairs]) + 3 * len(pairs) != len(block):
        return None
    return [(name, value.strip(b" \t")) for name, value in pairs]


class FieldSectionReader:
    """
    The field lines of one section, up to its empty line.

    :param kind: what the section is called in errors.
    :param max_fields: 0: any number.
    :param row: of the ledger, for errors.
    :param trailers: whether it follows a body: a fault in it does not break a response that has begun.
    :param response: whether it is a server's: faults are then answered 502, by the proxy that has asked the server.
    """

    __slots__ = ("_kind", "_max_bytes", "_max_fields", "_pairs", "_response", "_row", "_size", "_trailers")

    def __init__(
        self,
        kind: str,
        max_bytes: int,
        max_fields: int,
        row: str = "",
        *,
        trailers: bool = False,
        response: bool = False,
    ) -> None:
        self._kind = kind
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._row = row
        self._trailers = trailers
        self._response = response
        self._pairs: Pairs = []
        self._size = 0

    def read(self, buffer: ReceiveBuffer) -> Pairs | None:
        """
        The pairs of the section once its empty line is there; None: more bytes are needed.

        :raises RemoteProtocolError: 431 for a section beyond its limits, 400 for a line that is no field.
        """
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
        status = 502 if self._response else status
        return RemoteProtocolError(status, message, clause, row=row, breaks_response=not self._trailers)
