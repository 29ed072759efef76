"""Bodies on their way to a sink: exactly their bytes, no faster than it takes them, and closed once."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.protocols.basic import FileSender
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ka_twisted import Request, Response
from ka_twisted.core.errors import LocalProtocolError
from ka_twisted.net import bodies, files
from ka_twisted.net.sinks import FAIR
from tests.http1.driving import GET
from tests.logs import Logged
from tests.net.polling import Served

CONTENT = bytes(range(256)) * 1000


class Collected:
    """
    A sink that collects what it is given.

    :param room: bytes that it takes until it is emptied; None: any number.
    :param length: bytes of the body, where they are stated.
    :param direct: whether the kernel is to send files.
    """

    def __init__(self, room: int | None = None, length: int | None = None, *, direct: bool = False) -> None:
        self.clock: Any = Clock()
        self.data = bytearray()
        self.calls: list[int] = []
        self.direct = 0
        self.sendsFiles = direct
        self._room = room
        self._held = 0
        self._length = length
        self._waiters: list[Deferred[None]] = []

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        self.calls.append(len(data))
        self.data += data
        self._held += len(data)

    @property
    def congested(self) -> bool:
        return self._room is not None and self._held >= self._room

    def whenWritable(self) -> Deferred[None]:
        self._waiters.append(Deferred())
        return self._waiters[-1]

    def sendFile(self, descriptor: int, offset: int, count: int) -> int:
        if self.congested:
            return 0
        data = os.pread(descriptor, min(count, 50_000), offset)
        self.direct += len(data)
        self.data += data
        self._held += len(data)
        return len(data)

    @property
    def remaining(self) -> int | None:
        return None if self._length is None else self._length - len(self.data)

    def empty(self) -> None:
        """Have room again."""
        self._held = 0
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def lose(self) -> None:
        """Lose the connection."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(ConnectionError())


def send_all(sink: Collected, body: Any) -> None:
    """Send a body to its end."""
    done: list[object] = []
    bodies.send(sink, body).addBoth(done.append)
    for _ in range(1000):
        if done:
            break
        sink.empty()
        sink.clock.advance(0)
    assert done == [None]


# -- things with a read ------------------------------------------------------------------------------------------------


class OnlyRead:
    """Has a ``read`` and nothing else."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Reversing(io.BufferedReader):
    """Reads other bytes than those of its descriptor."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size)[::-1]


def tar_member(path: Path) -> BinaryIO:
    with tarfile.open(path / "a.tar", "w") as archive:
        (path / "member").write_bytes(CONTENT)
        archive.add(path / "member", "other")
        archive.add(path / "member", "member")
    member = tarfile.open(path / "a.tar").extractfile("member")  # noqa: SIM115
    assert member is not None
    return cast(BinaryIO, member)


def written(path: Path, name: str, make: Callable[..., Any]) -> Path:
    with make(path / name, "wb") as file:
        file.write(CONTENT)
    return path / name


def temporary(make: Callable[[], Any]) -> Any:
    file = make()
    file.write(CONTENT)
    file.seek(0)
    return file


FILES: dict[str, Callable[[Path], Any]] = {
    "plain": lambda path: open(written(path, "a", open), "rb"),  # noqa: SIM115
    "unbuffered": lambda path: open(written(path, "a", open), "rb", buffering=0),  # noqa: SIM115
    "read and written": lambda path: open(written(path, "a", open), "r+b"),  # noqa: SIM115
    "gzip": lambda path: gzip.open(written(path, "a.gz", gzip.open)),  # noqa: SIM115
    "bz2": lambda path: bz2.open(written(path, "a.bz2", bz2.open)),  # noqa: SIM115
    "lzma": lambda path: lzma.open(written(path, "a.xz", lzma.open)),  # noqa: SIM115
    "tar member": tar_member,
    "only read": lambda path: OnlyRead(CONTENT),
    "in memory": lambda path: io.BytesIO(CONTENT),
    "temporary": lambda path: temporary(tempfile.TemporaryFile),
    "named temporary": lambda path: temporary(tempfile.NamedTemporaryFile),
    "spooled": lambda path: temporary(tempfile.SpooledTemporaryFile),
}
#: Those that the kernel can send.
RAW = {"plain", "unbuffered", "read and written", "temporary", "named temporary"}


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_exactly_the_bytes_of_a_file_are_sent(name: str, direct: bool, tmp_path: Path) -> None:
    file = FILES[name](tmp_path)
    sink = Collected(100_000, len(CONTENT), direct=direct)
    send_all(sink, file)
    assert bytes(sink.data) == CONTENT
    assert sink.direct == (len(CONTENT) if direct and name in RAW else 0)
    assert getattr(file, "closed", True)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_sent_to_its_end_where_no_length_is_stated(name: str, tmp_path: Path) -> None:
    sink = Collected(100_000)
    send_all(sink, FILES[name](tmp_path))
    assert bytes(sink.data) == CONTENT


@pytest.mark.parametrize("name", FILES)
def test_a_length_is_known_of_regular_files_only(name: str, tmp_path: Path) -> None:
    file = FILES[name](tmp_path)
    assert files.regularLength(file) == (len(CONTENT) if name in RAW else None)
    if name in RAW:
        file.read(1000)
        assert files.regularLength(file) == len(CONTENT) - 1000


def test_what_was_written_and_not_flushed_counts(tmp_path: Path) -> None:
    file = open(written(tmp_path, "a", open), "r+b")  # noqa: SIM115
    file.seek(0, os.SEEK_END)
    file.write(b"more")
    file.seek(-1000, os.SEEK_END)
    file.write(b"x")
    assert files.regularLength(file) == 999
    sink = Collected(None, 999, direct=True)
    send_all(sink, file)
    assert sink.direct == 999
    assert sink.data.endswith(b"more")


def test_a_subclass_that_reads_other_bytes_is_read(tmp_path: Path) -> None:
    file = Reversing(io.FileIO(written(tmp_path, "a", open)))
    assert files.regularLength(file) is None
    sink = Collected(None, len(CONTENT), direct=True)
    send_all(sink, file)
    assert sink.data[:3] == b"\xff\xfe\xfd"


def test_no_length_is_known_of_what_has_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with open(tmp_path / "empty", "rb") as file:
        assert files.regularLength(file) == 0
    assert files.regularLength(file) is None  # closed
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert files.regularLength(pipe) is None
    if Path("/proc/version").exists():
        with open("/proc/version", "rb") as version:
            assert files.regularLength(version) is None


def test_a_file_that_cannot_be_read_now_fails_and_is_closed() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    file = open(reading, "rb", buffering=0)  # noqa: SIM115
    failed: list[Any] = []
    bodies.send(Collected(), file).addErrback(failed.append)
    assert failed[0].check(LocalProtocolError)
    assert file.closed
    os.close(writing)


# -- what names say ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "type_", "coding"),
    [
        ("a.txt", "text/plain", None),
        ("a.tar", "application/x-tar", None),
        ("a.tar.gz", "application/gzip", None),
        ("a.tgz", "application/gzip", None),
        ("a.html.gz", "application/gzip", None),
        ("a.tar.bz2", "application/x-bzip2", None),
        ("a.tar.xz", "application/x-xz", None),
        ("a.svgz", "image/svg+xml", "gzip"),
        ("A.SVGZ", "image/svg+xml", "gzip"),
        ("a.unheardof", None, None),
    ],
)
def test_a_compressed_file_is_what_it_is(name: str, type_: str | None, coding: str | None) -> None:
    assert files.mediaType(name) == (type_, coding)


def test_a_file_that_is_decompressed_is_what_is_in_it(tmp_path: Path) -> None:
    with gzip.open(written(tmp_path, "a.tar.gz", gzip.open)) as file:
        assert files.fileType(file) == ("application/x-tar", None)
    assert files.fileType(io.BytesIO()) == (None, None)


def test_a_member_has_no_type_of_its_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("member"), io.BytesIO())
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert files.fileType(archive.extractfile("member")) == (None, None)


# -- how bodies end ----------------------------------------------------------------------------------------------------


class Closing:
    """An iterator that fails when it is closed."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        self.closed += 1
        raise OSError("cannot be closed")


class ClosingLater(Closing):
    """The same, asynchronously."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return cast("AsyncIterator[bytes]", self)

    async def __anext__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.close()


@pytest.mark.parametrize("kind", [Closing, ClosingLater])
def test_nothing_is_lost_of_a_body_that_cannot_be_closed(kind: type[Closing], logged: Logged) -> None:
    sink = Collected()
    body = kind(b"one", b"two")
    send_all(sink, body)
    assert bytes(sink.data) == b"onetwo"
    assert body.closed == 1
    assert len(logged.failures(OSError)) == 1


def test_a_body_that_is_discarded_is_closed(logged: Logged) -> None:
    body = Closing(b"one")
    done: list[object] = []
    bodies.discard(body).addBoth(done.append)
    assert done == [None]
    assert body.closed == 1
    assert len(logged.failures(OSError)) == 1


def test_what_a_body_raises_is_told_once(logged: Logged) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise KeyError("two")

    failed: list[Any] = []
    bodies.send(Collected(), pieces()).addErrback(failed.append)
    assert failed[0].check(KeyError)


def test_others_have_their_turn_while_a_body_that_never_waits_is_sent() -> None:
    sink = Collected()
    done: list[object] = []
    bodies.send(sink, (b"x" * 65536 for _ in range(40))).addBoth(done.append)
    assert len(sink.data) == FAIR
    sink.clock.advance(0)
    sink.clock.advance(0)
    assert done == [None]


# -- producers ---------------------------------------------------------------------------------------------------------


@implementer(IBodyProducer)
class Producer:
    """
    A body whose producing is done by a function of the consumer.

    :ivar stopped: how often it was stopped.
    """

    length: Any = UNKNOWN_LENGTH

    def __init__(self, start: Callable[[Any], Any], stop: Callable[[], None] = lambda: None) -> None:
        self._start = start
        self._stop = stop
        self.stopped = 0
        self.paused: list[bool] = []

    def startProducing(self, consumer: IConsumer) -> Any:
        return self._start(consumer)

    def pauseProducing(self) -> None:
        self.paused.append(True)

    def resumeProducing(self) -> None:
        self.paused.append(False)

    def stopProducing(self) -> None:
        self.stopped += 1
        self._stop()


def sent(consumer: Any) -> Deferred[None]:
    """Writes all at once, and has its Deferred fired by then."""
    consumer.write(b"all of it")
    done: Deferred[None] = Deferred()
    done.callback(None)
    return done


def file_of(size: int) -> Callable[[Any], Deferred[Any]]:
    def start(consumer: Any) -> Deferred[Any]:
        done: Deferred[Any] = FileSender().beginFileTransfer(io.BytesIO(b"x" * size), consumer)
        return done

    return start


def test_a_producer_that_is_done_at_once_loses_nothing() -> None:
    sink = Collected()
    send_all(sink, Producer(sent))
    assert bytes(sink.data) == b"all of it"


@pytest.mark.parametrize("room", [None, 1, 100_000])
@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_a_pull_producer_is_served(size: int, room: int | None) -> None:
    sink = Collected(room)
    send_all(sink, Producer(file_of(size)))
    assert len(sink.data) == size
    assert not sink.clock.getDelayedCalls()


def test_a_pull_producer_is_not_asked_while_the_sink_is_congested() -> None:
    sink = Collected(100_000)
    done: list[object] = []
    bodies.send(sink, Producer(file_of(300_000))).addBoth(done.append)
    asked = len(sink.data)
    assert 100_000 <= asked < 200_000
    sink.clock.pump([0.1] * 10)
    assert len(sink.data) == asked
    sink.empty()
    sink.clock.advance(0)
    assert len(sink.data) > asked
    assert not done


def test_others_have_their_turn_while_a_pull_producer_is_served() -> None:
    sink = Collected()
    bodies.send(sink, Producer(file_of(3 * FAIR)))
    assert FAIR <= len(sink.data) < FAIR + 70_000
    sink.clock.advance(0)
    assert len(sink.data) >= 2 * FAIR


class Pull:
    """A pull producer that writes when it is told, not when it is asked."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self.asked = 0
        self.error: Exception | None = None

    def resumeProducing(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    def stopProducing(self) -> None:
        raise AssertionError("its body is stopped, which stops it")


def pulling(made: list[Pull], done: Deferred[Any], error: Exception | None = None) -> Callable[[Any], Deferred[Any]]:
    def start(consumer: Any) -> Deferred[Any]:
        made.append(Pull(consumer))
        made[-1].error = error
        consumer.registerProducer(made[-1], False)
        return done

    return start


def test_a_pull_producer_that_writes_later_is_asked_once_for_each_piece() -> None:
    sink = Collected()
    made: list[Pull] = []
    done: Deferred[Any] = Deferred()
    finished: list[object] = []
    bodies.send(sink, Producer(pulling(made, done))).addBoth(finished.append)
    sink.clock.pump([0.1] * 5)
    assert made[0].asked == 1
    sink.clock.callLater(0, made[0].consumer.write, b"piece")
    sink.clock.pump([0.1] * 5)
    assert made[0].asked == 2
    made[0].consumer.unregisterProducer()
    done.callback(None)
    assert finished == [None]
    assert bytes(sink.data) == b"piece"


def test_a_pull_producer_that_fails_fails_the_body_once(logged: Logged) -> None:
    made: list[Pull] = []
    done: Deferred[Any] = Deferred()
    body = Producer(pulling(made, done, KeyError("read")), lambda: done.errback(ValueError("stopped")))
    failed: list[Any] = []
    bodies.send(Collected(), body).addErrback(failed.append)
    assert failed[0].check(KeyError)
    assert body.stopped == 1


def test_a_producer_is_paused_while_the_sink_is_congested() -> None:
    sink = Collected(10)
    consumers: list[Any] = []

    def start(consumer: Any) -> Deferred[Any]:
        consumers.append(consumer)
        return Deferred()

    body = Producer(start)
    sending = bodies.send(sink, body)
    consumers[0].write(b"x" * 20)
    consumers[0].write(b"x")
    assert body.paused == [True]
    sink.empty()
    assert body.paused == [True, False]
    consumers[0].write(b"x" * 20)
    sink.lose()
    sending.addErrback(lambda failure: failure.trap(CancelledError))
    sending.cancel()
    assert body.stopped == 1
    consumers[0].write(b"late")
    assert len(sink.data) == 41


@pytest.mark.parametrize("canceller", [None, lambda done: done.callback(None)])
def test_a_producer_that_cannot_be_stopped_is_logged_once(canceller: Any, logged: Logged) -> None:
    def fail() -> None:
        raise OSError("cannot be stopped")

    body = Producer(lambda consumer: Deferred(canceller), fail)
    failed: list[Any] = []
    sending = bodies.send(Collected(), body)
    sending.addErrback(failed.append)
    sending.cancel()
    assert failed[0].check(CancelledError)
    assert len(logged.failures(OSError)) == 1


@pytest.mark.parametrize("start", [lambda consumer: 1 / 0, lambda consumer: None])
def test_a_producer_that_does_not_start_fails(start: Callable[[Any], Any]) -> None:
    failed: list[Any] = []
    bodies.send(Collected(), Producer(start)).addErrback(failed.append)
    assert failed[0].check(ZeroDivisionError, TypeError)


def test_what_can_be_a_body() -> None:
    for body in ([b"x"], io.BytesIO(), OnlyRead(b""), Producer(sent), ClosingLater()):
        assert bodies.isBody(body)
    for other in (None, 1, object()):
        assert not bodies.isBody(other)


# -- from end to end ---------------------------------------------------------------------------------------------------


def answered(response: Callable[[], Response], *, slowly: int = 65536) -> Any:
    """What a client gets over a socket."""

    def handler(request: Request) -> Response:
        return response()

    served = Served(handler)
    try:
        served.send(GET)
        for _ in range(100_000):
            served.reactor.poll()
            try:
                served.received += served.client.recv(slowly)
            except BlockingIOError:
                continue
            found = served.responses([b"GET"])
            if found and found[0].complete:
                return found[0]
        raise AssertionError(f"only {len(served.received)} bytes came")
    finally:
        served.close()


@pytest.mark.parametrize("name", [name for name in FILES if name != "only read"])
def test_a_file_arrives_over_a_socket(name: str, tmp_path: Path) -> None:
    got = answered(lambda: Response.file(FILES[name](tmp_path)))
    assert got.status == 200
    assert got.body == CONTENT
    assert got.headers.get("content-length") == (str(len(CONTENT)) if name in RAW else None)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_stated_length_arrives_over_a_socket(name: str, tmp_path: Path) -> None:
    got = answered(lambda: Response(200, FILES[name](tmp_path), length=len(CONTENT)))
    assert got.body == CONTENT
    assert got.headers.get("content-length") == str(len(CONTENT))


def test_an_archive_is_sent_as_one(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tar.gz", gzip.open)
    got = answered(lambda: Response.file(path))
    assert got.headers.get("content-type") == "application/gzip"
    assert got.headers.get("content-encoding") is None
    assert gzip.decompress(got.body) == CONTENT


@pytest.mark.parametrize(
    ("headers", "type_", "coding"),
    [
        (None, "image/svg+xml", "gzip"),
        ({"X-More": "1"}, "image/svg+xml", "gzip"),
        ({"Content-Type": "application/gzip"}, "application/gzip", None),
        ([(b"content-encoding", b"identity")], "image/svg+xml", "identity"),
    ],
)
def test_a_compressed_drawing_has_its_coding(headers: Any, type_: str, coding: str | None, tmp_path: Path) -> None:
    path = written(tmp_path, "a.svgz", gzip.open)
    got = answered(lambda: Response.file(path, headers=headers))
    assert got.headers.get("content-type") == type_
    assert got.headers.get("content-encoding") == coding


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc")
def test_a_file_whose_size_is_0_and_that_can_be_read_arrives() -> None:
    assert answered(lambda: Response.file("/proc/version")).body == Path("/proc/version").read_bytes()


def test_a_pull_producer_arrives_over_a_socket() -> None:
    got = answered(lambda: Response(200, Producer(file_of(1_000_000))), slowly=5000)
    assert got.body == b"x" * 1_000_000


def test_a_response_whose_body_cannot_be_closed_arrives(logged: Logged) -> None:
    assert answered(lambda: Response(200, Closing(b"one", b"two"))).body == b"onetwo"
    assert len(logged.failures(OSError)) == 1
