"""What the connections of one server have in common: their settings, and what is worth remembering for all of them."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from math import inf

from ..config import Limits, Policy, Timeouts
from ..core.headers import ResponseFields
from ..core.memo import Memo
from ..core.semantics import BODILESS_STATUSES
from .encoding import STATUS_LINES, block
from .request_fields import RequestFields
from .request_heads import RequestHead

#: Status, fields and length of a response.
HeadKey = tuple[int, ResponseFields, int]
#: Bytes that each of the three memos of a server may take: request heads, header sections, response heads. Room for a
#: few hundred of each as browsers and programs send them; few servers meet more kinds of client at a time.
CACHE_BYTES = 1 << 20
#: Header sections and heads up to this size are worth remembering for other connections: larger ones are personal.
_COMMON = 2048


class ServerCaches:
    """
    What all connections of a server have in common.

    :param budget: bytes that each memo may take.
    :param seconds: gives the time by which the Date field is made anew.
    :param wall_clock: gives the seconds since the epoch; None: responses carry no Date.
    :ivar date_due: when that is to be done.
    """

    __slots__ = (
        "_preamble",
        "_requests",
        "_sections",
        "_wall_clock",
        "advertised",
        "date_due",
        "heads",
        "limits",
        "policy",
        "seconds",
    )

    def __init__(
        self,
        limits: Limits | None = None,
        policy: Policy | None = None,
        timeouts: Timeouts | None = None,
        *,
        budget: int = CACHE_BYTES,
        seconds: Callable[[], float] = lambda: 0.0,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        self.seconds = seconds
        self._wall_clock = wall_clock
        self.date_due = inf if wall_clock is None else -inf
        self.limits = limits or Limits()
        self.policy = policy or Policy()
        #: Whole seconds promised in Keep-Alive (ledger K-06); None: no promise.
        self.advertised = (timeouts or Timeouts()).advertised
        self._preamble = b""
        self._requests: Memo[bytes, tuple[bytes, RequestHead]] = Memo(budget)
        #: By HTTP/1.0 and HTTP/1.1.
        self._sections: tuple[Memo[bytes, RequestFields], Memo[bytes, RequestFields]]
        self._sections = Memo(budget // 4), Memo(budget - budget // 4)
        #: What `ordinary_head` gave before, for clients that are promised nothing and for those that are.
        self.heads: tuple[Memo[HeadKey, bytes], Memo[HeadKey, bytes]]
        self.heads = Memo(budget // 2), Memo(budget // 2)

    @property
    def preamble(self) -> bytes:
        """Field lines that every final response carries: Date, as of now."""
        if self.seconds() >= self.date_due:
            self.renew_date()
        return self._preamble

    def renew_date(self) -> None:
        """Have responses carry the present Date (RFC 9110 6.6.1), which changes with the second."""
        assert self._wall_clock is not None
        wall = self._wall_clock()
        self.date_due = self.seconds() + 1 - wall % 1
        self._preamble = b"Date: %b\r\n" % formatdate(wall, usegmt=True).encode()
        for heads in self.heads:
            heads.clear()

    @property
    def held(self) -> int:
        """Bytes that all memos take, as they count them."""
        return sum(memo.held for memo in (self._requests, *self._sections, *self.heads))

    def promise(self, number: int) -> bytes:
        """What an HTTP/1.0 client, or one that used the token, is promised with the response of this number."""
        parts = []
        if self.advertised is not None:
            parts.append(b"timeout=%d" % self.advertised)
        if self.limits.maxRequests:
            parts.append(b"max=%d" % (self.limits.maxRequests - number))
        if not parts:
            return b"Connection: keep-alive\r\n"
        return b"Connection: keep-alive\r\nKeep-Alive: %b\r\n" % b", ".join(parts)

    def ordinary_head(self, status: int, fields: ResponseFields, length: int, promised: bool) -> bytes | None:
        """
        The head of a whole response that keeps a connection without a limit on its requests; None where it takes more.

        Servers answer alike: heads of fields that are used more than once are remembered in `heads` for as long as
        their Date holds.
        """
        if not 200 <= status < 600 or status in BODILESS_STATUSES or not fields.plain:
            return None
        repeated = fields.http1_block is not None and not fields.personal
        head = b"%b%b%bContent-Length: %d\r\n%b\r\n" % (
            STATUS_LINES[status],
            self.preamble,
            block(fields),
            length,
            self.promise(0) if promised else b"",
        )
        if repeated:
            self.heads[promised].keep((status, fields, length), head, _head_size(head, fields))
        return head

    def known_section(self, section: bytes, http11: bool) -> RequestFields | None:
        """What a header section means, if other connections have met it: clients of one kind send the same."""
        return self._sections[http11].get(section)

    def shared_head(self, data: bytes, head: RequestHead) -> tuple[bytes, RequestHead]:
        """A head and its bytes, as one object for all connections that send it but the first."""
        known = self._requests.get(data)
        if known is None:
            known = data, head
            fields = head.fields
            if fields is None or fields.personal or len(data) > _COMMON or not self._requests.repeats(data):
                return known
            self._requests.keep(data, known, _section_size(len(data), len(fields.headers)))
        return known

    def remember_section(self, fields: RequestFields) -> None:
        """Keep what a header section means for other connections, once it repeats."""
        size = len(fields.block)
        if size <= _COMMON and not fields.personal:
            self._sections[fields.http11].offer(fields.block, fields, _section_size(size, len(fields.headers)))


def _head_size(head: bytes, fields: ResponseFields) -> int:
    """Bytes that a remembered response head takes, with the fields that it may be the last to refer to."""
    return 600 + 2 * len(head) + 250 * len(fields.pairs)


def _section_size(length: int, fields: int) -> int:
    """Bytes that what a header section means takes: its bytes, its pairs, and their index."""
    return 2000 + 4 * length + 500 * fields
