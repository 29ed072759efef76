"""Descriptions of Twisted endpoints, as text: checked, completed, and relieved of TLS."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from ...config import Certificate, Tls
from ..applications.loading import oneLine

#: The names of the arguments, in the order in which they need none.
_NAMES = {
    "unix": ("address",),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
}
_PATHS = ("address", "privateKey", "certKey", "extraCertChain")
#: What of that is asked for in another way here.
_ELSEWHERE = {
    "sslmethod": "its versions are set by listen.tls.minimum in the configuration file",
    "dhParameters": "keys are exchanged on elliptic curves",
}


@dataclass
class Description:
    """
    A description, taken apart.

    :ivar kind: its first word.
    :ivar arguments: those without a name.
    :ivar named: those with one.
    """

    kind: str
    arguments: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)

    @classmethod
    def fromString(cls, text: str) -> Description:
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
        return ":".join([_quoted(self.kind), *map(_quoted, self.arguments), *named])


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
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # an endpoint's parser may be anybody's and raise anything
        raise ValueError(_trouble(text, error)) from error
    return endpoint


def based(text: str, folder: str) -> str:
    """A description in which no path is relative, if those that are begin at a folder."""
    it = Description.fromString(text)
    if it.kind == "ssl" and len(it.arguments) < 2:
        it.named.setdefault("privateKey", "server.pem")
    arguments = dict(zip(_NAMES.get(it.kind, ()), it.arguments, strict=False)) | it.named
    relative = {name for name in _PATHS if arguments.get(name) and not os.path.isabs(arguments[name])}
    if it.kind not in _NAMES or not relative:
        return text
    for index, name in enumerate(_NAMES[it.kind][: len(it.arguments)]):
        if name in relative:
            it.arguments[index] = os.path.join(folder, it.arguments[index])
    it.named |= {name: os.path.join(folder, it.named[name]) for name in relative & it.named.keys()}
    return str(it)


def withoutTls(text: str) -> tuple[str, Tls | None]:
    """
    Part the description of an ``ssl:`` endpoint into the one beneath it, and the TLS on top; leave others alone.

    :raises ValueError: with the reason, when it asks for what there is not.
    """
    it = Description.fromString(text)
    if it.kind != "ssl":
        return text, None
    names = _NAMES["ssl"]
    if len(it.arguments) > len(names):
        raise ValueError(f"it takes {len(names)} arguments at most")
    named = dict(zip(names, it.arguments, strict=False)) | it.named
    for name in named:
        if name in _ELSEWHERE:
            raise ValueError(f"{name} is not used: {_ELSEWHERE[name]}")
    key = named.pop("privateKey", "server.pem")
    chain = named.pop("certKey", key)
    further = (named.pop("extraCertChain"),) if "extraCertChain" in named else ()
    port = [named.pop("port")] if "port" in named else []
    return str(Description("tcp", port, named)), Tls(certificates=(Certificate(chain, key, further),))


def _trouble(text: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, LookupError) and text.startswith("systemd:"):
        return "systemd has not handed over such a socket"
    if isinstance(error, TypeError):  # a parser was called with arguments that it does not take
        return re.sub(r"^\S+\(\) ", "", oneLine(error))
    number = re.match(r"invalid literal for int\(\) with base \d+: (.*)", oneLine(error))
    return f"{number[1]} is not a number" if number else oneLine(error)
