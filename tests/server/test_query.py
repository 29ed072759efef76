"""Numbers of a request's query."""

from __future__ import annotations

import pytest

from ka_twisted import Request
from ka_twisted.server.query import BadQuery, argument, decimal, whole
from ka_twisted.testing import MemoryServer
from tests.http1.driving import get


def asked(query: str) -> Request:
    """A request with this query."""
    requests: list[Request] = []
    MemoryServer(lambda request: requests.append(request) or b"").connect().send(get(f"/?{query}"))
    return requests[0]


def test_the_last_value_counts_and_an_empty_one_is_one() -> None:
    assert argument(asked("a=1&b=2&a=3"), "a") == "3"
    assert argument(asked("a="), "a") == ""
    assert argument(asked("b=2"), "a") is None


def test_numbers_are_read_or_their_default_is_taken() -> None:
    assert (whole(asked("a=10"), "a", 3, 10), whole(asked(""), "a", 3, 10)) == (10, 3)
    assert (decimal(asked("a=.5"), "a", 3, 10), decimal(asked(""), "a", 3, 10)) == (0.5, 3)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("a=11", "a is at most 10, not 11"),
        ("a=", "a is a whole number, not ''"),
        ("a=-1", "a is a whole number, not '-1'"),
        ("a=%C2%B2", "a is a whole number, not '\N{SUPERSCRIPT TWO}'"),
        ("a=1.5", "a is a whole number, not '1.5'"),
    ],
)
def test_other_values_are_refused_in_a_sentence(query: str, sentence: str) -> None:
    with pytest.raises(BadQuery) as raised:
        whole(asked(query), "a", 3, 10)
    assert str(raised.value) == sentence


def test_a_number_with_a_fraction_is_limited_too() -> None:
    with pytest.raises(BadQuery, match=r"a is at most 2\.5, not 2\.6"):
        decimal(asked("a=2.6"), "a", 1, 2.5)
    with pytest.raises(BadQuery, match=r"a is a number such as 2 or 0\.5, not 'inf'"):
        decimal(asked("a=inf"), "a", 1, 2.5)
