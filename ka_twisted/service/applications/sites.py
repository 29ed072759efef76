"""The applications of a configuration: loaded, and joined to one handler by the sites that they answer for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...server.application import IApplication
from ...server.hooks import Handler
from ...server.sites import Sites
from .loading import loadApplication

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


@dataclass(frozen=True, slots=True)
class LoadedSite:
    """A site with its application."""

    site: Site
    application: IApplication


def loadSites(sites: Iterable[Site]) -> tuple[LoadedSite, ...]:
    """
    Load the application of each site; none is started.

    :raises ApplicationError: for the first that cannot be.
    """
    return tuple(LoadedSite(site, loadApplication(site.app)) for site in sites)


def handlerOf(loaded: Iterable[LoadedSite]) -> Handler:
    """
    Make the one handler that passes each request to the application of its site.

    :raises ValueError: for two sites that answer the same requests.
    """
    entries = {f"{each.site.host}{each.site.prefix}": each.application.handle for each in loaded}
    if list(entries) == ["/"]:
        return entries["/"]  # nothing to choose from
    return Sites(entries)
