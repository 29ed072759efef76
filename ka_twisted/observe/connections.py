"""
The connection log: the stories of the last connections, and of those that are open, for an operator to read.

What is remembered is small and bounded. It becomes dictionaries when somebody reads it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from heapq import nlargest
from itertools import chain, islice
from typing import Any, NamedTuple

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from ..core.expectation import ABSENT
from ..core.framing import Delimiter
from ..core.persistence import Persistence
from ..core.reasons import CloseReason
from ..http1.messages import RequestHead
from ..http1.pipeline import Exchange
from ..interfaces import IConnectionObserver
from .watched import Connection, OpenConnections

#: Bytes that are kept of a target, a method or a detail.
LENGTH = 256


class _Line(NamedTuple):
    """
    What is kept of a request's head.

    :ivar framing: the ledger row that says how the body ends, where there is one.
    :ivar expectation: likewise for what was expected, where anything was.
    """

    method: bytes
    target: bytes
    http11: bool
    framing: str | None
    expectation: str | None


class _Remarks(NamedTuple):
    """
    What is kept of a response that is not one of the ordinary kind.

    :ivar framing: the ledger row that says how it ends.
    :ivar error: why the connection answered by itself, and the row of that.
    """

    framing: str | None
    error: str | None
    row: str | None


#: Number, line, status, bytes of the body, seconds, decision, remarks.
_Record = tuple[int, _Line, int | None, int, float, Persistence | None, _Remarks | None]


class _ConnectionRecord:
    """
    What is remembered of one connection.

    :ivar head: the latest head, if it is small.
    :ivar line: what is kept of it, shared by the requests of a client that repeats itself.
    :ivar records: of its latest requests, oldest first.
    """

    __slots__ = ("head", "line", "records")

    def __init__(self) -> None:
        self.head: RequestHead | None = None
        self.line: _Line | None = None
        self.records: list[_Record] = []


@implementer(IConnectionObserver)
class ConnectionLog:
    """
    Remembers how connections ended and what they did before, and what the open ones have done so far.

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
        self._requests = requests
        self._bound = connections * requests
        #: Requests of open connections that are remembered.
        self._held = 0
        self._wallClock = wallClock
        self._open = OpenConnections()
        self._stories: dict[Connection, _ConnectionRecord] = {}
        self._closed: deque[tuple[dict[str, Any], list[_Record]]] = deque(maxlen=connections)

    def closed(self, limit: int = 0, requests: int | None = None) -> list[dict[str, Any]]:
        """
        The last connections that were closed, the latest first, as values that `json.dumps` takes.

        :param limit: at most so many; 0: all that are remembered.
        :param requests: so many of the latest requests of each; None: all that are remembered.
        """
        return [_ended(about, records, requests) for about, records in islice(reversed(self._closed), limit or None)]

    def open(self, limit: int = 200, requests: int | None = None) -> list[dict[str, Any]]:
        """
        Likewise the open connections, as far as they have come, the youngest first; also what is in service.

        :param limit: at most so many, since nothing is served meanwhile: half of them those whose request in service,
            or else latest request, takes or took longest, the others the oldest; 0: all.
        """
        foremost = self._foremost(limit) if limit else self._open
        oldest = sorted(foremost, key=lambda connection: (connection.age, -connection.id), reverse=True)
        return [self._soFar(connection, requests) for connection in reversed(oldest)]

    def story(self, number: int, peer: str | None = None) -> dict[str, Any] | None:
        """
        All that is remembered of one connection, open or closed.

        :param number: its own in its factory.
        :param peer: what is told of it as its ``peer``, where several factories are observed; None: any.
        :return: None when it is not remembered.
        """
        for connection in self._open:
            if connection.id == number and peer in (None, _peer(connection.peer)):
                return self._soFar(connection)
        for about, records in reversed(self._closed):
            if about["connection"] == number and peer in (None, about["peer"]):
                return _ended(about, records)
        return None

    def _foremost(self, limit: int) -> Iterable[Connection]:
        """Those of the open connections of which is to be told first."""
        slowest = nlargest(limit // 2, self._waits())
        chosen = dict.fromkeys(connection for _, _, connection in slowest)
        # A factory has its connections in the order in which they were accepted.
        oldest = [connection for each in self._open.factories for connection in islice(each.connections, limit)]
        oldest.sort(key=lambda connection: connection.age, reverse=True)
        return islice(chain(chosen, (connection for connection in oldest if connection not in chosen)), limit)

    def _waits(self) -> Iterator[tuple[float, int, Connection]]:
        """Every open connection with the seconds of its request in service, or else of its latest request."""
        stories = self._stories
        number = 0
        for factory in self._open.factories:
            now = factory.now()
            for connection in factory.connections:
                number -= 1
                busy = connection.core.exchanges
                if busy:
                    yield now - busy[0].started, number, connection
                elif (story := stories.get(connection)) is not None:
                    yield story.records[-1][4], number, connection

    # What connections tell.

    def connectionOpened(self, connection: Connection) -> None:
        """See `IConnectionObserver`: it has a story once it has served a request."""
        self._open.watch(connection)

    def exchangeFinished(self, connection: Connection, exchange: Exchange) -> None:
        """See `IConnectionObserver`. Every request comes this way: no calls that can be spared."""
        story = self._stories.get(connection)
        if story is None:
            story = self._stories[connection] = _ConnectionRecord()
        head = exchange.head
        if head is story.head:
            line = story.line
            assert line is not None
        else:
            story.line = line = _line(head)
            story.head = head if _isHeldAnyway(head) else None
        records = story.records
        if len(records) == self._requests or (self._held >= self._bound and records):
            del records[0]
        else:
            self._held += 1
        decision = exchange.persistence
        remarks = None
        # Nothing that the application says of a decision comes without a framing.
        if exchange.response_framing is not None or exchange.error is not None:
            decision, remarks = _remarks(exchange)
        seconds = exchange.ended - exchange.started
        records.append((exchange.number, line, exchange.status, exchange.bytes_sent, seconds, decision, remarks))

    def connectionClosed(self, connection: Connection, reason: CloseReason) -> None:
        """See `IConnectionObserver`."""
        story = self._stories.pop(connection, None)
        records = [] if story is None else story.records
        self._held -= len(records)
        ended = {
            "reason": reason.name,
            "by": reason.by,
            "state": reason.state,
            "clause": reason.clause,
            "text": reason.text,
        }
        self._closed.append(({**self._about(connection), "ended": ended}, records))

    def _about(self, connection: Connection) -> dict[str, Any]:
        age = connection.age
        return {
            "connection": connection.id,
            "peer": _peer(connection.peer),
            "opened": _date(self._wallClock() - age),
            "age": round(age, 6),
            "requests": connection.requestCount,
        }

    def _soFar(self, connection: Connection, requests: int | None = None) -> dict[str, Any]:
        story = self._stories.get(connection)
        now = connection.factory.now()
        return {
            **self._about(connection),
            "state": connection.state,
            "latest": [] if story is None else _requests(story.records, requests),
            "inService": [
                _request(
                    (
                        each.number,
                        _line(each.head),
                        each.status,
                        each.bytes_sent,
                        now - each.started,
                        each.persistence,
                        None,
                    )
                )
                for each in connection.core.exchanges
                if not each.over
            ],
        }


def _isHeldAnyway(head: RequestHead) -> bool:
    """Whether there is little in a head that its connection does not keep itself, to compare the next one to."""
    return head.fields is not None and head.fields.block != b"" and len(head.target) <= LENGTH


def _line(head: RequestHead) -> _Line:
    fields = head.fields
    framing = expectation = None
    if fields is not None:
        framing = None if fields.framing.delimiter is Delimiter.NONE else fields.framing.row
        expectation = None if fields.expected is ABSENT else fields.expected.row
    return _Line(head.method[:LENGTH], head.target[: LENGTH + 1], head.http11, framing, expectation)


def _remarks(exchange: Exchange) -> tuple[Persistence | None, _Remarks | None]:
    decision, error, framing = exchange.persistence, exchange.error, exchange.response_framing
    if decision is not None and len(decision.detail) > LENGTH:
        decision = replace(decision, detail=_cut(decision.detail))
    row = None if framing is None or framing.delimiter is Delimiter.LENGTH else framing.row
    if error is not None:
        return decision, _Remarks(row, _cut(str(error)), error.row)
    return decision, None if row is None else _Remarks(row, None, None)


def _ended(about: dict[str, Any], records: list[_Record], requests: int | None = None) -> dict[str, Any]:
    return {**about, "latest": _requests(records, requests)}


def _requests(records: list[_Record], requests: int | None) -> list[dict[str, Any]]:
    """The last of them; None: all."""
    return [_request(record) for record in records[0 if requests is None else max(0, len(records) - requests) :]]


def _request(record: _Record) -> dict[str, Any]:
    """A request as its line in a JSON access log has it, and what there was beyond the ordinary."""
    number, line, status, size, seconds, decision, remarks = record
    told: dict[str, Any] = {
        "request": number,
        "method": line.method.decode("ascii") or None,
        "target": _cut(line.target.decode("ascii")) or None,
        "version": ("1.1" if line.http11 else "1.0") if line.method else None,
        "status": status,
        "bytes": size,
        "duration": round(seconds, 6),
        "persistence": None if decision is None else _decision(decision),
    }
    if line.framing is not None:
        told["framing"] = line.framing
    if line.expectation is not None:
        told["expectation"] = line.expectation
    if remarks is not None and remarks.framing is not None:
        told["responseFraming"] = remarks.framing
    if remarks is not None and remarks.error is not None:
        told["error"] = {"text": remarks.error, "row": remarks.row}
    return told


def _decision(decision: Persistence) -> dict[str, Any]:
    told: dict[str, Any] = {
        "keep": decision.keep,
        "reason": decision.reason.name,
        "clause": decision.clause,
        "row": decision.row,
    }
    if decision.detail:
        told["detail"] = decision.detail
    return told


def _cut(text: str) -> str:
    """Of a long text, the beginning."""
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _peer(address: IAddress) -> str | None:
    """Where a client is, with its port; None where it has no address."""
    host = None if isinstance(address, UNIXAddress) else getattr(address, "host", None)
    if host is None:
        return None
    port = getattr(address, "port", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _date(moment: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
