"""The loads of our own: a schedule that does not wait for the server, and bytes that are counted right."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from benchmarks.experiments.bodies import PEERS
from benchmarks.openloop import Generator
from benchmarks.peers import OURS
from benchmarks.processes import LoadFailed, measured, running
from benchmarks.transfer import Refused, Transfers, request

Listen = Callable[[Callable[[socket.socket], None]], int]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n"


@contextmanager
def generator(port: int, clock: Callable[[], float] = time.perf_counter) -> Iterator[Generator]:
    load = Generator(port, 1, clock)
    try:
        yield load
    finally:
        load.close()


def answering(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Answers each request with these bytes."""

    def serve(connection: socket.socket) -> None:
        while connection.recv(65536):
            for piece in pieces:
                connection.sendall(piece)

    return serve


def mute(connection: socket.socket) -> None:
    """Answers nothing."""
    while connection.recv(65536):
        pass


def closing(connection: socket.socket) -> None:
    """Answers the first request with the end of the connection."""
    connection.recv(65536)


# -- the open loop -----------------------------------------------------------------------------------


def test_every_request_of_the_schedule_is_answered_and_counted_once(listen: Listen) -> None:
    with generator(listen(answering(ANSWER[:20], ANSWER[20:]))) as load:
        load.run(rate=200, seconds=0.2)
    assert len(load.latencies) == 40
    assert load.failures == load.unanswered == 0
    assert 0 < min(load.latencies) <= max(load.latencies) < 1
    assert load.sustained > 0.5
    assert load.stalled > 0


def test_a_stall_shows_in_every_request_that_was_due_meanwhile(listen: Listen) -> None:
    over = Event()
    begun = time.perf_counter()

    def clock() -> float:
        now = time.perf_counter() - begun
        if now >= 0.3:
            over.set()
        return now

    def serve(connection: socket.socket) -> None:
        over.wait(10)
        answering(ANSWER)(connection)

    with generator(listen(serve), clock) as load:
        load.run(rate=100, seconds=0.5)
    assert len(load.latencies) == 50
    assert load.unanswered == 0
    # The first was due after the connection was made; nothing was answered before 0.3.
    first = 0.3 - load.latencies[0]
    assert sum(latency > 0.05 for latency in load.latencies) >= (0.25 - max(first, 0.0)) * 100 - 1 > 10


def test_requests_that_are_never_answered_count_for_as_long_as_they_were_waited_for(listen: Listen) -> None:
    with generator(listen(mute)) as load:
        load.run(rate=100, seconds=0.1, grace=0.1)
    assert load.unanswered == len(load.latencies) == 10
    assert min(load.latencies) >= 0.1
    assert load.sustained == 0


def test_wrong_answers_and_closed_connections_are_failures(listen: Listen) -> None:
    with generator(listen(answering(ANSWER.replace(b"200 OK", b"503 No")))) as load:
        load.run(rate=100, seconds=0.05)
    assert load.failures == len(load.latencies) == 5
    with generator(listen(closing)) as load:
        load.run(rate=100, seconds=0.05, grace=0.0)
    assert load.failures >= 1


# -- transfers ---------------------------------------------------------------------------------------


def transferred(port: int, asked: bytes, seconds: float = 0.1) -> tuple[int, int]:
    load = Transfers(port, asked, 2)
    try:
        sent, received, _ = load.run(seconds)
    finally:
        load.close()
    return sent, received


def test_downloads_are_counted_whatever_the_pieces(listen: Listen) -> None:
    sent, received = transferred(listen(answering(ANSWER[:30], ANSWER[30:45], ANSWER[45:])), request("/", 0))
    assert sent % len(request("/", 0)) == 0
    assert 0 <= sent // len(request("/", 0)) * len(ANSWER) - received <= 2 * len(ANSWER)
    assert received > len(ANSWER)


def test_uploads_go_on_after_an_answer_that_came_early(listen: Listen) -> None:
    asked = request("/upload", 3_000_000)

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(1000):
            connection.sendall(ANSWER)
            missing = len(asked) - len(data)
            while missing and (data := connection.recv(min(missing, 1 << 20))):
                missing -= len(data)

    sent, received = transferred(listen(serve), asked, 0.3)
    assert sent > 2 * len(asked)
    assert received > 2 * len(ANSWER)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_is_no_good_ends_the_transfer(listen: Listen, answer: bytes) -> None:
    with pytest.raises(Refused, match="the server answered"):
        transferred(listen(answering(answer)), request("/", 0))


def test_a_connection_that_is_closed_ends_the_transfer(listen: Listen) -> None:
    with pytest.raises(Refused, match="closed"):
        transferred(listen(closing), request("/", 0))


def test_our_server_moves_bodies_both_ways() -> None:
    (ours,) = (peer for peer, _ in PEERS if peer.name == OURS)
    with running(ours) as server:
        for path, upload in (("/memory/65536", 0), ("/file/65536", 0), ("/upload", 65536)):
            sent, received = transferred(server.port, request(path, upload))
            assert (sent if upload else received) > 10 * 65536, path
        assert server.processor_time() > 0


def test_what_a_load_says_when_it_fails_is_the_reason() -> None:
    with pytest.raises(LoadFailed, match=r"openloop said: .*refused"):
        measured("openloop", "1", "--rate", "1", "--seconds", "1", "--connections", "1", seconds=1)
