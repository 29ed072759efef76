"""
The connection log: how the last connections were used and how they ended, and what the open ones have done so far, for
an operator to read.

What is remembered is small and bounded (`records`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import islice
from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from ..core.exchange import Exchange
from ..core.reasons import CloseReason
from ..core.targets import authority
from ..interfaces import IConnection, IConnectionObserver
from .records import (
    LENGTH,
    AboutConnectionJson,
    ConnectionJson,
    ConnectionRecord,
    EndedJson,
    RequestRecord,
    decisionAndDetails,
    requestJson,
    requestLine,
    requestsJson,
    soFar,
)
from .registries import Registries
from .selection import slowestAndOldest


class _ClosedJson(AboutConnectionJson):
    ended: EndedJson


@implementer(IConnectionObserver)
class ConnectionLog:
    """
    Remembers the last closed connections with their requests and their ends, and the requests of the open ones.

    Open connections share room for ``connections * requests`` requests. While that is full none remembers more of its
    requests than it does already, but always the latest.

    :param connections: how many closed connections are remembered, at least 1.
    :param requests: how many requests of each, at least 1.
    :param wallClock: gives the seconds since the epoch.
    :raises ValueError: for fewer.
    """

    def __init__(self, connections: int = 200, requests: int = 50, wallClock: Callable[[], float] = time.time) -> None:
        if connections < 1 or requests < 1:
            raise ValueError("a connection log remembers at least one connection, and one request of each")
        self._requestLimit = requests
        self._sharedLimit = connections * requests
        #: Requests of open connections that are remembered.
        self._remembered = 0
        self._wallClock = wallClock
        self._registries = Registries()
        self._records: dict[IConnection, ConnectionRecord] = {}
        self._closed: deque[tuple[_ClosedJson, list[RequestRecord]]] = deque(maxlen=connections)

    # -- what is read --------------------------------------------------------------------------------------------------

    def closed(self, limit: int = 0, requests: int | None = None) -> list[ConnectionJson]:
        """
        The last connections that were closed, the latest first, as values that `json.dumps` takes.

        :param limit: at most so many; 0: all that are remembered.
        :param requests: so many of the latest requests of each; None: all that are remembered.
        """
        return [_ended(*closed, requests) for closed in islice(reversed(self._closed), limit or None)]

    def open(self, limit: int = 200, requests: int | None = None) -> list[ConnectionJson]:
        """
        The open connections and what is in service on them, the youngest first, in the same form.

        :param limit: at most so many, since nothing is served meanwhile: half of them those whose request in service,
            or else latest request, takes or took longest, the others the oldest; 0: all.
        :param requests: as for `closed`.
        """
        return [self._soFar(connection, requests) for connection in slowestAndOldest(self._candidates(), limit)]

    def connection(self, number: int, peer: str | None = None) -> ConnectionJson | None:
        """
        All that is remembered of one connection, open or closed.

        :param number: its own in its factory.
        :param peer: what is told of it as its ``peer``, where several factories are observed; None: any.
        :return: None when it is not remembered.
        """
        for connection in self._registries.connections():
            if connection.id == number and peer in (None, _peer(connection.peer)):
                return self._soFar(connection)
        for about, records in reversed(self._closed):
            if about["connection"] == number and peer in (None, about["peer"]):
                return _ended(about, records)
        return None

    def _candidates(self) -> Iterator[tuple[float | None, float, IConnection]]:
        """Every open connection as `slowestAndOldest` wants it."""
        records = self._records
        for registry in self._registries:
            now = registry.seconds()
            for connection in registry.connections:
                seconds = None
                if exchanges := connection.exchanges:
                    seconds = now - exchanges[0].started
                elif (record := records.get(connection)) is not None:
                    seconds = record.requests[-1][4]
                yield seconds, now - connection.opened, connection

    # -- what connections tell -----------------------------------------------------------------------------------------

    def connectionOpened(self, connection: IConnection) -> None:
        """See `IConnectionObserver`: there is a record of it once it has served a request."""
        self._registries.add(connection.registry)

    def exchangeFinished(self, connection: IConnection, exchange: Exchange) -> None:
        """See `IConnectionObserver`. It is called for every request, so it makes no call that can be avoided."""
        record = self._records.get(connection)
        if record is None:
            record = self._records[connection] = ConnectionRecord()
        head = exchange.head
        if head is record.head:
            line = record.line
            assert line is not None
        else:
            record.line = line = requestLine(exchange)
            record.head = head if head.retained and len(head.target) <= LENGTH else None
        requests = record.requests
        if len(requests) == self._requestLimit or (self._remembered >= self._sharedLimit and requests):
            del requests[0]
        else:
            self._remembered += 1
        decision = exchange.persistence
        details = None
        # A decision that the application has changed comes with a framing, too.
        if exchange.response_framing is not None or exchange.error is not None:
            decision, details = decisionAndDetails(exchange)
        seconds = exchange.ended - exchange.started
        requests.append((exchange.number, line, exchange.status, exchange.bytes_sent, seconds, decision, details))

    def connectionClosed(self, connection: IConnection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        record = self._records.pop(connection, None)
        requests = [] if record is None else record.requests
        self._remembered -= len(requests)
        ended: EndedJson = {
            "reason": reason.name,
            "by": reason.by,
            "state": reason.state,
            "clause": reason.clause,
            "text": reason.text,
        }
        self._closed.append(({**self._about(connection), "ended": ended}, requests))

    def _about(self, connection: IConnection) -> AboutConnectionJson:
        age = connection.age
        return {
            "connection": connection.id,
            "peer": _peer(connection.peer),
            "opened": _date(self._wallClock() - age),
            "age": round(age, 6),
            "requests": connection.requestCount,
        }

    def _soFar(self, connection: IConnection, requests: int | None = None) -> ConnectionJson:
        """What an open connection has done, and is doing."""
        record = self._records.get(connection)
        now = connection.registry.seconds()
        latest = [] if record is None else requestsJson(record.requests, requests)
        inService = [requestJson(soFar(each, now)) for each in connection.exchanges if not each.ended]
        more = {"state": connection.state, "latest": latest, "inService": inService}
        return cast(ConnectionJson, {**self._about(connection), **more})


def _ended(about: _ClosedJson, records: list[RequestRecord], requests: int | None = None) -> ConnectionJson:
    """A closed connection with so many of its latest requests."""
    return cast(ConnectionJson, {**about, "latest": requestsJson(records, requests)})


def _peer(address: IAddress) -> str | None:
    """The address of a client with its port; None where it has none."""
    host = None if isinstance(address, UNIXAddress) else getattr(address, "host", None)
    return None if host is None else authority(host, getattr(address, "port", 0))


def _date(moment: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
