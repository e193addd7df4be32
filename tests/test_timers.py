"""The heap of timers."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coop.timers import Timers


@pytest.fixture
def timers():
    return Timers()


@pytest.fixture
def log():
    return []


def test_due_timers_fire_in_the_order_of_their_moments(timers, log):
    for when in (30, 10, 20, 40):
        timers.set(when, lambda when=when: log.append(when))
    assert timers.fire_due(30) == 3
    assert log == [10, 20, 30]
    assert timers.next_ns() == 40


@pytest.mark.seed("S3")
def test_ties_fire_in_the_order_in_which_they_were_set(timers, log):
    for name in "abcde":
        timers.set(5, lambda name=name: log.append(name))
    timers.fire_due(5)
    assert log == list("abcde")


def test_a_timer_fires_once(timers, log):
    timer = timers.set(5, lambda: log.append(1))
    assert timer.is_pending
    timers.fire_due(5)
    timers.fire_due(100)
    assert log == [1]
    assert not timer.is_pending


def test_a_cancelled_timer_does_not_fire_and_cancelling_twice_or_late_changes_nothing(timers, log):
    timer = timers.set(5, lambda: log.append(1))
    other = timers.set(5, lambda: log.append(2))
    timer.cancel()
    timer.cancel()
    assert len(timers) == 1
    timers.fire_due(5)
    other.cancel()
    assert log == [2]
    assert len(timers) == 0


def test_a_timer_may_cancel_a_later_one_that_is_due_too(timers, log):
    later = timers.set(2, lambda: log.append("later"))
    timers.set(1, later.cancel)
    timers.set(3, lambda: log.append("last"))
    assert timers.fire_due(3) == 2
    assert log == ["last"]
    assert len(timers) == 0


def test_a_timer_set_for_now_by_a_timer_waits_for_the_next_time(timers, log):
    def again():
        log.append("fired")
        timers.set(5, again)

    timers.set(5, again)
    assert timers.fire_due(5) == 1
    assert timers.fire_due(5) == 1
    assert log == ["fired", "fired"]


def test_nothing_set_is_due_never(timers):
    assert timers.next_ns() is None
    assert timers.fire_due(10**18) == 0
    timers.set(5, lambda: None).cancel()
    assert timers.next_ns() is None


def test_cancelled_timers_do_not_pile_up(timers):
    keep = timers.set(10**9, lambda: None)
    for when in range(10_000):
        timers.set(when, lambda: None).cancel()
    assert len(timers) == 1
    assert len(timers._heap) < 200
    assert timers.next_ns() == keep.when_ns


def test_a_sweep_that_happens_while_timers_fire_keeps_count(timers, log):
    crowd = [timers.set(1000 + n, lambda: log.append("late")) for n in range(200)]
    due = [timers.set(2, lambda: log.append("due")) for _ in range(100)]

    def cancel_all():
        for timer in crowd[:150] + due[::2]:
            timer.cancel()

    timers.set(1, cancel_all)
    timers.fire_due(5)
    assert log == ["due"] * 50
    assert len(timers) == 50
    timers.fire_due(5000)
    assert log == ["due"] * 50 + ["late"] * 50
    assert len(timers) == 0


class TimersMachine(RuleBasedStateMachine):
    """The heap beside a list that is sorted whenever it is asked."""

    def __init__(self):
        super().__init__()
        self.timers = Timers()
        self.fired: list[int] = []
        self.living: dict[int, tuple[int, int | None]] = {}  # number -> moment, whom it cancels
        self.handles = {}
        self.serial = 0
        self.now = 0

    def set_one(self, when, victim=None):
        self.serial += 1
        me = self.serial

        def fire():
            self.fired.append(me)
            if victim is not None:
                self.handles[victim].cancel()

        self.living[me] = (when, victim)
        self.handles[me] = self.timers.set(when, fire)

    @rule(delta=st.integers(-3, 20))
    def set_timer(self, delta):
        self.set_one(self.now + delta)

    @rule(delta=st.integers(0, 9), count=st.integers(40, 90))
    def set_many(self, delta, count):
        for _ in range(count):
            self.set_one(self.now + delta)

    @precondition(lambda self: self.living)
    @rule(delta=st.integers(0, 20), data=st.data())
    def set_one_that_cancels_another(self, delta, data):
        self.set_one(self.now + delta, data.draw(st.sampled_from(sorted(self.living))))

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def cancel(self, data):
        number = data.draw(st.sampled_from(sorted(self.living)))
        del self.living[number]
        self.handles[number].cancel()

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def cancel_most(self, data):
        step = data.draw(st.integers(2, 5))
        for number in sorted(self.living):
            if number % step:
                del self.living[number]
                self.handles[number].cancel()

    @rule(delta=st.integers(0, 15))
    def turn(self, delta):
        self.now += delta
        expected = []
        for when, number in sorted((when, number) for number, (when, _) in self.living.items()):
            if when <= self.now and number in self.living:
                expected.append(number)
                _, victim = self.living.pop(number)
                self.living.pop(victim, None)
        self.fired.clear()
        assert self.timers.fire_due(self.now) == len(expected)
        assert self.fired == expected

    @invariant()
    def counts_agree(self):
        assert len(self.timers) == len(self.living)

    @invariant()
    def the_next_moment_agrees(self):
        moments = [when for when, _ in self.living.values()]
        assert self.timers.next_ns() == min(moments, default=None)


TestTimersMachine = pytest.mark.seed("S3")(TimersMachine.TestCase)
