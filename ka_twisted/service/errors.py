"""
What keeps a server from starting or reloading: errors whose text is one sentence for the operator.

The lowest room of `service`: it imports nothing of it, and every room may import it.
"""

from __future__ import annotations

from twisted.python import usage


class ConfigurationError(Exception):
    """A configuration cannot be put into effect; the text is one sentence that says why."""


class ListenError(Exception):
    """A socket cannot be listened on; the text is one sentence that says which and why."""


#: What is wrong with a configuration or its environment. Anything else is a defect and is logged with its traceback.
RECOVERABLE = (usage.UsageError, ConfigurationError, ListenError)


def oneLine(error: BaseException) -> str:
    """The text of an exception on one line; its class where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
