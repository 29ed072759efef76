"""
How workers share what comes: who has more connections than another lets the other accept.

All of them wait for the same queue. The first to wake up would take all that clients open together, and keep it for
as long as the connections are kept alive, while another worker has nothing to do.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections.abc import Callable
from typing import Any

#: Workers that a loadTable has room for, former ones that are draining included.
SLOTS = 1024
_NUMBER = struct.Struct("q")
_ABSENT = -1
#: Seconds that connections are left for others; then they are taken anyway.
PATIENCE = 0.002


class LoadTable:
    """
    A note of each worker, for the others: how many connections it has.

    It is memory that they share. Who reads while another writes gets the number before or after it.

    :param descriptor: of the memory, which is not needed any more afterwards; None: new memory.
    :ivar descriptor: for the others.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        size = (SLOTS + 1) * _NUMBER.size
        if descriptor is None:
            descriptor = _anonymousFile()
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, size)

    def slot(self) -> int:
        """Find a free slot, which is absent as yet; for the supervisor alone."""
        top = self._read(0)
        for slot in range(1, top + 1):
            if self._read(slot) == _ABSENT - 1:
                break
        else:
            slot = top + 1
            if slot > SLOTS:
                raise OSError(f"there are {SLOTS} workers already")
            self._write(0, slot)
        self.leave(slot)
        return slot

    def free(self, slot: int) -> None:
        """Free a slot; for the supervisor alone."""
        self._write(slot, _ABSENT - 1)

    def write(self, slot: int, connections: int) -> None:
        """Note how many connections a worker has, who accepts others."""
        self._write(slot, connections)

    def leave(self, slot: int) -> None:
        """Note that a worker accepts nothing."""
        self._write(slot, _ABSENT)

    def lowest(self) -> int:
        """The fewest connections that a worker has who accepts others; 0 where there is none."""
        numbers = struct.unpack_from(f"{self._read(0)}q", self._memory, _NUMBER.size)
        return min((number for number in numbers if number >= 0), default=0)

    def close(self) -> None:
        """Look at it no more."""
        self._memory.close()
        os.close(self.descriptor)

    def _read(self, place: int) -> int:
        number: int = _NUMBER.unpack_from(self._memory, place * _NUMBER.size)[0]
        return number

    def _write(self, place: int, number: int) -> None:
        _NUMBER.pack_into(self._memory, place * _NUMBER.size, number)


def _anonymousFile() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ka_twisted workers")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Share:
    """
    A worker's share of the connections.

    :param count: the connections that it has.
    """

    def __init__(self, loadTable: LoadTable, slot: int, count: Callable[[], int], reactor: Any) -> None:
        self._loadTable = loadTable
        self._slot = slot
        self._count = count
        self._reactor = reactor

    def note(self) -> None:
        """Tell the others how many connections there are."""
        self._loadTable.write(self._slot, self._count())

    def leave(self) -> None:
        """Tell them not to leave any to us."""
        self._loadTable.leave(self._slot)

    def govern(self, port: Any) -> None:
        """Have a port accept our share: one connection in a turn, and none for a moment when others have fewer."""
        accept = port.doRead

        def acceptOne() -> None:
            port.numberAccepts = 1
            accept()

        def doRead() -> None:
            count = self._count()
            self._loadTable.write(self._slot, count)
            lowest = self._loadTable.lowest()
            if count > lowest + 1 + lowest // 8:
                port.stopReading()
                self._reactor.callLater(PATIENCE, goOn)
            else:
                acceptOne()

        def goOn() -> None:
            if port.connected and not port.disconnecting:
                port.startReading()
                acceptOne()

        port.doRead = doRead
