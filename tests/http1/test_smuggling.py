"""
Requests that two servers may read differently: each is read in one way, which a second reader here shares, or refused
with nothing behind it served, however the bytes are cut (RFC 9112 11.2).
"""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http1.driving import Wire, cuts, when_read
from tests.http1.strategies import SMUGGLED, cut

LENGTH_NAMES = st.sampled_from(
    [b"Content-Length"] * 6
    + [
        b"content-length",
        b"Content-Length ",
        b"Content-Length\t",
        b"Content_Length",
        b" Content-Length",
        b"\x00Content-Length",
        b"Content-Length\x00",
        b"Content-Length\r",
        b"X\rContent-Length",
        b"Content Length",
        b"",
    ]
)
LENGTHS = st.sampled_from(
    [b"5"] * 4
    + [
        b"0",
        b"05",
        b"+5",
        b"-5",
        b"5,5",
        b"5, 6",
        b"5;",
        b"0x5",
        b"5_0",
        b"5 0",
        b"\x0b5",
        b"5\x0c",
        b"5\x00",
        b"5\r",
        b"5\n",
        b"",
        b"5\r\n 6",
        b"\xb2",
        b"9" * 20,
        b"5.0",
        b"5e0",
        b"5\r\nContent-Length: 6",
    ]
)
CODING_NAMES = st.sampled_from(
    [b"Transfer-Encoding"] * 6
    + [
        b"transfer-encoding",
        b"Transfer-Encoding ",
        b" Transfer-Encoding",
        b"Transfer_Encoding",
        b"\tTransfer-Encoding",
        b"Transfer-Encoding\x0b",
        b"X: a\nTransfer-Encoding",
        b"X: a\rTransfer-Encoding",
        b"Transfer\r\n-Encoding",
    ]
)
CODINGS = st.sampled_from(
    [b"chunked"] * 4
    + [
        b"Chunked",
        b"\tchunked\t",
        b"\x0bchunked",
        b"chunked\x0b",
        b"xchunked",
        b"x chunked",
        b"chunked x",
        b"chunk",
        b"chunked, identity",
        b"identity, chunked",
        b"chunked;q=1",
        b'"chunked"',
        b"'chunked'",
        b",chunked",
        b"chunked,",
        b"chunked\r\n ,identity",
        b"",
        b"identity",
        b"gzip, chunked",
        b"chunked, chunked",
        b"\x00chunked",
        b"chunked\r",
        b"chunked\nX: y",
        b"\xe7hunked",
        b"chunked\x00",
        b"cow\r\nTransfer-Encoding: chunked",
    ]
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x0b\r\n", b"\r\n\t\r\n"])

HELLO = b"hello\r\n0\r\n\r\n"
#: Chunked bodies, and what they are; None for those that are none.
CHUNKED: list[tuple[bytes, bytes | None]] = [
    (b"5\r\n" + HELLO, b"hello"),
    (b"05\r\n" + HELLO, b"hello"),
    (b"5;a\r\n" + HELLO, b"hello"),
    (b'5 ; a = "b;\\"\t5" \t;c\r\n' + HELLO, b"hello"),
    (b"0\r\n\r\n", b""),
    (b"0000000000000000\r\nX: y\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n", b"hello"),
    *(
        (broken, None)
        for broken in (
            b"5\n" + HELLO,
            b"5\r" + HELLO,
            b" 5\r\n" + HELLO,
            b"5 \r\n" + HELLO,
            b"\t5\r\n" + HELLO,
            b"+5\r\n" + HELLO,
            b"-5\r\n" + HELLO,
            b"0x5\r\n" + HELLO,
            b"5_\r\n" + HELLO,
            b"5;\r\n" + HELLO,
            b"5;a=\r\n" + HELLO,
            b"5;=b\r\n" + HELLO,
            b"5;a\n" + HELLO,
            b"5;a\r" + HELLO,
            b"5;a\n\r\n" + HELLO,
            b"5;a\r\r\n" + HELLO,
            b'5;a="\r\n"\r\n' + HELLO,
            b'5;a="b\r\n' + HELLO,
            b"5;a\x00\r\n" + HELLO,
            b"5;a b\r\n" + HELLO,
            b"5 5\r\n" + HELLO,
            b"g\r\n" + HELLO,
            b"\r\n" + HELLO,
            b"00000000000000005\r\n" + HELLO,
            b"5;" + b"a" * 2000 + b"\r\n" + HELLO,
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n\r\n",
            b"4\r\n" + HELLO,
            b"5\r\nhello\r\n\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
            b"5\r\nhello\r\n0\r\n X: y\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX: y\n\r\n",
            b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX\r\n\r\n",
            b"5\r\nhello\r\n0\n\r\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"5\r\nhello\r\n-0\r\n\r\n",
            b"5\r\nhello\r\n0 \r\n\r\n",
            b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
        )
    ),
]

FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")


def second_reading(section: bytes, body: bytes, decoded: bytes | None) -> bytes | None:
    """
    The body of the request with this header section, by a reader that knows nothing but the strict rules; None where
    it has to be refused.

    :param section: the field lines, with their last CRLF.
    :param decoded: what the body is if it is chunked.
    """
    lengths, codings = [], []
    for line in section[:-2].split(b"\r\n"):
        match = FIELD.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2].strip(b" \t")
        lengths += [value] if name == b"content-length" else []
        codings += [value.lower()] if name == b"transfer-encoding" else []
    if codings:
        return decoded if codings == [b"chunked"] and not lengths else None
    if not lengths:
        return b""
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
        return None
    return body[: int(lengths[0])] if int(lengths[0]) <= len(body) else None


def served(pieces: list[bytes]) -> tuple[list[tuple[bytes, bytes]], list[int], str | None]:
    """The requests that the application got whole, the statuses of the answers, and how the connection ended."""
    wire = Wire(when_read).send(*pieces)
    failed = {failure.exchange.number for failure in wire.failures}
    whole = [exchange for exchange in wire.exchanges if exchange.number not in failed]
    bodies = [(exchange.target, wire.bodies.get(exchange.number, b"")) for exchange in whole]
    return bodies, [status for status in wire.statuses if status >= 200], wire.reason


@given(st.data(), st.sampled_from(CHUNKED))
def test_a_request_has_one_reading_or_is_refused(data: st.DataObject, chunked: tuple[bytes, bytes | None]) -> None:
    body, decoded = chunked
    section = b"Host: a\r\n"
    for names, values in data.draw(
        st.lists(st.sampled_from([(LENGTH_NAMES, LENGTHS), (CODING_NAMES, CODINGS)]), min_size=1, max_size=3)
    ):
        section += data.draw(names) + b":" + data.draw(st.sampled_from([b" ", b"", b"\t"])) + data.draw(values)
        section += data.draw(ENDS)
    if not section.endswith(b"\r\n"):
        section += b"X: y\r\n"
    raw = b"POST /first HTTP/1.1\r\n" + section + b"\r\n" + body + SMUGGLED
    got, statuses, reason = served([raw])
    assert served(data.draw(cut(raw))) == (got, statuses, reason)
    if b"\r\n\r\n" in section:
        return
    expected = second_reading(section, body + SMUGGLED, decoded)
    if expected is None:
        assert not got
        assert len(statuses) == 1
        assert 400 <= statuses[0] < 600
        assert reason in ("BAD_REQUEST", "BODY_TOO_LARGE")
    else:
        assert got[0] == (b"/first", expected)


@pytest.mark.ledger("L-24", "L-25", "L-26", "L-28")
@pytest.mark.parametrize(("body", "decoded"), CHUNKED)
def test_a_chunked_body_has_one_end_or_none(body: bytes, decoded: bytes | None) -> None:
    raw = b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body + SMUGGLED
    for pieces in cuts(raw, seeds=3):
        got, statuses, reason = served(pieces)
        if decoded is None:
            assert (got, len(statuses)) == ([], 1)
            assert statuses[0] in (400, 431)
            assert reason == "BAD_REQUEST"
        else:
            assert (got, statuses, reason) == ([(b"/first", decoded), (b"/smuggled", b"")], [200, 200], None)


def by_h11(raw: bytes) -> list[tuple[bytes, bytes]] | None:
    """The requests as h11 reads them; None where it refuses any of them."""
    found: list[tuple[bytes, bytes]] = []
    server = h11.Connection(h11.SERVER)
    server.receive_data(raw)
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                found.append((event.target, b""))
            elif isinstance(event, h11.Data):
                found[-1] = (found[-1][0], found[-1][1] + bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is h11.MUST_CLOSE:
                    return found
                server.start_next_cycle()
            else:
                return found if server.their_state is h11.IDLE else None
    except h11.ProtocolError:
        return None


@given(st.data(), st.sampled_from(CHUNKED))
def test_h11_reads_what_is_accepted_in_the_same_way(data: st.DataObject, chunked: tuple[bytes, bytes | None]) -> None:
    name, value = data.draw(st.one_of(st.tuples(LENGTH_NAMES, LENGTHS), st.tuples(CODING_NAMES, CODINGS)))
    raw = (
        b"POST /first HTTP/1.1\r\nHost: a\r\n"
        + name
        + b": "
        + value
        + data.draw(ENDS)
        + b"\r\n"
        + chunked[0]
        + SMUGGLED
    )
    other = by_h11(raw)
    got, statuses, _ = served([raw])
    if other is not None and max(statuses, default=0) == 200:
        assert got == other
