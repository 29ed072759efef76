"""What the whole suite shares: hypothesis profiles, and the record of the ledger rows that the tests carry."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests import ledger, programs

#: Tests that were found, before any was deselected, and the files they are from.
FOUND = pytest.StashKey[list[pytest.Item]]()

# HYPOTHESIS_PROFILE=thorough python -m pytest tests/core; quick is for tests/quick.txt
settings.register_profile(
    "ci", max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=25, stateful_step_count=20)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=2000, stateful_step_count=60)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[FOUND] = list(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("program"):
        for name in marker.args:
            if programs.find(name) is None:
                pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="session")
def ledger_coverage(pytestconfig: pytest.Config) -> ledger.Coverage:
    """The rows that the tests of the whole suite carry, also when only some of them run."""
    found = pytestconfig.stash[FOUND]
    if {item.path for item in found} == set(ledger.TESTS.rglob("test_*.py")):
        return ledger.coverage(found)
    return ledger.collect_apart()
