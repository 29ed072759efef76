"""Several sites on one server, told apart by the authority and the path that a request names (ledger H-15, H-17)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..core.targets import canonical_authority
from .hooks import Handler
from .request import Request
from .response import Response, Result

#: The prefixes of one host with their handlers, the longest first.
_Prefixes = list[tuple[str, Handler]]


class Sites:
    """
    A handler that passes each request to the handler of its site.

    The sites of the request's own host are looked at first, with its port and then without, those of any host after
    them; among each, the longest prefix that fits wins. A prefix fits a path that it is the whole of, or that goes on
    with ``/`` behind it; ``/`` fits all, also ``*``.

    Host names are compared without regard to case and to a dot at their end. Paths are compared as they came, byte by
    byte, and so are prefixes: case counts, ``%2F`` is no ``/``, ``%61`` is no ``a``, and neither ``//`` nor ``/../`` is
    taken for anything shorter. The handler gets the path whole. Hence a prefix says who answers, not who may ask.

    :param sites: handlers by ``host``, ``host/prefix`` or ``/prefix``, which is for any host. A host may have a port.
        A ``/`` at the end of a prefix changes nothing.
    :param default: the same as the handler of ``/``: answers what no other site takes; None: requests for a host that
        has no site get 421 (RFC 9110 7.4), those for a path that has none 404.
    :raises ValueError: for two handlers of the same requests.
    """

    def __init__(self, sites: Mapping[str, Handler], default: Handler | None = None) -> None:
        hosts: dict[str, dict[str, Handler]] = {}
        for name, handler in [*sites.items(), *([] if default is None else [("/", default)])]:
            host, _, rest = name.partition("/")
            prefix = f"/{rest}".rstrip("/")
            host = canonical_authority(host)
            if hosts.setdefault(host, {}).setdefault(prefix, handler) is not handler:
                raise ValueError(f"two sites answer for {host or 'any host'} at {prefix or '/'}")
        self._hosts: dict[str, _Prefixes] = {
            host: sorted(prefixes.items(), key=lambda entry: -len(entry[0])) for host, prefixes in hosts.items()
        }

    def __call__(self, request: Request) -> Result:
        """Answer a request."""
        path = request.path
        known = False
        for prefixes in self._candidates(canonical_authority(request.host)):
            known = True
            for prefix, handler in prefixes:
                if not prefix or path == prefix or path.startswith(f"{prefix}/"):
                    return handler(request)
        if known:
            return Response.text("nothing is served at this path\n", 404)
        return Response.text("this site is not served here\n", 421)

    def _candidates(self, authority: str) -> Iterator[_Prefixes]:
        name = authority if authority.endswith("]") else authority.rsplit(":", 1)[0]
        for host in dict.fromkeys((authority, name, "")):
            prefixes = self._hosts.get(host)
            if prefixes is not None:
                yield prefixes
