"""
Everything that can be set, once: the command line (`options`) and the configuration file (`files`) are made from this
table. What is said about a wrong value begins with where it stands, and is the same in both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from math import inf
from typing import Any

from twisted.python import usage

from ...config import Limits, TcpKeepAlive, Timeouts
from .endpoints import based
from .profiles import PROFILES
from .values import PLAYGROUND

LOG_FORMATS = ("combined", "json")
DEFAULT_ENDPOINT = "tcp:8080:interface=127.0.0.1"


def listed(words: tuple[str, ...]) -> str:
    """Words as a sentence has them: ``a, b or c``."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


@dataclass(frozen=True, eq=False)
class ValueType:
    """
    What values of a setting look like.

    :ivar noun: what a sentence calls them.
    :ivar types: those of TOML that they have.
    :ivar fromText: makes one from a word of the command line; raises ValueError.
    :ivar read: makes of it what the server works with; raises ValueError with the rest of a sentence.
    :ivar based: gives it a folder at which the paths in it begin.
    """

    noun: str
    types: tuple[type, ...]
    fromText: Callable[[str], Any] = str
    read: Callable[[Any], Any] = lambda value: value
    based: Callable[[Any, str], Any] = lambda value, folder: value

    def accept(self, value: Any, folder: str) -> Any:
        """
        Take a value of the configuration file.

        :param folder: where relative paths begin.
        :raises ValueError: with the rest of a sentence that begins with the name of the setting.
        """
        if type(value) not in self.types:  # True is no whole number
            raise ValueError(f" wants {self.noun}, not {shown(value)}")
        return self.based(self.read(value), folder)

    def acceptText(self, text: str, folder: str) -> Any:
        """
        Take a word of the command line.

        :raises ValueError: as above.
        """
        try:
            value = self.fromText(text)
        except ValueError:
            raise ValueError(f" wants {self.noun}, not {text!r}") from None
        return self.accept(value, folder)


def shown(value: Any) -> str:
    """A value of TOML in a sentence."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    return repr(value) if isinstance(value, (str, int, float)) else "a date or time"


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _networks(texts: list[Any]) -> tuple[Any, ...]:
    try:
        # ip_network() takes numbers for addresses.
        return tuple(ip_network(text.strip() if isinstance(text, str) else repr(text)) for text in texts)
    except ValueError as error:
        raise ValueError(f" wants networks such as 10.0.0.0/8: {error}") from None


def _path(text: str, folder: str) -> str:
    return text if text == "-" else os.path.abspath(os.path.join(folder, text))


NUMBER = ValueType("a number", (int, float), _number)
WHOLE = ValueType("a whole number", (int,), int)
TEXT = ValueType("a text", (str,))
PATH = ValueType("a text", (str,), based=_path)
ENDPOINT_TEXT = ValueType("a text", (str,), based=based)
FLAG = ValueType("true or false", (bool,))
NETWORKS = ValueType("an array of texts", (list,), lambda text: text.split(","), _networks)


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """
    Something that can be set.

    :ivar table: where it stands in the file; empty: above all tables.
    :ivar key: its name there.
    :ivar option: its name on the command line; empty: it has none.
    :ivar default: what holds unless it is given; None: that it is not given means something of its own.
    :ivar example: a value for those that have no default.
    """

    table: str = ""
    key: str
    kind: ValueType
    doc: str
    option: str = ""
    default: Any = None
    example: Any = None

    def accept(self, value: Any) -> Any:
        """
        Take a value of the right kind.

        :raises ValueError: with the rest of a sentence, for one that cannot be.
        """
        return value

    def parameter(self) -> list[Any]:
        """The option, as `usage.Options` wants it. None stands for all that is not given."""
        default = "" if self.default is None else f" [default: {self.default}]"
        return [self.option, None, None, f"{self.doc}{default}", self._fromText]

    def _fromText(self, text: str) -> Any:
        try:
            return self.accept(self.kind.acceptText(text, os.getcwd()))
        except ValueError as error:
            raise usage.UsageError(f"--{self.option}{error}") from None


@dataclass(frozen=True, eq=False, kw_only=True)
class Bound(Setting):
    """A number, and the field of `Timeouts` or `Limits` that it becomes."""

    owner: type[Timeouts] | type[Limits]
    field: str

    def accept(self, value: Any) -> Any:
        values: dict[str, Any] = {self.field: value}
        try:
            self.owner(**values)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{self.owner.__name__}.{self.field}")) from None
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class Word(Setting):
    """One of several words."""

    words: tuple[str, ...]

    def accept(self, value: Any) -> Any:
        if value not in self.words:
            raise ValueError(f" is {listed(self.words)}, not {value!r}")
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class Count(Setting):
    """A number of things."""

    kind: ValueType = field(default=WHOLE)

    def accept(self, value: Any) -> Any:
        if value < 0:
            raise ValueError(f" must not be negative: {value}")
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class Duration(Setting):
    """A time in seconds."""

    kind: ValueType = field(default=NUMBER)

    def accept(self, value: Any) -> Any:
        if not 0 <= value < inf:
            raise ValueError(f" must not be negative or infinite: {value}")
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class Probes(Setting):
    """The kernel's probes."""

    def accept(self, value: Any) -> Any:
        try:
            return TcpKeepAlive.fromString(value)
        except ValueError as error:
            raise ValueError(f": {error}") from None


@dataclass(frozen=True)
class SourcedValue:
    """
    A value that somebody has set.

    :ivar place: where: its text begins a sentence.
    """

    value: Any
    place: object

    def wrong(self, rest: str) -> usage.UsageError:
        """The error that says so: one sentence."""
        return usage.UsageError(f"{self.place}{rest}")


def _default(owner: type[Timeouts] | type[Limits], name: str) -> Any:
    default = getattr(owner(), name)
    return int(default) if isinstance(default, float) and default.is_integer() else default


def _seconds(option: str, name: str, doc: str, example: float | None = None) -> Bound:
    return Bound(
        table="timeouts",
        key=option.removesuffix("-timeout"),
        option=option,
        kind=NUMBER,
        doc=doc,
        owner=Timeouts,
        field=name,
        default=_default(Timeouts, name),
        example=example,
    )


def _bound(option: str, name: str, doc: str, kind: ValueType = WHOLE) -> Bound:
    return Bound(
        table="limits",
        key=option,
        option=option,
        kind=kind,
        doc=doc,
        owner=Limits,
        field=name,
        default=_default(Limits, name),
    )


#: The numbers.
SETTINGS = (
    _seconds(
        "first-request-timeout",
        "firstRequest",
        "Seconds for the first request to begin; as between two requests unless given.",
        10,
    ),
    _seconds("idle-timeout", "idle", "Seconds between two requests."),
    _seconds("header-timeout", "header", "Seconds for a whole header section."),
    _seconds("body-timeout", "body", "Seconds of silence within a request body."),
    _seconds("write-timeout", "write", "Seconds without progress while a response is sent."),
    _seconds(
        "continue-timeout", "expectation", "Seconds the application may ponder before 100 Continue is sent for it."
    ),
    _seconds("linger-timeout", "linger", "Seconds a peer is listened to after our side closed."),
    _seconds("drain-timeout", "drain", "Seconds for requests in service when the server stops."),
    _seconds(
        "drain-delay",
        "drainDelay",
        "Seconds for which a stop is announced, to balancers and clients, before it begins.",
    ),
    _seconds("handshake-timeout", "handshake", "Seconds for a PROXY header and a TLS handshake."),
    _seconds(
        "unread-timeout",
        "unread",
        "Seconds for reading away the unread rest of a body in order to keep the connection.",
    ),
    _bound("max-requests", "maxRequests", "Requests on one connection."),
    _bound("max-age", "maxAge", "Seconds after which the next response closes its connection.", NUMBER),
    _bound("max-connections", "maxConnections", "Connections at once."),
    _bound("max-connections-per-peer", "maxConnectionsPerPeer", "Connections at once from one address."),
    _bound("pipeline-depth", "pipelineDepth", "Requests in service at once on one connection."),
    _bound("max-header-bytes", "maxHeaderBytes", "Bytes of a header section."),
    _bound("max-header-fields", "maxHeaderFields", "Fields of a header section."),
    _bound("max-line", "maxLine", "Bytes of a request line."),
    _bound("max-body-bytes", "maxBodyBytes", "Bytes of a request body."),
    _bound("min-body-rate", "minBodyRate", "Bytes per second that a request body has to average.", NUMBER),
    _bound("read-ahead", "readAhead", "Bytes received but not yet wanted, past which reading pauses."),
    _bound("unread-bytes", "unread", "Bytes of an unread body that are read away to keep the connection."),
)

APP = Setting(
    key="app",
    option="app",
    kind=TEXT,
    default=PLAYGROUND,
    doc="The application, a callable handler(request), as module:attribute.",
)
WORKERS = Count(
    key="workers",
    option="workers",
    default=0,
    doc="Processes that share the listeners; 0: this process serves by itself.",
)
WORKER_TIMEOUT = Duration(
    key="worker-timeout",
    option="worker-timeout",
    default=30,
    doc="Seconds within which the reactor of a worker has to turn, or it is killed and replaced.",
)
BEHIND = Word(
    key="behind",
    option="behind",
    kind=TEXT,
    example="nginx",
    words=tuple(PROFILES),
    doc="The balancer in front, whose timers ours are made to fit: nginx, haproxy, alb or envoy.",
)
TCP_KEEPALIVE = Probes(
    key="tcp-keepalive",
    option="tcp-keepalive",
    kind=TEXT,
    example="600:75:9",
    doc="Switch the kernel's probes on: IDLE[:INTERVAL[:COUNT]], in seconds and probes.",
)
ACCESS_LOG = Setting(
    key="access-log",
    option="access-log",
    kind=PATH,
    example="access.log",
    doc="Write a line for each request to this file, or - for standard output.",
)
LOG_FORMAT = Word(
    key="log-format",
    option="log-format",
    kind=TEXT,
    default="combined",
    words=LOG_FORMATS,
    doc="The form of these lines: combined or json.",
)
ADMIN = Setting(
    table="admin",
    key="endpoint",
    option="admin",
    kind=ENDPOINT_TEXT,
    example="tcp:9090:interface=127.0.0.1",
    doc="A Twisted endpoint for the operator's page, metrics and probes.",
)
ADMIN_TOKEN = Setting(
    table="admin",
    key="token-file",
    option="admin-token-file",
    kind=PATH,
    example="admin.token",
    doc="A file with what requests to the operator's endpoint have to present; needed where "
    "it can be reached from elsewhere.",
)
ENDPOINT = Setting(
    table="listen",
    key="endpoint",
    option="listen",
    kind=ENDPOINT_TEXT,
    default=DEFAULT_ENDPOINT,
    doc="A Twisted endpoint to serve on, such as tcp:80, ssl:443 or unix:/run/app.socket.",
)
PROXIES = Setting(
    table="listen",
    key="proxy-protocol",
    option="proxy-protocol",
    kind=NETWORKS,
    example=["10.0.0.0/8", "fd00::/8"],
    doc="The networks whose connections begin with a PROXY header that is believed.",
)
CLIENT_AUTHORITIES = Setting(
    table="listen.tls",
    key="client-authorities",
    kind=PATH,
    example="clients.pem",
    doc="A file of the certificates that may vouch for clients; they are asked for theirs when it is given.",
)
CLIENT_REQUIRED = Setting(
    table="listen.tls",
    key="client-required",
    kind=FLAG,
    default=True,
    doc="Whether a client without a certificate is refused, where they are asked.",
)
MINIMUM = Word(
    table="listen.tls",
    key="minimum",
    kind=TEXT,
    default="1.2",
    words=("1.2", "1.3"),
    doc="The oldest version of TLS that is spoken: 1.2 or 1.3.",
)
CIPHERS = Setting(
    table="listen.tls",
    key="ciphers",
    kind=TEXT,
    example="ECDHE+AESGCM:ECDHE+CHACHA20",
    doc="The suites of TLS 1.2 in OpenSSL's words; those that keep past traffic secret unless given.",
)
CHAIN = Setting(
    table="listen.tls.certificates",
    key="chain",
    kind=PATH,
    example="site.pem",
    doc="The certificate in PEM, and behind it those that lead to one that clients know.",
)
KEY = Setting(
    table="listen.tls.certificates",
    key="key",
    kind=PATH,
    example="site.key",
    doc="Its private key; may be the same file.",
)
SITE_APP = Setting(table="site", key="app", kind=TEXT, example="shop.web:handler", doc=APP.doc)
SITE_HOST = Setting(
    table="site",
    key="host",
    kind=TEXT,
    default="",
    example="shop.example",
    doc="The name that its requests give, with a port or without; any unless given.",
)
SITE_PREFIX = Setting(
    table="site",
    key="prefix",
    kind=TEXT,
    default="/",
    example="/api",
    doc="How the paths of its requests begin, up to a / or the end.",
)

#: What stands in the file, in the order of the example.
ALL_SETTINGS: tuple[Setting, ...] = (
    APP,
    WORKERS,
    WORKER_TIMEOUT,
    BEHIND,
    TCP_KEEPALIVE,
    ACCESS_LOG,
    LOG_FORMAT,
    *SETTINGS,
    ENDPOINT,
    PROXIES,
    CLIENT_AUTHORITIES,
    CLIENT_REQUIRED,
    MINIMUM,
    CIPHERS,
    CHAIN,
    KEY,
    SITE_APP,
    SITE_HOST,
    SITE_PREFIX,
    ADMIN,
    ADMIN_TOKEN,
)
#: The tables that may be there several times.
ARRAYS = {"listen": "listener", "listen.tls.certificates": "certificate", "site": "site"}
