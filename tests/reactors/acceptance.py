"""
Runs Twisted's own tests on the reactor, in a process of their own, and prints what became of each as a line of JSON.

``python -m tests.reactors.acceptance LAST MODULE...``: modules of tests that ship with Twisted. Where some are made for
any reactor (`ReactorBuilder`) these are run, elsewhere all, and ours is the global reactor. LAST are names, with commas
between them, of tests that are expected to fail: they are run after all others, and not waited for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any
from unittest import TestSuite

import uvloop

from ka_twisted.reactors.uvloop import UvloopReactor, install

#: Seconds for one test, and for one that is expected to fail.
TIMEOUT = 20.0
SHORT_TIMEOUT = 0.5


def uvloopReactor(case: Any) -> UvloopReactor:
    """A reactor on a loop of its own, for one test."""
    loop = uvloop.new_event_loop()
    case.addCleanup(loop.close)
    return UvloopReactor(loop)


def flat(suite: Any) -> Iterator[Any]:
    """The cases of a suite."""
    if isinstance(suite, TestSuite):
        for part in suite:
            yield from flat(part)
    else:
        yield suite


def nameOf(case: Any) -> str:
    """``module.Class.test``, without what is the same for all."""
    return ".".join(case.id().split(".")[-3:]).replace("_uvloopReactorTests", "")


def load(modules: Iterable[str]) -> list[Any]:
    """The cases of these modules."""
    from twisted.internet.test.reactormixins import ReactorBuilder
    from twisted.trial.runner import TestLoader

    ReactorBuilder._reactors = [f"{__spec__.name}.{uvloopReactor.__name__}"]
    cases: list[Any] = []
    for module in modules:
        found = list(flat(TestLoader().loadModule(import_module(module))))
        cases += [case for case in found if isinstance(case, ReactorBuilder)] or found
    return cases


def run(cases: Iterable[Any], last: set[str]) -> None:
    """Run them; those in `last` at the end, since who fails leaves things behind."""
    from twisted.trial.reporter import TestResult
    from twisted.trial.runner import TrialSuite

    class Printing(TestResult):
        def stopTest(self, case: Any) -> None:
            super().stopTest(case)
            troubles = [str(why) for test, why in [*self.errors, *self.failures] if test is case]
            skipped = [str(why) for test, why in self.skips if test is case]
            outcome = "failed" if troubles else "skipped" if skipped else "passed"
            print(json.dumps([nameOf(case), outcome, "\n".join(troubles + skipped)]), flush=True)

    cases = sorted(cases, key=lambda case: nameOf(case) in last)
    for case in cases:
        case.timeout = SHORT_TIMEOUT if nameOf(case) in last else TIMEOUT
    TrialSuite(cases).run(Printing())


def main(last: str, *modules: str) -> None:
    """See above."""
    install()
    run(load(modules), set(last.split(",")))


if __name__ == "__main__":
    main(*sys.argv[1:])
