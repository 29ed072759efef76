"""
A format of the access log that the operator writes, with the directives of Apache and with names.

The text is compiled once, into one expression: a line costs one formatting, and no call for each directive that is a
plain fact. What a client sends is escaped, so that it ends no line and no quoted value.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import cast

from ..core.exchange import Exchange
from ..core.reasons import CloseReason
from .lines import FORMATS, Format, LogContext, apacheDate, authority, escaped, firstByte, lostComment, protocolName

#: Makes a line of a connection, an exchange and the present.
_Line = Callable[[LogContext, Exchange, float], bytes]
#: A directive: a name in parentheses, or a letter with an argument in braces before it; or a percent sign that is none.
_DIRECTIVE = re.compile(
    r"%(?:\((?P<name>[\w.-]*)\)s|>?(?:\{(?P<argument>[^{}]*)\})?(?P<letter>[A-Za-z])|(?P<percent>%)|)"
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: What the letters stand for: expressions about ``c``, the connection, ``e``, the exchange, and ``now``.
_LETTERS = {
    "a": "c.client",
    "A": "c.local",
    "b": "b'%d' % e.bytes_sent if e.bytes_sent else b'-'",
    "B": "b'%d' % e.bytes_sent",
    "D": "b'%d' % ((e.ended - e.started) * 1e6)",
    "h": "c.client",
    "H": "protocol(e)",
    "k": "b'%d' % (e.number - 1)",
    "l": "b'-'",
    "m": "escaped(e.method) or b'-'",
    "p": "c.port",
    "P": "b'%d' % getpid()",
    "q": "query(e)",
    "r": "requestLine(e)",
    "s": "b'-' if e.status is None else b'%d' % e.status",
    "t": "date(int(now))",
    "T": "b'%d' % (e.ended - e.started)",
    "u": "b'-'",
    "U": "path(e)",
    "v": "escaped(authority(e.head)) or b'-'",
    "V": "escaped(authority(e.head)) or b'-'",
    "X": "persisting(e)",
}
#: Those with an argument that is one of a few words.
_UNITS = {
    ("T", "s"): _LETTERS["T"],
    ("T", "ms"): "b'%d' % ((e.ended - e.started) * 1e3)",
    ("T", "us"): _LETTERS["D"],
    ("t", "sec"): "b'%d' % now",
    ("t", "msec"): "b'%d' % (now * 1e3)",
    ("t", "usec"): "b'%d' % (now * 1e6)",
    ("P", "pid"): _LETTERS["P"],
}
#: The names, which are those of the JSON format.
_NAMES = {
    "bytes": _LETTERS["B"],
    "bytes_received": "b'%d' % e.bytes_received",
    "connection": "b'%d' % c.number",
    "client": _LETTERS["h"],
    "duration": "b'%.6f' % (e.ended - e.started)",
    "forwarded_for": "field(e, b'x-forwarded-for')",
    "host": _LETTERS["v"],
    "method": _LETTERS["m"],
    "peer": "c.peer",
    "persistence": "b'-' if e.persistence is None else e.persistence.reason.name.encode()",
    "pid": _LETTERS["P"],
    "referer": "field(e, b'referer')",
    "request": "b'%d' % e.number",
    "scheme": "c.scheme",
    "status": _LETTERS["s"],
    "target": "escaped(e.target) or b'-'",
    "time": "isoTime(now)",
    "time_to_first_byte": "b'-' if e.status is None else b'%.6f' % firstByte(e)",
    "user_agent": "field(e, b'user-agent')",
    "version": "e.version.encode()",
}


def makeFormat(text: str) -> Format:
    """
    The format of an access log.

    :param text: ``combined``, ``json``, or a text with directives.
    :raises ValueError: with the rest of a sentence, for another word or a directive that is not known.
    """
    made = FORMATS.get(text)
    return DirectiveFormat(text) if made is None else made()


class DirectiveFormat:
    """
    A line for each request, as a text with directives says.

    :raises ValueError: see `makeFormat`.
    """

    def __init__(self, text: str) -> None:
        self._line = _compiled(text)

    def exchange(self, context: LogContext, exchange: Exchange, now: float) -> bytes:
        """See `Format.exchange`."""
        return self._line(context, exchange, now)

    def closed(self, context: LogContext, reason: CloseReason, requests: int, age: float, now: float) -> bytes:
        """See `Format.closed`: it knows of requests only."""
        return b""

    def lost(self, count: int, trouble: str, now: float) -> bytes:
        """See `Format.lost`: a comment, as in the combined format."""
        return lostComment(count, trouble)


def _compiled(text: str) -> _Line:
    if "%" not in text:
        raise ValueError(f" is combined, json or a text with directives such as %h, not {text!r}")
    if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in text):
        raise ValueError(f" must be one line without control characters, not {text!r}")
    literal: list[str] = []
    expressions: list[str] = []
    position = 0
    for match in _DIRECTIVE.finditer(text):
        literal.append(text[position : match.start()])
        position = match.end()
        if match["percent"]:
            literal.append("%%")
        else:
            literal.append("%b")
            expressions.append(_expression(match, text))
    template = "".join((*literal, text[position:], "\n")).encode()
    # Nothing but our own expressions, and the text and the arguments as literals, is compiled here.
    source = f"lambda c, e, now: {template!r} % ({''.join(f'({it}), ' for it in expressions)})"
    return cast(_Line, eval(source, dict(_FUNCTIONS)))


def _expression(match: re.Match[str], text: str) -> str:
    name, letter, argument = match["name"], match["letter"], match["argument"]
    known: str | None = None
    if name is not None:
        known = f"added(e, {name[4:]!r})" if name.startswith("log.") and name[4:] else _NAMES.get(name)
    elif argument is None:
        known = _LETTERS.get(letter or "")
    elif letter == "i" and _TOKEN.fullmatch(argument):
        known = f"field(e, {argument.lower().encode()!r})"
    else:
        known = _UNITS.get((letter or "", argument))
        if known is None and letter == "t" and "%" in argument:
            known = f"strftime({argument!r}, now)"
    if known is None:
        wrong = match[0] if len(match[0]) > 1 else text[match.start() : match.start() + 2]
        raise ValueError(f" has no directive {wrong}: {text!r}")
    return known


# -- what expressions call ---------------------------------------------------------------------------------------------


def _field(exchange: Exchange, name: bytes) -> bytes:
    """The first field of a name, which is in lower case."""
    size = len(name)
    for key, value in exchange.headers.raw:  # looked through: an index of the fields would stay with them
        if len(key) == size and key.lower() == name:
            return escaped(value) or b"-"
    return b"-"


def _added(exchange: Exchange, name: str) -> bytes:
    """What the application added under a name."""
    value = None if exchange.log is None else exchange.log.get(name)
    return b"-" if value is None else escaped(str(value).encode("utf-8", "backslashreplace")) or b"-"


def _path(exchange: Exchange) -> bytes:
    return escaped(exchange.target.partition(b"?")[0]) or b"-"


def _query(exchange: Exchange) -> bytes:
    _, mark, query = exchange.target.partition(b"?")
    return mark + escaped(query)


def _requestLine(exchange: Exchange) -> bytes:
    method = exchange.method
    return escaped(b"%b %b %b" % (method, exchange.target, protocolName(exchange))) if method else b"-"


def _persisting(exchange: Exchange) -> bytes:
    """As Apache's ``%X``: ``+`` persists, ``-`` closes, ``X``: it ended without a response."""
    if exchange.status is None:
        return b"X"
    return b"+" if exchange.persistence is not None and exchange.persistence.keep else b"-"


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return b"[%b]" % apacheDate(time.gmtime(second))


def _isoTime(now: float) -> bytes:
    second = int(now)
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
    return b"%b.%03dZ" % (date, int((now - second) * 1000))


def _strftime(form: str, now: float) -> bytes:
    return escaped(time.strftime(form, time.gmtime(now)).encode())


_FUNCTIONS: dict[str, object] = {
    "__builtins__": {},
    "added": _added,
    "authority": authority,
    "date": _date,
    "escaped": escaped,
    "field": _field,
    "firstByte": firstByte,
    "getpid": os.getpid,
    "int": int,
    "isoTime": _isoTime,
    "path": _path,
    "persisting": _persisting,
    "protocol": protocolName,
    "query": _query,
    "requestLine": _requestLine,
    "strftime": _strftime,
}
