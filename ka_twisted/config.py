"""
What can be set: seconds (`Timeouts`), bytes and counts (`Limits`), behaviour (`Policy`), and the sockets beneath
(`TcpKeepAlive`, `Tls`).

Frozen values, checked once when they are made. Standard library only; every layer reads them, none changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite


def _number(owner: object, name: str, value: object, *, whole: bool = False) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        wanted = "a whole number" if whole else "a number"
        raise ValueError(f"{type(owner).__name__}.{name} must be {wanted}, not {value!r}")
    if not isfinite(value) or value < 0:
        raise ValueError(f"{type(owner).__name__}.{name} must not be negative or infinite: {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    Every timer of a connection, in seconds; fractions are allowed and 0 switches a timer off.

    :raises ValueError: for a negative, infinite or non-numeric value, and for a grace that is not
        shorter than the idle time-out it belongs to.
    """

    #: From the accepted connection to the first byte of a request; None: the same as `idle`.
    firstRequest: float | None = None
    #: Between requests. 75 s is what nginx and Apache's neighbours settled on, and longer than the
    #: 60 s after which common balancers drop a connection of their own accord.
    idle: float = 75.0
    #: By how much the advertised time is shorter than the enforced one; None: 5 s, at most idle / 5.
    idleGrace: float | None = None
    #: From the first byte of a request to the end of its header section; dripping does not extend it.
    header: float = 10.0
    #: Longest silence while a request body is awaited.
    body: float = 30.0
    #: How long a body may come slower than `Limits.minBodyRate` before its average is judged; 0: it never is.
    bodyGrace: float = 30.0
    #: Longest time without progress while a response is being sent.
    write: float = 30.0
    #: How long a response may be taken slower than `Limits.minSendRate` before the connection is cut; 0: as long as
    #: the client likes. It is enough for a mobile client that loses its network for a while, as `bodyGrace` is.
    sendGrace: float = 30.0
    #: From the end of a request's head to the beginning of its response, the time in which its body comes included; 0:
    #: as long as the application likes. Past it, the handler is cancelled and the answer is 503.
    handler: float = 0.0
    #: How long a client that has closed its side is kept while no response begins; 0: as long as the handler takes. It
    #: may wait for its answer, or be gone: nothing tells which (RFC 9112 9.6). As long as `write`, for the same doubt.
    halfClosed: float = 30.0
    #: How long the application has to decide on an expectation before 100 Continue is sent (ledger X-05).
    expectation: float = 1.0
    #: How long the unread rest of a body is read away in order to keep the connection.
    unread: float = 5.0
    #: Longest silence of the peer while it is listened to after our side was closed; 0: close at once (ledger P-11).
    #: A client that is still sending a refused body reads its response only when it has sent all.
    linger: float = 5.0
    #: How long the peer is listened to at most, silent or not; 0: as long as it sends. As nginx's `lingering_time`.
    lingerTotal: float = 30.0
    #: Longest silence, in both directions, of a connection that was handed over to another protocol; 0: any. Most such
    #: protocols have pings of their own.
    switchedIdle: float = 0.0
    #: Deadline of a graceful shutdown; 0: as long as it takes.
    drain: float = 30.0
    #: How long a shutdown is announced before it begins: balancers are told that the server is not ready, every
    #: response closes its connection, and new connections are still accepted.
    drainDelay: float = 0.0
    #: For a PROXY header and a TLS handshake, from the accepted connection on.
    handshake: float = 10.0
    #: For a connection beyond `Limits.maxConnections` to send the request that gets its 503, from the accepted
    #: connection on; with a PROXY header or TLS before it, for each of them. Short, because it holds a descriptor
    #: beyond the limit; long enough for a request that follows the handshake of TCP at once, over any distance.
    refused: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name not in ("firstRequest", "idleGrace"):
                _number(self, field.name, value)
        if self.idleGrace is not None and self.idle and self.idleGrace >= self.idle:
            raise ValueError(f"Timeouts.idleGrace ({self.idleGrace}) must be shorter than Timeouts.idle ({self.idle})")

    @property
    def first(self) -> float:
        """The effective time-out before the first request, in seconds; 0: none."""
        return self.idle if self.firstRequest is None else self.firstRequest

    @property
    def advertised(self) -> int | None:
        """The whole seconds promised in ``Keep-Alive: timeout=``; None when there is nothing to promise."""
        if not self.idle:
            return None
        grace = min(5.0, self.idle / 5) if self.idleGrace is None else self.idleGrace
        return int(self.idle - grace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    Bounds on what a peer can make the server hold, in bytes unless said otherwise; 0: no limit.

    :raises ValueError: for a negative or non-numeric value, and for a limit that has to exist but is 0.
    """

    #: Longest request line; RFC 9112 3 recommends at least 8000.
    maxLine: int = 8192
    #: Longest method token; no registered method is longer than 17.
    maxMethod: int = 32
    #: All fields of one header section together.
    maxHeaderBytes: int = 16384
    #: Number of fields in one header section.
    maxHeaderFields: int = 100
    #: Largest request body accepted.
    maxBodyBytes: int = 0
    #: Seconds for Retry-After on a 413 by `maxBodyBytes`; 0: the limit is permanent (ledger L-32).
    bodyRetryAfter: int = 0
    #: Bytes per second that a body has to average once `Timeouts.bodyGrace` has passed.
    minBodyRate: float = 240.0
    #: Bytes per second that a client has to take of what waits to be sent, on average, once `Timeouts.sendGrace` is
    #: used up: else one byte per 29 s would hold a response for hours. Slower than any modem, as `minBodyRate` is.
    minSendRate: float = 240.0
    #: One chunk-size line with its extensions.
    maxChunkLine: int = 1024
    #: All chunk extensions of one message together.
    maxChunkExtensions: int = 16384
    #: One trailer section.
    maxTrailerBytes: int = 8192
    #: Number of fields in one trailer section.
    maxTrailerFields: int = 32
    #: Empty lines skipped ahead of a request line; 0: none.
    blankLines: int = 8
    #: Unread body that is read away in order to keep a connection; 0: none.
    unread: int = 65536
    #: Received but not yet parsed or wanted; past it reading pauses.
    readAhead: int = 65536
    #: Responses held back behind an unfinished earlier one; past it reading pauses.
    maxHeldBytes: int = 262144
    #: Requests in service at once on one connection.
    pipelineDepth: int = 16
    #: Requests served on one connection.
    maxRequests: int = 0
    #: Age of a connection in seconds past which its next response closes it.
    maxAge: float = 0.0
    #: Connections held at once, those included whose PROXY header or TLS handshake is not complete.
    maxConnections: int = 10000
    #: Connections held beyond that, or beyond `maxConnectionsPerPeer`, in order to answer their first request with 503;
    #: further ones are closed at once. 0: none is held. Enough for a burst of clients to see why they are turned away,
    #: and few beside the connections that are served.
    maxRefused: int = 64
    #: Connections held at once from one address.
    maxConnectionsPerPeer: int = 0
    #: Read away after our side was closed, before a peer that never stops is reset. A client that
    #: sends its whole body before it reads must get this far to see a 413, hence more than one window.
    lingerBytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            fraction = field.name in ("minBodyRate", "minSendRate", "maxAge")
            _number(self, field.name, getattr(self, field.name), whole=not fraction)
        for name in (
            "maxLine",
            "maxMethod",
            "maxHeaderBytes",
            "maxHeaderFields",
            "readAhead",
            "maxHeldBytes",
            "maxChunkLine",
            "maxTrailerBytes",
            "pipelineDepth",
        ):
            if not getattr(self, name):
                raise ValueError(f"Limits.{name} must be at least 1: it bounds what a peer can make us hold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Behaviour that the standards leave to the server."""

    #: Offer more than one exchange a connection at all (ledger P-01).
    persistent: bool = True
    #: Keep a connection for an HTTP/1.0 client that asks for it (ledger K-01).
    keepAlive10: bool = True
    #: Send bodies of unknown length in chunks to HTTP/1.1 clients; otherwise close ends them.
    chunkedResponses: bool = True
    #: Accept an empty Host field: a site for requests without a name exists (ledger H-20).
    emptyHost: bool = False
    #: Refuse chunked request bodies with 411 (ledger L-09).
    lengthRequired: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if not isinstance(getattr(self, field.name), bool):
                raise ValueError(f"Policy.{field.name} must be True or False")


@dataclass(frozen=True, slots=True)
class TcpKeepAlive:
    """
    The kernel's keep-alive probes (RFC 1122 4.2.3.6, RFC 9293 3.8.4), switched on.

    :raises ValueError: for an interval below one second, or fewer than two probes: one unanswered
        probe proves nothing (ledger T-06).
    """

    #: Seconds of silence before the first probe; RFC 1122 asks for two hours by default.
    idle: int = 7200
    #: Seconds between probes.
    interval: int = 75
    #: Unanswered probes after which the connection is lost.
    count: int = 9

    def __post_init__(self) -> None:
        for field in fields(self):
            _number(self, field.name, getattr(self, field.name), whole=True)
        if self.idle < 1 or self.interval < 1:
            raise ValueError("TCP keep-alive idle and interval must be at least 1 second")
        if self.count < 2:
            raise ValueError("TCP keep-alive needs a count of at least 2 probes")

    @classmethod
    def fromString(cls, text: str) -> TcpKeepAlive:
        """
        Read ``IDLE[:INTERVAL[:COUNT]]``, in whole seconds and probes.

        :raises ValueError: when the text is anything else.
        """
        parts = text.split(":")
        if not 1 <= len(parts) <= 3 or not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError(f"TCP keep-alive is written IDLE[:INTERVAL[:COUNT]], not {text!r}")
        return cls(*map(int, parts))


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    The files of a certificate, in PEM.

    :ivar chain: the certificate, and those that lead from it to one that clients know.
    :ivar key: its private key; may be the same file.
    :ivar intermediates: files of further certificates of the chain.
    """

    chain: str
    key: str
    intermediates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """
    How a listener speaks TLS.

    :ivar certificates: one is chosen by the name that the client asks for (RFC 6066 3); the first when none fits.
    :ivar clientAuthorities: a file of the certificates, in PEM, that may vouch for clients; None: they are not asked.
    :ivar clientRequired: whether a client without a certificate is refused, where they are asked.
    :ivar minimum: the oldest version that is spoken, ``1.2`` or ``1.3`` (RFC 8996 rules out what is older).
    :ivar ciphers: the suites of TLS 1.2 in OpenSSL's words; None: those that keep past traffic secret (RFC 9325 4.2).
    :raises ValueError: for no certificate, or another version.
    """

    certificates: tuple[Certificate, ...]
    clientAuthorities: str | None = None
    clientRequired: bool = True
    minimum: str = "1.2"
    ciphers: str | None = None

    def __post_init__(self) -> None:
        if not self.certificates:
            raise ValueError("TLS needs a certificate")
        if self.minimum not in ("1.2", "1.3"):
            raise ValueError(f"the oldest version of TLS is 1.2 or 1.3, not {self.minimum!r}")
