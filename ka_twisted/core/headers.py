"""
Header fields: a received section as an immutable multimap, and the checked fields of one to be sent.

How fields are written on the wire is the affair of each version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from . import grammar
from .errors import LocalProtocolError
from .memo import Memo

FieldText = str | bytes
#: What an application may hand over as fields: a mapping, or pairs.
FieldsInput = Mapping[str, FieldText] | Mapping[bytes, FieldText] | Iterable[tuple[FieldText, FieldText]]


class Headers:
    """
    The fields of one section as received: in order, with repeats, names compared without case.

    Values are given out as ``str`` decoded from Latin-1, which loses nothing; `raw` has the bytes.
    """

    __slots__ = ("_index", "raw")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        #: Names and values as received, blanks round the values removed.
        self.raw = tuple(raw)
        self._index: dict[bytes, list[bytes]] | None = None

    @property
    def index(self) -> dict[bytes, list[bytes]]:
        """The values of every line by lower-case name, in order; not to be changed. Made when first asked for."""
        if self._index is None:
            self._index = index_fields(self.raw)
        return self._index

    def values(self, name: bytes) -> list[bytes]:
        """The bytes of every line with this lower-case name, in order; not to be changed."""
        return self.index.get(name, _NOTHING)

    def get(self, name: FieldText, default: str | None = None) -> str | None:
        """The value of the first line with this name, or the default."""
        values = self.index.get(_key(name))
        return values[0].decode("latin-1") if values else default

    def all(self, name: FieldText) -> tuple[str, ...]:
        """The values of every line with this name, in order. Never joined: Set-Cookie may not be."""
        return tuple(value.decode("latin-1") for value in self.index.get(_key(name), _NOTHING))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, (str, bytes)) and _key(name) in self.index

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"


#: A section without a field.
NO_HEADERS = Headers()
_NOTHING: list[bytes] = []


def index_fields(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """The values of the lines with each lower-case name, in order."""
    index: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        key = name.lower()
        if key in index:
            index[key].append(value)
        else:
            index[key] = [value]
    return index


def _key(name: FieldText) -> bytes:
    return (name.encode("latin-1", "replace") if isinstance(name, str) else name).lower()


class ResponseFields:
    """
    The fields that an application wants in its response, checked.

    Connection, Transfer-Encoding, Content-Length, Keep-Alive, Proxy-Connection, Trailer and Upgrade belong to the
    version that sends the response (ledger L-04, D4): they are taken out here, and what they said is kept as a value.
    """

    __slots__ = ("asks_close", "dropped", "has_date", "http1_block", "length", "pairs", "personal", "plain", "upgrade")

    def __init__(
        self,
        pairs: tuple[tuple[bytes, bytes], ...] = (),
        *,
        asks_close: bool = False,
        length: int | None = None,
        has_date: bool = False,
        upgrade: bytes = b"",
        dropped: tuple[str, ...] = (),
        personal: bool = False,
    ) -> None:
        #: Names as they were given, and values without blanks at their ends, in order.
        self.pairs = pairs
        #: ``Connection: close`` was among them.
        self.asks_close = asks_close
        #: The Content-Length that was among them.
        self.length = length
        #: A Date was among them.
        self.has_date = has_date
        #: The protocols of an Upgrade field: sent with a 426 only (ledger U-07).
        self.upgrade = upgrade
        #: What was taken out and has no effect, one sentence each, for the log.
        self.dropped = dropped
        #: Some are for one client only, e.g. Set-Cookie: nothing made of them is kept for another response.
        self.personal = personal
        #: Nothing but fields to be sent.
        self.plain = not (asks_close or has_date or upgrade or dropped) and length is None
        #: The pairs as HTTP/1 writes them, once it has: `http1.encoding` remembers them here and nothing else reads it.
        #: Each version of HTTP has one such slot.
        self.http1_block: bytes | None = None

    def with_length(self, length: int) -> ResponseFields:
        """The same fields with a Content-Length."""
        made = ResponseFields(
            self.pairs,
            asks_close=self.asks_close,
            length=length,
            has_date=self.has_date,
            upgrade=self.upgrade,
            dropped=self.dropped,
            personal=self.personal,
        )
        made.http1_block = self.http1_block
        return made


NO_FIELDS = ResponseFields()

_OWNED = frozenset(
    (b"connection", b"transfer-encoding", b"content-length", b"keep-alive", b"proxy-connection", b"trailer", b"upgrade")
)
#: Fields whose values are for one client, or for one request: never kept for another.
_PERSONAL = frozenset(
    b"set-cookie set-cookie2 authentication-info proxy-authentication-info www-authenticate proxy-authenticate "
    b"sec-websocket-accept".split()
)
#: Bytes that remembered sets of fields may take in a process: a thousand usual sets, or some hundred long ones.
MEMO_BYTES = 1 << 20
#: The same for single fields: what is common to the sets that differ in one.
LINE_MEMO_BYTES = 1 << 18


def encode_text(text: object) -> bytes:
    """
    Bytes of a field name or value.

    :raises LocalProtocolError: for anything but ``str`` within Latin-1 or ``bytes``.
    """
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise LocalProtocolError(f"field names and values are str or bytes, not {text!r}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"a field holds characters beyond Latin-1: {text!r}") from None


def check_field(name: FieldText, value: FieldText) -> tuple[bytes, bytes]:
    """
    One field as bytes, blanks at the ends of its value removed.

    :raises LocalProtocolError: when the name is no token, or the value has CR, LF, NUL or another control but HT
        (RFC 9110 5.5).
    """
    raw_name, raw_value = encode_text(name), encode_text(value).strip(b" \t")
    if grammar.token.fullmatch(raw_name) is None or grammar.field_value.fullmatch(raw_value) is None:
        raise LocalProtocolError(f"not a header field: {name!r}: {value!r}")
    return raw_name, raw_value


def response_fields(fields: FieldsInput | None) -> ResponseFields:
    """
    Check an application's fields.

    Applications send the same few sets of fields again and again: a set that is met for the second time is remembered,
    unless it holds what is for one client only.

    :raises LocalProtocolError: as `check_field`; for a Content-Length that is not one decimal number; and for a
        Connection that names an end-to-end field (ledger V-07).
    """
    if not fields:
        return NO_FIELDS
    pairs = tuple(fields.items() if fields.__class__ is dict or isinstance(fields, Mapping) else fields)
    try:
        known = _remembered.get(pairs)
        if known is not None:
            return known
        made = _response_fields(pairs)
        if not made.personal:
            _remembered.offer(pairs, made, _size(made))
    except LocalProtocolError:
        raise
    except (TypeError, ValueError):
        raise LocalProtocolError(f"field names and values are pairs of str or bytes: {fields!r}") from None
    return made


_remembered: Memo[tuple[tuple[FieldText, FieldText], ...], ResponseFields] = Memo(MEMO_BYTES)


def _size(fields: ResponseFields) -> int:
    """Bytes that a remembered set takes: the application's pairs, the checked ones, and one version's encoding."""
    text = sum(len(name) + len(value) for name, value in fields.pairs) + sum(map(len, fields.dropped))
    return 600 + 320 * len(fields.pairs) + 3 * text + 2 * len(fields.upgrade)


_checked: Memo[tuple[FieldText, FieldText], tuple[tuple[bytes, bytes], bytes]] = Memo(LINE_MEMO_BYTES)


def _check(name: FieldText, value: FieldText) -> tuple[tuple[bytes, bytes], bytes]:
    """A checked field and its lower-case name; remembered, since sets that change have fields that do not."""
    pair = check_field(name, value)
    key = pair[0].lower()
    if key not in _PERSONAL:
        _checked.offer((name, value), (pair, key), 500 + 3 * len(pair[0]) + 2 * len(pair[1]))
    return pair, key


def _response_fields(given: tuple[tuple[FieldText, FieldText], ...]) -> ResponseFields:
    pairs: list[tuple[bytes, bytes]] = []
    asks_close = has_date = coded = personal = False
    length: int | None = None
    upgrade = b""
    dropped: list[str] = []
    for item in given:
        pair, key = _checked.get(item) or _check(*item)
        text = pair[1]
        if key not in _OWNED:
            has_date = has_date or key == b"date"
            personal = personal or key in _PERSONAL
            pairs.append(pair)
        elif key == b"content-length":
            length = _stated_length(text, length)
        elif key == b"upgrade":
            upgrade = text
        else:
            left = grammar.split_list(text.lower())
            if key == b"connection":
                if not _END_TO_END.isdisjoint(left):
                    raise LocalProtocolError(f"an end-to-end field is no connection option: {text!r}")
                asks_close = asks_close or b"close" in left
                left = [option for option in left if option not in (b"close", b"upgrade")]
            coded = coded or key == b"transfer-encoding"
            if left:
                said = text.decode("latin-1")
                dropped.append(f"{key.decode()}: {said} belongs to the connection, not to the response")
    if coded and length is not None:  # ledger L-04
        dropped.append(f"content-length: {length} has no place beside a transfer-encoding")
        length = None
    return ResponseFields(
        tuple(pairs),
        asks_close=asks_close,
        length=length,
        has_date=has_date,
        upgrade=upgrade,
        dropped=tuple(dropped),
        personal=personal,
    )


def _stated_length(text: bytes, before: int | None) -> int:
    """The value of a Content-Length line, which has to agree with those before it."""
    if not grammar.content_length.fullmatch(text) or (before is not None and int(text) != before):
        raise LocalProtocolError(f"not one Content-Length: {text!r}")
    return int(text)


def trailer_fields(
    fields: Iterable[tuple[FieldText, FieldText]], names: Iterable[FieldText]
) -> tuple[tuple[bytes, bytes], ...]:
    """
    The checked fields of a trailer section.

    :param names: those that the Trailer field announces.
    :raises LocalProtocolError: for a name that is not among them (RFC 9110 6.6.2), or that may not be a trailer.
    """
    allowed = {_key(name) for name in names}
    pairs = []
    for name, value in fields:
        pair = check_field(name, value)
        key = pair[0].lower()
        if key in FORBIDDEN_TRAILERS:
            raise LocalProtocolError(f"{name!r} may not be a trailer")
        if key not in allowed:
            raise LocalProtocolError(f"the trailer {name!r} was not announced")
        pairs.append(pair)
    return tuple(pairs)


#: Fields that decide framing, routing, authority, conditions or content format (RFC 9110 6.5.1, ledger L-28).
FORBIDDEN_TRAILERS = frozenset(
    b"transfer-encoding content-length trailer host connection keep-alive proxy-connection te upgrade expect "
    b"max-forwards authorization proxy-authorization proxy-authenticate www-authenticate cookie set-cookie age "
    b"cache-control expires date location retry-after vary warning pragma range if-match if-none-match "
    b"if-modified-since if-unmodified-since if-range content-encoding content-type content-range".split()
)
#: Fields that no Connection line may name (ledger V-07): those above that serve more than one hop, and the commonest
#: others.
_END_TO_END = FORBIDDEN_TRAILERS - frozenset(
    b"transfer-encoding trailer connection keep-alive proxy-connection te upgrade proxy-authorization "
    b"proxy-authenticate".split()
) | frozenset(
    b"accept accept-charset accept-encoding accept-language accept-ranges allow content-language "
    b"content-location etag from last-modified referer server user-agent".split()
)
