"""Header fields: a received section as an immutable multimap, and the bytes of a section to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from . import grammar
from .errors import LocalProtocolError

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

    def without(self, names: Iterable[bytes]) -> Headers:
        """The same fields less those with the given lower-case names; itself when there is none."""
        doomed = frozenset(names)
        if not any(name.lower() in doomed for name, _ in self.raw):
            return self
        return Headers(pair for pair in self.raw if pair[0].lower() not in doomed)

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
    The fields that an application wants in its response, checked and encoded.

    Connection, Transfer-Encoding, Content-Length, Keep-Alive, Proxy-Connection and Trailer belong to the serialiser
    (ledger L-04, D4): they are taken out here, and what they said is kept as a value.
    """

    __slots__ = ("asks_close", "block", "dropped", "has_date", "length", "plain", "upgrade")

    def __init__(
        self,
        block: bytes = b"",
        *,
        asks_close: bool = False,
        length: int | None = None,
        has_date: bool = False,
        upgrade: bytes = b"",
        dropped: tuple[str, ...] = (),
    ) -> None:
        #: The lines, each with its CRLF.
        self.block = block
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
        #: Nothing but lines to be sent.
        self.plain = not (asks_close or has_date or upgrade or dropped) and length is None


NO_FIELDS = ResponseFields()

_OWNED = frozenset(
    (b"connection", b"transfer-encoding", b"content-length", b"keep-alive", b"proxy-connection", b"trailer", b"upgrade")
)


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


@lru_cache(maxsize=1024)
def encode_field(name: FieldText, value: FieldText) -> bytes:
    """
    One field line with its CRLF.

    :raises LocalProtocolError: when the name is no token, or the value has CR, LF, NUL or another control but HT, or
        blanks at its ends (RFC 9110 5.5).
    """
    raw_name, raw_value = encode_text(name), encode_text(value).strip(b" \t")
    if grammar.token.fullmatch(raw_name) is None or grammar.field_value.fullmatch(raw_value) is None:
        raise LocalProtocolError(f"not a header field: {name!r}: {value!r}")
    return b"%b: %b\r\n" % (raw_name, raw_value)


def response_fields(fields: FieldsInput | None) -> ResponseFields:
    """
    Check and encode an application's fields.

    :raises LocalProtocolError: as `encode_field`; for a Content-Length that is not one decimal number; and for a
        Connection that names an end-to-end field (ledger V-07).
    """
    if not fields:
        return NO_FIELDS
    pairs = tuple(fields.items() if fields.__class__ is dict or isinstance(fields, Mapping) else fields)
    try:
        return _response_fields(pairs)
    except LocalProtocolError:
        raise
    except (TypeError, ValueError):
        raise LocalProtocolError(f"field names and values are pairs of str or bytes: {fields!r}") from None


@lru_cache(maxsize=512)
def _response_fields(pairs: tuple[tuple[FieldText, FieldText], ...]) -> ResponseFields:
    """A pure function of its argument: applications send the same few sets of fields again and again."""
    lines: list[bytes] = []
    asks_close = has_date = coded = False
    length: int | None = None
    upgrade = b""
    dropped: list[str] = []
    for name, value in pairs:
        line = encode_field(name, value)
        key = line[: line.index(b":")].lower()
        if key == b"date":
            has_date = True
        elif key in _OWNED:
            text = line[len(key) + 2 : -2]
            if key == b"content-length":
                if not grammar.content_length.fullmatch(text) or (length is not None and int(text) != length):
                    raise LocalProtocolError(f"not one Content-Length: {text!r}")
                length = int(text)
                continue
            if key == b"upgrade":
                upgrade = text
                continue
            rest = grammar.split_list(text.lower())
            if key == b"connection":
                if not _END_TO_END.isdisjoint(rest):
                    raise LocalProtocolError(f"an end-to-end field is no connection option: {text!r}")
                asks_close = asks_close or b"close" in rest
                rest = [option for option in rest if option not in (b"close", b"upgrade")]
            coded = coded or key == b"transfer-encoding"
            if rest:
                said = text.decode("latin-1")
                dropped.append(f"{key.decode()}: {said} belongs to the connection, not to the response")
            continue
        lines.append(line)
    if coded and length is not None:  # ledger L-04
        dropped.append(f"content-length: {length} has no place beside a transfer-encoding")
        length = None
    return ResponseFields(
        b"".join(lines),
        asks_close=asks_close,
        length=length,
        has_date=has_date,
        upgrade=upgrade,
        dropped=tuple(dropped),
    )


def encode_trailers(fields: Iterable[tuple[FieldText, FieldText]], announced: Iterable[FieldText]) -> bytes:
    """
    The lines of a trailer section.

    :raises LocalProtocolError: for a name that was not announced (RFC 9110 6.6.2), or that may not be a trailer.
    """
    names = {_key(name) for name in announced}
    lines = []
    for name, value in fields:
        line = encode_field(name, value)
        key = _key(name)
        if key in FORBIDDEN_TRAILERS:
            raise LocalProtocolError(f"{name!r} may not be a trailer")
        if key not in names:
            raise LocalProtocolError(f"the trailer {name!r} was not announced")
        lines.append(line)
    return b"".join(lines)


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
