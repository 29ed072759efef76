"""
An application for twistd that is stopped gracefully: the port closes first, then what is in service is
answered.

    twistd -noy examples/service.tac
    curl -i http://127.0.0.1:8080/ & sleep 0.5; kill $(cat twistd.pid)

`ENDPOINT` in the environment says where to listen.
"""

import os

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ka_twisted import KeepAliveFactory, Request, Response, Timeouts

log = Logger("thoughtful")


class GracefulService(StreamServerEndpointService):
    """Listens; when it is stopped, it waits for its connections."""

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.stopGracefully())

    async def stopGracefully(self) -> None:
        await super().stopService()
        await self.factory.drain()  # Timeouts.drain seconds at most


def thoughtful(request: Request) -> Deferred[Response]:
    log.info("thinking about {request}", request=request)
    return deferLater(request.connection.clock, 1, Response.text, "That took a second.\n")


endpoint = serverFromString(reactor, os.environ.get("ENDPOINT", "tcp:8080:interface=127.0.0.1"))
factory = KeepAliveFactory(thoughtful, timeouts=Timeouts(idle=15, drain=20))
service = GracefulService(endpoint, factory)

application = Application("thoughtful")
service.setServiceParent(application)
