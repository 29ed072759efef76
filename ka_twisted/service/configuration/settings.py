"""
Everything that can be set, once: the command line (`options`), the environment (`environment`), the configuration file
(`files`) and its example are made from this table.
"""

from __future__ import annotations

from ..applications.sites import PLAYGROUND
from .profiles import PROFILES
from .setting import (
    ChoiceSetting,
    CountSetting,
    FieldSetting,
    LogFormatSetting,
    SecondsSetting,
    Setting,
    SwitchSetting,
    TcpKeepAliveSetting,
    WorkersSetting,
    limit,
    policy,
    timer,
)
from .valuetypes import APPLICATION, ENDPOINT_TEXT, FLAG, NETWORKS, NUMBER, PATH, SECONDS, TEXT

DEFAULT_ENDPOINT = "tcp:8080:interface=127.0.0.1"

TIMERS: tuple[FieldSetting, ...] = (
    timer(
        "first-request-timeout",
        "firstRequest",
        "Seconds to wait for the first request of a connection; the idle timeout unless set.",
        10,
    ),
    timer("idle-timeout", "idle", "Seconds a keep-alive connection stays open between two requests."),
    timer("header-timeout", "header", "Seconds for reading the whole header section of a request."),
    timer("body-timeout", "body", "Seconds between two successive reads of a request body."),
    timer("body-grace", "bodyGrace", "Seconds a request body may come slower than the minimum rate."),
    timer("write-timeout", "write", "Seconds between two successive writes of a response to the client."),
    timer("send-grace", "sendGrace", "Seconds a response may be sent slower than the minimum rate."),
    timer(
        "handler-timeout",
        "handler",
        "Seconds the application has to begin a response, before the client gets a 503.",
    ),
    timer(
        "half-closed-timeout",
        "halfClosed",
        "Seconds to wait for the response to a client that has closed its side.",
    ),
    timer(
        "continue-timeout",
        "expectation",
        "Seconds the application has to decide on Expect: 100-continue before it is sent.",
    ),
    timer(
        "unread-timeout",
        "unread",
        "Seconds for discarding an unread request body, to keep the connection.",
    ),
    timer("linger-timeout", "linger", "Seconds to wait for more data from the client after closing our side."),
    timer("linger-total-timeout", "lingerTotal", "Seconds in total for reading and discarding such data."),
    timer(
        "switched-idle-timeout",
        "switchedIdle",
        "Seconds a connection handed over to another protocol may be silent.",
    ),
    timer("handshake-timeout", "handshake", "Seconds for the PROXY header and the TLS handshake."),
    timer(
        "refused-timeout",
        "refused",
        "Seconds to wait for the request of a connection over the limit, which gets a 503.",
    ),
    timer("drain-delay", "drainDelay", "Seconds to report not ready, and go on accepting, before a shutdown begins."),
    timer("drain-timeout", "drain", "Seconds for open requests to finish at shutdown, before they are aborted."),
)

LIMITS: tuple[FieldSetting, ...] = (
    limit("max-connections", "maxConnections", "Maximum number of open connections."),
    limit("max-connections-per-peer", "maxConnectionsPerPeer", "Maximum number of open connections from one address."),
    limit(
        "max-refused",
        "maxRefused",
        "Maximum number of connections over these limits that get a 503; others are closed.",
    ),
    limit("max-requests", "maxRequests", "Maximum number of requests on one connection."),
    limit("max-age", "maxAge", "Maximum age of a connection in seconds; its next response closes it.", SECONDS),
    limit("pipeline-depth", "pipelineDepth", "Maximum number of pipelined requests in service on one connection."),
    limit("max-line", "maxLine", "Maximum size of a request line, in bytes."),
    limit("max-header-bytes", "maxHeaderBytes", "Maximum size of a header section, in bytes."),
    limit("max-header-fields", "maxHeaderFields", "Maximum number of fields in a header section."),
    limit("max-body-bytes", "maxBodyBytes", "Maximum size of a request body, in bytes."),
    limit("min-body-rate", "minBodyRate", "Minimum average rate of a request body, in bytes per second.", NUMBER),
    limit("min-send-rate", "minSendRate", "Minimum average rate of sending a response, in bytes per second.", NUMBER),
    limit(
        "read-ahead",
        "readAhead",
        "Maximum size of received data that is not read yet, in bytes; past it reading pauses.",
    ),
    limit("unread-bytes", "unread", "Maximum size of an unread body to discard to keep the connection, in bytes."),
)

POLICIES: tuple[FieldSetting, ...] = (
    policy("persistent", "persistent", "Keep connections open for further requests."),
    policy("keep-alive-10", "keepAlive10", "Keep connections of HTTP/1.0 clients that ask for it."),
    policy(
        "chunked-responses",
        "chunkedResponses",
        "Send responses of unknown length in chunks; off closes the connection after them.",
    ),
    policy("empty-host", "emptyHost", "Accept requests with an empty Host field."),
    policy("length-required", "lengthRequired", "Refuse chunked request bodies with 411 Length Required."),
)

#: What becomes a field of `Timeouts`, `Limits` or `Policy`.
SETTINGS = (*TIMERS, *LIMITS, *POLICIES)

APP = Setting(
    key="app",
    option="app",
    valueType=APPLICATION,
    default=PLAYGROUND,
    help="Application to serve: a callable that takes a request, or an IApplication, as module:attribute.",
)
WORKERS = WorkersSetting(
    key="workers",
    option="workers",
    default=0,
    help="Number of worker processes; auto: one for each core that may be used; 0 serves in this process.",
)
FORCE_WORKERS = SwitchSetting(
    key="force-workers",
    option="force-workers",
    help="Allow more than 8 worker processes for each core that may be used.",
)
WORKER_START_TIMEOUT = SecondsSetting(
    key="worker-start-timeout",
    option="worker-start-timeout",
    default=60,
    help="Seconds a worker may take to become ready before it is killed; 0 waits without limit.",
)
WORKER_MAX_REQUESTS = CountSetting(
    key="worker-max-requests",
    option="worker-max-requests",
    default=0,
    help="Number of requests after which a worker is replaced; 0 never replaces it for that.",
)
WORKER_MAX_AGE = SecondsSetting(
    key="worker-max-age",
    option="worker-max-age",
    default=0,
    help="Seconds after which a worker is replaced, each up to a tenth earlier; 0 never replaces it for that.",
)
WORKER_MAX_MEMORY = CountSetting(
    key="worker-max-memory",
    option="worker-max-memory",
    default=0,
    help="Resident memory in bytes past which a worker is replaced; 0 never replaces it for that.",
)
WORKER_TIMEOUT = SecondsSetting(
    key="worker-timeout",
    option="worker-timeout",
    default=30,
    help="Seconds a worker's event loop may be blocked before the worker is killed and restarted.",
)
BEHIND = ChoiceSetting(
    key="behind",
    option="behind",
    valueType=TEXT,
    example="nginx",
    words=tuple(PROFILES),
    help="Load balancer in front, whose timeouts ours have to outlast.",
)
TCP_KEEPALIVE = TcpKeepAliveSetting(
    key="tcp-keepalive",
    option="tcp-keepalive",
    valueType=TEXT,
    example="600:75:9",
    help="TCP keep-alive: seconds until the first probe, seconds between probes, and their number; off unless set.",
)
ACCESS_LOG = Setting(
    key="access-log",
    option="access-log",
    valueType=PATH,
    example="access.log",
    help="Access log: a file, a FIFO, or - for standard output; none unless set.",
)
LOG_FORMAT = LogFormatSetting(
    key="log-format",
    option="log-format",
    valueType=TEXT,
    default="combined",
    help="Format of the access log: combined, json, or a text with directives such as %h and %(duration)s.",
)
LOG_JSON = SwitchSetting(
    key="log-json",
    option="log-json",
    help="Write the server's own log as JSON, one object a line, instead of twistd's text.",
)
TRUSTED_PROXIES = Setting(
    key="trusted-proxies",
    option="trusted-proxies",
    valueType=NETWORKS,
    example=["10.0.0.0/8", "fd00::/8"],
    help="Networks of proxies that are trusted to name the client of a request: Forwarded, X-Forwarded-For.",
)
VERBOSE = SwitchSetting(
    key="verbose",
    option="verbose",
    help="Log the timers and limits as a table, at the start and after a reload.",
)
ADMIN = Setting(
    table="admin",
    key="endpoint",
    option="admin",
    valueType=ENDPOINT_TEXT,
    example="tcp:9090:interface=127.0.0.1",
    help="Endpoint, as for listening, for the admin page, /metrics, /healthz and /readyz; none unless set.",
)
ADMIN_TOKEN = Setting(
    table="admin",
    key="token-file",
    option="admin-token-file",
    valueType=PATH,
    example="admin.token",
    help="File with the token that admin requests must present; required unless the endpoint is local.",
)
ENDPOINT = Setting(
    table="listen",
    key="endpoint",
    option="listen",
    valueType=ENDPOINT_TEXT,
    default=DEFAULT_ENDPOINT,
    repeatable=True,
    help="Where to listen: PORT, ADDRESS:PORT, /PATH, or a Twisted endpoint such as tcp:80, ssl:443 or unix:/run/s.",
)
PROXIES = Setting(
    table="listen",
    key="proxy-protocol",
    option="proxy-protocol",
    valueType=NETWORKS,
    example=["10.0.0.0/8", "fd00::/8"],
    help="Networks of trusted proxies, whose connections begin with a PROXY protocol header.",
)
CLIENT_AUTHORITIES = Setting(
    table="listen.tls",
    key="client-authorities",
    valueType=PATH,
    example="clients.pem",
    help="File of CA certificates, in PEM, for verifying client certificates; not requested unless set.",
)
CLIENT_REQUIRED = Setting(
    table="listen.tls",
    key="client-required",
    valueType=FLAG,
    default=True,
    help="Refuse clients without a certificate, where client certificates are requested.",
)
MINIMUM = ChoiceSetting(
    table="listen.tls",
    key="minimum",
    valueType=TEXT,
    default="1.2",
    words=("1.2", "1.3"),
    help="Minimum TLS version: 1.2 or 1.3.",
)
CIPHERS = Setting(
    table="listen.tls",
    key="ciphers",
    valueType=TEXT,
    example="ECDHE+AESGCM:ECDHE+CHACHA20",
    help="TLS 1.2 cipher suites, in OpenSSL's format; those with forward secrecy unless set.",
)
CHAIN = Setting(
    table="listen.tls.certificates",
    key="chain",
    valueType=PATH,
    example="site.pem",
    help="File with the certificate, followed by its intermediate certificates, in PEM.",
)
KEY = Setting(
    table="listen.tls.certificates",
    key="key",
    valueType=PATH,
    example="site.key",
    help="File with its private key, in PEM; may be the same file.",
)
SITE_APP = Setting(table="site", key="app", valueType=APPLICATION, example="shop.web:handler", help=APP.help)
SITE_HOST = Setting(
    table="site",
    key="host",
    valueType=TEXT,
    default="",
    example="shop.example",
    help="Host name of the site, with or without a port; any host unless set.",
)
SITE_PREFIX = Setting(
    table="site",
    key="prefix",
    valueType=TEXT,
    default="/",
    example="/api",
    help="Path prefix of the site, matched up to a / or the end of the path.",
)

#: What stands in the file, in the order of the example, which is that of the help as well.
ALL_SETTINGS: tuple[Setting, ...] = (
    APP,
    WORKERS,
    FORCE_WORKERS,
    WORKER_TIMEOUT,
    WORKER_START_TIMEOUT,
    WORKER_MAX_REQUESTS,
    WORKER_MAX_AGE,
    WORKER_MAX_MEMORY,
    BEHIND,
    ACCESS_LOG,
    LOG_FORMAT,
    LOG_JSON,
    VERBOSE,
    TRUSTED_PROXIES,
    TCP_KEEPALIVE,
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
