"""How much memory a server holds for a connection that does nothing."""

from __future__ import annotations

import resource
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .peers import EXPECTED, Peer, PeerFailed, running

_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
#: Connections made before the first reading: imports, caches and pools are paid for by then.
_WARM = 100


@dataclass(frozen=True)
class Idle:
    """
    What idle connections cost a server.

    :ivar before: octets that it held without them, after some requests.
    :ivar after: octets that it held with them.
    :ivar connections: how many.
    """

    before: int
    after: int
    connections: int

    @property
    def each(self) -> float:
        """Octets for a connection."""
        return (self.after - self.before) / self.connections


def proportional_set(pid: int) -> int:
    """Octets of memory of a process and its children, what is shared counted in part."""
    total = 0
    for process in (pid, *children(pid)):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def children(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def _connect(port: int) -> socket.socket:
    """A connection with one request answered."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        connection.sendall(_REQUEST)
        answer = b""
        while not answer.endswith(b"\r\n\r\n" + EXPECTED):
            data = connection.recv(65536)
            if not data:
                raise PeerFailed(f"closed the connection after {answer[:40]!r}")
            answer += data
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise PeerFailed(f"answered {answer[:40]!r}")
    except BaseException:
        connection.close()
        raise
    return connection


def ended(held: Sequence[socket.socket]) -> int:
    """How many of these connections the server has closed."""
    poll = select.poll()
    for connection in held:
        poll.register(connection, select.POLLIN)
    return len(poll.poll(0))


def measure(peer: Peer, count: int) -> Idle:
    """
    Open so many connections, with one request on each, and see what the server holds for them.

    :raises PeerFailed: when it does not hold so many, or closes some meanwhile.
    """
    allow_descriptors(count + 1000)  # the server inherits it
    held: list[socket.socket] = []
    with running(peer) as (port, pid):
        try:
            held += (_connect(port) for _ in range(_WARM))
            before = proportional_set(pid)
            held += (_connect(port) for _ in range(count))
            after = proportional_set(pid)
            if lost := ended(held):
                raise PeerFailed(f"closed {lost} of {len(held)} idle connections meanwhile")
        except OSError as error:
            raise PeerFailed(f"{error} (with {len(held)} connections open)") from None
        finally:
            for connection in held:
                connection.close()
    return Idle(before, after, count)


def allow_descriptors(count: int) -> None:
    """
    Let this process, and those that it starts, have so many descriptors.

    :raises PeerFailed: when the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            raise PeerFailed(f"only {hard} descriptors are allowed (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
