"""
What people write for an endpoint, as other servers take it: a port, an address with a port, a path.

What has one meaning becomes the description of a Twisted endpoint. For what has none, or more than one, there is the
rest of a sentence that says what to write: a server that listens elsewhere than it was meant to is worse than one that
does not start.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

#: HOST:PORT, [HOST]:PORT, :PORT, PORT. Ports are checked where the description is.
_HOST_PORT = re.compile(r"(?:(?:\[(?P<literal>[^\[\]]*)\]|(?P<host>[^:/\[\]]*)):)?(?P<port>[0-9]+)")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*\.?")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
#: HOST:PORT behind the kind of the endpoint, where Twisted has PORT first.
_TURNED = re.compile(
    r"(?P<kind>tcp6?|ssl):(?P<host>\[[^\[\]]*\]|[^:=\[\]]*[^:=0-9\[\]][^:=\[\]]*):(?P<port>[0-9]+)(?P<rest>:.*)?"
)

FORMS = "write PORT, ADDRESS:PORT, /PATH or the description of a Twisted endpoint"


def description(text: str) -> str:
    """
    The description of the Twisted endpoint that a text stands for; one that may be a description already is left alone.

    :raises ValueError: with the rest of a sentence, for what has no meaning, or more than one.
    """
    text = text.strip()
    try:
        return _described(text)
    except ValueError as error:
        raise ValueError(f" {text} is not an endpoint: {error}" if text else f" is empty: {FORMS}") from None


def _described(text: str) -> str:
    if not text:
        raise ValueError
    if text.startswith(("/", "./", "../")):
        if re.search(r"[:=\\]", text):
            raise ValueError(f"write unix:{text}, with \\: and \\= for a : and a = in the path itself")
        if text.endswith("/"):
            raise ValueError("it is the path of a directory; write that of the socket")
        return f"unix:{text.removeprefix('./')}"
    if found := re.fullmatch(r"unix:/(/+)([^/].*)", text, re.DOTALL):
        if len(found[1]) == 1:
            raise ValueError(f"write unix:/{found[2]} for a path from the root on")
        return f"unix:/{found[2]}"
    if found := _URL.fullmatch(text):
        raise ValueError(f"it is a URL; {_insteadOf(found['scheme'].lower(), found['rest'].partition('/')[0])}")
    if _isAddress(text) and ":" in text:
        raise ValueError("an IPv6 address stands in brackets; write [ADDRESS]:PORT")
    if _isAddress(text.removeprefix("[").removesuffix("]")) or text.lower().rstrip(".") == "localhost":
        raise ValueError(f"the port is missing; write {text}:PORT")
    if found := _HOST_PORT.fullmatch(text):
        return _tcp(found) or text
    if (found := _TURNED.fullmatch(text)) and _isHost(host := found["host"].strip("[]")):
        interface = "" if host in ("*", "") else f":interface={_escaped(host)}"
        raise ValueError(f"the port comes first; write {found['kind']}:{found['port']}{interface}{found['rest'] or ''}")
    return text


def advice(text: str) -> str:
    """What to write instead of a description of no kind that Twisted knows."""
    found = _HOST_PORT.fullmatch(text)
    if found and found["host"] and _NAME.fullmatch(found["host"]):
        port = found["port"]
        return f"{found['host']} is neither a kind of endpoint nor an address; write ADDRESS:{port}, or :{port} for all"
    kind = re.split(r"[:=]", text)[0]
    return f"there is no kind of endpoint called {kind!r}; {FORMS}"


def _tcp(found: re.Match[str]) -> str:
    """The endpoint at an address; empty: what stands before the port is none."""
    host, port = found["host"], found["port"]
    if found["literal"] is not None:
        host = found["literal"]
        if not _isAddress(host) or ":" not in host:
            raise ValueError(f"[{host}] is not an IPv6 address; write [::1]:{port}, for one")
    elif host and host.lower().rstrip(".") == "localhost":
        host = "127.0.0.1"
    if host in (None, "", "*"):
        return f"tcp:{port}"
    return f"tcp:{port}:interface={_escaped(host)}" if _isAddress(host) else ""


def _insteadOf(scheme: str, authority: str) -> str:
    if scheme in ("https", "ssl", "tls"):
        return "write ssl:PORT:privateKey=FILE:certKey=FILE, or ADDRESS:PORT with listen.tls in the configuration file"
    if scheme == "fd":
        return "write systemd:domain=INET:index=0 for the first socket that was handed over"
    found = _HOST_PORT.fullmatch(authority)
    return f"write {authority}" if found else f"write {authority or 'ADDRESS'}:PORT"


def _isAddress(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _isHost(text: str) -> bool:
    """Whether this is what a server may listen on: an address, all of them, or this machine's own."""
    return text in ("", "*") or text.lower().rstrip(".") == "localhost" or _isAddress(text)


def _escaped(host: str) -> str:
    return host.replace(":", "\\:")
