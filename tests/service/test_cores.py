"""How many cores may be used, and what more workers than that come to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from ka_twisted.service.configuration import builder
from ka_twisted.service.configuration.cores import usableCores
from ka_twisted.service.configuration.options import Options

ALLOWED = set(range(16))


@pytest.fixture(autouse=True)
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: ALLOWED, raising=False)


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("", {}, 16),
        ("0::/shop", {"shop/cpu.max": "max 100000"}, 16),
        ("0::/shop", {"shop/cpu.max": "250000 100000"}, 3),
        ("0::/shop/web", {"shop/web/cpu.max": "max 100000", "shop/cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/elsewhere", {"cpu.max": "200000 100000"}, 2),
        ("4:cpu,cpuacct:/shop", {"cpu,cpuacct/shop/cpu.cfs_quota_us": "400000",
                                 "cpu,cpuacct/shop/cpu.cfs_period_us": "100000"}, 4),
        ("4:cpu:/shop", {"cpu/shop/cpu.cfs_quota_us": "-1", "cpu/shop/cpu.cfs_period_us": "100000"}, 16),
    ],
)  # fmt: skip
def test_a_quota_counts_wherever_it_is_set(tmp_path: Path, own: str, files: dict[str, str], cores: int) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert usableCores(tmp_path / "own", tmp_path / "groups") == cores


def parsed(*arguments: str) -> Options:
    options = Options(MemoryReactorClock())
    options.parseOptions(arguments)
    return options


def test_workers_are_as_many_as_cores_or_eight_times_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "usableCores", lambda: 2)
    assert parsed("--workers", "auto").configuration.workers == 2
    assert parsed("--workers", "16").configuration.workers == 16
    assert parsed("--workers", "2000", "--force-workers").configuration.workers == 2000
    with pytest.raises(SystemExit) as refused:
        parsed("--workers", "17")
    assert str(refused.value) == (
        "keepalive: --workers 17 is more than 8 for each of the 2 cores that may be used; --force-workers allows it"
    )
