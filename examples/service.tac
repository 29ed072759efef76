"""
An application for twistd that is stopped gracefully: no more connections begin, those that have come are accepted, and
what is in service is answered.

    twistd -noy examples/service.tac
    curl -i http://127.0.0.1:8080/ & sleep 0.5; kill $(cat twistd.pid)

`ENDPOINT` in the environment says where to listen.
"""

import os

from twisted.application.service import Application
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ka_twisted import KeepAliveService, Request, Response, Timeouts

log = Logger("thoughtful")


def thoughtful(request: Request) -> Deferred[Response]:
    log.info("thinking about {request}", request=request)
    return deferLater(request.connection.clock, 1, Response.text, "That took a second.\n")


application = Application("thoughtful")
endpoint = os.environ.get("ENDPOINT", "tcp:8080:interface=127.0.0.1")
KeepAliveService(thoughtful, endpoint, timeouts=Timeouts(idle=15, drain=20)).setServiceParent(application)
