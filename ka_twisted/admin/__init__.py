"""
The operator's page and its endpoints: a guest, served by our own handlers to those who run the server.

It reads what `observe` has counted and remembered through an `interfaces.IServerView`, and knows nothing of how the
server came to run.
"""

from .locality import isLocal

__all__ = ["isLocal"]
