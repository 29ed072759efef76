"""The reactor is a reactor of Twisted's: by the tests that Twisted ships for its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.service.twistd import PROJECT, environment

pytest.importorskip("uvloop", reason="the reactor needs uvloop")
pytest.importorskip("hamcrest", reason="Twisted's tests need PyHamcrest")

_BUFFER = "a push producer is paused when the socket is full; no bufferSize counts what the socket has taken already"
_DESCRIPTORS = "uvloop's transports pass no descriptors: only a protocol that receives some gets a transport that does"
_INSIDE = "looks at the buffer inside Twisted's own transport"
_OTHERS = "for another reactor"
_PLATFORM = "for another platform"
_ROOT = "skipped but for root, and then depends on what root may do; the same on every reactor"

#: The tests that do not pass, what becomes of them, and why. Any other passes, and none of these does; what becomes of
#: those with None depends on where they are run.
EXCEPTIONS: dict[str, tuple[str | None, str]] = {
    "test_base.ReactorBaseSignalTests.test_captureSIGBREAK": ("skipped", _PLATFORM),
    "test_process.PTYProcessTestsBuilder.test_changeUID": (None, _ROOT),
    "test_process.ProcessTestsBuilder.test_changeUID": (None, _ROOT),
    "test_tcp.AdoptStreamConnectionTestsBuilder.test_streamingProducer": ("failed", _BUFFER),
    "test_tcp.HalfCloseTests.testCloseWriteCloser": ("failed", _INSIDE),
    "test_tcp.TCPTransportTestsBuilder.test_streamingProducer": ("failed", _BUFFER),
    "test_time.GlibTimeTestsBuilder_GIReactorTests.test_timeout_add": ("skipped", _OTHERS),
    "test_unix.UNIXAdoptStreamConnectionTestsBuilder.test_streamingProducer": ("failed", _BUFFER),
    "test_unix.UNIXTestsBuilder.test_avoidLeakingFileDescriptors": ("failed", _DESCRIPTORS),
    "test_unix.UNIXTestsBuilder.test_descriptorDeliveredBeforeBytes": ("failed", _DESCRIPTORS),
    "test_unix.UNIXTestsBuilder.test_fileDescriptorOverrun": ("failed", _DESCRIPTORS),
    "test_unix.UNIXTestsBuilder.test_sendFileDescriptor": ("failed", _DESCRIPTORS),
    "test_unix.UNIXTestsBuilder.test_sendFileDescriptorTriggersPauseProducing": ("failed", _DESCRIPTORS),
}

#: Twisted's modules of tests; each group is run in a process of its own.
GROUPS = {
    "streams": [f"twisted.internet.test.test_{name}" for name in ("tcp", "unix", "tls")],
    "the rest of the reactor": [
        f"twisted.internet.test.test_{name}"
        for name in ("base", "core", "fdset", "process", "stdio", "threads", "time", "udp")
    ],
    "endpoints": ["twisted.internet.test.test_endpoints"],
    "global": ["twisted.test.test_tcp", "twisted.test.test_unix"],
}


def listed(modules: list[str]) -> dict[str, str | None]:
    """The exceptions among the tests of these modules."""
    prefixes = tuple(module.rpartition(".")[2] + "." for module in modules)
    return {name: outcome for name, (outcome, _) in EXCEPTIONS.items() if name.startswith(prefixes)}


@pytest.mark.parametrize("modules", GROUPS.values(), ids=GROUPS)
def test_twisteds_own_tests_pass(modules: list[str], tmp_path: Path) -> None:
    expected = listed(modules)
    done = subprocess.run(
        [sys.executable, "-m", "tests.reactors.acceptance", ",".join(expected), *modules],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) > 40
    wrong = [
        f"{name} has {outcome}: {why}"
        for name, outcome, why in results
        if expected.get(name, "passed") not in (outcome, None)
    ]
    assert not wrong, "\n\n".join(wrong)
    seen = {name for name, _, _ in results}
    assert {name for name in expected if _isHere(name, modules)} <= seen


def _isHere(name: str, modules: list[str]) -> bool:
    """Whether the class of a test is in one of these modules; two of Twisted's modules have the same name."""
    module, case, _ = name.split(".")
    return any(
        hasattr(import_module(found), case.removesuffix("_GIReactorTests"))
        for found in modules
        if found.endswith(f".{module}")
    )


def test_every_exception_is_looked_at() -> None:
    groups = list(GROUPS.values())
    assert [name for name in EXCEPTIONS if not any(_isHere(name, modules) for modules in groups)] == []
