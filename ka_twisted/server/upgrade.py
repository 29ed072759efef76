"""Upgrade: whether this connection leaves HTTP, and for which protocol (RFC 9110 7.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IProtocol

from .request import Request
from .response import Switch

#: Gives the protocol that takes over, a `Switch` with further fields for the 101, or None to answer ordinarily; or a
#: Deferred or coroutine of one of them.
UpgradeHandler = Callable[[Request], Any]


def choose(request: Request, handlers: Mapping[str, UpgradeHandler]) -> tuple[str, UpgradeHandler] | None:
    """The first protocol that the client offers and somebody here speaks, names compared without case (ledger U-02)."""
    for offered in request.upgrades:
        handler = handlers.get(offered.lower())
        if handler is not None:
            return offered, handler
    return None


async def negotiate(request: Request, handler: UpgradeHandler, maxBody: int) -> Switch | None:
    """
    Ask the handler, once the body of the request is read (ledger U-06).

    :param maxBody: bytes; with a larger body the offer is ignored, and the body is there to be read as if nothing was.
    :return: None when the request is to be answered ordinarily.
    """
    if not await _readBody(request, maxBody):
        return None
    answer = handler(request)
    if hasattr(answer, "__await__"):
        answer = await answer
    if answer is None or isinstance(answer, Switch):
        return answer
    if IProtocol.providedBy(answer):
        return Switch(answer)
    raise TypeError(f"an upgrade handler gives a protocol, a Switch or None, not {answer!r}")


async def _readBody(request: Request, limit: int) -> bool:
    """Read the body and give it back; False, with as much given back as was read, when it is too large."""
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
