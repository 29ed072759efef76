"""
The operator's page and its endpoints, served by handlers of our own on a listener of their own.

They read what `observe` has counted and remembered through an `interfaces.IServerView`, and know nothing of how the
server is run.
"""

from .handler import AdminHandler
from .locality import isLocal
from .views import LocalView, about

__all__ = ["AdminHandler", "LocalView", "about", "isLocal"]
