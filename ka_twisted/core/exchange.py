"""One request and its response as facts, whatever version of HTTP carried them."""

from __future__ import annotations

from .errors import RemoteProtocolError
from .expectation import ABSENT, Expected
from .framing import NO_BODY, Framing
from .headers import NO_HEADERS, Headers
from .persistence import Persistence

#: The versions of HTTP by their names here, as logs and messages name them.
VERSION_NAMES = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2.0"}


class RequestHead:
    """
    The head of a request. Each version has a class of its own, which knows more.

    :ivar method: case kept; empty where it could not be read.
    :ivar target: as it came.
    """

    __slots__ = ("method", "target")

    def __init__(self, method: bytes, target: bytes) -> None:
        self.method = method
        self.target = target

    @property
    def version(self) -> str:
        """``"1.0"``, ``"1.1"`` or ``"2"``; later minor versions are served, and shown, as the latest that is known."""
        raise NotImplementedError

    @property
    def headers(self) -> Headers:
        """The fields that the application sees: less those that are for the connection only (RFC 9110 7.6.1)."""
        return NO_HEADERS

    @property
    def authority(self) -> bytes:
        """Host and port that the request names, the target's first (RFC 9110 7.2); empty where it names none."""
        return b""

    @property
    def upgrades(self) -> tuple[bytes, ...]:
        """The protocols that the client offers to switch to, in its order (RFC 9110 7.8)."""
        return ()

    @property
    def expected(self) -> Expected:
        """What the client expects before it sends the body (RFC 9110 10.1.1)."""
        return ABSENT

    @property
    def wants_trailers(self) -> bool:
        """Whether the client takes trailers (RFC 9110 6.5.1)."""
        return False

    @property
    def retained(self) -> bool:
        """Whether its connection keeps it, to compare the next one with: keeping it too costs no memory."""
        return False


class Exchange:
    """
    A request and what became of it.

    Observers get it once it has ended. Nothing writes to it afterwards, and it holds no buffer, request or protocol.
    """

    # Class attributes are the initial values: an ordinary exchange sets few of them. Those that every exchange is asked
    # for are set at once: an instance's own are found faster.

    #: How the request's body ends, and by which rule.
    framing: Framing = NO_BODY
    #: Whether time decided on an expectation, since the application did not (ledger X-05).
    overdue: bool = False
    #: The final status, once decided; None for an exchange that ended without a response.
    status: int | None = None
    #: How the response ends, once decided; None for one that was handed over whole: by its length.
    response_framing: Framing | None = None
    #: What becomes of the connection, once decided.
    persistence: Persistence | None = None
    #: Why the connection answered by itself, as a fact: see `RemoteProtocolError.fact`.
    error: RemoteProtocolError | None = None
    #: Bytes of the request's body, decoded, that the application has got.
    bytes_received: int = 0
    #: Bytes of the response's body that were handed over.
    bytes_sent: int = 0
    #: When it was taken up, in seconds by the clock of its connection.
    started: float = 0.0
    #: When the head of its response was made; 0 for a response that was handed over whole.
    responded: float
    #: When nothing more was to be written for it.
    ended: float = 0.0
    #: Requests of its connection that were in service when it was taken up, itself included.
    depth: int
    #: What the application adds to its line in the access log, by name; None: nothing.
    log: dict[str, object] | None = None
    #: The trailer section of the request's body, once that is complete.
    trailers: Headers = NO_HEADERS

    def __init__(self, number: int, head: RequestHead) -> None:
        #: 1 for the first request of its connection.
        self.number = number
        self.head = head
        self.responded = 0.0
        self.depth = 1

    @property
    def method(self) -> bytes:
        """The method; empty where it could not be read."""
        return self.head.method

    @property
    def target(self) -> bytes:
        """The target as it came."""
        return self.head.target

    @property
    def version(self) -> str:
        """``"1.0"``, ``"1.1"`` or ``"2"``."""
        return self.head.version

    @property
    def headers(self) -> Headers:
        """The fields that the application sees."""
        return self.head.headers

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.number} {self.method!r} {self.target!r} {self.status}>"
