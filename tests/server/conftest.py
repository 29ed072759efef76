"""No test of the Twisted side may leave an error in the log that it did not expect."""

from tests.fixtures import _nothing_is_unhandled, logged

__all__ = ["_nothing_is_unhandled", "logged"]
