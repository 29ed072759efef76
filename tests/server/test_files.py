"""Files that the kernel sends: the bytes, their order among others, and what can go wrong on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ka_twisted import CloseReason, Request, Response, Timeouts
from tests.http1.driving import GET, get
from tests.logs import Logged
from tests.net.polling import Served

CONTENT = bytes(range(256)) * 8192

Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes connections, and sees them closed."""
    made: list[Served] = []

    def make(handler: Any, **settings: Any) -> Served:
        made.append(Served(handler, **settings))
        return made[-1]

    yield make
    for served in made:
        served.close()
        assert not served.reactor.getDelayedCalls()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of two mebibytes."""
    made = tmp_path / "content"
    made.write_bytes(CONTENT)
    return made


class Sendfile:
    """
    In the place of `os.sendfile`: keeps what is asked of it.

    :ivar sent: bytes, by call.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[int] = []
        self.error: OSError | None = None
        self._sendfile = os.sendfile
        monkeypatch.setattr(os, "sendfile", self)

    def __call__(self, out: int, file: int, offset: int, count: int) -> int:
        if self.error is not None:
            raise self.error
        self.sent.append(self._sendfile(out, file, offset, count))
        return self.sent[-1]


@pytest.fixture
def sendfile(monkeypatch: pytest.MonkeyPatch) -> Sendfile:
    return Sendfile(monkeypatch)


def heads(served: Served) -> int:
    """Bytes of the responses' heads, where all bodies are files of the same content."""
    return served.received.index(b"\r\n\r\n") + 4


def download(served: Served, requests: bytes = GET, count: int = 1) -> list[bytes]:
    """The bodies of so many responses."""
    served.send(requests)
    served.receive(1)
    while b"\r\n\r\n" not in served.received:
        served.receive(1)
    whole = (heads(served) + len(CONTENT)) * count
    served.receive(whole - len(served.received))
    responses = served.responses([b"GET"] * count)
    assert all(response.complete for response in responses)
    return [response.body for response in responses]


def test_a_file_goes_from_the_kernel_to_the_client(serve: Serve, path: Path, sendfile: Sendfile) -> None:
    served = serve(lambda request: Response.file(path))
    assert download(served) == [CONTENT]
    assert sum(sendfile.sent) == len(CONTENT)
    assert len(sendfile.sent) > 10, "in many pieces, as the client takes them"
    assert served.protocol.closeReason is None


def test_files_of_pipelined_requests_come_in_their_order(serve: Serve, path: Path) -> None:
    served = serve(lambda request: Response.file(path))
    assert download(served, GET * 3, 3) == [CONTENT] * 3


def test_it_is_sent_from_where_it_stands_and_no_further_than_stated(serve: Serve, path: Path) -> None:
    files: list[Any] = []

    def handler(request: Request) -> Response:
        file = path.open("rb")
        files.append(file)
        file.seek(5)
        return Response.stream(file, 206, length=7)

    served = serve(handler)
    served.send(GET + get("/", method="HEAD"))
    for _ in range(3):
        served.reactor.poll()
    served.received = served.client.recv(65536)
    part, head = served.responses([b"GET", b"HEAD"])
    assert (part.status, part.body) == (206, CONTENT[5:12])
    assert head.headers.get("content-length") == "7"
    assert [file.closed for file in files] == [True, True]
    assert served.protocol.closeReason is None


def test_a_client_of_http_1_0_gets_it_too(serve: Serve, path: Path, sendfile: Sendfile) -> None:
    served = serve(lambda request: Response.file(path))
    assert download(served, get("/", minor=0)) == [CONTENT]
    assert sendfile.sent


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_that_the_kernel_cannot_send_is_read(
    serve: Serve, path: Path, sendfile: Sendfile, number: int, logged: Logged
) -> None:
    sendfile.error = OSError(number, os.strerror(number))
    served = serve(lambda request: Response.file(path))
    assert download(served) == [CONTENT]
    assert not logged.messages()


def test_the_rest_is_read_when_the_kernel_gives_up_half_way(serve: Serve, path: Path, sendfile: Sendfile) -> None:
    served = serve(lambda request: Response.file(path))
    served.send(GET)
    served.receive(100_000)
    sendfile.error = OSError(errno.EINVAL, "")
    while b"\r\n\r\n" not in served.received:
        served.receive(1)
    served.receive(heads(served) + len(CONTENT) - len(served.received))
    assert served.responses([b"GET"])[0].body == CONTENT


@pytest.mark.ledger("D4-17")
def test_a_file_that_shrinks_while_it_is_sent_is_an_abort(serve: Serve, path: Path) -> None:
    served = serve(lambda request: Response.file(path))
    served.send(GET)
    served.receive(1000)
    os.truncate(path, 1_000_000)
    served.receive(1_000_000 + heads(served) - len(served.received))
    assert served.client.recv(1) == b""
    assert served.protocol.closeReason == CloseReason.APPLICATION_ABORT


def test_a_client_that_goes_has_the_file_closed(serve: Serve, path: Path, logged: Logged) -> None:
    files: list[Any] = []

    def handler(request: Request) -> Response:
        response = Response.file(path)
        files.append(response.body)
        return response

    served = serve(handler)
    served.send(GET)
    served.receive(1000)
    assert not files[0].closed
    served.client.close()
    for _ in range(3):
        served.reactor.poll()
    assert files[0].closed
    assert served.protocol.closeReason == CloseReason.PEER_CLOSED_MID_RESPONSE
    assert not logged.messages()


def test_a_stalled_download_ends_by_its_time_out_and_a_slow_one_does_not(serve: Serve, path: Path) -> None:
    served = serve(lambda request: Response.file(path), timeouts=Timeouts(write=10))
    served.send(GET)
    for _ in range(30):
        served.receive(20_000)
        served.reactor.advance(3)
        assert served.protocol.closeReason is None
    for _ in range(13):
        served.reactor.advance(1)
        served.reactor.poll()
    assert served.protocol.closeReason == CloseReason.WRITE_TIMEOUT


def test_through_any_other_transport_it_is_read(path: Path, sendfile: Sendfile) -> None:
    from ka_twisted.testing import MemoryServer

    client = MemoryServer(lambda request: Response.file(path)).connect()
    client.send(GET)
    assert client.responses[0].body == CONTENT
    assert not sendfile.sent
