"""Readers deliver the same body and the same fault however the bytes are cut, and take nothing that is not theirs."""

from __future__ import annotations

import pytest

from ka_twisted.config import Limits
from ka_twisted.core.errors import RemoteProtocolError
from ka_twisted.core.framing import Delimiter, Framing
from ka_twisted.http1.buffer import ReceiveBuffer
from ka_twisted.http1.field_sections import FieldSectionReader
from ka_twisted.http1.incoming import BodyReader, ChunkedReader, CloseReader, LengthReader, body_reader
from tests.http1.driving import chunked, cuts

TRAILING = b"GET / HTTP/1.1\r\n\r\n0\r\n"


def read(reader: BodyReader, pieces: list[bytes]) -> tuple[bytes, bytes, RemoteProtocolError | None]:
    """Body, bytes left over, and the fault, of a reader that reads whenever something comes."""
    buffer = ReceiveBuffer()
    body = b""
    try:
        for piece in pieces:
            buffer.append(piece)
            while data := reader.read(buffer):
                body += data
        while data := reader.read(buffer):
            body += data
    except RemoteProtocolError as error:
        return body, b"", error
    return body, buffer.take(len(buffer)), None


def check(limits: Limits | None, data: bytes, expected: bytes, *, max_body: int = 0) -> None:
    """A whole chunked body, in every cut, alone and with bytes behind it."""
    for behind in (b"", TRAILING):
        for pieces in cuts(data + behind):
            reader = ChunkedReader(limits or Limits(), max_body)
            body, rest, error = read(reader, pieces)
            assert error is None
            assert (body, rest, reader.complete) == (expected, behind, True)


def check_fault(
    data: bytes, status: int, before: bytes = b"", *, limits: Limits | None = None, max_body: int = 0
) -> None:
    """A broken chunked body, in every cut: the same bytes before the fault, and the same fault."""
    for behind in (b"", TRAILING):
        faults = set()
        for pieces in cuts(data + behind):
            reader = ChunkedReader(limits or Limits(), max_body)
            body, _, error = read(reader, pieces)
            assert error is not None, pieces
            assert (body, error.status) == (before, status)
            assert not reader.complete
            faults.add((error.row, str(error)))
            with pytest.raises(RemoteProtocolError):
                reader.read(ReceiveBuffer())
        assert len(faults) == 1


class TestReceiveBuffer:
    def test_it_gives_out_what_it_took_in(self) -> None:
        buffer = ReceiveBuffer()
        buffer.append(b"abc")
        assert len(buffer) == 3
        assert buffer.take(2) == b"ab"
        buffer.append(b"def")
        assert (len(buffer), buffer.take(9), len(buffer), buffer.take(9)) == (4, b"cdef", 0, b"")

    def test_a_segment_that_is_wanted_whole_is_not_copied(self) -> None:
        buffer = ReceiveBuffer()
        segment = bytes(100000)
        buffer.append(segment)
        assert buffer.take(100000) is segment
        buffer.append(segment)
        assert buffer.take(200000) is segment

    def test_nothing_is_held_once_everything_is_taken(self) -> None:
        buffer = ReceiveBuffer()
        buffer.append(b"abc")
        buffer.take(1)
        buffer.take(2)
        assert (buffer.data, buffer.position) == (b"", 0)
        buffer.append(b"abc")
        buffer.clear()
        assert (buffer.data, buffer.position) == (b"", 0)


class TestLengthReader:
    @pytest.mark.ledger("D2-20", "L-31")
    def test_it_takes_exactly_its_bytes(self) -> None:
        for pieces in cuts(b"hello" + TRAILING):
            reader = LengthReader(5)
            assert read(reader, pieces) == (b"hello", TRAILING, None)
            assert (reader.complete, reader.remaining) == (True, 0)

    def test_it_is_not_complete_before_its_last_byte(self) -> None:
        reader = LengthReader(5)
        assert read(reader, [b"hell"]) == (b"hell", b"", None)
        assert (reader.complete, reader.remaining) == (False, 1)

    def test_lengths_do_not_overflow(self) -> None:
        reader = LengthReader(2**70)
        read(reader, [b"x" * 1000])
        assert reader.remaining == 2**70 - 1000


def test_a_body_that_the_close_ends_takes_everything() -> None:
    for pieces in cuts(TRAILING):
        reader = CloseReader()
        assert read(reader, pieces) == (TRAILING, b"", None)
        assert not reader.complete
        assert reader.remaining is None


class TestChunkedReader:
    @pytest.mark.ledger("L-10", "D2-11")
    def test_chunks_are_joined(self) -> None:
        check(None, chunked(b"hello", b" ", b"world"), b"hello world")
        check(None, chunked(), b"")
        check(None, b"0005\r\nhello\r\n000\r\n\r\n", b"hello")
        check(None, b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2)

    def test_data_that_looks_like_framing_is_data(self) -> None:
        check(None, chunked(b"0\r\n\r\n", b"\r\n5\r\n"), b"0\r\n\r\n\r\n5\r\n")

    @pytest.mark.ledger("L-25")
    def test_extensions_are_skipped(self) -> None:
        check(None, b'5;a;b=c;d="e;\\"f\\r"\r\nhello\r\n0 ; x = y\r\n\r\n', b"hello")

    @pytest.mark.ledger("L-28", "D2-28")
    def test_trailers_are_read_in_order_and_forbidden_ones_discarded(self) -> None:
        data = chunked(b"hello", trailers=b"X-A: 1\r\nhOst: evil\r\nX-A:  2 \r\nContent-Length: 3\r\n")
        for pieces in cuts(data + TRAILING):
            reader = ChunkedReader(Limits())
            assert read(reader, pieces) == (b"hello", TRAILING, None)
            assert reader.trailers.raw == ((b"X-A", b"1"), (b"X-A", b"2"))

    @pytest.mark.ledger("L-24", "L-26", "D2-22")
    @pytest.mark.parametrize(
        ("data", "before"),
        [
            (b"5\r\nhello0\r\n\r\n", b"hello"), (b"5\r\nhello\n0\r\n\r\n", b"hello"),
            (b"5\r\nhello\r0\r\n\r\n", b"hello"),
            (b"5\nhello\r\n", b""), (b"5\r\nhello\r\n\r\n", b"hello"), (b"+5\r\nhello\r\n", b""),
            (b"0x5\r\nhello\r\n", b""),
            (b"5_0\r\nhello\r\n", b""), (b" 5\r\nhello\r\n", b""), (b"5 \r\nhello\r\n", b""),
            (b"00000000000000005\r\nhello\r\n", b""),
            (b"5;\r\nhello\r\n", b""), (b"5\r\nhello\r\n5;a=\x07\r\n", b"hello"), (b"0\n\r\n", b""),
            (b"\xb2\r\nab\r\n", b""),
        ],
    )  # fmt: skip
    def test_what_is_no_chunk_is_a_fault_behind_what_was_good(self, data: bytes, before: bytes) -> None:
        check_fault(data, 400, before)

    @pytest.mark.ledger("D2-26", "L-28", "H-25")
    @pytest.mark.parametrize(
        "line",
        [b"X\r\n", b"X : 1\r\n", b" X: 1\r\n", b": 1\r\n", b"X: 1\n", b"\n", b"X: \x00\r\n", b"\r\r\n"],
    )
    def test_a_broken_trailer_is_a_fault(self, line: bytes) -> None:
        check_fault(b"5\r\nhello\r\n0\r\nX-A: 1\r\n" + line + b"\r\n", 400, b"hello")

    @pytest.mark.ledger("L-25", "D2-22")
    def test_a_size_line_has_a_limit(self) -> None:
        limits = Limits(maxChunkLine=10)
        check(limits, b"5;a=345678\r\nhello\r\n0\r\n\r\n", b"hello")
        check_fault(b"5;a=3456789\r\nhello\r\n0\r\n\r\n", 400, limits=limits)
        check_fault(b"5" * 40, 400, limits=limits)

    @pytest.mark.ledger("L-25", "D2-22")
    def test_all_extensions_together_have_a_limit(self) -> None:
        limits = Limits(maxChunkExtensions=10)
        check(limits, b"1;abcd\r\nx\r\n" * 2 + b"0\r\n\r\n", b"xx")
        check_fault(b"1;abcd\r\nx\r\n" * 2 + b"0;\r\n\r\n", 400, b"xx", limits=limits)
        check_fault(b"1;abcd\r\nx\r\n" * 2 + b"0;a\r\n\r\n", 400, b"xx", limits=limits)
        check(Limits(maxChunkExtensions=0), b"1;abcd\r\nx\r\n" * 20 + b"0\r\n\r\n", b"x" * 20)

    @pytest.mark.ledger("L-32", "D2-24")
    def test_the_body_has_a_limit_that_is_judged_at_the_size_line(self) -> None:
        check(None, b"5\r\nhello\r\n0\r\n\r\n", b"hello", max_body=5)
        check_fault(b"5\r\nhello\r\n1\r\n", 413, b"hello", max_body=5)
        check_fault(b"6\r\n", 413, max_body=5)
        check_fault(b"ffffffffffffffff\r\n", 413, max_body=2**60)

    @pytest.mark.ledger("L-28", "D2-26")
    def test_the_trailer_section_has_limits(self) -> None:
        limits = Limits(maxTrailerBytes=12, maxTrailerFields=2)
        check(limits, b"0\r\nA: 1\r\nB: 2\r\n\r\n", b"")
        check_fault(b"0\r\nA: 1\r\nB: 23\r\n\r\n", 431, limits=limits)
        check_fault(b"0\r\nA: 1" + b"1" * 99, 431, limits=limits)
        check_fault(b"0\r\nA:\r\nB:\r\nC:\r\n\r\n", 431, limits=limits)
        check(Limits(maxTrailerFields=0), b"0\r\n" + b"A:\r\n" * 40 + b"\r\n", b"")

    def test_large_sizes_do_not_overflow(self) -> None:
        reader = ChunkedReader(Limits())
        body, rest, error = read(reader, [b"ffffffffffffffff\r\nhello"])
        assert (body, rest, error, reader.complete, reader.remaining) == (b"hello", b"", None, False, None)

    @pytest.mark.ledger("L-26", "D2-29")
    def test_it_is_complete_only_behind_its_last_crlf(self) -> None:
        data = chunked(b"hello", trailers=b"X: 1\r\n")
        for end in range(len(data)):
            reader = ChunkedReader(Limits())
            _, _, error = read(reader, [data[:end]])
            assert error is None
            assert not reader.complete


class TestFieldSectionReader:
    SECTION = b"Host: a\r\nX-A:\r\nx-a: \t1\t \r\n\r\n"
    PAIRS = [(b"Host", b"a"), (b"X-A", b""), (b"x-a", b"1")]

    def read(self, pieces: list[bytes], max_bytes: int = 100, max_fields: int = 10) -> tuple[object, bytes]:
        reader = FieldSectionReader("header section", max_bytes, max_fields, "")
        buffer = ReceiveBuffer()
        for index, piece in enumerate(pieces):
            buffer.append(piece)
            pairs = reader.read(buffer)
            if pairs is not None:
                return pairs, buffer.take(len(buffer)) + b"".join(pieces[index + 1 :])
        return None, buffer.take(len(buffer))

    @pytest.mark.ledger("H-21", "H-23")
    def test_lines_up_to_the_empty_one(self) -> None:
        for behind in (b"", TRAILING):
            for pieces in cuts(self.SECTION + behind):
                assert self.read(pieces) == (self.PAIRS, behind)

    def test_half_a_section_waits(self) -> None:
        for end in range(len(self.SECTION)):
            assert self.read([self.SECTION[:end]])[0] is None

    @pytest.mark.ledger("H-26")
    @pytest.mark.parametrize(("excess", "status"), [(0, None), (1, 431)])
    def test_the_limit_in_bytes(self, excess: int, status: int | None) -> None:
        for pieces in cuts(self.SECTION + TRAILING):
            if status is None:
                assert self.read(pieces, len(self.SECTION) - 2)[0] == self.PAIRS
            else:
                with pytest.raises(RemoteProtocolError) as caught:
                    self.read(pieces, len(self.SECTION) - 2 - excess)
                assert (caught.value.status, caught.value.row) == (431, "H-26")

    @pytest.mark.ledger("H-26")
    def test_the_limit_in_fields(self) -> None:
        for pieces in cuts(self.SECTION + TRAILING):
            assert self.read(pieces, max_fields=3)[0] == self.PAIRS
            with pytest.raises(RemoteProtocolError) as caught:
                self.read(pieces, max_fields=2)
            assert caught.value.status == 431

    def test_a_line_that_never_ends_is_stopped_at_the_limit(self) -> None:
        for data in (b"A" * 200, b"A: " + b"\r" * 200):
            for pieces in cuts(data):
                with pytest.raises(RemoteProtocolError) as caught:
                    self.read(pieces)
                assert caught.value.status == 431


def test_each_framing_has_its_reader() -> None:
    def reader(delimiter: Delimiter, length: int | None) -> BodyReader:
        return body_reader(Framing(delimiter, length, "", ""), Limits())

    assert isinstance(reader(Delimiter.LENGTH, 5), LengthReader)
    assert isinstance(reader(Delimiter.CHUNKED, None), ChunkedReader)
    assert isinstance(reader(Delimiter.CLOSE, None), CloseReader)
