"""From what was written down, on the command line and in the file, to a `Configuration` that can be served."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.python import usage

from ...config import Certificate, Limits, Timeouts, Tls
from ..applications.loading import ApplicationError, loadHandler, oneLine
from .endpoints import makeEndpoint, withoutTls
from .files import Table
from .profiles import PROFILES, contradiction
from .settings import (
    ACCESS_LOG,
    ADMIN,
    ADMIN_TOKEN,
    APP,
    BEHIND,
    CHAIN,
    CIPHERS,
    CLIENT_AUTHORITIES,
    CLIENT_REQUIRED,
    DEFAULT_ENDPOINT,
    ENDPOINT,
    KEY,
    LOG_FORMAT,
    MINIMUM,
    PROXIES,
    SETTINGS,
    SITE_APP,
    SITE_HOST,
    SITE_PREFIX,
    TCP_KEEPALIVE,
    WORKER_TIMEOUT,
    WORKERS,
    Setting,
    SourcedValue,
)
from .values import Admin, Configuration, Listener, Site


@dataclass(frozen=True)
class ConfigurationBuilder:
    """
    What was written down, with its places.

    :ivar given: what was set at all, but for listeners and sites.
    """

    given: Mapping[Setting, SourcedValue]
    listeners: list[Table]
    sites: list[Table]

    @classmethod
    def of(cls, file: Table, options: Mapping[Setting, SourcedValue], listen: Iterable[str]) -> ConfigurationBuilder:
        """
        Put the file and the command line together: the command line wins.

        :param listen: the endpoints of the command line; when there are any, they take the place of the file's.
        """
        places = [SourcedValue(text, "--listen") for text in listen]
        default = Table("", {ENDPOINT: SourcedValue(DEFAULT_ENDPOINT, "--listen")})
        ours = [Table(given.place, {ENDPOINT: given}) for given in places]
        sites = [] if APP in options else file.arrays.get("site", [])
        return cls({**file.all(), **options}, ours or file.arrays.get("listen") or [default], sites)

    def value(self, setting: Setting) -> Any:
        """What holds for a setting."""
        return self.given[setting].value if setting in self.given else setting.default

    def warnings(self) -> list[str]:
        """Sentences about what was set, can be had, and is not wise."""
        found = []
        for timer in PROFILES.get(self.value(BEHIND), ()):
            given = self.given.get(_NUMBERS[timer.option])
            if given is not None:
                found.append(contradiction(timer, given.value, given.place))
        return [sentence for sentence in found if sentence is not None]

    def configuration(self, reactor: Any, *, daemon: bool) -> Configuration:
        """
        Check what was written down; no port is opened, no file written.

        :param daemon: whether the server will have no standard output.
        :raises usage.UsageError: with one sentence, for the first thing that is wrong.
        """
        self._checkLog(daemon)
        return Configuration(
            timeouts=self._numbers(Timeouts),
            limits=self._numbers(Limits),
            listeners=tuple(self._listener(table, reactor) for table in self.listeners),
            sites=self._sites(),
            tcpKeepAlive=self.value(TCP_KEEPALIVE),
            accessLog=self.value(ACCESS_LOG),
            logFormat=self.value(LOG_FORMAT),
            admin=self._admin(reactor),
            workers=self.value(WORKERS),
            workerTimeout=self.value(WORKER_TIMEOUT),
        )

    def _numbers(self, owner: type[Any]) -> Any:
        values: dict[str, float] = {}
        for timer in PROFILES.get(self.value(BEHIND), ()):
            if owner is Timeouts:
                values[_NUMBERS[timer.option].field] = timer.seconds
        values |= {s.field: self.given[s].value for s in SETTINGS if s.owner is owner and s in self.given}
        return owner(**values)

    def _listener(self, table: Table, reactor: Any) -> Listener:
        given = _needed(table, ENDPOINT)
        proxies = self.given.get(PROXIES) or table.given.get(PROXIES)
        endpoint, tls = checkEndpoint(reactor, given)
        place: object = f"{given.place} {given.value}"
        if "tls" in table.tables:
            place = table.tables["tls"].place
            if tls is not None:
                raise usage.UsageError(f"{place} has no use: an ssl: endpoint has TLS already, a tcp: endpoint has not")
            tls = _tls(table.tables["tls"])
        if tls is not None:
            _checkTls(tls, place)
        return Listener(endpoint=endpoint, tls=tls, proxies=proxies.value if proxies else ())

    def _sites(self) -> tuple[Site, ...]:
        sites: dict[tuple[str, str], Site] = {}
        for table in self.sites:
            site = _site(table)
            key = (site.host, site.prefix)
            if key in sites:
                raise usage.UsageError(f"{table.place} is the second for {site.host or 'any host'} at {site.prefix}")
            sites[key] = site
        if APP in self.given or not sites:
            rest = self.given.get(APP, SourcedValue(APP.default, "--app"))
            if ("", "/") in sites:
                raise rest.wrong(" answers the same requests as a site for any host at /")
            sites["", "/"] = Site(app=_loadable(rest))
        return tuple(sites.values())

    def _admin(self, reactor: Any) -> Admin | None:
        endpoint, file = self.given.get(ADMIN), self.given.get(ADMIN_TOKEN)
        if endpoint is None:
            if file is not None:
                raise file.wrong(" has no use without an endpoint for the operator (--admin)")
            return None
        try:
            makeEndpoint(reactor, endpoint.value)
        except ValueError as error:
            raise endpoint.wrong(f" {endpoint.value} is not an endpoint: {error}") from error
        from ...admin import isLocal  # type: ignore[import-not-found,unused-ignore]

        token = "" if file is None else _token(file)
        if not token and not isLocal(endpoint.value):
            raise endpoint.wrong(
                f" {endpoint.value} can be reached from elsewhere: it needs a token (--admin-token-file)"
            )
        return Admin(endpoint=endpoint.value, token=token)

    def _checkLog(self, daemon: bool) -> None:
        given = self.given.get(ACCESS_LOG)
        if given is None:
            return
        if given.value == "-":
            if daemon:
                raise given.wrong(" - needs twistd -n: a daemon has no output")
        elif trouble := _unwritable(given.value):
            raise given.wrong(f" {given.value} cannot be written: {trouble}")


_NUMBERS = {setting.option: setting for setting in SETTINGS}


def checkEndpoint(reactor: Any, given: SourcedValue) -> tuple[str, Tls | None]:
    """
    Check the description of an endpoint, and part it from its TLS.

    :raises usage.UsageError: when it is none.
    """
    try:
        endpoint, tls = withoutTls(given.value)
        makeEndpoint(reactor, endpoint)
    except ValueError as error:
        raise given.wrong(f" {given.value} is not an endpoint: {error}") from error
    return endpoint, tls


def _needed(table: Table, setting: Setting) -> SourcedValue:
    if setting not in table.given:
        raise usage.UsageError(f"{table.place} has no {setting.key}")
    return table.given[setting]


def _value(table: Table, setting: Setting) -> Any:
    return table.given[setting].value if setting in table.given else setting.default


def _tls(table: Table) -> Tls:
    certificates = tuple(
        Certificate(_needed(entry, CHAIN).value, _needed(entry, KEY).value)
        for entry in table.arrays.get("certificates", ())
    )
    if not certificates:
        raise usage.UsageError(f"{table.place} has no certificates")
    return Tls(
        certificates=certificates,
        clientAuthorities=_value(table, CLIENT_AUTHORITIES),
        clientRequired=_value(table, CLIENT_REQUIRED),
        minimum=_value(table, MINIMUM),
        ciphers=_value(table, CIPHERS),
    )


def _checkTls(tls: Tls, place: object) -> None:
    try:
        from ...net.tls import TlsContexts, TlsError  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise usage.UsageError(f"{place}: TLS needs the extra ka_twisted[tls]") from error
    try:
        TlsContexts(tls)
    except TlsError as error:
        raise usage.UsageError(f"{place}: {oneLine(error)}") from error


def _site(table: Table) -> Site:
    host, prefix = _value(table, SITE_HOST), _value(table, SITE_PREFIX)
    if not re.fullmatch(r"(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?)?", host):
        raise table.given[SITE_HOST].wrong(f" wants a name, with a port or without, not {host!r}")
    if not re.fullmatch(r"/[!-~]*", prefix) or re.search("[?#]", prefix):
        raise table.given[SITE_PREFIX].wrong(f" wants a path as requests have it, from its first / on, not {prefix!r}")
    app = _loadable(_needed(table, SITE_APP))
    return Site(app=app, host=host.lower(), prefix=prefix.rstrip("/") or "/")


def _loadable(given: SourcedValue) -> str:
    try:
        loadHandler(given.value)
    except ApplicationError as error:
        raise given.wrong(f": {error}") from error
    name: str = given.value
    return name


def _token(given: SourcedValue) -> str:
    try:
        with open(given.value, encoding="ascii") as file:
            token = file.read().strip()
    except OSError as error:
        raise given.wrong(f" {given.value} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        token = ""
    if not re.fullmatch(r"[!-~]+", token):
        raise given.wrong(f" {given.value} holds no token: one word of visible ASCII")
    return token


def _unwritable(path: str) -> str | None:
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return "it is a directory"
    if os.path.exists(path):
        return None if os.access(path, os.W_OK) else "permission denied"
    if not os.path.isdir(folder):
        return f"there is no directory {folder}"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"permission denied in {folder}"
