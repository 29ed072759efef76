"""How workers share what comes: what they note, and who accepts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from ka_twisted.service.workers.balance import PATIENCE, SEATS, LoadTable, Share


@pytest.fixture
def board() -> Iterator[LoadTable]:
    """A supervisor's."""
    made = LoadTable()
    yield made
    made.close()


class Port:
    """A listening port with clients in its queue."""

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.accepted = 0
        self.numberAccepts = 100
        self.reading = self.connected = True
        self.disconnecting = False

    def doRead(self) -> None:
        taken = min(self.queue, self.numberAccepts)
        self.queue -= taken
        self.accepted += taken
        self.numberAccepts += 20

    def stopReading(self) -> None:
        self.reading = False

    def startReading(self) -> None:
        self.reading = True


def governed(board: LoadTable, seat: int, connections: list[int], clock: Clock, queue: int = 5) -> Any:
    port = Port(queue)
    Share(board, seat, lambda: connections[0], clock).govern(port)
    return port


def test_what_one_writes_the_others_read(board: LoadTable) -> None:
    first, second = board.seat(), board.seat()
    board.write(first, 7)
    other = LoadTable(os.dup(board.descriptor))
    assert other.lowest() == 7
    other.write(second, 3)
    assert board.lowest() == 3
    other.leave(second)
    assert board.lowest() == 7
    other.close()


def test_nobody_is_counted_before_there_is_a_note(board: LoadTable) -> None:
    assert board.lowest() == 0
    board.seat()
    board.write(board.seat(), 4)
    assert board.lowest() == 4


def test_seats_are_used_again_and_there_is_an_end_of_them(board: LoadTable) -> None:
    seats = [board.seat() for _ in range(SEATS)]
    assert seats == list(range(1, SEATS + 1))
    with pytest.raises(OSError, match="there are 1024 workers already"):
        board.seat()
    board.free(5)
    assert board.seat() == 5


def test_in_a_turn_one_is_accepted(board: LoadTable) -> None:
    port = governed(board, board.seat(), [0], Clock())
    port.doRead()
    port.doRead()
    assert port.accepted == 2


def test_who_has_more_leaves_the_next_to_another(board: LoadTable) -> None:
    clock, connections = Clock(), [12]
    mine, other = board.seat(), board.seat()
    board.write(other, 8)
    port = governed(board, mine, connections, clock)
    port.doRead()
    assert (port.accepted, port.reading) == (0, False)
    assert board.lowest() == 8
    port.queue = 0  # the other has accepted
    clock.advance(PATIENCE)
    assert (port.accepted, port.reading) == (0, True)


def test_what_the_others_leave_is_accepted_after_a_moment(board: LoadTable) -> None:
    clock = Clock()
    mine, other = board.seat(), board.seat()
    board.write(other, 0)
    port = governed(board, mine, [10], clock)
    port.doRead()
    clock.advance(PATIENCE)
    assert (port.accepted, port.reading) == (1, True)


@pytest.mark.parametrize(("mine", "others", "accepted"), [(1, 0, 1), (2, 0, 0), (8, 7, 1), (100, 90, 1), (120, 90, 0)])
def test_a_small_difference_is_none(board: LoadTable, mine: int, others: int, accepted: int) -> None:
    seat, other = board.seat(), board.seat()
    board.write(other, others)
    port = governed(board, seat, [mine], Clock())
    port.doRead()
    assert port.accepted == accepted


def test_who_leaves_is_not_waited_for(board: LoadTable) -> None:
    seat, other = board.seat(), board.seat()
    board.write(other, 0)
    board.leave(other)
    port = governed(board, seat, [50], Clock())
    port.doRead()
    assert port.accepted == 1


def test_a_port_that_was_closed_meanwhile_stays_closed(board: LoadTable) -> None:
    clock = Clock()
    seat, other = board.seat(), board.seat()
    board.write(other, 0)
    port = governed(board, seat, [50], clock)
    port.doRead()
    port.disconnecting = True
    clock.advance(PATIENCE)
    assert (port.accepted, port.reading) == (0, False)
