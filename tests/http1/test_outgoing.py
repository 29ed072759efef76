"""Writers put out a body as its framing has it, and never more or less than that."""

from __future__ import annotations

import pytest

from ka_twisted.config import Limits
from ka_twisted.core.framing import Delimiter, Framing
from ka_twisted.http1.buffer import ReceiveBuffer
from ka_twisted.http1.incoming import ChunkedReader
from ka_twisted.http1.outgoing import BodyWriter, body_writer
from tests.http1.driving import cuts


def writer(delimiter: Delimiter, length: int | None = None) -> BodyWriter:
    return body_writer(Framing(delimiter, length, "", ""))


def written(made: BodyWriter, pieces: list[bytes], trailers: bytes = b"") -> tuple[bytes, int, bool]:
    """The bytes, how many of the body went out, and whether the end is the end."""
    out: list[bytes] = []
    count = sum(made.write(piece, out) for piece in pieces)
    whole = made.finish(out, trailers)
    return b"".join(out), count, whole


@pytest.mark.ledger("L-11", "D4-16", "D4-17")
def test_a_stated_length_is_kept() -> None:
    for pieces in cuts(b"hello"):
        made = writer(Delimiter.LENGTH, 5)
        assert written(made, pieces) == (b"hello", 5, True)
        assert made.excess == 0
        made = writer(Delimiter.LENGTH, 3)
        assert written(made, pieces) == (b"hel", 3, True)
        assert made.excess == 2
        assert written(writer(Delimiter.LENGTH, 6), pieces) == (b"hello", 5, False)
    assert written(writer(Delimiter.LENGTH, 0), []) == (b"", 0, True)


@pytest.mark.ledger("L-16", "L-26")
def test_chunks_are_what_a_reader_reads() -> None:
    for pieces in cuts(b"hello world" * 10):
        data, count, whole = written(writer(Delimiter.CHUNKED), pieces, b"X-A: 1\r\n")
        assert (count, whole) == (110, True)
        reader, buffer = ChunkedReader(Limits()), ReceiveBuffer()
        buffer.append(data)
        assert reader.read(buffer) == b"hello world" * 10
        assert (reader.complete, reader.trailers.raw, len(buffer)) == (True, ((b"X-A", b"1"),), 0)


@pytest.mark.ledger("L-26")
def test_no_bytes_make_no_chunk() -> None:
    assert written(writer(Delimiter.CHUNKED), [b"", b"a", b""]) == (b"1\r\na\r\n0\r\n\r\n", 1, True)


def test_a_body_that_the_close_ends_goes_out_as_it_is() -> None:
    assert written(writer(Delimiter.CLOSE), [b"he", b"", b"llo"], b"X: 1\r\n") == (b"hello", 5, True)


@pytest.mark.ledger("D4-23", "L-01")
def test_where_there_is_no_body_bytes_are_counted_and_dropped() -> None:
    for length in (None, 0, 5):
        made = writer(Delimiter.NONE, length)
        assert written(made, [b"he", b"llo"], b"X: 1\r\n") == (b"", 0, True)
        assert made.excess == 5
