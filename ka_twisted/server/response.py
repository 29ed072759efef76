"""What a handler returns."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import BinaryIO, cast

from twisted.internet.interfaces import IProtocol

from ..core.errors import LocalProtocolError
from ..core.headers import (
    FORBIDDEN_TRAILERS,
    NO_FIELDS,
    FieldsInput,
    FieldText,
    ResponseFields,
    encode_text,
    response_fields,
)
from ..net.bodies import BodySource, isBody
from ..net.files import FILE_CHUNK, fileType, regularLength

#: Trailers: values, or callables that give the value once the body has been sent.
Trailers = Mapping[str, FieldText | Callable[[], FieldText]] | Mapping[bytes, FieldText | Callable[[], FieldText]]


class Response:
    """
    A final response.

    :param status: 200 to 599.
    :param body: ``bytes``; ``str``, sent as UTF-8; an iterable or async iterable of ``bytes``; an `IBodyProducer`; or a
        binary file or another object with a ``read``, read from where it stands and closed at the end.
    :param headers: a mapping, or pairs; names and values ``str`` or ``bytes``. A Content-Length states the length of
        a body that is not handed over whole. ``Connection: close`` closes the connection after the response.
    :param length: bytes of the body, where it is not handed over whole and yet known.
    :param trailers: fields that follow the body; sent where it is chunked and the client takes trailers.
    :param optionalTrailers: send the trailers to clients that did not ask for any, too (RFC 9110 6.5.1).
    :raises ValueError: for a status outside 200 to 599, for a field name or value that is none (CR, LF, NUL; RFC
        9110 5.5), for a name that may not be a trailer, and for a body of another type.
    """

    __slots__ = ("body", "fields", "optionalTrailers", "status", "trailers")

    def __init__(
        self,
        status: int = 200,
        body: bytes | str | BodySource = b"",
        headers: FieldsInput | None = None,
        *,
        length: int | None = None,
        trailers: Trailers | None = None,
        optionalTrailers: bool = False,
    ) -> None:
        self.status = status if status.__class__ is int and 200 <= status < 600 else _status(status)
        self.fields: ResponseFields = NO_FIELDS if headers is None else response_fields(headers)
        #: ``bytes``, or what produces them.
        self.body: bytes | BodySource = body if isinstance(body, bytes) else _body(body)
        self.trailers = trailers
        self.optionalTrailers = optionalTrailers
        if length is not None:
            self._state(length)
        if trailers is not None:
            _checkTrailers(trailers)

    def _state(self, length: int) -> None:
        """Take the length that the caller states."""
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise LocalProtocolError(f"not a length: {length!r}")
        stated = self.fields.length
        if stated is not None and stated != length:
            raise LocalProtocolError(f"two lengths: {length} and Content-Length: {stated}")
        self.fields = self.fields.with_length(length)

    @classmethod
    def text(cls, text: str, status: int = 200, headers: FieldsInput | None = None) -> Response:
        """Plain text in UTF-8."""
        return cls(status, text.encode(), _typed("text/plain; charset=utf-8", headers))

    @classmethod
    def html(cls, text: str, status: int = 200, headers: FieldsInput | None = None) -> Response:
        """HTML in UTF-8."""
        return cls(status, text.encode(), _typed("text/html; charset=utf-8", headers))

    @classmethod
    def json(cls, value: object, status: int = 200, headers: FieldsInput | None = None) -> Response:
        """
        A value as JSON.

        :raises TypeError: when JSON cannot express it.
        """
        return cls(status, json.dumps(value).encode() + b"\n", _typed("application/json", headers))

    @classmethod
    def stream(
        cls,
        body: BodySource,
        status: int = 200,
        headers: FieldsInput | None = None,
        *,
        length: int | None = None,
        trailers: Trailers | None = None,
        optionalTrailers: bool = False,
    ) -> Response:
        """A body that is made while it is sent: taken no faster than the client takes it."""
        return cls(status, body, headers, length=length, trailers=trailers, optionalTrailers=optionalTrailers)

    @classmethod
    def file(
        cls, file: str | os.PathLike[str] | BinaryIO, status: int = 200, headers: FieldsInput | None = None
    ) -> Response:
        """
        The bytes of a file, with their length, and a Content-Type by the file's name.

        :param file: its path; or an open binary file, sent from where it stands and closed at the end.
        :raises OSError: when it cannot be opened.
        """
        stream = open(file, "rb") if isinstance(file, (str, os.PathLike)) else file  # noqa: SIM115 (closed when sent)
        headers = _described(stream, headers)
        length = regularLength(stream)
        if length is None:
            return cls(status, stream, headers)
        if length > FILE_CHUNK:
            return cls(status, stream, headers, length=length)
        try:
            return cls(status, stream.read(length), headers)  # what is short is sent in one piece
        finally:
            stream.close()

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class Switch:
    """
    Leave HTTP: 101, and the connection belongs to another protocol (RFC 9110 7.8).

    :param protocol: takes over the transport.
    :param headers: further fields of the 101.
    :param name: which of the protocols that the client offers is meant; None: the first.
    """

    __slots__ = ("fields", "name", "protocol")

    def __init__(self, protocol: IProtocol, headers: FieldsInput | None = None, *, name: str | None = None) -> None:
        self.protocol = protocol
        self.fields = response_fields(headers)
        self.name = name


#: A request is answered with one of these; ``bytes`` and ``str`` are a 200.
Answer = Response | Switch | bytes | str
#: What a handler returns: an answer, now or later; None where it pushes its response, see `Request.start`.
Result = Answer | None | Awaitable[Answer | None]


def _status(status: object) -> int:
    if isinstance(status, int) and not isinstance(status, bool) and 200 <= status < 600:
        return int(status)  # http.HTTPStatus
    raise LocalProtocolError(f"not the status of a final response: {status!r}")


def _body(body: object) -> bytes | BodySource:
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if isBody(body):
        return cast(BodySource, body)
    raise LocalProtocolError(f"not a body: {body!r}")


def _checkTrailers(trailers: Trailers) -> None:
    for name in trailers:
        if encode_text(name).lower() in FORBIDDEN_TRAILERS:
            raise LocalProtocolError(f"{name!r} may not be a trailer")


def _described(file: object, headers: FieldsInput | None) -> FieldsInput | None:
    """The headers with what a file's name says that it holds, unless they say it themselves."""
    contentType, coding = fileType(file)
    if coding is None:
        return _typed(contentType, headers)
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    if any(encode_text(name).lower() in (b"content-type", b"content-encoding") for name, _ in pairs):
        return _typed(contentType, pairs)
    return _typed(contentType, [("Content-Encoding", coding), *pairs])


def _typed(contentType: str | None, headers: FieldsInput | None) -> FieldsInput | None:
    """The headers with a Content-Type, unless they have one."""
    if contentType is None:
        return headers
    if headers is None:
        return (("Content-Type", contentType),)
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if any(encode_text(name).lower() == b"content-type" for name, _ in pairs):
        return pairs
    return [("Content-Type", contentType), *pairs]
