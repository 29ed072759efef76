"""One machine for bodies that come in and one for bodies that go out, for both ends of a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ka_twisted.config import Limits
from ka_twisted.core.errors import IncompleteBody, LocalProtocolError, RemoteProtocolError
from ka_twisted.core.framing import NO_BODY, Delimiter, Framing
from ka_twisted.core.reasons import CloseReason
from ka_twisted.http1.buffer import ReceiveBuffer
from ka_twisted.http1.incoming import IncomingBody
from ka_twisted.http1.outgoing import OutgoingBody
from ka_twisted.http1.states import Body
from tests.http1.driving import chunked, cuts
from tests.http1.strategies import BODIES, TRAILERS, cut

LENGTH5 = Framing(Delimiter.LENGTH, 5, "", "")
CHUNKED = Framing(Delimiter.CHUNKED, None, "", "")
CLOSE = Framing(Delimiter.CLOSE, None, "", "")
TRAILING = b"HTTP/1.1 200 OK\r\n\r\n"


def taken(body: IncomingBody, pieces: list[bytes], *, ended: bool = False) -> tuple[bytes, bytes]:
    """What a taker gets that is always ready, and what is left over."""
    body.want()
    body.flowing = True
    buffer = ReceiveBuffer()
    got = b""
    for piece in pieces:
        buffer.append(piece)
        while data := body.read(buffer):
            got += data
    while data := body.read(buffer):
        got += data
    if ended:
        body.end_input()
        assert body.read(buffer) == b""
    return got, buffer.take(len(buffer))


class TestIncomingBody:
    @pytest.mark.ledger("L-10", "L-16")
    @pytest.mark.parametrize("response", [False, True])
    @pytest.mark.parametrize("framing", [LENGTH5, CHUNKED])
    def test_it_gives_the_taker_the_body_and_leaves_the_rest(self, framing: Framing, response: bool) -> None:
        data = b"hello" if framing is LENGTH5 else chunked(b"he", b"llo", trailers=b"X-A: 1\r\n")
        for behind in (b"", TRAILING):
            for pieces in cuts(data + behind):
                body = IncomingBody(framing, Limits(), response=response)
                assert taken(body, pieces) == (b"hello", behind)
                assert (body.state, body.complete, body.received) == (Body.READ, True, 5)
                assert body.trailers.raw == (() if framing is LENGTH5 else ((b"X-A", b"1"),))
                body.want()
                body.end_input()

    @pytest.mark.ledger("L-07", "C-07")
    def test_close_ends_a_response_once_its_taker_has_all(self) -> None:
        for pieces in cuts(b"hello"):
            body = IncomingBody(CLOSE, Limits(), response=True)
            assert taken(body, pieces) == (b"hello", b"")
            assert not body.complete
            body.end_input()
            assert not body.complete, "the taker is told by its next read"
            assert body.read(ReceiveBuffer()) == b""
            assert body.complete

    def test_nothing_is_consumed_before_it_is_wanted_or_while_its_taker_is_busy(self) -> None:
        body, buffer = IncomingBody(LENGTH5, Limits()), ReceiveBuffer()
        buffer.append(b"hello")
        assert body.read(buffer) == b""
        body.want()
        assert body.read(buffer) == b""
        assert len(buffer) == body.remaining == 5
        body.flowing = True
        assert (body.read(buffer), body.complete) == (b"hello", False)
        assert (body.read(buffer), body.complete) == (b"", True)

    @pytest.mark.ledger("P-10")
    def test_what_is_abandoned_is_read_away_within_a_budget(self) -> None:
        for data, framing in ((b"x" * 5, LENGTH5), (chunked(b"xx", b"xxx"), CHUNKED)):
            for pieces in cuts(data):
                body, buffer = IncomingBody(framing, Limits()), ReceiveBuffer()
                body.abandon(5)
                for piece in pieces:
                    buffer.append(piece)
                    assert body.read(buffer) == b""
                assert (body.complete, body.received) == (True, 0)
                assert body.budget >= 0
        body, buffer = IncomingBody(CHUNKED, Limits()), ReceiveBuffer()
        body.abandon(5)
        buffer.append(b"6\r\nhello")
        body.read(buffer, charged=False)
        assert body.budget == 5
        buffer.append(b"!\r\n6\r\nhello")
        body.read(buffer)
        assert body.budget < 0
        body.abandon(5)
        assert body.budget < 0, "abandoned once"

    def test_a_body_in_hand_is_taken_at_once(self) -> None:
        body, buffer = IncomingBody(LENGTH5, Limits()), ReceiveBuffer()
        buffer.append(b"hell")
        assert body.take_whole(buffer) is None
        buffer.append(b"o" + TRAILING)
        assert body.take_whole(buffer) == b"hello"
        assert (body.complete, body.received, len(buffer)) == (True, 5, len(TRAILING))
        assert body.take_whole(buffer) is None
        assert IncomingBody(CHUNKED, Limits()).take_whole(buffer) is None

    @pytest.mark.ledger("L-31", "D2-29", "R-11", "L-12")
    @pytest.mark.parametrize("response", [False, True])
    @pytest.mark.parametrize(("framing", "data"), [(LENGTH5, b"hello"), (CHUNKED, chunked(b"hello"))])
    def test_a_body_that_is_cut_short_is_never_complete(self, framing: Framing, data: bytes, response: bool) -> None:
        for end in range(len(data)):
            body = IncomingBody(framing, Limits(), response=response)
            with pytest.raises(IncompleteBody) as caught:
                taken(body, [data[:end]], ended=True)
            error = caught.value
            assert error.status == (502 if response else 400)
            assert error.received == body.received
            assert error.remaining == (5 - end if framing is LENGTH5 else None)
            reason = CloseReason.PEER_CLOSED_MID_RESPONSE if response else CloseReason.PEER_CLOSED_MID_REQUEST
            assert error.reason == reason
            assert body.state is Body.CUT
            body.end_input()

    @pytest.mark.ledger("C-06", "D2-22", "L-26")
    @pytest.mark.parametrize("wanted", [True, False])
    @pytest.mark.parametrize(("response", "status", "row"), [(False, 400, "D2-22"), (True, 502, "C-06")])
    def test_broken_framing_cuts_it(self, response: bool, status: int, row: str, wanted: bool) -> None:
        for pieces in cuts(b"5\r\nhelloX"):
            body, buffer = IncomingBody(CHUNKED, Limits(), response=response), ReceiveBuffer()
            body.want() if wanted else body.abandon(100)
            body.flowing = True
            got = b""
            with pytest.raises(RemoteProtocolError) as caught:
                for piece in [*pieces, b"", b""]:
                    buffer.append(piece)
                    got += body.read(buffer)
            assert (caught.value.status, caught.value.row) == (status, row)
            assert got == (b"hello" if wanted else b"")
            assert body.state is Body.CUT
            assert body.read(buffer) == b""

    @pytest.mark.ledger("L-28", "L-32")
    @pytest.mark.parametrize(
        ("data", "status"),
        [(b"6\r\nhello!\r\n", 413), (b"0\r\nX : 1\r\n\r\n", 400), (b"0\r\nX-A: 12345678\r\n\r\n", 431)],
    )
    def test_limits_have_the_status_of_their_side(self, data: bytes, status: int) -> None:
        limits = Limits(maxBodyBytes=5, maxTrailerBytes=10)
        for response in (False, True):
            with pytest.raises(RemoteProtocolError) as caught:
                taken(IncomingBody(CHUNKED, limits, response=response), [data])
            assert caught.value.status == (502 if response else status)

    def test_what_is_not_in_the_table_raises(self) -> None:
        body = IncomingBody(LENGTH5, Limits())
        body.abandon(5)
        with pytest.raises(LocalProtocolError):
            body.want()
        body = IncomingBody(LENGTH5, Limits())
        taken(body, [b"hello"])
        for act in (body.cut, lambda: body.abandon(1)):
            with pytest.raises(LocalProtocolError):
                act()


class TestOutgoingBody:
    def test_pieces_go_out_as_the_framing_has_them(self) -> None:
        for framing, expected in (
            (LENGTH5, b"hello"),
            (CHUNKED, b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX: 1\r\n\r\n"),
            (CLOSE, b"hello"),
        ):
            body = OutgoingBody(framing)
            out = body.write(b"he") + body.write(b"") + body.write(b"llo") + (body.finish(b"X: 1\r\n") or [])
            assert (b"".join(out), body.sent, body.remaining or 0, body.finished) == (expected, 5, 0, True)

    @pytest.mark.ledger("L-11", "D4-16", "D4-17")
    def test_a_server_drops_and_counts_the_excess_and_leaves_a_lack_unfinished(self) -> None:
        body = OutgoingBody(LENGTH5)
        assert body.write(b"hello!!") == [b"hello"]
        assert (body.sent, body.excess, body.finish()) == (5, 2, [])
        body = OutgoingBody(LENGTH5)
        body.write(b"hell")
        assert (body.finish(), body.finished) == (None, False)

    @pytest.mark.ledger("L-11")
    def test_a_client_raises_and_sends_nothing_of_what_is_too_much(self) -> None:
        body = OutgoingBody(LENGTH5, strict=True)
        with pytest.raises(LocalProtocolError):
            body.write(b"hello!")
        assert (body.sent, body.remaining, body.excess) == (0, 5, 0)
        assert body.write(b"hell") == [b"hell"]
        with pytest.raises(LocalProtocolError):
            body.finish()
        assert body.write(b"o") == [b"o"]
        assert body.finish() == []
        with pytest.raises(LocalProtocolError):
            OutgoingBody(NO_BODY, strict=True).write(b"x")

    @pytest.mark.ledger("D4-22", "L-27")
    def test_trailers_without_chunks_are_dropped_or_refused(self) -> None:
        body = OutgoingBody(LENGTH5)
        body.write(b"hello")
        assert body.finish(b"X: 1\r\n") == []
        strict = OutgoingBody(LENGTH5, strict=True)
        strict.write(b"hello")
        with pytest.raises(LocalProtocolError):
            strict.finish(b"X: 1\r\n")

    def test_what_is_sent_past_it_counts(self) -> None:
        body = OutgoingBody(LENGTH5)
        body.write(b"he")
        body.sent_past(2)
        assert (body.sent, body.remaining) == (4, 1)
        for size in (2, -1):
            with pytest.raises(LocalProtocolError):
                body.sent_past(size)
        for framing in (CHUNKED, CLOSE, NO_BODY):
            with pytest.raises(LocalProtocolError):
                OutgoingBody(framing).sent_past(1)

    def test_nothing_follows_the_end(self) -> None:
        body = OutgoingBody(CHUNKED)
        body.finish()
        for act in (body.finish, lambda: body.write(b"x"), lambda: body.sent_past(0)):
            with pytest.raises(LocalProtocolError):
                act()


@given(st.data(), BODIES, TRAILERS, st.sampled_from(["length", "chunked", "close"]), st.booleans())
def test_what_goes_out_comes_in(
    data: st.DataObject, whole: bytes, trailers: list[tuple[str, str]], coding: str, response: bool
) -> None:
    framing = {
        "length": Framing(Delimiter.LENGTH, len(whole), "", ""),
        "chunked": CHUNKED,
        "close": CLOSE,
    }[coding]  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers).encode() if coding == "chunked" else b""
    out = OutgoingBody(framing, strict=not response)
    sent = b""
    for piece in data.draw(cut(whole)):
        sent += b"".join(out.write(piece))
    end = out.finish(lines)
    assert end is not None
    sent += b"".join(end)
    body = IncomingBody(framing, Limits(), response=response)
    behind = b"" if coding == "close" else TRAILING
    assert taken(body, data.draw(cut(sent + behind)), ended=coding == "close") == (whole, behind)
    assert body.complete
    assert list(body.trailers.raw) == [(name.encode(), value.encode()) for name, value in trailers if lines]
