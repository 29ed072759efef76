"""Descriptions of Twisted endpoints, as text: checked, completed, and split into the endpoint and its TLS."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from ...config import Certificate, Tls
from ..errors import oneLine
from . import addresses

#: The names of the arguments, in the order in which they need none.
_NAMES = {
    "unix": ("address",),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
}
_PATHS = ("address", "privateKey", "certKey", "extraCertChain")
#: Arguments that are set elsewhere, and where.
_NOT_USED = {
    "sslmethod": "its versions are set by listen.tls.minimum in the configuration file",
    "dhParameters": "keys are exchanged on elliptic curves",
}


@dataclass
class EndpointDescription:
    """
    A description, taken apart.

    :ivar type: its first word.
    :ivar arguments: those without a name.
    :ivar named: those with one.
    """

    type: str
    arguments: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)

    @classmethod
    def fromString(cls, text: str) -> EndpointDescription:
        """Take a description apart; every text is one."""
        first, *parts = _parts(text, ":")
        it = cls(_unquoted(first))
        for part in parts:
            name, *value = _parts(part, "=")
            if value:
                it.named[_unquoted(name)] = _unquoted("=".join(value))
            else:
                it.arguments.append(_unquoted(name))
        return it

    def __str__(self) -> str:
        named = (f"{_quoted(name)}={_quoted(value)}" for name, value in self.named.items())
        return ":".join([_quoted(self.type), *map(_quoted, self.arguments), *named])


def _parts(text: str, separator: str) -> list[str]:
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == separator:
            parts.append("")
        else:
            parts[-1] += character + (next(characters, "") if character == "\\" else "")
    return parts


def _quoted(text: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", text)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def makeEndpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """
    Make the endpoint that a description stands for.

    :raises ValueError: with the reason, when it stands for none.
    """
    port = re.match(r"(?:tcp6?|ssl):(?:port=)?(-?\d+)(?::|$)", text)
    if port and not 0 <= int(port[1]) <= 65535:
        raise ValueError("a port is between 0 and 65535")
    if text.rstrip(":") == "unix":
        raise ValueError("the path of the socket is missing")
    if text.rstrip(":") in ("tcp", "tcp6", "ssl"):
        raise ValueError(f"the port is missing; write {text.rstrip(':')}:PORT")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # an endpoint's parser may be anybody's and raise anything
        raise ValueError(_reason(text, error)) from error
    return endpoint


def resolvePaths(text: str, folder: str) -> str:
    """A description in which no path is relative, if those that are begin at a folder."""
    it = EndpointDescription.fromString(text)
    if it.type == "ssl" and len(it.arguments) < 2:
        it.named.setdefault("privateKey", "server.pem")
    arguments = dict(zip(_NAMES.get(it.type, ()), it.arguments, strict=False)) | it.named
    relative = {name for name in _PATHS if arguments.get(name) and not os.path.isabs(arguments[name])}
    if it.type not in _NAMES or not relative:
        return text
    for index, name in enumerate(_NAMES[it.type][: len(it.arguments)]):
        if name in relative:
            it.arguments[index] = os.path.join(folder, it.arguments[index])
    it.named |= {name: os.path.join(folder, it.named[name]) for name in relative & it.named.keys()}
    return str(it)


def splitTls(text: str) -> tuple[str, Tls | None]:
    """
    Split the description of an ``ssl:`` endpoint into that of the TCP endpoint and its TLS; leave others alone.

    :raises ValueError: with the reason, when it has an argument that is not supported.
    """
    it = EndpointDescription.fromString(text)
    if it.type != "ssl":
        return text, None
    names = _NAMES["ssl"]
    if len(it.arguments) > len(names):
        raise ValueError(f"it takes {len(names)} arguments at most")
    named = dict(zip(names, it.arguments, strict=False)) | it.named
    for name in named:
        if name in _NOT_USED:
            raise ValueError(f"{name} is not used: {_NOT_USED[name]}")
    key = named.pop("privateKey", "server.pem")
    chain = named.pop("certKey", key)
    further = (named.pop("extraCertChain"),) if "extraCertChain" in named else ()
    port = [named.pop("port")] if "port" in named else []
    return str(EndpointDescription("tcp", port, named)), Tls(certificates=(Certificate(chain, key, further),))


def _reason(text: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, LookupError) and text.startswith("systemd:"):
        return "systemd has not handed over such a socket"
    if isinstance(error, TypeError):  # a parser was called with arguments that it does not take
        return re.sub(r"^\S+\(\) ", "", oneLine(error))
    if oneLine(error).startswith("Unknown endpoint type"):
        return addresses.advice(text)
    number = re.match(r"invalid literal for int\(\) with base \d+: (.*)", oneLine(error))
    return f"{number[1]} is not a number" if number else oneLine(error)
