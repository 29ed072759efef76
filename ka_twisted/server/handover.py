"""A connection that has left HTTP: it belongs to another protocol, and stays counted, timed and drained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.deadlines import Deadline
from ..core.reasons import CloseReason
from ..interfaces import IDrainable
from ..net.handed import HandedTransport
from ..net.output import OutputStream
from .settings import ServerSettings

_log = Logger()


class HandOverDriver(Protocol):
    """What is asked of the driver that has handed its connection over."""

    settings: ServerSettings
    output: OutputStream
    id: int

    @property
    def transport(self) -> Any: ...

    def await_(self, deadline: Deadline | None, due: float) -> None: ...

    def abort(self, reason: CloseReason) -> None: ...


class HandedOver:
    """
    Another protocol on the transport of a connection.

    A shutdown asks it, if it provides `IDrainable`; otherwise it has ``Timeouts.drain`` and is then cut off. A protocol
    that raises where it is called loses the connection.
    """

    __slots__ = ("_driver", "_transport")

    def __init__(self, driver: HandOverDriver, successor: IProtocol) -> None:
        self._driver = driver
        self._transport = HandedTransport(driver.transport, successor, self._written)

    @property
    def _successor(self) -> IProtocol:
        return self._transport.protocol

    def begin(self, data: bytes) -> None:
        """
        Connect the protocol.

        :param data: what the client has sent behind its request.
        """
        self._heard()
        self._tell(self._connect, data)

    def _connect(self, data: bytes) -> None:
        self._successor.makeConnection(cast(ITransport, self._transport))
        if data:
            self._successor.dataReceived(data)

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        """Call the protocol. One that raises loses its connection, and harms no other."""
        try:
            what(*arguments)
        except BaseException:
            self._failed()

    def _failed(self) -> None:
        driver = self._driver
        _log.failure(
            "the protocol {protocol!r} failed, which connection {id} was handed over to",
            protocol=self._successor,
            id=driver.id,
        )
        driver.abort(CloseReason.APPLICATION_ABORT.at("switched"))

    def _heard(self) -> None:
        """There was something on the connection, in either direction."""
        settings = self._driver.settings
        if settings.timeouts.switchedIdle:
            self._driver.await_(Deadline.SWITCHED_IDLE, settings.now() + settings.timeouts.switchedIdle)

    def _written(self, size: int) -> None:
        self._driver.output.written += size
        self._heard()

    # -- what the transport tells --------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes came."""
        self._heard()
        self._tell(self._successor.dataReceived, data)

    def readLost(self) -> None:
        """The peer has closed its side."""
        successor = self._successor
        if IHalfCloseableProtocol.providedBy(successor):
            self._tell(successor.readConnectionLost)
        else:
            self._driver.transport.loseConnection()

    def writeLost(self) -> None:
        """Our side is closed."""
        successor = self._successor
        if IHalfCloseableProtocol.providedBy(successor):
            self._tell(successor.writeConnectionLost)

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""
        try:
            self._successor.connectionLost(reason)
        except BaseException:
            _log.failure("the protocol {protocol!r} failed in connectionLost", protocol=self._successor)

    # -- what ends it --------------------------------------------------------------------------------------------------

    def expired(self, deadline: Deadline) -> None:
        """A deadline has passed."""
        if deadline is Deadline.SWITCHED_IDLE:
            self._driver.abort(CloseReason.IDLE_TIMEOUT.at("switched"))

    def retire(self) -> None:
        """A shutdown is announced."""
        successor = self._successor
        if IDrainable.providedBy(successor):
            self._tell(successor.retire)

    def drain(self) -> None:
        """A shutdown begins: who does not leave in its time is cut off by the registry."""
        if IDrainable.providedBy(self._successor):
            self._tell(self._drain, self._successor)

    def _drain(self, successor: IDrainable) -> None:
        drained = successor.drain(self._driver.settings.timeouts.drain)
        drained.addErrback(lambda failure: _log.failure("a connection could not be drained", failure))
