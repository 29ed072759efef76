"""
The operator's page and its endpoints: a guest, served by our own handlers to those who run the server.

It reads what `observe` has counted and remembered through an `interfaces.IServerView`, and knows nothing of how the
server came to run.
"""

from .handler import AdminHandler
from .locality import isLocal
from .views import LocalView, about

__all__ = ["AdminHandler", "LocalView", "about", "isLocal"]
