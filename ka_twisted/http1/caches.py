"""What the connections of one server have in common: their settings, and what is worth remembering for all of them."""

from __future__ import annotations

from ..config import Limits, Policy, Timeouts
from ..core.headers import ResponseFields
from ..core.semantics import BODILESS_STATUSES
from . import messages
from .messages import RequestFields, RequestHead

#: Status, fields and length of a response.
HeadKey = tuple[int, ResponseFields, int]
#: Response heads, header sections, and request heads that a server remembers.
_REMEMBERED = 256
#: Header sections and heads up to this size are worth remembering for other connections: larger ones are personal.
_COMMON = 2048


class ServerCaches:
    """What all connections of a server have in common."""

    __slots__ = ("_preamble", "_requests", "_sections", "advertised", "heads", "limits", "policy")

    def __init__(
        self, limits: Limits | None = None, policy: Policy | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.policy = policy or Policy()
        #: Whole seconds promised in Keep-Alive (ledger K-06); None: no promise.
        self.advertised = (timeouts or Timeouts()).advertised
        self._preamble = b""
        self._requests: dict[bytes, tuple[bytes, RequestHead]] = {}
        self._sections: tuple[dict[bytes, RequestFields], dict[bytes, RequestFields]] = ({}, {})
        #: What `ordinary_head` gave last, for clients that are promised nothing and for those that are.
        self.heads: tuple[dict[HeadKey, bytes], dict[HeadKey, bytes]] = ({}, {})

    @property
    def preamble(self) -> bytes:
        """Field lines that every final response carries, e.g. Date; the owner keeps it current."""
        return self._preamble

    @preamble.setter
    def preamble(self, lines: bytes) -> None:
        self._preamble = lines
        for heads in self.heads:
            heads.clear()

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

    def ordinary_head(self, status: int, fields: ResponseFields, length: int, announced: bool) -> bytes | None:
        """
        The head of a whole response that keeps a connection without a limit on its requests; None where it takes more.

        Servers answer alike: the last few heads are remembered in `heads` for as long as their Date holds.
        """
        if not 200 <= status < 600 or status in BODILESS_STATUSES or not fields.plain:
            return None
        promise = self.promise(0) if announced else b""
        head = b"%b%b%bContent-Length: %d\r\n%b\r\n" % (
            messages.STATUS_LINES[status],
            self._preamble,
            fields.block,
            length,
            promise,
        )
        heads = self.heads[announced]
        if len(heads) >= _REMEMBERED:
            heads.clear()
        heads[status, fields, length] = head
        return head

    def known_section(self, block: bytes, http11: bool) -> RequestFields | None:
        """What a header section means, if any connection has met it lately: clients of one kind send the same."""
        return self._sections[http11].get(block)

    def shared_head(self, data: bytes, head: RequestHead) -> tuple[bytes, RequestHead]:
        """The same, as one object for all connections that repeat this head."""
        if len(data) > _COMMON:
            return data, head
        known = self._requests
        if len(known) >= _REMEMBERED:
            known.clear()
        return known.setdefault(data, (data, head))

    def remember_section(self, fields: RequestFields) -> None:
        """Keep what a header section means for other connections."""
        if len(fields.block) <= _COMMON:
            sections = self._sections[fields.http11]
            if len(sections) >= _REMEMBERED:
                sections.clear()
            sections[fields.block] = fields
