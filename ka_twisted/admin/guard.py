"""
Access control of the operator's page.

With a token, a request has to present it: in an Authorization field, or in the cookie that a browser gets for it.
Without one, every client that can connect is admitted; what is left to defend against is a web page of another origin
in the operator's browser (CSRF, DNS rebinding), which Host, Origin and Fetch Metadata give away.
"""

from __future__ import annotations

import re
from hashlib import sha256
from hmac import compare_digest, digest
from urllib.parse import parse_qs

from twisted.internet.interfaces import IAddress

from ..core.targets import canonical_authority
from ..server.request import Request
from .locality import isLoopback

#: Bytes of a form with a token.
FORM_LIMIT = 4096
#: A host with or without a port: what stands in brackets, or in front of a colon (RFC 3986 3.2.2).
_HOST = re.compile(r"(?:\[([^]]*)]|([^:]*))(?::\d*)?")


class Guard:
    """
    Decides about requests.

    :param token: what has to be presented; empty: nothing.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # Cookies are shared by all servers of a host, on any port, hence the name. The token cannot be computed from
        # the value, which stays valid over a restart.
        self._cookieName = f"ka_twisted_{self._derived('name')[:12]}"
        self._cookieValue = self._derived("value")

    @property
    def hasToken(self) -> bool:
        """Whether there is a token."""
        return bool(self._token)

    def _derived(self, what: str) -> str:
        return digest(self._token, f"ka_twisted admin cookie {what}".encode(), "sha256").hex()

    def refusal(self, request: Request) -> str | None:
        """Why a request cannot be the operator's, in a sentence; None where it can."""
        if not self.hasToken and not _namesThisServer(request):
            return f"{request.host or 'an empty host'} is not a name of this server: use its address, or localhost"
        if _isCrossOrigin(request):
            return "requests by pages of another origin are refused"
        return None

    def admits(self, request: Request) -> bool:
        """Whether a request presents the token, where there is one."""
        return not self.hasToken or self._hasBearer(request) or self._hasCookie(request)

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
        return self.hasToken and _equal(data, self._token)

    def isTokenForm(self, form: bytes) -> bool:
        """Whether a form has sent the token."""
        fields = parse_qs(form.decode("latin-1"), encoding="latin-1")
        return self._isToken(fields.get("token", [""])[0].strip().encode("latin-1"))

    def cookie(self, request: Request) -> str:
        """What a browser that has presented the token is to present from now on, until it is closed (RFC 6265)."""
        secure = "; Secure" if request.connection.secure else ""
        return f"{self._cookieName}={self._cookieValue}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _equal(one: bytes, other: bytes) -> bool:
    """Compare in a time that depends on neither content nor length."""
    return compare_digest(sha256(one).digest(), sha256(other).digest())


def _namesThisServer(request: Request) -> bool:
    """Whether Host is loopback, or the address that was connected to: a name could be pointed here by others."""
    match = _HOST.fullmatch(canonical_authority(request.host))
    if match is None:
        return False
    host = match[1] or match[2] or ""
    return isLoopback(host) or host == _host(request.connection.host)


def _host(address: IAddress) -> str | None:
    host = getattr(address, "host", None)
    return host.lower() if isinstance(host, str) else None


def _isCrossOrigin(request: Request) -> bool:
    """
    Whether a page of another origin made the browser send this, other than by a link to the operator's page.

    Browsers say so (Fetch Metadata, Origin); other clients do not send these fields.
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
