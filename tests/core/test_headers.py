"""Fields: as received, and as an application hands them over."""

from __future__ import annotations

import pytest

from ka_twisted.core.errors import LocalProtocolError
from ka_twisted.core.headers import (
    FieldsInput,
    FieldText,
    Headers,
    check_field,
    response_fields,
    trailer_fields,
)

LINES = ((b"Set-Cookie", b"a=1"), (b"X-A", b"1"), (b"set-cookie", b"b=2, c"), (b"x-b", b"\xe9"))


class TestHeaders:
    headers = Headers(LINES)

    def test_names_are_compared_without_case(self) -> None:
        assert self.headers.get("x-a") == self.headers.get("X-A") == self.headers.get(b"X-a") == "1"

    def test_h_23_lines_of_one_name_stay_apart_and_in_order(self) -> None:
        assert self.headers.all("SET-COOKIE") == ("a=1", "b=2, c")
        assert self.headers.get("set-cookie") == "a=1"

    def test_bytes_are_kept_and_decoded_without_loss(self) -> None:
        assert self.headers.raw == LINES
        value = self.headers.get("x-b")
        assert value is not None
        assert value.encode("latin-1") == b"\xe9"

    def test_what_is_not_there(self) -> None:
        assert self.headers.get("y") is None
        assert self.headers.get("y", "z") == "z"
        assert self.headers.all("y") == ()
        assert "y" not in self.headers
        assert 1 not in self.headers
        assert "snowman-\N{SNOWMAN}" not in self.headers

    def test_iteration_gives_every_line_in_order(self) -> None:
        assert list(self.headers) == [("Set-Cookie", "a=1"), ("X-A", "1"), ("set-cookie", "b=2, c"), ("x-b", "é")]
        assert len(self.headers) == 4

    def test_they_are_values(self) -> None:
        assert self.headers == Headers(LINES)
        assert hash(self.headers) == hash(Headers(LINES))
        assert self.headers != Headers(LINES[1:])
        assert "X-A" in repr(self.headers)


class TestResponseFields:
    def test_lines_are_written_in_order(self) -> None:
        fields = response_fields([("A", "1"), (b"B", b"2"), ("A", "3")])
        assert fields.pairs == ((b"A", b"1"), (b"B", b"2"), (b"A", b"3"))
        assert fields.plain

    def test_a_mapping_does_as_well(self) -> None:
        assert response_fields({"A": "1"}).pairs == ((b"A", b"1"),)
        assert response_fields(None).pairs == response_fields({}).pairs == ()

    def test_blanks_round_a_value_are_not_part_of_it(self) -> None:
        assert response_fields({"A": " \t1 2\t"}).pairs == ((b"A", b"1 2"),)

    @pytest.mark.ledger("H-08", "D4-24")
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("A", "1\r\nB: 2"), ("A", "1\n"), ("A", "1\r"), ("A", "1\x00"), ("A", "1\x7f"), ("A", b"1\x01"),
            ("A\r\n", "1"),
            ("A b", "1"), ("A:", "1"), ("A: b", "1"), ("", "1"), (b"\xe4", "1"), ("A", "\N{SNOWMAN}"),
            ("\N{SNOWMAN}", "1"),
            ("A", 1), (None, "1"), ("A", ["1"]), ("A", bytearray(b"1")),
        ],
    )  # fmt: skip
    def test_what_is_no_field_raises(self, name: FieldText, value: FieldText) -> None:
        with pytest.raises(LocalProtocolError):
            response_fields([(name, value)])

    def test_what_is_not_even_pairs_raises(self) -> None:
        with pytest.raises(LocalProtocolError):
            response_fields([("A",)])  # type: ignore[list-item]

    @pytest.mark.ledger("L-04")
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip"), ("Connection", "keep-alive"),
            ("Connection", "x-y"),
            ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close"), ("Trailer", "X-T"),
        ],
    )  # fmt: skip
    def test_what_belongs_to_the_connection_is_taken_out_and_told(self, name: str, value: str) -> None:
        fields = response_fields([("A", "1"), (name, value)])
        assert fields.pairs == ((b"A", b"1"),)
        (sentence,) = fields.dropped
        assert name.lower() in sentence
        assert not fields.plain

    def test_close_among_the_connection_options_asks_for_the_close(self) -> None:
        assert response_fields([("connection", "Close")]).asks_close
        fields = response_fields([("Connection", "x-y, close")])
        assert fields.asks_close
        assert fields.dropped
        assert not response_fields([("Connection", "closed")]).asks_close
        assert not response_fields([("X", "close")]).asks_close

    def test_a_length_is_kept_as_a_value(self) -> None:
        fields = response_fields([("Content-Length", "5"), ("content-length", "5")])
        assert (fields.length, fields.pairs) == (5, ())

    @pytest.mark.parametrize("value", ["-1", "+1", "1_0", "0x1", "", "1 2", "1, 1", "9" * 5000])
    def test_a_length_that_is_no_number_raises(self, value: str) -> None:
        with pytest.raises(LocalProtocolError):
            response_fields([("Content-Length", value)])

    def test_two_lengths_that_differ_raise(self) -> None:
        with pytest.raises(LocalProtocolError):
            response_fields([("Content-Length", "5"), ("Content-Length", "6")])

    def test_l_04_a_length_goes_where_a_coding_was_set_too(self) -> None:
        for order in (1, -1):
            fields = response_fields([("Transfer-Encoding", "chunked"), ("Content-Length", "5")][::order])
            assert fields.length is None
            assert len(fields.dropped) == 2

    @pytest.mark.ledger("V-07")
    @pytest.mark.parametrize(
        "name",
        ["cache-control", "Host", "Content-Length", "content-type", "ETag", "Set-Cookie", "Date"],
    )
    def test_an_end_to_end_field_cannot_be_made_one_hop(self, name: str) -> None:
        with pytest.raises(LocalProtocolError):
            response_fields([("Connection", f"close, {name}")])

    def test_a_date_of_the_applications_own_is_seen(self) -> None:
        assert response_fields([("date", "x")]).has_date
        assert not response_fields([("x-date", "x")]).has_date

    def test_the_same_fields_give_the_same_value_whatever_they_come_in(self) -> None:
        inputs: list[FieldsInput] = [{"A": "1"}, [("A", "1")], (("A", "1"),), iter([("A", "1")])]
        assert len({response_fields(given).pairs for given in inputs}) == 1


class TestTrailers:
    def test_announced_ones_are_written(self) -> None:
        assert trailer_fields([("X-A", "1"), ("x-b", "2")], ["x-a", "X-B"]) == ((b"X-A", b"1"), (b"x-b", b"2"))

    def test_l_27_an_unannounced_one_raises(self) -> None:
        with pytest.raises(LocalProtocolError):
            trailer_fields([("X-A", "1")], ["X-B"])

    @pytest.mark.parametrize(
        "name",
        ["Content-Length", "transfer-encoding", "Trailer", "Host", "Authorization", "Content-Type"],
    )
    def test_l_28_a_forbidden_one_raises(self, name: str) -> None:
        with pytest.raises(LocalProtocolError):
            trailer_fields([(name, "1")], [name])

    def test_a_control_raises(self) -> None:
        with pytest.raises(LocalProtocolError):
            trailer_fields([("X-A", "1\r\n")], ["X-A"])


def test_one_field_is_checked() -> None:
    assert check_field("A", " b ") == (b"A", b"b")
