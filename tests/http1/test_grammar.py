"""The grammar accepts what the RFCs have, less what two parsers could read in two ways."""

from __future__ import annotations

import pytest

from ka_twisted.core import grammar as core_grammar
from ka_twisted.http1 import grammar

TCHARS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_token_is_made_of_exactly_the_tchars() -> None:
    accepted = bytes(byte for byte in range(256) if core_grammar.token.fullmatch(bytes([byte])))
    assert sorted(accepted) == sorted(TCHARS)


def test_h_14_a_target_has_visible_ascii_only_and_no_fragment() -> None:
    accepted = {byte for byte in range(256) if grammar.request_target.fullmatch(bytes([byte]))}
    assert accepted == set(range(0x21, 0x7F)) - {ord("#")}


def test_h_08_a_field_value_has_no_control_but_tab() -> None:
    accepted = {byte for byte in range(256) if grammar.field_line.fullmatch(b"a:%b\r\n" % bytes([byte]))}
    assert accepted == {0x09, *range(0x20, 0x7F), *range(0x80, 0x100)}


@pytest.mark.parametrize(
    "line",
    [
        b"a : b\r\n", b" a: b\r\n", b": b\r\n", b"a b: c\r\n", b"a\r\n", b"a: b\n", b"a: b\r", b"a: b\rc\r\n",
        b"(: b\r\n",
    ],
)  # fmt: skip
def test_what_is_no_field_line(line: bytes) -> None:
    assert grammar.field_line.fullmatch(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"5\r\n", b"0000000000000005\r\n", b"fFfF\r\n", b"5;a\r\n", b"5;a=b\r\n", b"5 ; a = b\r\n", b'5;a="b;c"\r\n',
        b'5;a="\\""\r\n', b"5;a=b;c=d\r\n", b'5;a="\xff\t"\r\n',
    ],
)  # fmt: skip
def test_what_is_a_chunk_size_line(line: bytes) -> None:
    assert grammar.chunk_line.fullmatch(line)


@pytest.mark.ledger("L-24", "L-25", "L-26")
@pytest.mark.parametrize(
    "line",
    [
        b"\r\n", b"+5\r\n", b"-5\r\n", b"0x5\r\n", b"5_0\r\n", b" 5\r\n", b"5 \r\n", b"5 5\r\n", b"g\r\n", b"5\n",
        b"5\r\r\n",
        b"00000000000000005\r\n", b"5;\r\n", b"5;;a\r\n", b"5;a=\r\n", b"5; =b\r\n", b'5;a="b\r\n', b"5;a\x00\r\n",
        b"5;a=b c\r\n",
        b'5;a="b\x01"\r\n', b"5,a\r\n",
    ],
)  # fmt: skip
def test_what_is_no_chunk_size_line(line: bytes) -> None:
    assert grammar.chunk_line.fullmatch(line) is None


def test_a_long_chunk_extension_is_judged_in_linear_time() -> None:
    for line in (b"5" + b";a " * 300 + b"\x00\r\n", b"5;" + b" " * 900 + b"\x00", b'5;a="' + b"\\a" * 400 + b"\r\n"):
        assert grammar.chunk_line.fullmatch(line) is None


@pytest.mark.parametrize(
    "value",
    [
        b"a", b"a.example", b"a:80", b"a:", b"127.0.0.1", b"[::1]", b"[::1]:8080", b"[v1.x]", b"a_b", b"%41",
        b"a:65535", b"A-b~!$&'()*+;=",
    ],
)  # fmt: skip
def test_what_is_an_authority(value: bytes) -> None:
    assert core_grammar.is_authority(value)


@pytest.mark.ledger("H-20")
@pytest.mark.parametrize(
    "value",
    [
        b"", b"a,b", b"a, b", b"u@a", b"u:p@a", b"a/", b"/a", b"a/b", b"a:b", b"a:-1", b"a:65536", b"a:123456", b":80",
        b"a b",
        b"[::1", b"::1", b"a?b", b"a#b", b"%4", b"\xe4", b"a:80:80", b"[::1]x", b"a\t", b"http://a", b"a:+80",
    ],
)  # fmt: skip
def test_what_is_no_authority(value: bytes) -> None:
    assert not core_grammar.is_authority(value)


def test_a_list_is_split_at_commas_without_blanks_and_empty_members() -> None:
    assert core_grammar.split_list(b" a ,\tb,, c,") == [b"a", b"b", b"c"]
    assert core_grammar.split_list(b"") == []
