"""Response heads: the same head and the same verdict however the bytes are cut, and nothing that is not theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ka_twisted.config import Limits
from ka_twisted.core.errors import RemoteProtocolError
from ka_twisted.http1.buffer import ReceiveBuffer
from ka_twisted.http1.response_heads import ResponseHead, ResponseHeadReader, parse_response_head
from tests.http1.driving import cuts
from tests.http1.strategies import cut

OK = b"HTTP/1.1 200 OK\r\n"
TRAILING = b"hello\n\nHTTP/1.1 x\r\n\r\n"
LIMITS = Limits(maxLine=40, maxHeaderBytes=60, maxHeaderFields=3, blankLines=2)

Verdict = tuple[list[ResponseHead], bytes, tuple[int, str, str] | None]


def read(pieces: list[bytes], limits: Limits | None = None, *, lone_lf: bool = True, count: int = 1) -> Verdict:
    """The first heads, what is left behind the last, and the error: its status, row and text."""
    reader = ResponseHeadReader(limits or Limits(), lone_lf=lone_lf)
    buffer = ReceiveBuffer()
    heads: list[ResponseHead] = []
    try:
        for piece in pieces:
            buffer.append(piece)
            while len(heads) < count and (head := reader.read(buffer)) is not None:
                heads.append(head)
    except RemoteProtocolError as error:
        return heads, b"", (error.status, error.row, str(error))
    return heads, buffer.take(len(buffer)), None


def same(data: bytes, limits: Limits | None = None, *, lone_lf: bool = True) -> Verdict:
    """The verdict on the bytes, which is the same in every cut."""
    verdict = read([data], limits, lone_lf=lone_lf)
    for pieces in cuts(data):
        assert read(pieces, limits, lone_lf=lone_lf) == verdict, pieces
    return verdict


def head(data: bytes, limits: Limits | None = None, *, lone_lf: bool = True) -> ResponseHead:
    """The head that the bytes are, alone and with others behind it."""
    for behind in (TRAILING, b""):
        heads, left, error = same(data + behind, limits, lone_lf=lone_lf)
        assert (len(heads), left, error) == (1, behind, None)
    return heads[0]


def refused(data: bytes, row: str, limits: Limits | None = None, *, lone_lf: bool = True) -> None:
    """The bytes are no head, in every cut and whatever follows: 502."""
    for behind in (b"", TRAILING):
        heads, _, error = same(data + behind, limits, lone_lf=lone_lf)
        assert not heads
        assert error is not None
        assert error[:2] == (502, row)


@pytest.mark.ledger("H-27", "H-07")
@pytest.mark.parametrize(
    ("line", "status", "phrase"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200, b"OK"), (b"HTTP/1.1 200 \r\n", 200, b""), (b"HTTP/1.1 200\r\n", 200, b""),
        (b"HTTP/1.0  404  Not Found\n", 404, b"Not Found"),
        (b"HTTP/1.1\t599\tx\xe4\r\n", 599, b"x\xe4"),
    ],
)  # fmt: skip
def test_status_lines_are_read_with_tolerance(line: bytes, status: int, phrase: bytes) -> None:
    found = head(line + b"A: 1\r\nB:2\r\n\r\n")
    assert (found.status, found.phrase, found.headers.raw) == (status, phrase, ((b"A", b"1"), (b"B", b"2")))


@pytest.mark.ledger("H-27")
@pytest.mark.parametrize(
    ("data", "row"),
    [
        (b"HTTP/1.1 20 OK\r\n\r\n", "H-27"), (b"HTTP/1.1 2000 OK\r\n\r\n", "H-27"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "H-27"), (b"HTTP/1.1 200 OK\r\nX\r\n\r\n", "H-25"), (b"200 OK\r\n\r\n", "H-27"),
        (b"HTTP/1.1 200 O\x00K\r\n\r\n", "H-27"), (b"HTTP/1.1 099 OK\r\n\r\n", "H-27"), (b" HTTP/1.1 200\r\n", "H-27"),
        (b"HTTP/1.1 200OK\r\n\r\n", "H-27"), (b"ICY 200 OK\r\n\r\n", "H-27"), (b"\x00\x00\x06\x04", "H-27"),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", "H-27"), (b"HTTP/1.1 -20 OK\r\n\r\n", "H-27"), (b"http/1.1 200 OK\r\n", "H-27"),
        (b"HTTP/1.10 200 OK\r\n", "H-27"), (b"HTTP/01.1 200 OK\r\n", "H-27"),
    ],
)  # fmt: skip
def test_what_is_no_response_head_is_502(data: bytes, row: str) -> None:
    refused(data, row)


@pytest.mark.ledger("H-27", "H-01")
def test_a_whole_head_alone_is_read_strictly() -> None:
    assert parse_response_head(OK + b"A: 1\r\n\r\n").headers.raw == ((b"A", b"1"),)
    for data in (b"", b"\r\n\r\n", OK, OK + b"A: 1\r\n", OK + b"\r\nX", OK + b"A: 1\n\r\n", b"HTTP/1.1 200 OK\n\r\n"):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_response_head(data)
        assert caught.value.status == 502


@pytest.mark.ledger("H-27")
@pytest.mark.parametrize(("status", "kind"), [(100, 1), (200, 2), (399, 3), (499, 4), (500, 5), (600, 5), (999, 5)])
def test_a_status_beyond_599_is_a_5xx(status: int, kind: int) -> None:
    found = head(b"HTTP/1.1 %d x\r\n\r\n" % status)
    assert (found.status, found.status_class) == (status, kind)


@pytest.mark.ledger("X-15", "H-02")
def test_interim_heads_come_before_the_final_one() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.9 204 \r\nA: b\r\n\r\n"
    for pieces in cuts(data + TRAILING):
        heads, left, error = read(pieces, count=3)
        assert ([found.status for found in heads], left, error) == ([100, 103, 204], TRAILING, None)
        assert [found.interim for found in heads] == [True, True, False]
        assert [found.minor for found in heads] == [1, 1, 9]
        assert heads[1].headers.raw == ((b"Link", b"a"),)
    assert not head(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").interim


@pytest.mark.ledger("H-07")
def test_lf_alone_ends_a_line_for_a_client_and_not_for_a_proxy() -> None:
    data = b"HTTP/1.1 200 OK\nA: 1\nB: 2\n\n"
    assert head(data).headers.raw == ((b"A", b"1"), (b"B", b"2"))
    refused(data, "H-07", lone_lf=False)
    for mixed in (OK + b"A: 1\n\r\n", OK + b"A: 1\r\n\n", b"HTTP/1.1 200 OK\n\r\n"):
        head(mixed)
        refused(mixed, "H-07", lone_lf=False)


@pytest.mark.ledger("H-22", "H-24", "H-21")
@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (b"X: a\r\n b\r\n", b"a b"), (b"X: a\r\n\t \tb \r\n  c\r\n", b"a b c"), (b"X:\r\n a\r\n", b"a"),
        (b"X: a\r\n \r\n b\r\n", b"a b"), (b"X : a\r\n", b"a"), (b"X \t:a\r\n", b"a"), (b"X: a\n b\n", b"a b"),
        (b"X:\ta:b \r\n", b"a:b"), (b"X: \xff\r\n", b"\xff"),
    ],
)  # fmt: skip
def test_folds_become_a_blank_and_blanks_before_the_colon_go(lines: bytes, value: bytes) -> None:
    assert head(OK + lines + b"\r\n").headers.values(b"x") == [value]


@pytest.mark.ledger("H-08", "H-25")
@pytest.mark.parametrize(
    "lines",
    [
        b" A: 1\r\n", b"\tA: 1\r\n", b"A\r\n", b": 1\r\n", b"A B: 1\r\n", b"A(: 1\r\n", b"A: 1\x00\r\n",
        b"A: 1\rB: 2\r\n",
        b"A: 1\r\r\n", b"A: \x7f\r\n", b"A: 1\r\n \x00\r\n", b"\xe4: 1\r\n", b"A\x00: 1\r\n", b"\rA: 1\r\n",
    ],
)  # fmt: skip
def test_a_line_that_is_no_field_is_502(lines: bytes) -> None:
    refused(OK + lines + b"\r\n", "H-25")
    refused(OK + b"Z: 1\r\n" + lines.lstrip(b" \t") + b"\r\n", "H-25") if lines[:1] not in b" \t" else None


@pytest.mark.ledger("H-26")
def test_it_has_limits() -> None:
    head(b"HTTP/1.1 200 " + b"x" * 27 + b"\r\n\r\n", LIMITS)
    refused(b"HTTP/1.1 200 " + b"x" * 28 + b"\r\n\r\n", "H-26", LIMITS)
    refused(b"HTTP/1.1 200 " + b"x" * 200, "H-26", LIMITS)
    head(OK + b"A: " + b"x" * 55 + b"\r\n\r\n", LIMITS)
    refused(OK + b"A: " + b"x" * 56 + b"\r\n\r\n", "H-26", LIMITS)
    refused(OK + b"A: " + b"x" * 200, "H-26", LIMITS)
    refused(OK + b"A: 1\r\n" + b" folded\r\n" * 7, "H-26", LIMITS)
    head(OK + b"A: 1\r\n" * 3 + b"\r\n", LIMITS)
    refused(OK + b"A: 1\r\n" * 4 + b"\r\n", "H-26", LIMITS)
    head(OK + b"A: 1\r\n" * 4 + b"\r\n", Limits(maxHeaderFields=4))


@pytest.mark.ledger("C-03")
def test_empty_lines_ahead_of_a_head_are_skipped_up_to_a_bound() -> None:
    head(b"\r\n\r\n" + OK + b"\r\n", LIMITS)
    refused(b"\r\n\r\n\r\n" + OK + b"\r\n", "H-27", LIMITS)
    refused(b"\r\n" + OK, "H-27", Limits(blankLines=0))
    refused(b"\n" + OK, "H-27")
    refused(b"\rHTTP", "H-27")


@pytest.mark.ledger("R-11")
def test_what_is_begun_and_not_whole_is_told_from_nothing() -> None:
    data = OK + b"A: 1\r\n\r\n"
    for end in range(len(data)):
        reader, buffer = ResponseHeadReader(Limits()), ReceiveBuffer()
        buffer.append(b"\r\n" + data[:end])
        assert reader.read(buffer) is None
        assert reader.begun(buffer) is (end > 0)
    buffer.append(data[end:])
    assert reader.read(buffer) is not None
    assert not reader.begun(buffer)


FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            OK, b"HTTP/1.1 ", b"HTTP/1.1 100 \r\n", b"200", b" ", b"\t", b"\r\n", b"\r\n", b"\n", b"\r", b"A: 1\r\n",
            b"A: 1\n",
            b" folded\r\n", b"B : 2\r\n", b":", b"Content-Length: 5\r\n", b"x" * 50, b"\x00", b"\r\n\r\n",
        ]
    ),
    st.binary(max_size=6),
)  # fmt: skip


@given(st.data(), st.lists(FRAGMENTS, max_size=14).map(b"".join), st.booleans(), st.booleans())
def test_cuts_change_nothing(data: st.DataObject, noise: bytes, begun: bool, lone_lf: bool) -> None:
    raw = (OK if begun else b"") + noise
    whole = read([raw], LIMITS, lone_lf=lone_lf, count=9)
    assert read(data.draw(cut(raw)), LIMITS, lone_lf=lone_lf, count=9) == whole
    assert read([raw[i : i + 1] for i in range(len(raw))], LIMITS, lone_lf=lone_lf, count=9) == whole
    assert whole[2] is None or whole[2][0] == 502
