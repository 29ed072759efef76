"""
Constant load by keep-alive connections, for tests of servers that are reloaded, replaced or killed meanwhile.

A process of its own sends the requests, one after the other on each connection, and repeats nothing: a request that was
sent and not answered has failed, whatever a browser would do about it.

    with load("127.0.0.1", port, connections=200) as running:
        running.waitFor(10_000)
        restart()
        running.waitFor(10_000)
    assert not running.result.failures

This file is that process as well, and therefore imports nothing of ours.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import selectors
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, NamedTuple

#: Kinds of failures.
REFUSED, RESET, CLOSED, STATUS, BODY, TIMEOUT = "refused", "reset", "closed", "status", "body", "timeout"
#: Seconds between two reports of the process, and between two looks at the requests that take long.
_TICK = 0.02
#: Seconds before a client that was refused tries again.
_BREATH = 0.05
#: Seconds after which a load that makes no progress is given up.
PATIENCE = 60.0


class Failure(NamedTuple):
    """
    A request that was not answered as expected.

    :ivar kind: ``refused``: there was no connection; ``reset``, ``closed``: it ended before the response was whole;
        ``status``, ``body``: the response was another one; ``timeout``: it did not come.
    :ivar at: when that was seen, in seconds since the epoch.
    :ivar sent: when the request was sent, likewise; when it was refused, the same as `at`.
    :ivar number: how many the connection had carried with this one; 0: there was no connection.
    :ivar detail: the first bytes that came, or the system's word.
    """

    kind: str
    at: float
    sent: float
    number: int
    detail: str


@dataclass
class Result:
    """
    What became of all requests.

    :ivar requests: those that were answered as expected, and those that failed.
    :ivar connections: connections that were made.
    :ivar closedIdle: of these, those that the server closed while no request was on them.
    :ivar slowest: seconds from a request to the end of its response, at most.
    """

    requests: int = 0
    failures: list[Failure] = field(default_factory=list)
    connections: int = 0
    closedIdle: int = 0
    slowest: float = 0.0

    @property
    def answered(self) -> int:
        """Requests that were answered as expected."""
        return self.requests - len(self.failures)

    @property
    def kinds(self) -> dict[str, int]:
        """How many have failed in which way."""
        return dict(Counter(failure.kind for failure in self.failures))


@dataclass(frozen=True)
class Settings:
    """See `load`."""

    host: str
    port: int
    connections: int
    pace: float
    request: str
    status: int
    body: str | None
    timeout: float
    renew: bool
    tls: bool
    preface: str


# -- in the test -------------------------------------------------------------------------------------------------------


class Running:
    """
    A load while it is on.

    :ivar result: what has become of the requests so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.result = Result()
        self._process = process
        self._news = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def waitFor(self, more: int, patience: float = PATIENCE) -> None:
        """
        Wait until so many more requests were answered, or have failed.

        :raises AssertionError: when that takes too long, or when the load has ended.
        """
        wanted = self.result.requests + more
        with self._news:
            self._news.wait_for(lambda: self._over or self.result.requests >= wanted, patience)
            assert self.result.requests >= wanted, f"the load has come to a stand: {self.result.requests} of {wanted}"

    def stop(self) -> Result:
        """Send no more, wait for the answers that are due, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the load does not end"
        status = self._process.wait(PATIENCE)
        assert not status, f"the load has ended with {status}"
        return self.result

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news: dict[str, Any] = json.loads(line)
            failures = [*self.result.failures, *(Failure(*each) for each in news.pop("failures"))]
            with self._news:
                self.result = Result(failures=failures, **news)
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()


@contextmanager
def load(
    host: str,
    port: int,
    *,
    connections: int,
    pace: float = 0.0,
    path: str = "/status/200",
    method: str = "GET",
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    status: int = 200,
    body: bytes | None = None,
    timeout: float = 15.0,
    renew: bool = False,
    tls: bool = False,
    preface: bytes = b"",
    through: Sequence[str] = (),
) -> Iterator[Running]:
    """
    Constant load, from the first answer on each connection to the end of the context.

    :param host: an address, or the path of a UNIX socket; then the port only stands in Host.
    :param connections: that ask at the same time; one that ends is replaced.
    :param pace: seconds from one request of a connection to its next; 0: as soon as it is answered.
    :param content: the body of each request.
    :param status: what is expected.
    :param body: what is expected; None: anything that has a stated length.
    :param timeout: seconds after which a request that is not answered has failed.
    :param renew: whether each request has a connection of its own.
    :param tls: whether TLS is spoken; the certificate is not looked at.
    :param preface: what each connection begins with, before TLS: a PROXY header.
    :param through: a command that runs the process, such as ``ip netns exec NAME``.
    """
    fields = {"Host": "localhost" if "/" in host else f"{host}:{port}", **(headers or {})}
    if content:
        fields["Content-Length"] = str(len(content))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    request = "\r\n".join(lines).encode("latin-1") + content
    settings = Settings(
        host, port, connections, pace, request.decode("latin-1"), status,
        None if body is None else body.decode("latin-1"), timeout, renew, tls,
        preface.decode("latin-1"),
    )  # fmt: skip
    process = subprocess.Popen(
        [*through, sys.executable, __file__, json.dumps(asdict(settings))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    running = Running(process)
    try:
        running.waitFor(connections)
        yield running
        running.stop()
    finally:
        process.kill()
        process.wait()


# -- in the process ----------------------------------------------------------------------------------------------------


class _Client:
    """One connection after the other, and one request after the other on each."""

    def __init__(self, crowd: _Crowd) -> None:
        self.sent = 0.0
        self.waiting = False
        self._crowd = crowd
        self._socket: socket.socket | None = None
        self._received = b""
        self._number = 0
        self._shaking = False

    def turn(self) -> None:
        """It is time for a request."""
        self.sent = time.time()
        self.waiting = True
        if self._socket is not None and self._hasEnded(self._socket):
            self._crowd.closedIdle += 1
            self._close()
        if self._socket is None:
            self._connect()
        else:
            self._send()

    def ready(self, events: int) -> None:
        """The socket is writable for the first time, or readable."""
        if events & selectors.EVENT_WRITE:
            self._connected()
        elif self._shaking:
            self._shake()
        else:
            self._read()

    def expire(self) -> None:
        """There is no answer."""
        self._fail(TIMEOUT, f"after {len(self._received)} bytes")

    def leave(self) -> None:
        """Have nothing open."""
        self._close()

    def _hasEnded(self, sock: socket.socket) -> bool:
        """Whether the server has ended a connection that it has answered on, before the next request."""
        try:
            return not (sock.recv(1) if isinstance(sock, ssl.SSLSocket) else sock.recv(1, socket.MSG_PEEK))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True

    def _connect(self) -> None:
        settings = self._crowd.settings
        local = "/" in settings.host
        family = socket.AF_UNIX if local else socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._socket = sock = socket.socket(family)
        sock.setblocking(False)
        if not local:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = 0
        self._crowd.selector.register(sock, selectors.EVENT_WRITE, self)
        try:
            sock.connect(settings.host if local else (settings.host, settings.port))
        except BlockingIOError as error:
            if local:  # the queue is full
                self._fail(REFUSED, _word(error.errno))
        except OSError as error:
            self._fail(REFUSED, _word(error.errno))

    def _connected(self) -> None:
        assert self._socket is not None
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(REFUSED, _word(error))
            return
        self._crowd.connections += 1
        self._crowd.selector.unregister(self._socket)
        try:
            self._socket.send(self._crowd.preface)
            if self._crowd.tls is not None:
                self._socket = self._crowd.tls.wrap_socket(self._socket, do_handshake_on_connect=False)
        except OSError as problem:
            self._crowd.selector.register(self._socket, selectors.EVENT_READ, self)
            self._fail(RESET, _word(problem.errno))
            return
        self._crowd.selector.register(self._socket, selectors.EVENT_READ, self)
        if self._crowd.tls is None:
            self._send()
        else:
            self._shake()

    def _shake(self) -> None:
        """Go on with the handshake of TLS: it has no more to write than an empty socket takes."""
        assert isinstance(self._socket, ssl.SSLSocket)
        self._shaking = True
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return
        except OSError as error:
            self._fail(RESET, f"in the handshake: {error}")
            return
        self._shaking = False
        self._send()

    def _send(self) -> None:
        assert self._socket is not None
        self._number += 1
        self._received = b""
        request = self._crowd.request
        try:
            sent = self._socket.send(request)
        except OSError as error:
            self._fail(RESET, _word(error.errno))
            return
        assert sent == len(request), "requests are small enough for an empty socket"

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            self._ended(RESET, _word(error.errno))
            return
        if not data:
            self._ended(CLOSED, "")
        elif self.waiting:
            self._received += data
            self._look()
        else:
            self._crowd.failed(Failure(BODY, time.time(), self.sent, self._number, "unasked: " + _start(data)))
            self._close()

    def _ended(self, kind: str, word: str) -> None:
        if self.waiting:
            self._fail(kind, word or _start(self._received))
        else:
            self._crowd.closedIdle += 1
            self._close()

    def _look(self) -> None:
        """See whether the response is whole."""
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        fields = head.lower()
        _, stated, length = fields.partition(b"\r\ncontent-length: ")
        missing = int(length.partition(b"\r\n")[0]) - len(body) if stated else 0
        if missing > 0:
            return
        wanted = self._crowd.body
        if fields[9:12] != self._crowd.status:
            self._fail(STATUS, _start(self._received))
        elif missing or not stated or (wanted is not None and body != wanted):
            self._fail(BODY, _start(self._received))
        else:
            self._answered(closing=self._crowd.settings.renew or b"\r\nconnection: close" in fields)

    def _answered(self, *, closing: bool) -> None:
        self.waiting = False
        if closing:
            self._close()
        self._crowd.answered(self)

    def _fail(self, kind: str, detail: str) -> None:
        now = time.time()
        self.waiting = False
        number = 0 if kind == REFUSED else self._number
        self._crowd.failed(Failure(kind, now, now if kind == REFUSED else self.sent, number, detail))
        self._close()
        self._crowd.later(self, now + _BREATH)

    def _close(self) -> None:
        if self._socket is not None:
            self._crowd.selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
            self._shaking = False


class _Crowd:
    """All clients, and what they have seen."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.request = settings.request.encode("latin-1")
        self.status = str(settings.status).encode()
        self.body = None if settings.body is None else settings.body.encode("latin-1")
        self.preface = settings.preface.encode("latin-1")
        self.tls = _context() if settings.tls else None
        self.selector = selectors.DefaultSelector()
        self.connections = self.closedIdle = 0
        self._requests = 0
        self._failures: list[Failure] = []
        self._slowest = 0.0
        self._clients = [_Client(self) for _ in range(settings.connections)]
        #: Whose turn comes when; the number says who was first.
        self._turns: list[tuple[float, int, _Client]] = []
        self._numbers = count()
        self._stopping = False

    def answered(self, client: _Client) -> None:
        """A request was answered as expected."""
        self._requests += 1
        now = time.time()
        self._slowest = max(self._slowest, now - client.sent)
        self.later(client, max(now, client.sent + self.settings.pace))

    def failed(self, failure: Failure) -> None:
        """A request has failed."""
        self._requests += 1
        self._failures.append(failure)

    def later(self, client: _Client, at: float) -> None:
        """A client's turn comes then."""
        heapq.heappush(self._turns, (at, next(self._numbers), client))

    def run(self) -> None:
        """Ask until no server listens any more, then wait for what is due."""
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        begin = time.time()
        for number, client in enumerate(self._clients):
            self.later(client, begin + self.settings.pace * number / len(self._clients))
        tick = begin
        while not self._stopping or any(client.waiting for client in self._clients):
            now = time.time()
            if now >= tick:
                self._tick(now)
                tick = now + _TICK
            while not self._stopping and self._turns and self._turns[0][0] <= now:
                heapq.heappop(self._turns)[2].turn()
            due = min(tick, self._turns[0][0]) if self._turns and not self._stopping else tick
            for key, events in self.selector.select(max(0.0, due - time.time())):
                if key.data is None:
                    self._heard()
                else:
                    key.data.ready(events)
        for client in self._clients:
            client.leave()
        self._report()

    def _heard(self) -> None:
        if not os.read(sys.stdin.fileno(), 1):
            self._stopping = True
            self.selector.unregister(sys.stdin)

    def _tick(self, now: float) -> None:
        self._report()
        for client in self._clients:
            if client.waiting and now - client.sent > self.settings.timeout:
                client.expire()

    def _report(self) -> None:
        failures, self._failures = self._failures, []
        news = {
            "requests": self._requests,
            "failures": failures,
            "connections": self.connections,
            "closedIdle": self.closedIdle,
            "slowest": self._slowest,
        }
        print(json.dumps(news), flush=True)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _start(data: bytes) -> str:
    return data[:200].decode("latin-1")


def _word(number: int | None) -> str:
    return errno.errorcode.get(number or 0, str(number))


if __name__ == "__main__":
    _Crowd(Settings(**json.loads(sys.argv[1]))).run()
