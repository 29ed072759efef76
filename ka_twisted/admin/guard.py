"""
Who may see the operator's page, and who may press its buttons.

With a token, whoever presents it: in an Authorization field, or in the cookie that a browser gets for it. Without one,
whoever can connect; then the enemy is a web page from elsewhere that makes the operator's browser ask, and it is given
away by the host that it is on.
"""

from __future__ import annotations

import re
from hashlib import sha256
from hmac import compare_digest, digest
from urllib.parse import parse_qs

from twisted.internet.interfaces import IAddress

from ..server.request import Request
from .locality import isLoopback

#: Bytes of a form with a token.
FORM_LIMIT = 4096
#: A host with or without a port: what stands in brackets, or in front of a colon (RFC 3986 3.2.2).
_HOST = re.compile(r"(?:\[([^]]*)]|([^:]*))(?::\d*)?")


class Guard:
    """
    :param token: what has to be presented; empty: nothing.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # Cookies are shared by all servers of a host, whatever their ports. It is no use to anybody that has it but
        # for what it is, and stays good when the server is started anew.
        self._cookieName = f"ka_twisted_{self._derived('name')[:12]}"
        self._cookieValue = self._derived("value")

    @property
    def asks(self) -> bool:
        """Whether there is a token."""
        return bool(self._token)

    def _derived(self, what: str) -> str:
        return digest(self._token, f"ka_twisted admin cookie {what}".encode(), "sha256").hex()

    def refusal(self, request: Request) -> str | None:
        """Why this request is none of an operator, in a sentence; None where it is."""
        if not self.asks and not _namesUs(request):
            return f"{request.host or 'an empty host'} is not a name of this server: use its address, or localhost"
        if _isFromElsewhere(request):
            return "requests by pages of another origin are refused"
        return None

    def admits(self, request: Request) -> bool:
        """Whether a request presents the token, where there is one."""
        return not self.asks or self._hasBearer(request) or self._hasCookie(request)

    def _hasBearer(self, request: Request) -> bool:
        scheme, _, credentials = (request.headers.get("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and self._isToken(credentials.strip().encode("latin-1"))

    def _hasCookie(self, request: Request) -> bool:
        for line in request.headers.all("cookie"):
            for pair in line.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self._cookieName and _equal(value.encode("latin-1"), self._cookieValue.encode()):
                    return True
        return False

    def _isToken(self, data: bytes) -> bool:
        return self.asks and _equal(data, self._token)

    def isTokenForm(self, form: bytes) -> bool:
        """Whether a form has sent the token."""
        fields = parse_qs(form.decode("latin-1"), encoding="latin-1")
        return self._isToken(fields.get("token", [""])[0].strip().encode("latin-1"))

    def cookie(self, request: Request) -> str:
        """What a browser that has presented the token is to present from now on, until it is closed (RFC 6265)."""
        secure = "; Secure" if request.connection.secure else ""
        return f"{self._cookieName}={self._cookieValue}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _equal(one: bytes, other: bytes) -> bool:
    """In a time that tells nothing, lengths included."""
    return compare_digest(sha256(one).digest(), sha256(other).digest())


def _namesUs(request: Request) -> bool:
    """Whether the host asked for is loopback, or the address that was connected to: no name that others can give us."""
    match = _HOST.fullmatch(request.host.lower())
    if match is None:
        return False
    host = match[1] or match[2] or ""
    return host == "localhost" or isLoopback(host) or host == _host(request.connection.host)


def _host(address: IAddress) -> str | None:
    host = getattr(address, "host", None)
    return host.lower() if isinstance(host, str) else None


def _isFromElsewhere(request: Request) -> bool:
    """
    Whether a page of another origin has made the browser ask, other than by following a link to the page.

    Browsers say so (Fetch Metadata, Origin); other clients say nothing and do what they are told by who runs them.
    """
    headers = request.headers
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return not _isOwnOrigin(request)
    follows = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (follows and request.method == "GET" and request.path == "/")


def _isOwnOrigin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or origin.lower().partition("://")[2] == request.host.lower()
