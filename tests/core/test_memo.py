"""What is remembered repeats, is for every client, and takes no more bytes than its budget."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from ka_twisted.core import headers
from ka_twisted.core.headers import LINE_MEMO_BYTES, MEMO_BYTES, response_fields
from ka_twisted.core.memo import Memo


def grown(work: Callable[[], object]) -> int:
    """Bytes that are held after the work and were not before it."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing remembered before the test, nor after it."""
    headers._remembered.clear()
    headers._checked.clear()
    yield
    headers._remembered.clear()
    headers._checked.clear()


class TestMemo:
    def test_an_entry_enters_when_it_is_offered_again(self) -> None:
        memo: Memo[str, int] = Memo(1000)
        memo.offer("a", 1, 10)
        assert memo.get("a") is None
        memo.offer("a", 1, 10)
        assert (memo.get("a"), memo.held) == (1, 10)
        memo.offer("a", 1, 10)
        assert memo.held == 10, "counted once"

    def test_its_entries_stay_within_the_budget(self) -> None:
        memo: Memo[int, int] = Memo(1000)
        for number in range(100):
            memo.keep(number, number, 90)
            assert memo.held == 90 * len(memo) <= 1000
        assert memo.get(99) == 99

    def test_one_large_entry_does_not_displace_the_others(self) -> None:
        memo: Memo[str, int] = Memo(1000)
        memo.keep("a", 1, 10)
        memo.keep("large", 2, 126)
        assert dict(memo) == {"a": 1}
        assert not Memo[str, int](0).keep("a", 1, 1)

    def test_what_never_repeats_leaves_only_a_bounded_number_of_hashes(self) -> None:
        memo: Memo[str, int] = Memo(1000)

        def work() -> None:
            for number in range(20_000):
                memo.offer(f"value {number}", number, 10)

        assert grown(work) < 200_000
        assert not memo


class TestResponseFields:
    def test_a_set_is_remembered_when_it_is_met_again(self) -> None:
        given = {"Content-Type": "text/plain", "X-A": "1"}
        assert response_fields(given) is not response_fields(given)
        assert response_fields(given) is response_fields(dict(given))

    @pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie", "WWW-Authenticate", "Authentication-Info"])
    def test_what_is_for_one_client_is_not(self, name: str) -> None:
        for _ in range(4):
            assert response_fields({"X-A": "1", name: "secret"}).personal
        kept = [*headers._remembered, *headers._checked]
        assert not any("secret" in str(key) for key in kept)
        assert not headers._remembered

    def test_changing_cookies_are_not_kept(self) -> None:
        def work() -> None:
            for number in range(3000):
                for _ in range(2):
                    response_fields({"Content-Type": "text/plain", "Set-Cookie": f"session={number:02000d}"})

        assert grown(work) < 100_000

    def test_large_sets_that_repeat_stay_within_the_budget(self) -> None:
        def work() -> None:
            for number in range(2048):
                for _ in range(3):
                    response_fields({"X-Long": f"{number:08000d}"})

        assert grown(work) < 1.1 * (MEMO_BYTES + LINE_MEMO_BYTES) + 100_000

    @pytest.mark.parametrize(("fields", "length"), [(1, 4), (3, 20), (30, 10), (12, 200)])
    def test_what_is_counted_is_what_is_held(self, fields: int, length: int) -> None:
        def work() -> None:
            for number in range(600):
                given = {f"X-{index}-{number}": f"{index:0{length}d}" for index in range(fields)}
                for _ in range(2):
                    response_fields(given)

        assert grown(work) < 1.1 * (headers._remembered.held + headers._checked.held) + 200_000
        assert headers._remembered.held <= MEMO_BYTES
