"""
An open-loop load: requests come at a constant rate, whatever the server does.

Every request has its moment on a schedule, and its latency counts from then, whether or not a connection was free to
send it: a server that stalls for a second shows that second in every request that was due meanwhile, where a load that
waits for answers would have sent, and counted, one slow request (coordinated omission).

It spins on a processor of its own, because timers are late by up to a millisecond, and tells how long a turn of its
loop took at most.

Prints its figures as JSON: ``python -m benchmarks.openloop PORT --rate R --seconds S --connections C``.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable

from .figures import percentile
from .peers import EXPECTED, REQUEST

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
#: How long, in seconds, answers are waited for when the schedule has ended.
_GRACE = 1.0
#: Seconds of the same load before it counts.
_WARM = 1.0


class Generator:
    """
    Sends requests by a schedule, on connections with one request at a time on each.

    :ivar latencies: seconds, from the moment on the schedule to the whole answer.
    :ivar failures: answers other than expected, and connections that the server closed; these have no latency.
    :ivar unanswered: requests without an answer when the waiting ended; until then they are among the latencies.
    :ivar sustained: which share was answered before the schedule ended.
    :ivar stalled: the longest turn of the loop, in seconds.
    """

    def __init__(self, port: int, connections: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._port = port
        self._clock = clock
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._free: deque[socket.socket] = deque()
        self._due: dict[int, float] = {}
        self._parts: dict[int, bytes] = {}
        for _ in range(connections):
            self._connect()
        self._reset()

    def _reset(self) -> None:
        self.latencies: list[float] = []
        self.failures = self.unanswered = 0
        self.sustained = self.stalled = 0.0

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._sockets[connection.fileno()] = connection
        self._poll.register(connection, select.EPOLLIN)
        self._free.append(connection)

    def run(self, rate: float, seconds: float, grace: float = _GRACE) -> None:
        """Make the load for so long; what it measures replaces what was measured before."""
        self._reset()
        clock, free, due = self._clock, self._free, self._due
        total = max(1, round(rate * seconds))
        sent = in_time = 0
        begun = turn = clock()
        end = begun + seconds
        while (sent < total or due) and turn < end + grace:
            while sent < total and free and (moment := begun + sent / rate) <= turn:
                self._send(free.popleft(), moment)
                sent += 1
            for number, _ in self._poll.poll(0):
                self._receive(number)
            now = clock()
            self.stalled = max(self.stalled, now - turn)
            turn = now
            if turn < end:
                in_time = len(self.latencies)
        self.sustained = in_time / total
        self._give_up([*due.values(), *(begun + index / rate for index in range(sent, total))], turn)

    def _send(self, connection: socket.socket, moment: float) -> None:
        number = connection.fileno()
        self._due[number] = moment
        self._parts[number] = b""
        try:
            connection.send(REQUEST)
        except OSError:
            self._lost(number)

    def _receive(self, number: int) -> None:
        try:
            data = self._sockets[number].recv(65536)
        except OSError:
            data = b""
        if not data or number not in self._due:
            self._lost(number)
            return
        answer = self._parts[number] + data
        if not answer.endswith(b"\r\n\r\n" + EXPECTED):
            self._parts[number] = answer
            return
        self.latencies.append(self._clock() - self._due.pop(number))
        if not answer.startswith(b"HTTP/1.1 200 "):
            self.failures += 1
        self._free.append(self._sockets[number])

    def _lost(self, number: int) -> None:
        """A connection is closed, or sends what was not asked for; another takes its place."""
        self.failures += 1
        self._due.pop(number, None)
        connection = self._sockets.pop(number)
        if connection in self._free:
            self._free.remove(connection)
        connection.close()
        self._connect()

    def _give_up(self, moments: list[float], now: float) -> None:
        """Count the requests that were due and not answered, for as long as they were waited for."""
        self.unanswered = len(moments)
        self.latencies += [now - moment for moment in moments]
        for number in list(self._due):
            self._due.pop(number)
            self._sockets.pop(number).close()
            self._connect()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._sockets.values():
            connection.close()
        self._poll.close()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openloop")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    try:
        generator = Generator(options.port, options.connections)
        gc.disable()  # its pauses would be taken for the server's
        generator.run(options.rate, _WARM)
        generator.run(options.rate, options.seconds)
        generator.close()
    except OSError as error:
        sys.exit(f"{error}")
    ordered = sorted(generator.latencies)
    if not ordered:
        sys.exit("the server closed every connection")
    found = {f"p{percent:g}": percentile(ordered, percent) * 1000 for percent in PERCENTILES}
    found["failures"] = generator.failures
    found["sustained"] = generator.sustained
    found["stalled"] = generator.stalled * 1000
    print(json.dumps(found))


if __name__ == "__main__":
    main()
