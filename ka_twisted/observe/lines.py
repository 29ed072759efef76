"""
The lines of an access log, one class for each format: bytes made of values, no clock and no file.

A kept-alive client repeats itself, and so do its lines. What a line says of a head is remembered, one head for each
connection; what it says of the time, until the second is over.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Protocol

from ..core.errors import RemoteProtocolError
from ..core.exchange import VERSION_NAMES, Exchange, RequestHead
from ..core.forwarded import TrustedProxies
from ..core.headers import Headers
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from .records import decisionJson

#: What a quoted value cannot hold: quotes, backslashes, controls, bytes of no stated meaning.
_UNPRINTABLE = re.compile(rb"[^ !#-\[\]-~]")
#: The fields that the combined format quotes.
_QUOTED = (b"referer", b"user-agent")
_LENGTHS = frozenset(map(len, _QUOTED))
#: The fields that JSON has, in the order of their names there.
_TOLD = (b"user-agent", b"referer", b"x-forwarded-for")
_TOLD_LENGTHS = frozenset(map(len, _TOLD))
#: What an address cannot hold.
_ADDRESS = re.compile("[^0-9A-Za-z._:%-]")
#: Decisions that are remembered; those with a detail may be made anew each time.
_REMEMBERED = 64
#: Bytes of the longest target that is kept.
_SHORT = 512
#: The versions of HTTP: in the combined format, as nginx writes them, and in JSON.
_VERSIONS = {version: text.encode() for version, text in VERSION_NAMES.items()}
_VERSION_NUMBERS = {version: version.encode() for version in VERSION_NAMES}
#: Status codes as the combined format has them, with the space behind.
_STATUS: dict[int | None, bytes] = {None: b"- "} | {code: b"%d " % code for code in range(100, 600)}


class LogContext:
    """
    What the lines of one connection have in common.

    :param number: of the connection.
    :param peer: the address of the client, without the port.
    :param local: the address that the client reached, without the port.
    :param port: the port that it reached.
    :param secure: whether it runs on TLS.
    """

    __slots__ = (
        "client",
        "head",
        "headers",
        "local",
        "number",
        "origin",
        "peer",
        "port",
        "request",
        "scheme",
        "tail",
        "trusted",
    )

    def __init__(self, number: int, peer: str, local: str = "-", port: str = "-", secure: bool = False) -> None:
        self.number = number
        #: Fit to stand in any line.
        self.peer = _ADDRESS.sub("?", peer).encode()
        #: Whom the latest request is for, in the same form.
        self.client = self.peer
        #: Finds that, where the peer is a proxy that is trusted.
        self.trusted: TrustedProxies | None = None
        self.local = _ADDRESS.sub("?", local).encode()
        self.port = port.encode()
        self.scheme = b"https" if secure else b"http"
        #: What the format has made of the connection.
        self.origin = b""
        #: The latest head, if it is short and its connection keeps it too, and what the format has made of it;
        #: likewise its fields.
        self.head: RequestHead | None = None
        self.request = b""
        self.headers: Headers | None = None
        self.tail = b""

    def findClient(self, exchange: Exchange) -> None:
        """See whom a request is for that a trusted proxy has sent."""
        assert self.trusted is not None
        found = self.trusted.client(exchange.headers.raw)
        client = self.peer if found is None else found.host.encode()
        if client != self.client:
            self.client, self.origin, self.head = client, b"", None

    def forget(self) -> None:
        """Keep nothing: clients can make heads large, and there are many clients."""
        self.request = self.tail = b""
        self.headers = None


class Format(Protocol):
    """A format of the access log. Every line ends in a line feed."""

    def exchange(self, context: LogContext, exchange: Exchange, now: float) -> bytes:
        """
        The line of a request.

        :param now: seconds since the epoch.
        """

    def closed(self, context: LogContext, reason: CloseReason, requests: int, age: float, now: float) -> bytes:
        """The line of the end of a connection; empty where the format has none."""

    def lost(self, count: int, trouble: str, now: float) -> bytes:
        """The line that stands for so many lines that could not be written."""


class Combined:
    """
    The combined format that Apache and nginx share.

    Clients are not authenticated, hence the user ``-``. A request that ended without a response has no status: ``-``.
    An empty body is ``-`` as well.
    """

    def __init__(self) -> None:
        #: The second that `_between` names, and the next.
        self._second = self._next = 0.0
        #: What stands between the client's address and its request.
        self._between = b""

    def exchange(self, context: LogContext, exchange: Exchange, now: float) -> bytes:
        """See `Format.exchange`."""
        if not self._second <= now < self._next:
            self._second = second = float(int(now))
            self._next = second + 1.0
            self._between = b" - - [%b]" % apacheDate(time.gmtime(second))
        head = exchange.head
        if head is not context.head:
            self._remember(context, head)
        sent = exchange.bytes_sent
        data = b"%d" % sent if sent else b"-"
        line = b"".join((context.client, self._between, context.request, _STATUS[exchange.status], data, context.tail))
        if context.head is None:
            context.forget()
        return line

    def closed(self, context: LogContext, reason: CloseReason, requests: int, age: float, now: float) -> bytes:
        """See `Format.closed`: it knows of requests only."""
        return b""

    def lost(self, count: int, trouble: str, now: float) -> bytes:
        """See `Format.lost`: a comment, which readers of this format skip."""
        return lostComment(count, trouble)

    @staticmethod
    def _remember(context: LogContext, head: RequestHead) -> None:
        """Make what the line says of a head; keep it for the next one if that costs no memory."""
        line = b"%b %b %b" % (head.method, head.target, _VERSIONS[head.version]) if head.method else b"-"
        context.request = b' "%b" ' % (line if _UNPRINTABLE.search(line) is None else escaped(line))
        headers = head.headers
        kept = headers is context.headers
        if not kept:
            first = _firstFields(headers, _LENGTHS)
            context.tail = b' "%b" "%b"\n' % tuple(escaped(first.get(n, b"-")) for n in _QUOTED)
            context.headers = headers
            kept = head.retained
        context.head = head if kept and len(head.target) <= _SHORT else None


class JsonLines:
    """A JSON object a line: requests with the decision about their connection, and the ends of connections."""

    def __init__(self) -> None:
        self._second = -1
        self._date = b""
        self._decisions: dict[int, tuple[Persistence, bytes]] = {}

    def exchange(self, context: LogContext, exchange: Exchange, now: float) -> bytes:
        """See `Format.exchange`."""
        head = exchange.head
        if head is not context.head:
            self._remember(context, head)
        decision = exchange.persistence
        status = exchange.status
        line = (
            b'{"time":"%b","event":"request",%b,"request":%d,"status":%b,"bytes":%d,"bytes_received":%d,'
            b'"duration":%.6f,"time_to_first_byte":%b,%b,%b%b}\n'
        ) % (
            self._time(now),
            context.request,
            exchange.number,
            b"null" if status is None else b"%d" % status,
            exchange.bytes_sent,
            exchange.bytes_received,
            exchange.ended - exchange.started,
            b"null" if status is None else b"%.6f" % firstByte(exchange),
            context.tail,
            b'"persistence":null' if decision is None else self._decided(decision),
            b"" if exchange.log is None else _added(exchange.log),
        )
        if context.head is None:
            context.forget()
        return line

    def closed(self, context: LogContext, reason: CloseReason, requests: int, age: float, now: float) -> bytes:
        """See `Format.closed`."""
        members = _members(
            pid=os.getpid(),
            connection=context.number,
            peer=context.peer.decode(),
            requests=requests,
            age=round(age, 6),
            reason=reason.name,
            by=reason.by,
            state=reason.state,
            clause=reason.clause,
        )
        return b'{"time":"%b","event":"close",%b}\n' % (self._time(now), members)

    def lost(self, count: int, trouble: str, now: float) -> bytes:
        """See `Format.lost`."""
        members = _members(lines=count, error=trouble)
        return b'{"time":"%b","event":"lost",%b}\n' % (self._time(now), members)

    def _time(self, now: float) -> bytes:
        """ISO 8601 in UTC, to the millisecond."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%03dZ" % (self._date, int((now - second) * 1000))

    def _decided(self, decision: Persistence) -> bytes:
        """A decision; most are constants, and encoded once."""
        known = self._decisions.get(id(decision))
        if known is not None and known[0] is decision:
            return known[1]
        members = _members(persistence=decisionJson(decision))
        if len(self._decisions) >= _REMEMBERED:
            self._decisions.clear()
        self._decisions[id(decision)] = (decision, members)
        return members

    @staticmethod
    def _remember(context: LogContext, head: RequestHead) -> None:
        """See `Combined._remember`."""
        if not context.origin:
            client = b"" if context.client == context.peer else b'"client":"%b",' % context.client
            about = (os.getpid(), context.number, context.peer, client, context.scheme)
            context.origin = b'"pid":%d,"connection":%d,"peer":"%b",%b"scheme":"%b"' % about
        target = head.target  # visible ASCII
        if head.method:
            if b'"' in target or b"\\" in target:
                target = target.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            host = _members(host=_text(authority(head) or None))
            named = (context.origin, head.method, target, _VERSION_NUMBERS[head.version], host)
            context.request = b'%b,"method":"%b","target":"%b","version":"%b",%b' % named
        else:
            context.request = context.origin + b',"method":null,"target":null,"version":null,"host":null'
        headers = head.headers
        if headers is not context.headers:
            first = _firstFields(headers, _TOLD_LENGTHS)
            agent, referer, forwarded = (_text(first.get(name)) for name in _TOLD)
            context.tail = _members(user_agent=agent, referer=referer, forwarded_for=forwarded)
            context.headers = headers
        context.head = head if len(target) <= _SHORT and head.retained else None


#: The formats by the name that users give them.
FORMATS: dict[str, type[Combined] | type[JsonLines]] = {"combined": Combined, "json": JsonLines}


def apacheDate(moment: time.struct_time) -> bytes:
    """The date as Apache writes it, in any locale."""
    clock = time.strftime("%Y:%H:%M:%S", moment)
    return f"{moment.tm_mday:02}/{_MONTHS[moment.tm_mon - 1]}/{clock} +0000".encode()


def protocolName(exchange: Exchange) -> bytes:
    """The version of HTTP, as request lines have it."""
    return _VERSIONS[exchange.version]


def authority(head: RequestHead) -> bytes:
    """Host and port that a request names; empty where it names none, or was refused for its target."""
    try:
        return head.authority
    except RemoteProtocolError:
        return b""


def firstByte(exchange: Exchange) -> float:
    """Seconds until the first byte of its response was handed over; one that was handed over whole: until then."""
    return (exchange.responded or exchange.ended) - exchange.started


def lostComment(count: int, trouble: str) -> bytes:
    """A comment that stands for lines that could not be written."""
    return f"# {count} lines were lost: {trouble}\n".encode("ascii", "backslashreplace")


def _firstFields(headers: Headers, lengths: frozenset[int]) -> dict[bytes, bytes]:
    """The first field of each name, in lower case, of one of these lengths."""
    # Looked through rather than looked up: an index of the fields would stay with them.
    return {name.lower(): value for name, value in reversed(headers.raw) if len(name) in lengths}


def _text(value: bytes | None) -> str | None:
    """A field as a text: bytes of no stated meaning are those of ISO 8859-1 (RFC 9110 5.5)."""
    return None if value is None else value.decode("latin-1")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _added(fields: dict[str, object]) -> bytes:
    """What an application adds to a line: whatever it is, the line stays JSON."""
    return b',"log":{%b}' % b",".join(b"%b:%b" % (_json(str(name)), _json(value)) for name, value in fields.items())


def _json(value: object) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), default=str, skipkeys=True, allow_nan=False).encode()
    except (ValueError, RecursionError):  # circular, or no number
        return json.dumps(repr(value)).encode()


def _members(**members: object) -> bytes:
    """The members of a JSON object, without its braces."""
    return json.dumps(members, separators=(",", ":")).encode()[1:-1]


def escaped(text: bytes) -> bytes:
    """What a client sent, fit for a line: as Apache and nginx escape what a quoted value cannot hold."""
    if _UNPRINTABLE.search(text) is None:
        return text
    return _UNPRINTABLE.sub(lambda match: b"\\x%02X" % match[0][0], text)
