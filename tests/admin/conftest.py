"""What the tests of the operator's page share."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: shows the operator's page to a real browser (pytest -m browser)")
