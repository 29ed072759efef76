"""Every row of the ledger that binds a server is carried by a test, and no test carries a row that does not exist."""

from __future__ import annotations

import pytest

from tests import ledger


@pytest.fixture(scope="module")
def rows() -> dict[str, ledger.Row]:
    return ledger.read_ledger(ledger.LEDGER.read_text())


def test_every_row_that_binds_a_server_has_a_test(
    rows: dict[str, ledger.Row], ledger_coverage: ledger.Coverage
) -> None:
    lacking = ledger.missing(rows, ledger_coverage)
    assert not lacking, f"{len(lacking)} rows without a test: {' '.join(lacking)}"


def test_no_test_carries_a_row_that_does_not_exist(
    rows: dict[str, ledger.Row], ledger_coverage: ledger.Coverage
) -> None:
    assert not ledger.unknown(rows, ledger_coverage)


def test_the_ledger_is_read_whole(rows: dict[str, ledger.Row]) -> None:
    sizes: dict[str, int] = {}
    for row in rows.values():
        sizes[row.group] = sizes.get(row.group, 0) + 1
    assert sizes == {
        "P": 18, "L": 32, "X": 22, "N": 9, "R": 13, "H": 27, "C": 7, "V": 16, "K": 10, "T": 7, "U": 8, "Z": 11,
        "D1": 29 + 16, "D2": 30, "D3": 25 + 8 + 6, "D4": 25, "D5": 27,
    }  # fmt: skip


def test_client_proxy_and_http2_rows_do_not_bind_the_server(rows: dict[str, ledger.Row]) -> None:
    bound = {row.id for row in rows.values() if row.binds_server}
    assert {"P-01", "V-07", "U-03", "T-07", "D1-29", "D2-30", "D3-25", "D4-25"} <= bound
    assert not bound & {"P-03", "V-01", "C-01", "R-01", "Z-01", "D1-40", "D3-30", "D5-01", "L-12"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test_P_01_and_K_03_hold", {"P-01", "K-03"}),
        ("test_rows[D2-12 signed-whole]", {"D2-12"}),
        ("test_UTF_16_and_X_1", set()),
        ("test_row[UTF-16]", set()),
    ],
    ids=["name", "parameters", "no name", "no parameters"],
)
def test_rows_are_found_in_names_and_parameters(text: str, expected: set[str]) -> None:
    assert ledger.rows_named(text) == expected
