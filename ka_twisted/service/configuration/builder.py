"""From the values of the command line, the environment and the file to a `Configuration`, every part of it checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.python import usage

from ...config import Certificate, Limits, Policy, Timeouts, Tls
from ...core.targets import canonical_authority
from ..applications.afresh import checkAfresh
from ..applications.loading import ApplicationError, checkName, loadApplication
from ..applications.sites import Site
from ..errors import oneLine
from .cores import usableCores
from .endpoints import makeEndpoint, splitTls
from .files import Table
from .profiles import PROFILES, contradiction
from .setting import Owner, Setting, SourcedValue
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
    FORCE_WORKERS,
    KEY,
    LOG_FORMAT,
    MINIMUM,
    PROXIES,
    SETTINGS,
    SITE_APP,
    SITE_HOST,
    SITE_PREFIX,
    TCP_KEEPALIVE,
    TRUSTED_PROXIES,
    WORKER_MAX_AGE,
    WORKER_MAX_MEMORY,
    WORKER_MAX_REQUESTS,
    WORKER_START_TIMEOUT,
    WORKER_TIMEOUT,
    WORKERS,
)
from .values import Admin, Configuration, Listener
from .valuetypes import AUTO

#: Worker processes for each core that are taken for meant.
WORKERS_FOR_CORE = 8


@dataclass(frozen=True)
class ConfigurationBuilder:
    """
    What was set, and where.

    :ivar values: what was set at all, but for listeners and sites.
    """

    values: Mapping[Setting, SourcedValue]
    listeners: list[Table]
    sites: list[Table]

    @classmethod
    def of(
        cls, file: Table, options: Mapping[Setting, SourcedValue], listen: Iterable[SourcedValue]
    ) -> ConfigurationBuilder:
        """
        Put the file and the rest together: the file gives way.

        :param options: what the command line sets, and the environment where the command line does not.
        :param listen: their endpoints; when there are any, they take the place of the file's.
        """
        default = Table("", {ENDPOINT: SourcedValue(DEFAULT_ENDPOINT, _Default("--listen"))})
        optional = [Table(value.source, {ENDPOINT: value}) for value in listen]
        sites = [] if APP in options else file.arrays.get("site", [])
        return cls({**file.all(), **options}, optional or file.arrays.get("listen") or [default], sites)

    def value(self, setting: Setting) -> Any:
        """What holds for a setting."""
        return self.values[setting].value if setting in self.values else setting.default

    def warnings(self) -> list[str]:
        """Sentences about settings that are valid and not advisable."""
        found = []
        for timer in PROFILES.get(self.value(BEHIND), ()):
            timeout = self.values.get(_BY_OPTION[timer.option])
            if timeout is not None:
                found.append(contradiction(timer, timeout.value, timeout.source))
        return [sentence for sentence in found if sentence is not None]

    def configuration(self, reactor: Any, *, daemon: bool, checking: bool = False) -> Configuration:
        """
        Check what was set; no port is opened, no file written.

        Applications are imported where this process serves them. Those of workers are not: the first worker finds out,
        or, for a check, a process of its own.

        :param daemon: whether the server will have no standard output.
        :param checking: whether this is a check, and no worker will be started.
        :raises usage.UsageError: with one sentence, for the first thing that is wrong.
        """
        self._checkLog(daemon)
        workers = self._workers()
        check: Callable[[str], object] = checkName if workers else loadApplication
        if workers and checking:
            check = partial(checkAfresh, reactorModule=type(reactor).__module__)
        return Configuration(
            timeouts=self._fields(Timeouts),
            limits=self._fields(Limits),
            policy=self._fields(Policy),
            listeners=tuple(self._listener(table, reactor) for table in self.listeners),
            sites=self._sites(check),
            tcpKeepAlive=self.value(TCP_KEEPALIVE),
            accessLog=self.value(ACCESS_LOG),
            logFormat=self.value(LOG_FORMAT),
            trustedProxies=self.value(TRUSTED_PROXIES) or (),
            admin=self._admin(reactor),
            workers=workers,
            workerTimeout=self.value(WORKER_TIMEOUT),
            workerStartTimeout=self.value(WORKER_START_TIMEOUT),
            workerMaxRequests=self.value(WORKER_MAX_REQUESTS),
            workerMaxAge=self.value(WORKER_MAX_AGE),
            workerMaxMemory=self.value(WORKER_MAX_MEMORY),
        )

    def _workers(self) -> int:
        """
        How many processes there are to be.

        :raises usage.UsageError: for more than the cores can be meant for, which may be a slip.
        """
        wanted = self.value(WORKERS)
        cores = usableCores()
        if wanted == AUTO:
            return cores
        if wanted > WORKERS_FOR_CORE * cores and not self.value(FORCE_WORKERS):
            raise self.values[WORKERS].error(
                f" {wanted} is more than {WORKERS_FOR_CORE} for each of the {cores} cores that may be used; "
                "--force-workers allows it"
            )
        number: int = wanted
        return number

    def _fields(self, owner: Owner) -> Any:
        values: dict[str, Any] = {}
        for timer in PROFILES.get(self.value(BEHIND), ()):
            if owner is Timeouts:
                values[_BY_OPTION[timer.option].field] = timer.seconds
        values |= {s.field: self.values[s].value for s in SETTINGS if s.owner is owner and s in self.values}
        return owner(**values)

    def _listener(self, table: Table, reactor: Any) -> Listener:
        endpointValue = _required(table, ENDPOINT)
        proxies = self.values.get(PROXIES) or table.values.get(PROXIES)
        endpoint, tls = checkEndpoint(reactor, endpointValue)
        source: object = f"{endpointValue.source} {endpointValue.value}"
        if "tls" in table.tables:
            source = table.tables["tls"].source
            if tls is not None:
                raise usage.UsageError(
                    f"{source} has no use: an ssl: endpoint has TLS already, a tcp: endpoint has not"
                )
            tls = _tls(table.tables["tls"])
        if tls is not None:
            _checkTls(tls, source)
        return Listener(endpoint=endpoint, tls=tls, proxies=proxies.value if proxies else ())

    def _sites(self, check: Callable[[str], object]) -> tuple[Site, ...]:
        sites: dict[tuple[str, str], Site] = {}
        for table in self.sites:
            site = _site(table, check)
            key = (site.host, site.prefix)
            if key in sites:
                raise usage.UsageError(f"{table.source} is the second for {site.host or 'any host'} at {site.prefix}")
            sites[key] = site
        if APP in self.values or not sites:
            default = self.values.get(APP, SourcedValue(APP.default, "--app"))
            if ("", "/") in sites:
                raise default.error(" answers the same requests as a site for any host at /")
            sites["", "/"] = Site(app=_named(default, check))
        return tuple(sites.values())

    def _admin(self, reactor: Any) -> Admin | None:
        endpoint, file = self.values.get(ADMIN), self.values.get(ADMIN_TOKEN)
        if endpoint is None:
            if file is not None:
                raise file.error(" has no use without an endpoint for the operator (--admin)")
            return None
        try:
            makeEndpoint(reactor, endpoint.value)
        except ValueError as error:
            raise endpoint.error(f" {endpoint.value} is not an endpoint: {error}") from error
        from ...admin import isLocal  # type: ignore[import-not-found,unused-ignore]

        token = "" if file is None else _token(file)
        if not token and not isLocal(endpoint.value):
            raise endpoint.error(
                f" {endpoint.value} can be reached from elsewhere: it needs a token (--admin-token-file)"
            )
        return Admin(endpoint=endpoint.value, token=token)

    def _checkLog(self, daemon: bool) -> None:
        path = self.values.get(ACCESS_LOG)
        if path is None:
            return
        if path.value == "-":
            if daemon:
                raise path.error(" - needs twistd -n: a daemon has no output")
        elif problem := _unwritable(path.value):
            raise path.error(f" {path.value} cannot be written: {problem}")


@dataclass(frozen=True)
class _Default:
    """Where a default comes from: sentences name the option that changes it."""

    option: str
    origin: str = "default"

    def __str__(self) -> str:
        return self.option


_BY_OPTION = {setting.option: setting for setting in SETTINGS}


def checkEndpoint(reactor: Any, value: SourcedValue) -> tuple[str, Tls | None]:
    """
    Check the description of an endpoint, and split it from its TLS.

    :raises usage.UsageError: when it is none.
    """
    try:
        endpoint, tls = splitTls(value.value)
        makeEndpoint(reactor, endpoint)
    except ValueError as error:
        raise value.error(f" {value.value} is not an endpoint: {error}") from error
    return endpoint, tls


def _required(table: Table, setting: Setting) -> SourcedValue:
    if setting not in table.values:
        raise usage.UsageError(f"{table.source} has no {setting.key}")
    return table.values[setting]


def _value(table: Table, setting: Setting) -> Any:
    return table.values[setting].value if setting in table.values else setting.default


def _tls(table: Table) -> Tls:
    certificates = tuple(
        Certificate(_required(entry, CHAIN).value, _required(entry, KEY).value)
        for entry in table.arrays.get("certificates", ())
    )
    if not certificates:
        raise usage.UsageError(f"{table.source} has no certificates")
    return Tls(
        certificates=certificates,
        clientAuthorities=_value(table, CLIENT_AUTHORITIES),
        clientRequired=_value(table, CLIENT_REQUIRED),
        minimum=_value(table, MINIMUM),
        ciphers=_value(table, CIPHERS),
    )


def _checkTls(tls: Tls, source: object) -> None:
    try:
        from ...net.tls import TlsContexts, TlsError  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise usage.UsageError(f"{source}: TLS needs the extra ka_twisted[tls]") from error
    try:
        TlsContexts(tls)
    except TlsError as error:
        raise usage.UsageError(f"{source}: {oneLine(error)}") from error


def _site(table: Table, check: Callable[[str], object]) -> Site:
    host, prefix = _value(table, SITE_HOST), _value(table, SITE_PREFIX)
    if not re.fullmatch(r"(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?)?", host):
        raise table.values[SITE_HOST].error(f" wants a name, with a port or without, not {host!r}")
    if not re.fullmatch(r"/[!-~]*", prefix) or re.search("[?#]", prefix):
        raise table.values[SITE_PREFIX].error(f" wants a path as requests have it, from its first / on, not {prefix!r}")
    app = _named(_required(table, SITE_APP), check)
    return Site(app=app, host=canonical_authority(host), prefix=prefix.rstrip("/") or "/")


def _named(value: SourcedValue, check: Callable[[str], object]) -> str:
    try:
        check(value.value)
    except ApplicationError as error:
        raise value.error(f": {error}") from error
    name: str = value.value
    return name


def _token(value: SourcedValue) -> str:
    try:
        with open(value.value, encoding="utf-8-sig") as file:
            token = file.read().strip()
    except OSError as error:
        raise value.error(f" {value.value} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        token = ""
    if not re.fullmatch(r"[!-~]+", token):
        raise value.error(f" {value.value} holds no token: one word of visible ASCII")
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
