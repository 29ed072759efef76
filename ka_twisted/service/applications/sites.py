"""The applications of a configuration: loaded, and made one handler of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...server.sites import Sites
from .loading import Handler, loadHandler

#: The application that is served when none is named.
PLAYGROUND = "ka_twisted.playground:application"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """
    An application, and the requests that are its own.

    :ivar app: ``module:attribute``.
    :ivar host: the name that requests give; empty: any.
    :ivar prefix: how their paths begin, up to a ``/`` or the end.
    """

    app: str = PLAYGROUND
    host: str = ""
    prefix: str = "/"


def loadSites(sites: Iterable[Site]) -> tuple[tuple[Site, Handler], ...]:
    """
    Load the application of each site.

    :raises ApplicationError: for the first that cannot be.
    """
    return tuple((site, loadHandler(site.app)) for site in sites)


def handlerOf(sites: Iterable[Site]) -> Handler:
    """
    Load the applications, and make the one handler that passes each request to its own.

    :raises ApplicationError: for the first that cannot be loaded.
    :raises ValueError: for two sites that answer the same requests.
    """
    loaded = loadSites(sites)
    if [(site.host, site.prefix) for site, _ in loaded] == [("", "/")]:
        return loaded[0][1]  # nothing to choose from
    return Sites({f"{site.host}{site.prefix}": handler for site, handler in loaded})
