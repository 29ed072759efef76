"""How workers share what comes: what they note, and who accepts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from ka_twisted.service.listening.balance import PATIENCE, SLOTS, LoadTable, Share


@pytest.fixture
def loadTable() -> Iterator[LoadTable]:
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


def governed(loadTable: LoadTable, slot: int, connections: list[int], clock: Clock, queue: int = 5) -> Any:
    port = Port(queue)
    Share(loadTable, slot, lambda: connections[0], clock).govern(port)
    return port


def test_what_one_writes_the_others_read(loadTable: LoadTable) -> None:
    first, second = loadTable.slot(), loadTable.slot()
    loadTable.write(first, 7)
    other = LoadTable(os.dup(loadTable.descriptor))
    assert other.lowest() == 7
    other.write(second, 3)
    assert loadTable.lowest() == 3
    other.leave(second)
    assert loadTable.lowest() == 7
    other.close()


def test_nobody_is_counted_before_there_is_a_note(loadTable: LoadTable) -> None:
    assert loadTable.lowest() == 0
    loadTable.slot()
    loadTable.write(loadTable.slot(), 4)
    assert loadTable.lowest() == 4


def test_seats_are_used_again_and_there_is_an_end_of_them(loadTable: LoadTable) -> None:
    seats = [loadTable.slot() for _ in range(SLOTS)]
    assert seats == list(range(1, SLOTS + 1))
    with pytest.raises(OSError, match="there are 1024 workers already"):
        loadTable.slot()
    loadTable.free(5)
    assert loadTable.slot() == 5


def test_in_a_turn_one_is_accepted(loadTable: LoadTable) -> None:
    port = governed(loadTable, loadTable.slot(), [0], Clock())
    port.doRead()
    port.doRead()
    assert port.accepted == 2


def test_who_has_more_leaves_the_next_to_another(loadTable: LoadTable) -> None:
    clock, connections = Clock(), [12]
    mine, other = loadTable.slot(), loadTable.slot()
    loadTable.write(other, 8)
    port = governed(loadTable, mine, connections, clock)
    port.doRead()
    assert (port.accepted, port.reading) == (0, False)
    assert loadTable.lowest() == 8
    port.queue = 0  # the other has accepted
    clock.advance(PATIENCE)
    assert (port.accepted, port.reading) == (0, True)


def test_what_the_others_leave_is_accepted_after_a_moment(loadTable: LoadTable) -> None:
    clock = Clock()
    mine, other = loadTable.slot(), loadTable.slot()
    loadTable.write(other, 0)
    port = governed(loadTable, mine, [10], clock)
    port.doRead()
    clock.advance(PATIENCE)
    assert (port.accepted, port.reading) == (1, True)


@pytest.mark.parametrize(("mine", "others", "accepted"), [(1, 0, 1), (2, 0, 0), (8, 7, 1), (100, 90, 1), (120, 90, 0)])
def test_a_small_difference_is_none(loadTable: LoadTable, mine: int, others: int, accepted: int) -> None:
    slot, other = loadTable.slot(), loadTable.slot()
    loadTable.write(other, others)
    port = governed(loadTable, slot, [mine], Clock())
    port.doRead()
    assert port.accepted == accepted


def test_who_leaves_is_not_waited_for(loadTable: LoadTable) -> None:
    slot, other = loadTable.slot(), loadTable.slot()
    loadTable.write(other, 0)
    loadTable.leave(other)
    port = governed(loadTable, slot, [50], Clock())
    port.doRead()
    assert port.accepted == 1


def test_a_port_that_was_closed_meanwhile_stays_closed(loadTable: LoadTable) -> None:
    clock = Clock()
    slot, other = loadTable.slot(), loadTable.slot()
    loadTable.write(other, 0)
    port = governed(loadTable, slot, [50], clock)
    port.doRead()
    port.disconnecting = True
    clock.advance(PATIENCE)
    assert (port.accepted, port.reading) == (0, False)
