"""
What a server keeps in memory: little of a transfer, however large and slow, and little of a connection that idles.

The server is a process of its own, measured from outside. A transfer is held against its resident set, VmRSS and VmHWM.
A connection is held against the anonymous part of that, RssAnon: what is shared with other processes changes its size
when those come and go. Neither counts what the kernel has.
"""

from __future__ import annotations

import re
import resource
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from tests.http1.driving import GET, get
from tests.service.twistd import PATIENCE, Server, serving

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured through /proc")

MIB = 1 << 20
#: What is sent and received again and again; of a length that no buffer has.
PATTERN = bytes(range(251)) * 261
#: Bytes that the server may grow by, above its idle size.
BOUND = 32 * MIB
#: Bytes that a connection may cost that is kept and idle.
CONNECTION = 2048

SIZES = pytest.mark.parametrize(
    "size", [pytest.param(64 * MIB, id="64 MiB"), pytest.param(1024 * MIB, id="1 GiB", marks=pytest.mark.soak)]
)
#: SO_RCVBUF of the client, and how much it takes at once; None: as the kernel has it.
PACES = pytest.mark.parametrize(("taking", "sip"), [(None, 1 << 18), (32768, 16384)], ids=["fast", "slowly"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A playground that has answered one request of each kind, and is idle."""
    with serving(tmp_path) as server:
        with connected(server, None) as client:
            for request in (get("/stream?chunks=2&size=65536"), get("/echo", "Content-Length: 5", body=b"hello")):
                client.sendall(request)
                receive(client, b"\r\n0\r\n\r\n" if b"stream" in request else b"hello")
        yield server


def connected(server: Server, taking: int | None) -> socket.socket:
    """A connection to the server."""
    address = re.findall(r"listening on 127\.0\.0\.1:(\d+)", "".join(server.said))[-1]
    client = socket.socket()
    if taking is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, taking)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", int(address)))
    return client


def receive(client: socket.socket, end: bytes) -> None:
    """Take a response that ends so."""
    answer = b""
    while not answer.endswith(end):
        data = client.recv(65536)
        assert data, f"ended after {answer!r}"
        answer += data


def told(server: Server, file: str, name: str) -> int:
    """Bytes, as the system tells them of the server's process."""
    text = Path(f"/proc/{server.process.pid}/{file}").read_text()
    (kilobytes,) = re.findall(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(kilobytes) * 1024


def settle(server: Server) -> None:
    """Wait until the server does nothing any more."""
    spent = None
    while spent != (now := _processorTime(server)):
        spent = now
        select.select([], [], [], 0.1)


def _processorTime(server: Server) -> int:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Transfer:
    """
    Sends a body of that size, and takes the response, both at once, no more than a sip at a time.

    :ivar head: of the response.
    :ivar taken: bytes of its body.
    """

    def __init__(self, client: socket.socket, head: bytes, size: int, sip: int) -> None:
        self._client = client
        self._sip = sip
        self._unsent = memoryview(head)
        self._left = size
        self._sent = 0
        self._checksum = 0
        self.head = b""
        self.taken = 0

    def fill(self, server: Server) -> None:
        """Send what the server takes while nothing of its response is taken, until it has enough."""
        self._client.setblocking(False)
        while self._sends and select.select([], [self._client], [], 0.2)[1]:
            self._send()
        settle(server)

    def run(self) -> None:
        """Send and take up to the end of the connection."""
        self._client.setblocking(False)
        while True:
            readable, writable, _ = select.select([self._client], [self._client] if self._sends else [], [], PATIENCE)
            assert readable or writable, f"nothing moves, with {self.taken} bytes taken and {self._left} to send"
            if writable:
                self._send()
            if readable and not self._take():
                return

    def matches(self, size: int) -> bool:
        """Whether what was taken is the pattern, and has this size."""
        expected = 0
        for start in range(0, size, len(PATTERN)):
            expected = crc32(PATTERN[: size - start], expected)
        return (self.taken, self._checksum) == (size, expected)

    @property
    def _sends(self) -> bool:
        return bool(self._unsent) or self._left > 0

    def _send(self) -> None:
        if not self._unsent:
            self._unsent = memoryview(PATTERN)[: self._left]
            self._left -= len(self._unsent)
        try:
            self._unsent = self._unsent[self._client.send(self._unsent) :]
        except BlockingIOError:
            pass

    def _take(self) -> bool:
        data = self._client.recv(self._sip)
        if b"\r\n\r\n" not in self.head:
            self.head += data
            head, end, body = self.head.partition(b"\r\n\r\n")
            if not end:
                return bool(data)
            self.head, data = head + end, body
            self.taken = len(body)
            self._checksum = crc32(body)
            return True
        self.taken += len(data)
        self._checksum = crc32(data, self._checksum)
        return bool(data)


@SIZES
@PACES
@pytest.mark.ledger("P-16")
def test_an_upload_that_comes_back_is_not_kept(server: Server, size: int, taking: int | None, sip: int) -> None:
    idle = told(server, "status", "VmRSS")
    with connected(server, taking) as client:
        head = get("/echo", f"Content-Length: {size}", "Connection: close", method="POST")
        transfer = Transfer(client, head, size, sip)
        if taking is not None:
            transfer.fill(server)
        transfer.run()
    assert transfer.head.startswith(b"HTTP/1.1 200 ")
    assert transfer.matches(size)
    assert told(server, "status", "VmHWM") - idle <= BOUND


@SIZES
@pytest.mark.ledger("P-16")
def test_an_upload_that_is_only_counted_is_not_kept(server: Server, size: int) -> None:
    idle = told(server, "status", "VmRSS")
    with connected(server, None) as client:
        head = get("/upload", f"Content-Length: {size}", "Connection: close", method="PUT")
        transfer = Transfer(client, head, size, 65536)
        transfer.run()
    assert transfer.head.startswith(b"HTTP/1.1 200 ")
    assert told(server, "status", "VmHWM") - idle <= BOUND


@SIZES
@PACES
@pytest.mark.ledger("P-16")
def test_a_download_is_not_kept(server: Server, size: int, taking: int | None, sip: int) -> None:
    idle = told(server, "status", "VmRSS")
    with connected(server, taking) as client:
        head = get(f"/stream?chunks={size // 65536}&size=65536", "Connection: close")
        transfer = Transfer(client, head, 0, sip)
        if taking is not None:
            transfer.fill(server)
        transfer.run()
    framing = size // 65536 * len(b"10000\r\n\r\n") + len(b"0\r\n\r\n")
    assert transfer.taken == size + framing
    assert told(server, "status", "VmHWM") - idle <= BOUND


@pytest.mark.ledger("P-16")
def test_what_many_stalled_downloads_hold_is_bounded(server: Server) -> None:
    """Each has its piece of the response, and no more."""
    count = 50
    idle = told(server, "status", "VmRSS")
    clients = [connected(server, 4096) for _ in range(count)]
    for client in clients:
        client.sendall(get("/stream?chunks=1000000&size=1000"))
    settle(server)
    grown = told(server, "status", "VmRSS") - idle
    for client in clients:
        client.close()
    assert grown <= count * 65536


# -- connections that idle ---------------------------------------------------------------------------------------------


#: An application that can be asked to collect its garbage.
PLAIN = """
import gc

def handler(request):
    if request.path == "/tidy":
        gc.collect()
    return b"hello\\n"
"""


class Crowd:
    """Connections on each of which one request was answered, and that are kept."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.clients: list[socket.socket] = []

    def grow(self, count: int) -> int:
        """Have so many; the memory of the server then, in bytes, and without garbage."""
        while len(self.clients) < count:
            client = connected(self._server, None)
            self.clients.append(client)
            client.sendall(GET)
            receive(client, b"hello\n")
        self.clients[0].sendall(get("/tidy"))
        receive(self.clients[0], b"hello\n")
        return told(self._server, "status", "RssAnon")

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def descriptors() -> Iterator[int]:
    """So many more files can be open, here and in a process that is started now."""
    wanted = 6000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this system lets a process have {hard} open files, and {wanted} are needed")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_that_idles_costs_two_kilobytes(tmp_path: Path, descriptors: int) -> None:
    """Five thousand of them, each with its idle timer running, and the tables that they are in."""
    (tmp_path / "plain.py").write_text(PLAIN)
    few, many = 1, 5000
    with serving(tmp_path, "--app", "plain:handler") as server:
        crowd = Crowd(server)
        try:
            before = crowd.grow(few)
            after = crowd.grow(many)
            crowd.clients[0].sendall(GET)
            receive(crowd.clients[0], b"hello\n")
        finally:
            crowd.close()
    each = (after - before) / (many - few)
    assert each <= CONNECTION, f"{each:.0f} bytes"
