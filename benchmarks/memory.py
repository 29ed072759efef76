"""How much memory a server holds for a connection that does nothing."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

from .peers import Peer, PeerFailed, running

_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
#: Connections made before the first reading: imports, caches and pools are paid for by then.
_WARM = 100


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
    connection.sendall(_REQUEST)
    answer = b""
    while b"hello world" not in answer:
        data = connection.recv(65536)
        if not data:
            raise PeerFailed("closed the connection")
        answer += data
    return connection


def per_connection(peer: Peer, count: int) -> float:
    """
    Octets that a server holds for each of so many idle connections, after one request on each.

    :raises PeerFailed: when it does not hold so many.
    """
    allow_descriptors(count + 1000)
    with running(peer) as (port, pid):
        held = [_connect(port) for _ in range(_WARM)]
        before = proportional_set(pid)
        try:
            held += [_connect(port) for _ in range(count)]
            return (proportional_set(pid) - before) / count
        except OSError as error:
            raise PeerFailed(str(error)) from None
        finally:
            for connection in held:
                connection.close()


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
