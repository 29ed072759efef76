"""Several sites on one server, told apart by the authority that a request names (RFC 9110 7.2, ledger H-15, H-17)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .request import Request
from .response import Response

if TYPE_CHECKING:
    from .factory import Handler


class Sites:
    """
    A handler that passes each request to the handler of its site.

    :param sites: handlers by host name, with or without a port; names with a port are looked up first.
    :param default: answers requests that name no site known here; None: they get 421.
    """

    def __init__(self, sites: Mapping[str, Handler], default: Handler | None = None) -> None:
        self._sites = {name.lower(): handler for name, handler in sites.items()}
        self._default = default

    def __call__(self, request: Request) -> Any:
        """Answer a request."""
        authority = request.host.lower()
        name = authority if authority.endswith("]") else authority.rsplit(":", 1)[0]
        handler = self._sites.get(authority) or self._sites.get(name) or self._default
        if handler is None:
            return Response.text("this site is not served here\n", 421)
        return handler(request)
