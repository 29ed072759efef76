"""
Deadlines on a clock: one ``callLater`` for all connections of a server (`AlarmClock`), the deadlines of one connection
(`Watch`), and the deadline of a body that has to come at a rate (`Pace`).

Arming a deadline on a connection that has an earlier wake-up costs an assignment: the wake-up finds nothing due, and is
scheduled anew. `core` names the deadlines and decides which one runs; seconds pass here only.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..core.deadlines import Deadline

_log = Logger()
#: Cancelled wake-ups that are too few to be sorted out.
_FEW = 64
#: Wake-ups that are further off than twice this are rounded down to a multiple of it, in seconds.
_ROUND = 1.0


class AlarmClock:
    """
    Wakes many `Watch` objects with a single delayed call.

    A wake-up may come early, so those that are far off are rounded down to the second: however many connections are
    idle, they share few times to be woken at, and each costs a place in a list.

    :param reactor: gives the time and the delayed call.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self.seconds: Callable[[], float] = reactor.seconds
        self._reactor = reactor
        #: The times of the wake-ups, and the watches to be woken then; some of these are cancelled.
        self._heap: list[float] = []
        self._sleepers: dict[float, tuple[float, list[Watch]]] = {}
        self._count = 0
        self._stale = 0
        self._call: IDelayedCall | None = None
        self._due = inf

    def schedule(self, watch: Watch, due: float) -> None:
        """Wake this watch at that time, by the clock, or up to a second earlier."""
        if watch.wakeup < inf:
            watch.wakeup = inf
            self.forget()
        if due - self.seconds() > 2 * _ROUND:
            due -= due % _ROUND
        sleepers = self._sleepers.get(due)
        if sleepers is None:
            sleepers = self._sleepers[due] = (due, [])
            heappush(self._heap, due)
        watch.wakeup = sleepers[0]  # one object for all of them
        sleepers[1].append(watch)
        self._count += 1
        if due < self._due:
            self._arm(due)

    def forget(self) -> None:
        """A wake-up is cancelled. When most are, they are sorted out; the last one cancels the delayed call."""
        self._stale += 1
        if self._emptied():
            self._disarm()
        elif self._stale > _FEW and self._stale > self._count // 2:
            self._sortOut()

    def _sortOut(self) -> None:
        sleepers: dict[float, tuple[float, list[Watch]]] = {}
        for time, watches in self._sleepers.values():
            wanted = list(dict.fromkeys(watch for watch in watches if watch.wakeup == time))
            if wanted:
                sleepers[time] = (time, wanted)
        self._sleepers = sleepers
        self._heap = sorted(sleepers)
        self._count = sum(len(watches) for _, watches in sleepers.values())
        self._stale = 0

    def _emptied(self) -> bool:
        """Whether all wake-ups are cancelled; then nothing is kept."""
        if self._stale < self._count:
            return False
        self._heap.clear()
        self._sleepers.clear()
        self._count = self._stale = 0
        return True

    def _arm(self, due: float) -> None:
        delay = max(0.0, due - self.seconds())
        self._due = due
        if self._call is None:
            self._call = self._reactor.callLater(delay, self._ring)
        else:
            self._call.reset(delay)

    def _disarm(self) -> None:
        self._due = inf
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _ring(self) -> None:
        self._call = None
        self._due = inf
        now = self.seconds()
        due: list[Watch] = []
        while self._heap and self._heap[0] <= now:
            time, watches = self._sleepers.pop(heappop(self._heap))
            self._count -= len(watches)
            for watch in watches:
                if watch.wakeup == time:
                    watch.wakeup = inf
                    due.append(watch)
                else:
                    self._stale -= 1
        for watch in due:
            watch.ring(now)
        if not self._emptied() and self._heap[0] < self._due:
            self._arm(self._heap[0])


class Watch:
    """
    The deadlines of one connection, which is a subclass: a server has many, and each object that it is made of counts.

    What the protocol awaits from the peer (`deadline`, `due`) is one thing at a time and changes with every request: it
    has slots of its own. The others are rare.
    """

    __slots__ = ("_clock", "_others", "deadline", "due", "wakeup")

    def __init__(self, clock: AlarmClock) -> None:
        self._clock = clock
        self._others: dict[Deadline, float] | None = None
        #: What is awaited from the peer now, and by when.
        self.deadline: Deadline | None = None
        self.due = inf
        #: When the clock will wake us.
        self.wakeup = inf

    def expired(self, deadline: Deadline) -> None:
        """A deadline has passed, and is disarmed."""
        raise NotImplementedError

    def await_(self, deadline: Deadline | None, due: float) -> None:
        """Await this from the peer until then; None: nothing is awaited."""
        self.deadline = deadline
        self.due = due
        if due < self.wakeup:
            self._clock.schedule(self, due)

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """Let a deadline beside that one pass so many seconds from now; 0: never."""
        if not seconds:
            return
        if self._others is None:
            self._others = {}
        self._others[deadline] = due = self._clock.seconds() + seconds
        if due < self.wakeup:
            self._clock.schedule(self, due)

    def disarm(self, deadline: Deadline) -> None:
        """Forget such a deadline."""
        if self._others is not None:
            self._others.pop(deadline, None)

    def armed(self, deadline: Deadline) -> bool:
        """Whether it is running."""
        return deadline is self.deadline or (self._others is not None and deadline in self._others)

    def disarmAll(self) -> None:
        """Forget everything."""
        self._others = None
        self.deadline = None
        self.due = inf
        if self.wakeup < inf:
            self.wakeup = inf
            self._clock.forget()

    def ring(self, now: float) -> None:
        """The clock wakes us: pass on what is due, and schedule the next wake-up."""
        passed = []
        if self.due <= now and self.deadline is not None:
            passed.append(self.deadline)
            self.deadline, self.due = None, inf
        for deadline, due in list((self._others or {}).items()):
            if due <= now:
                passed.append(deadline)
                self.disarm(deadline)
        for deadline in passed:
            try:
                self.expired(deadline)
            except BaseException:
                _log.failure("{owner!r} failed at its deadline {deadline}", owner=self, deadline=deadline.name)
        following = min(self.due, *(self._others or _NEVER).values())
        if following < self.wakeup:
            self._clock.schedule(self, following)


_NEVER = {Deadline.LINGER: inf}


class Pace:
    """
    By when more of a body has to come (ledger P-17, `Limits.minBodyRate`).

    Silence is bounded, and so is slowness: after the grace the body has to have averaged its rate. Only the time in
    which bytes were awaited counts, not the time in which the application held them back.

    :param silence: longest silence, in seconds; 0: any.
    :param grace: seconds before the average counts; 0: it never does.
    :param rate: bytes a second; 0: any.
    """

    __slots__ = ("_allowance", "_rate", "_silence", "_since")

    def __init__(self, silence: float, grace: float, rate: float) -> None:
        self._silence = silence or inf
        self._rate = rate
        self._allowance = grace if rate and grace else inf
        self._since: float | None = None

    def awaiting(self, now: float) -> float:
        """Bytes are awaited from now on; returns when they are due."""
        self.paused(now)
        self._since = now
        return now + min(self._silence, max(0.0, self._allowance))

    def received(self, size: int) -> None:
        """So many bytes came."""
        if self._rate:
            self._allowance += size / self._rate

    def paused(self, now: float) -> None:
        """Nothing is awaited for a while."""
        if self._since is not None:
            self._allowance -= now - self._since
            self._since = None
