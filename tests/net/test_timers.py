"""The clock's side of the deadlines: one delayed call for all connections, and what a body's pace allows."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from ka_twisted.core.deadlines import Deadline
from ka_twisted.net.alarms import AlarmClock, Pace, Watch
from tests.logs import Logged

HEADER, IDLE, WRITE, LINGER = Deadline.HEADER, Deadline.IDLE, Deadline.WRITE, Deadline.LINGER


class CountingClock(Clock):
    """Counts what is asked of it."""

    asked = 0

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        self.asked += 1
        return super().callLater(delay, callable, *args, **kw)


class OwnedWatch(Watch):
    """Tells its owner."""

    def __init__(self, alarms: AlarmClock, owner: Owner) -> None:
        super().__init__(alarms)
        self._owner = owner

    def expired(self, deadline: Deadline) -> None:
        self._owner.expired(deadline)


class Owner:
    """Of some watches: keeps what has passed, and when."""

    def __init__(self) -> None:
        self.clock = CountingClock()
        self.alarms = AlarmClock(self.clock)
        self.passed: list[tuple[float, Deadline]] = []

    def expired(self, deadline: Deadline) -> None:
        self.passed.append((self.clock.seconds(), deadline))

    def watch(self) -> Watch:
        return OwnedWatch(self.alarms, self)

    def advance(self, *steps: float) -> list[tuple[float, Deadline]]:
        """Let time pass; gives what has passed since last asked."""
        self.clock.pump(steps)
        passed, self.passed = self.passed, []
        return passed

    @property
    def pending(self) -> int:
        return len(self.clock.getDelayedCalls())

    @property
    def entries(self) -> int:
        """What the clock keeps: a matter of memory, which nothing public shows."""
        return sum(1 + len(watches) for _, watches in self.alarms._sleepers.values())


@pytest.fixture
def owner() -> Owner:
    return Owner()


# -- watches -----------------------------------------------------------------------------------------------------------


def test_a_deadline_passes_when_it_is_due_and_once(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 10)
    assert watch.armed(IDLE)
    assert owner.advance(9.9) == []
    assert owner.advance(0.1) == [(10, IDLE)]
    assert not watch.armed(IDLE)
    assert owner.advance(100) == []
    assert owner.pending == 0


def test_what_the_peer_owes_is_one_thing_at_a_time(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 10)
    watch.await_(HEADER, 5)
    assert not watch.armed(IDLE)
    assert owner.advance(*[1] * 20) == [(5, HEADER)]


def test_a_later_deadline_wakes_early_for_nothing_and_sleeps_on(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 10)
    watch.await_(IDLE, 25)
    assert owner.advance(*[1] * 24) == []
    assert owner.advance(1) == [(25, IDLE)]


def test_nothing_owed_is_nothing_late(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 10)
    watch.await_(None, inf)
    assert owner.advance(*[5] * 10) == []


def test_deadlines_beside_it_have_times_of_their_own(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 10)
    watch.arm(WRITE, 3)
    watch.arm(LINGER, 12)
    assert watch.armed(WRITE)
    assert watch.armed(LINGER)
    assert owner.advance(*[1] * 20) == [(3, WRITE), (10, IDLE), (12, LINGER)]


def test_arming_again_begins_anew(owner: Owner) -> None:
    watch = owner.watch()
    watch.arm(WRITE, 3)
    owner.advance(2)
    watch.arm(WRITE, 3)
    assert owner.advance(*[1] * 10) == [(5, WRITE)]


def test_zero_seconds_are_never(owner: Owner) -> None:
    watch = owner.watch()
    watch.arm(WRITE, 0)
    assert not watch.armed(WRITE)
    assert owner.pending == 0


def test_a_disarmed_deadline_does_not_pass(owner: Owner) -> None:
    watch = owner.watch()
    watch.disarm(WRITE)
    watch.arm(WRITE, 3)
    watch.arm(LINGER, 4)
    watch.disarm(WRITE)
    assert not watch.armed(WRITE)
    assert owner.advance(*[1] * 10) == [(4, LINGER)]


def test_deadlines_that_pass_together_are_all_told(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 3)
    watch.arm(WRITE, 3)
    assert sorted(owner.advance(3), key=str) == [(3, IDLE), (3, WRITE)]


def test_a_deadline_may_be_armed_again_while_it_passes() -> None:
    class Again(Owner):
        def expired(self, deadline: Deadline) -> None:
            super().expired(deadline)
            again.arm(deadline, 2)

    owner = Again()
    again = owner.watch()
    again.arm(WRITE, 2)
    assert owner.advance(*[1] * 6) == [(2, WRITE), (4, WRITE), (6, WRITE)]


def test_a_closed_watch_is_silent(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 3)
    watch.arm(WRITE, 3)
    watch.disarmAll()
    assert owner.advance(*[1] * 10) == []
    watch.disarmAll()


def test_one_may_close_another_that_is_due_at_the_same_time() -> None:
    class Closing(Owner):
        def expired(self, deadline: Deadline) -> None:
            super().expired(deadline)
            for watch in watches:
                watch.disarmAll()

    owner = Closing()
    watches = [owner.watch() for _ in range(3)]
    for watch in watches:
        watch.await_(IDLE, 3)
    assert owner.advance(3) == [(3, IDLE)]
    assert owner.pending == 0


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_what_one_raises_is_logged_and_does_not_silence_the_others(
    error: type[BaseException], owner: Owner, logged: Logged
) -> None:
    class Raising(Owner):
        def expired(self, deadline: Deadline) -> None:
            raise error

    raising = Raising()
    raising.alarms = owner.alarms
    raising.watch().await_(IDLE, 3)
    owner.watch().await_(IDLE, 3)
    owner.watch().await_(HEADER, 4)
    assert owner.advance(*[1] * 5) == [(3, IDLE), (4, HEADER)]
    assert len(logged.failures(error)) == 1


def test_late_is_told_once_however_late(owner: Owner) -> None:
    watch = owner.watch()
    watch.await_(IDLE, 3)
    assert owner.advance(1000) == [(1000, IDLE)]
    watch.await_(IDLE, 500)
    assert owner.advance(0) == [(1000, IDLE)]


# -- what the clock costs ----------------------------------------------------------------------------------------------


def test_all_watches_share_one_call(owner: Owner) -> None:
    for number in range(1000):
        owner.watch().await_(IDLE, 10 + number)
    assert owner.pending == 1
    assert owner.clock.asked == 1


def test_idle_connections_share_their_wakeups_and_are_closed_at_their_own_time(owner: Owner) -> None:
    for number in range(1000):
        owner.watch().await_(IDLE, 75 + number / 1000)
    assert len(owner.alarms._sleepers) == 1
    assert [time for time, _ in owner.advance(*[0.001] * 76_100)] == pytest.approx(
        [75 + number / 1000 for number in range(1000)], abs=0.0015
    )


def test_arming_anew_with_every_request_costs_no_call_and_no_memory(owner: Owner) -> None:
    watch = owner.watch()
    for _ in range(10_000):
        owner.clock.rightNow += 0.001
        watch.await_(HEADER, owner.clock.seconds() + 10)
        watch.await_(None, inf)
        watch.await_(IDLE, owner.clock.seconds() + 75)
    assert owner.clock.asked == 1
    assert owner.entries <= 4


@pytest.mark.parametrize("seconds", [75, 0])
def test_closed_watches_do_not_pile_up(owner: Owner, seconds: float) -> None:
    staying = [owner.watch() for _ in range(50)]
    for watch in staying:
        watch.await_(IDLE, 1000)
    for _ in range(5000):
        watch = owner.watch()
        watch.await_(Deadline.FIRST_REQUEST, owner.clock.seconds() + 75 if seconds else inf)
        watch.arm(WRITE, 6)
        watch.disarmAll()
    assert owner.entries < 500
    assert owner.advance(*[100] * 10) == [(1000, IDLE)] * 50


def test_wakeups_brought_forward_do_not_pile_up(owner: Owner) -> None:
    """A request in two segments has the connection woken early, every time the last such wake-up is past."""
    watch = owner.watch()
    for _ in range(2000):
        watch.await_(HEADER, owner.clock.seconds() + 10)
        watch.await_(IDLE, owner.clock.seconds() + 36_000)
        owner.advance(11)
    assert owner.entries < 200
    assert owner.passed == []


def test_the_last_watch_takes_the_call_with_it(owner: Owner) -> None:
    """A test of the reactor's cleanliness would find it otherwise."""
    watches = [owner.watch() for _ in range(10)]
    for watch in watches:
        watch.await_(IDLE, 75)
        watch.arm(WRITE, 6)
    assert owner.pending == 1
    for watch in watches:
        watch.disarmAll()
    assert owner.pending == 0
    assert owner.entries == 0
    owner.watch().await_(IDLE, 5)
    assert owner.advance(5) == [(5, IDLE)]


# -- against a simple model --------------------------------------------------------------------------------------------

steps = st.one_of(
    st.tuples(st.just("await"), st.integers(0, 4), st.sampled_from([HEADER, IDLE]), st.integers(1, 30)),
    st.tuples(st.just("arm"), st.integers(0, 4), st.sampled_from([WRITE, LINGER]), st.integers(1, 30)),
    st.tuples(st.just("disarm"), st.integers(0, 4), st.sampled_from([WRITE, LINGER]), st.just(0)),
    st.tuples(st.just("nothing"), st.integers(0, 4), st.just(IDLE), st.just(0)),
    st.tuples(st.just("close"), st.integers(0, 4), st.just(IDLE), st.just(0)),
    st.tuples(st.just("pass"), st.just(0), st.just(IDLE), st.integers(0, 12)),
)


@given(st.lists(steps, max_size=60))
@example([("await", 0, HEADER, 1), ("await", 1, HEADER, 2), ("close", 1, IDLE, 0), ("pass", 0, IDLE, 1)])
def test_every_deadline_passes_at_its_second(script: list[tuple[str, int, Deadline, int]]) -> None:
    owner = Owner()
    watches = [owner.watch() for _ in range(5)]
    owed: list[tuple[Deadline, float] | None] = [None] * 5
    others: list[dict[Deadline, float]] = [{} for _ in range(5)]
    for what, which, deadline, seconds in script:
        now = owner.clock.seconds()
        if what == "await":
            watches[which].await_(deadline, now + seconds)
            owed[which] = (deadline, now + seconds)
        elif what == "nothing":
            watches[which].await_(None, inf)
            owed[which] = None
        elif what == "arm":
            watches[which].arm(deadline, seconds)
            others[which][deadline] = now + seconds
        elif what == "disarm":
            watches[which].disarm(deadline)
            others[which].pop(deadline, None)
        elif what == "close":
            watches[which].disarmAll()
            owed[which] = None
            others[which].clear()
        else:
            for _ in range(seconds):
                owner.clock.advance(1)
                now = owner.clock.seconds()
                expected: list[tuple[float, Deadline]] = []
                for place in range(5):
                    late = owed[place]
                    if late is not None and late[1] <= now:
                        expected.append((now, late[0]))
                        owed[place] = None
                    for other in [key for key, due in others[place].items() if due <= now]:
                        expected.append((now, other))
                        del others[place][other]
                assert sorted(owner.passed, key=str) == sorted(expected, key=str)
                owner.passed.clear()
    for watch in watches:
        watch.disarmAll()
    assert owner.pending == 0


# -- the pace of a body ------------------------------------------------------------------------------------------------


def test_silence_is_bounded() -> None:
    pace = Pace(30, 0, 0)
    assert pace.awaiting(100) == 130
    pace.received(1)
    assert pace.awaiting(125) == 155


def test_slowness_is_bounded_once_the_grace_is_spent() -> None:
    pace = Pace(30, 10, 100)
    now = 0.0
    due = pace.awaiting(now)
    assert due == 10
    while now + 1 <= due:
        now += 1
        pace.received(50)  # half of what has to come
        due = pace.awaiting(now)
    assert now == pytest.approx(20, abs=1)


def test_enough_is_never_late() -> None:
    pace = Pace(30, 10, 100)
    for now in range(1000):
        assert pace.awaiting(now) > now + 1
        pace.received(100)


def test_what_came_early_counts() -> None:
    pace = Pace(300, 10, 100)
    pace.awaiting(0)
    pace.received(10_000)
    assert pace.awaiting(0) == 110


def test_time_in_which_the_application_holds_back_does_not_count() -> None:
    pace = Pace(30, 10, 100)
    pace.awaiting(0)
    pace.paused(4)
    assert pace.awaiting(1000) == 1006
    pace.paused(1001)
    pace.paused(2000)
    assert pace.awaiting(5000) == 5005


@pytest.mark.parametrize(
    ("silence", "grace", "rate", "due"),
    [(0, 10, 100, 10), (30, 10, 0, 30), (30, 0, 100, 30), (0, 0, 100, inf), (0, 10, 0, inf), (0, 0, 0, inf)],
)
def test_each_part_can_be_switched_off(silence: float, grace: float, rate: float, due: float) -> None:
    pace = Pace(silence, grace, rate)
    assert pace.awaiting(0) == due
    pace.received(10)
    assert pace.awaiting(1) >= due
