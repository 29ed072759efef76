"""The transport of a connection that was handed over to another protocol: what goes over it is still seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IProtocol
from zope.interface import directlyProvides, providedBy

#: The attributes that are not the transport's.
_OWN = frozenset(("_counted", "transport", "protocol"))


class HandedTransport:
    """
    A transport as its new protocol has it.

    It is the transport in all that it provides, its methods and its attributes, but for two things. Bytes written are
    counted; and `protocol` is not the transport's: a protocol that puts another in its place, by assigning it here,
    does not take the connection away from its owner, which passes on what comes to the one that stands here.

    :param transport: Twisted's, or anything that has its methods.
    :param protocol: gets the connection. Its ``makeConnection`` is not called.
    :param counted: is called with the number of bytes of each write, before they are written.
    :ivar protocol: gets what comes, and hears of the end.
    :ivar transport: what it stands for, as wrappers of Twisted have it.
    """

    protocol: IProtocol

    def __init__(self, transport: Any, protocol: IProtocol, counted: Callable[[int], object]) -> None:
        self.transport = transport
        self._counted = counted
        self.protocol = protocol
        specification: Any = providedBy(transport)
        directlyProvides(self, specification)

    def write(self, data: bytes) -> None:
        """See `ITransport.write`."""
        self._counted(len(data))
        self.transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport.writeSequence`."""
        pieces = list(data)
        self._counted(sum(map(len, pieces)))
        self.transport.writeSequence(pieces)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or name.startswith("__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.transport, name, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.transport!r}>"
