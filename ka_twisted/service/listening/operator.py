"""The listener of the admin page, apart from those that serve the applications."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IListeningPort

from ...server.factory import KeepAliveFactory
from ..configuration.values import Admin
from .ports import OpenPorts, Ports

if TYPE_CHECKING:
    from ...admin.interfaces import IServerView

#: Seconds for responses in service at the end; the stream of events of an open admin page never ends by itself.
_CLOSE_GRACE = 0.5


class OperatorListener:
    """
    Listens for the admin page.

    :param view: makes what it shows.
    """

    def __init__(self, reactor: Any, view: Callable[[], IServerView]) -> None:
        self._reactor = reactor
        self._view = view
        self._ports = Ports(reactor)
        self._admin: Admin | None = None
        self._factory: KeepAliveFactory | None = None

    @property
    def listening(self) -> list[IListeningPort]:
        """Its ports."""
        return [openPort.port for openPort in self._ports if openPort.port is not None]

    def prepare(self, admin: Admin | None) -> OpenPorts:
        """
        Listen, if it is wanted.

        :raises ListenError: when that fails; then nothing has changed.
        """
        return self._ports.prepare(() if admin is None else (admin.endpoint,))

    def settle(self, wanted: OpenPorts, admin: Admin | None) -> None:
        """Serve the page on what was prepared."""
        self._ports.finish(self._ports.settle(wanted))
        if admin == self._admin:
            return
        self._admin = admin
        if self._factory is not None:
            self._factory.drain(_CLOSE_GRACE)
        self._factory = None if admin is None else self._made(admin)
        for openPort in self._ports:
            openPort.switch.current = self._factory

    def forget(self, wanted: OpenPorts) -> None:
        """Close what was prepared in vain."""
        self._ports.forget(wanted)

    async def close(self) -> None:
        """Show it no more."""
        await self._ports.close()
        if self._factory is not None:
            await self._factory.drain(_CLOSE_GRACE)
        self._admin = self._factory = None

    def closeNow(self) -> None:
        """Likewise, before the reactor runs."""
        self._ports.closeNow()
        self._admin = self._factory = None

    def _made(self, admin: Admin) -> KeepAliveFactory:
        from ...admin import AdminHandler

        handler = AdminHandler(self._view(), admin.token, self._reactor)
        return KeepAliveFactory(handler, reactor=self._reactor)
