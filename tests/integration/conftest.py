"""Servers on the real reactor; and, as for all of the Twisted side, no error in the log that a test did not expect."""

from tests.fixtures import _nothing_is_unhandled, logged

__all__ = ["_nothing_is_unhandled", "logged"]
