"""Upgrade: whether a connection leaves HTTP, and for which protocol (RFC 9110 7.8)."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from twisted.internet.interfaces import IProtocol

from .hooks import Upgrade, UpgradeHandler
from .request import Request
from .response import Response, Switch


def choose(request: Request, handlers: Mapping[str, UpgradeHandler]) -> tuple[str, UpgradeHandler] | None:
    """The first protocol that the client offers and that is supported, names compared without case (ledger U-02)."""
    for offered in request.upgrades:
        handler = handlers.get(offered.lower())
        if handler is not None:
            return offered, handler
    return None


async def negotiate(request: Request, name: str, handler: UpgradeHandler, maxBody: int) -> Switch | Response | None:
    """
    Ask the handler, once the body of the request is read (ledger U-06).

    :param name: the protocol, as it was offered.
    :param maxBody: bytes; with a larger body the offer is ignored, and the body can be read as if nothing was.
    :return: a response refuses the offer; None where the request is to be answered as if there was none.
    """
    if not await _readBody(request, maxBody):
        return None
    answer = handler(request)
    decided = await answer if isinstance(answer, Awaitable) else answer
    return _checked(decided, name)


def _checked(decided: Upgrade, name: str) -> Switch | Response | None:
    if isinstance(decided, Switch):
        if decided.name is None:
            decided.name = name
        return decided
    if decided is None or isinstance(decided, Response):
        return decided
    if IProtocol.providedBy(decided):
        return Switch(decided, name=name)
    raise TypeError(f"an upgrade handler returns a protocol, a Switch, a Response or None, not {decided!r}")


async def _readBody(request: Request, limit: int) -> bool:
    """Read the body and push it back; False, with as much pushed back as was read, when it is too large."""
    if request.contentLength == 0:
        return True
    if request.contentLength is not None and request.contentLength > limit:
        return False
    pieces: list[bytes] = []
    size = 0
    while size <= limit and (data := await request.body.readChunk()):
        pieces.append(data)
        size += len(data)
    request.body.pushBack(b"".join(pieces))
    return size <= limit
