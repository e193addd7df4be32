"""The poll descriptor: states, waiters, deadlines, close."""

import os

import pytest

from coop.clock import NEVER_NS, ManualClock
from coop.errors import BugError, Cancelled, Closed, DeadlineExceeded, NoDeadline, NotPollable
from coop.netpoll.contract import BOTH, HANGUP, READ, WRITE
from coop.netpoll.hostpoll import HostPoller
from coop.netpoll.oneoff import Event, EventKind, OneoffPoller
from coop.netpoll.polldesc import ModeState, PollDesc, Result
from coop.netpoll.subs import DISARMED, slot_of
from coop.netpoll.waiter import Waiter
from coop.timers import Timers
from tests.fakes import MiniHub, ScriptedOneoff


class Bench:
    """One descriptor that lives in memory, a clock turned by hand, and a hub."""

    def __init__(self):
        self.clock = ManualClock(1000)
        self.timers = Timers()
        self.pd = PollDesc(-1, "the pipe", timers=self.timers)
        self.hub = MiniHub()

    def waits(self, mode, name="waiter", pd=None):
        """A task that waits once."""
        task = self.hub.spawn(lambda: (pd or self.pd).wait(mode, "read"), name)
        self.hub.run()
        return task

    def deadline(self, mode, in_ns):
        when = None if in_ns is None else self.clock.now_ns() + in_ns
        self.pd.set_deadline(mode, when, self.clock.now_ns())

    def advance(self, delta_ns):
        self.clock.advance(delta_ns)
        self.timers.fire_due(self.clock.now_ns())


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.hub.close()


class TestStates:
    @pytest.mark.seed("D1")
    def test_a_direction_goes_from_nil_to_wait_to_parked_to_ready_and_back(self, bench):
        pd, waiting = bench.pd, []
        assert pd.state(READ) is ModeState.NIL

        def wait():
            pd.add_wait(READ, task)
            waiting.append(pd.state(READ))
            task.park("the pipe")

        task = bench.hub.spawn(wait)
        bench.hub.run()
        assert waiting == [ModeState.WAIT]
        assert pd.state(READ) is ModeState.PARKED
        assert pd.state(WRITE) is ModeState.NIL
        pd.notify(READ)
        assert pd.state(READ) is ModeState.READY
        pd.block(READ)
        assert pd.state(READ) is ModeState.NIL

    @pytest.mark.seed("D3")
    def test_readiness_that_came_first_is_taken_without_parking(self, bench):
        bench.pd.notify(READ)
        task = bench.waits(READ)
        assert task.is_done
        assert bench.pd.state(READ) is ModeState.READY

    @pytest.mark.seed("D3")
    def test_readiness_of_the_other_direction_is_no_help(self, bench):
        bench.pd.notify(WRITE)
        assert not bench.waits(READ).is_done

    def test_a_parked_task_says_what_it_waits_for(self, bench):
        assert str(bench.waits(READ).reason) == "read on the pipe"
        assert repr(bench.pd).startswith("<PollDesc the pipe seq=")


class TestWaiters:
    @pytest.mark.seed("D2", "T2")
    def test_several_tasks_may_wait_in_one_direction_and_each_is_woken(self, bench):
        tasks = [bench.waits(READ, name) for name in "abc"]
        bench.pd.notify(READ)
        assert bench.hub.run() == ["a", "b", "c"]
        assert all(task.is_done for task in tasks)

    @pytest.mark.seed("D2")
    @pytest.mark.parametrize("second", [READ, BOTH])
    def test_a_double_wait_of_one_task_is_a_bug(self, bench, second):
        task = bench.hub.park()
        bench.pd.add_wait(READ, task)
        with pytest.raises(BugError, match="double wait"):
            bench.pd.add_wait(second, task)

    @pytest.mark.seed("D2")
    def test_one_task_may_wait_to_read_and_to_write(self, bench):
        task = bench.hub.park("both")
        bench.pd.add_wait(READ, task)
        bench.pd.add_wait(WRITE, task)
        bench.pd.notify(BOTH)
        assert bench.hub.run() == ["both"]

    @pytest.mark.seed("T3")
    def test_a_mode_is_1_to_read_2_to_write_and_never_0(self, bench):
        assert (READ, WRITE) == (1, 2)
        with pytest.raises(BugError, match="0 is no mode"):
            bench.pd.add_wait(0, bench.hub.park())

    @pytest.mark.seed("T1")
    def test_the_four_verbs_make_a_wait(self, bench):
        pd, log = bench.pd, []

        def wait():
            waiter = pd.add_wait(READ, task)
            log.append(pd.is_fired(waiter))
            task.park("the pipe")
            log.append(pd.is_fired(waiter))
            pd.done(waiter)

        task = bench.hub.spawn(wait)
        bench.hub.run()
        pd.wake(pd.waiters[0])
        bench.hub.run()
        assert log == [False, True]
        assert not pd.waiters

    @pytest.mark.seed("T4")
    def test_done_takes_a_waiter_off_and_is_idempotent(self, bench):
        pd = bench.pd
        waiter = pd.add_wait(READ, bench.hub.park())
        pd.done(waiter)
        pd.done(waiter)
        assert not pd.waiters
        assert pd.is_fired(waiter)
        pd.notify(READ)
        assert bench.hub.run() == []

    @pytest.mark.seed("T4")
    def test_none_is_no_waiter_and_counts_as_fired(self, bench):
        bench.pd.done(None)
        bench.pd.wake(None)
        assert bench.pd.is_fired(None)

    @pytest.mark.seed("T4", "T5")
    def test_done_after_firing_changes_nothing(self, bench):
        pd = bench.pd
        waiter = pd.add_wait(READ, bench.hub.park("a"))
        pd.notify(READ)
        pd.done(waiter)
        assert bench.hub.run() == ["a"]

    @pytest.mark.seed("T5")
    def test_the_first_wake_readies_and_every_later_cause_does_nothing(self, bench):
        pd = bench.pd
        waiter = pd.add_wait(READ, bench.hub.park("a"))
        pd.wake(waiter)
        pd.wake(waiter)
        woken = []
        pd.fire(READ, woken)
        assert woken == []
        assert bench.hub.run() == ["a"]
        assert bench.hub.run() == []

    @pytest.mark.seed("T5")
    def test_a_poll_that_comes_first_leaves_nothing_to_a_wake(self, bench):
        pd = bench.pd
        waiter = pd.add_wait(READ, bench.hub.park("a"))
        woken = []
        pd.fire(READ, woken)
        pd.wake(waiter)
        assert [task.name for task in woken] == ["a"]
        assert bench.hub.run() == []

    def test_a_waiter_for_both_is_woken_by_either(self, bench):
        for mode in (READ, WRITE):
            task = bench.waits(BOTH)
            bench.pd.notify(mode)
            bench.hub.run()
            assert task.is_done
            bench.pd.block(BOTH)

    def test_a_hangup_alone_wakes_nobody(self, bench):
        task = bench.waits(READ)
        bench.pd.notify(HANGUP)
        assert bench.hub.run() == []
        assert not task.is_done


class TestStickyWaiters:
    def test_a_sticky_waiter_stays_and_is_woken_once_between_two_parks(self, bench):
        pd, task = bench.pd, bench.hub.park("a")
        waiter = Waiter(task, READ, sticky=True)
        pd.enlist(waiter)
        pd.notify(READ)
        assert bench.hub.run() == []  # it has not parked with it yet
        for _ in range(2):
            waiter.fired = False
            pd.notify(READ)
            pd.notify(READ)
            assert bench.hub.run() == ["a"]
        pd.wake(waiter)
        assert list(pd.waiters) == [waiter]
        pd.done(waiter)
        assert not pd.waiters

    def test_sticky_and_plain_waiters_of_both_directions_are_told_apart(self, bench):
        pd = bench.pd
        sticky = Waiter(bench.hub.park("sticky"), READ, sticky=True)
        sticky.fired = False
        pd.add_wait(READ, bench.hub.park("reader"))
        pd.enlist(sticky)
        writer = pd.add_wait(WRITE, bench.hub.park("writer"))
        pd.add_wait(READ, bench.hub.park("second reader"))
        pd.notify(READ)
        assert bench.hub.run() == ["reader", "sticky", "second reader"]
        assert pd.waiters == [sticky, writer]


class TestResults:
    @pytest.mark.seed("D4")
    def test_the_numbers_are_0_ok_1_closing_2_timeout_3_not_pollable(self):
        assert [result.value for result in Result] == [0, 1, 2, 3]
        assert [result.name for result in Result] == ["OK", "CLOSING", "TIMEOUT", "NOT_POLLABLE"]

    @pytest.mark.seed("D4")
    def test_closing_comes_before_the_deadline_and_that_before_the_error(self, bench):
        pd = bench.pd
        assert pd.check(READ) is Result.OK
        pd.note_error(True)
        assert pd.check(READ) is Result.NOT_POLLABLE
        bench.deadline(READ, 0)
        assert pd.check(READ) is Result.TIMEOUT
        pd.unblock()
        assert pd.check(READ) is Result.CLOSING

    @pytest.mark.seed("D4", "T23")
    @pytest.mark.parametrize(
        ("spoil", "error", "message"),
        [
            (lambda bench: bench.pd.unblock(), Closed, "read the pipe: use of closed file"),
            (lambda bench: bench.deadline(BOTH, -1), DeadlineExceeded, "read the pipe: i/o timeout"),
            (
                lambda bench: bench.pd.note_error(True),
                NotPollable,
                "read the pipe: not pollable",
            ),
        ],
        ids=["closing", "deadline", "error"],
    )
    def test_each_is_an_error_of_the_wait(self, bench, spoil, error, message):
        spoil(bench)
        with pytest.raises(error, match=message):
            bench.waits(READ).outcome()

    @pytest.mark.seed("D5")
    def test_an_event_error_shows_to_readers_only(self, bench):
        bench.pd.note_error(True)
        assert bench.pd.check(WRITE) is Result.OK
        assert bench.pd.check(READ) is Result.NOT_POLLABLE
        writer = bench.waits(WRITE)
        bench.pd.notify(WRITE)
        bench.hub.run()
        assert writer.outcome() is None

    @pytest.mark.seed("D4")
    def test_a_deadline_of_one_direction_is_none_of_the_others(self, bench):
        bench.deadline(WRITE, 0)
        assert bench.pd.check(READ) is Result.OK
        assert bench.pd.check(WRITE) is Result.TIMEOUT


class TestClosing:
    @pytest.mark.seed("D6", "T22")
    def test_beginning_to_close_wakes_every_waiter_with_closed(self, bench):
        tasks = [bench.waits(mode, name) for mode, name in ((READ, "r"), (WRITE, "w"), (READ, "r2"))]
        bench.pd.unblock()
        assert bench.hub.run() == ["r", "w", "r2"]
        for task in tasks:
            with pytest.raises(Closed):
                task.outcome()

    @pytest.mark.seed("D6")
    def test_beginning_to_close_stops_the_timers(self, bench):
        bench.deadline(READ, 10)
        bench.deadline(WRITE, 20)
        bench.pd.unblock()
        assert len(bench.timers) == 0
        bench.advance(100)
        assert bench.pd.check(READ) is Result.CLOSING

    @pytest.mark.seed("D6")
    def test_beginning_twice_is_a_bug(self, bench):
        bench.pd.unblock()
        with pytest.raises(BugError, match="closing began already"):
            bench.pd.unblock()

    @pytest.mark.seed("D7")
    def test_closing_without_beginning_is_a_bug(self, bench):
        with pytest.raises(BugError, match="unblock comes first"):
            bench.pd.close()

    @pytest.mark.seed("D7")
    def test_closing_with_a_parked_waiter_is_a_bug(self, bench):
        bench.pd.unblock()
        bench.pd.add_wait(READ, bench.hub.park())
        with pytest.raises(BugError, match="still waits"):
            bench.pd.close()

    @pytest.mark.seed("D6", "D7")
    def test_a_poller_forgets_what_was_closed(self, bench):
        poller = OneoffPoller(ScriptedOneoff())
        pd = PollDesc(5, poller=poller)
        poller.open(pd)
        task = bench.waits(READ, pd=pd)
        assert pd in poller.table
        pd.unblock()
        bench.hub.run()
        assert task.is_done
        pd.close()
        assert pd not in poller.table

    @pytest.mark.seed("D11")
    def test_a_number_of_the_kernel_used_again_is_another_descriptor(self):
        first, second = PollDesc(5), PollDesc(5)
        assert first.seq != second.seq
        assert 0 not in (first.seq, second.seq)


class TestDeadlines:
    @pytest.mark.seed("D8", "T19")
    @pytest.mark.parametrize("in_ns", [0, -1, -1000])
    def test_now_or_the_past_expires_at_once_and_wakes_the_waiters_of_that_mode(self, bench, in_ns):
        reader, writer = bench.waits(READ, "r"), bench.waits(WRITE, "w")
        bench.deadline(READ, in_ns)
        assert bench.hub.run() == ["r"]
        with pytest.raises(DeadlineExceeded):
            reader.outcome()
        assert not writer.is_done
        assert len(bench.timers) == 0

    @pytest.mark.seed("D8", "D9")
    def test_none_takes_an_expired_deadline_away(self, bench):
        bench.deadline(READ, 0)
        bench.deadline(READ, None)
        assert bench.pd.check(READ) is Result.OK
        assert not bench.waits(READ).is_done

    @pytest.mark.seed("D9")
    def test_now_at_moment_zero_is_not_none(self):
        pd = PollDesc(-1, timers=Timers())
        pd.set_deadline(READ, 0, 0)
        assert pd.check(READ) is Result.TIMEOUT

    @pytest.mark.seed("D8", "T20")
    def test_a_deadline_wakes_when_it_comes_and_not_before(self, bench):
        task = bench.waits(READ)
        bench.deadline(READ, 10)
        bench.advance(9)
        assert bench.hub.run() == []
        bench.advance(1)
        bench.hub.run()
        with pytest.raises(DeadlineExceeded):
            task.outcome()

    @pytest.mark.seed("D8")
    def test_equal_deadlines_share_one_timer(self, bench):
        reader, writer = bench.waits(READ, "r"), bench.waits(WRITE, "w")
        bench.deadline(BOTH, 10)
        assert len(bench.timers) == 1
        bench.advance(10)
        assert bench.hub.run() == ["r", "w"]
        assert isinstance(reader.error, DeadlineExceeded)
        assert isinstance(writer.error, DeadlineExceeded)

    @pytest.mark.seed("D8")
    def test_different_deadlines_have_a_timer_each(self, bench):
        bench.deadline(READ, 10)
        bench.deadline(WRITE, 20)
        assert len(bench.timers) == 2
        bench.advance(10)
        assert bench.pd.check(READ) is Result.TIMEOUT
        assert bench.pd.check(WRITE) is Result.OK
        bench.advance(10)
        assert bench.pd.check(WRITE) is Result.TIMEOUT

    @pytest.mark.seed("D8")
    def test_the_timer_of_a_deadline_that_was_replaced_does_nothing(self, bench):
        bench.deadline(READ, 10)
        bench.deadline(READ, 30)
        bench.advance(20)
        assert bench.pd.check(READ) is Result.OK
        bench.advance(10)
        assert bench.pd.check(READ) is Result.TIMEOUT

    @pytest.mark.seed("D8")
    def test_setting_one_direction_leaves_the_timer_of_the_other(self, bench):
        bench.deadline(BOTH, 10)
        bench.deadline(READ, None)
        bench.advance(10)
        assert bench.pd.check(READ) is Result.OK
        assert bench.pd.check(WRITE) is Result.TIMEOUT

    @pytest.mark.seed("D8")
    def test_a_deadline_beyond_the_end_of_time_becomes_the_end_of_time(self, bench):
        bench.pd.set_deadline(READ, NEVER_NS * 4, bench.clock.now_ns())
        assert bench.timers.next_ns() == NEVER_NS

    @pytest.mark.seed("D8")
    def test_after_closing_began_a_deadline_has_no_effect(self, bench):
        bench.pd.unblock()
        bench.deadline(READ, 10)
        assert len(bench.timers) == 0
        assert bench.pd.check(READ) is Result.CLOSING

    @pytest.mark.seed("D9")
    def test_a_descriptor_without_timers_has_no_deadline(self):
        with pytest.raises(NoDeadline, match="it cannot have one"):
            PollDesc(-1).set_deadline(READ, 5, 0)

    @pytest.mark.seed("D10", "T19", "T21")
    def test_a_waiter_woken_by_a_deadline_that_moved_meanwhile_waits_again(self, bench):
        task = bench.waits(READ)
        bench.deadline(READ, 0)  # wakes the task, which has not run yet
        bench.deadline(READ, 50)
        assert bench.hub.run() == ["waiter"]
        assert not task.is_done
        bench.pd.notify(READ)
        bench.hub.run()
        assert task.outcome() is None

    @pytest.mark.seed("D8", "D10", "T21")
    def test_a_moved_deadline_moves_the_wait_in_progress(self, bench):
        task = bench.waits(READ)
        bench.deadline(READ, 10)
        bench.deadline(READ, 100)
        bench.advance(50)
        assert bench.hub.run() == []
        bench.advance(50)
        bench.hub.run()
        assert isinstance(task.error, DeadlineExceeded)

    @pytest.mark.seed("T5", "D8", "T20")
    def test_an_event_and_a_deadline_together_are_one_wake(self, bench):
        bench.waits(READ)
        bench.deadline(READ, 10)
        bench.pd.notify(READ)
        bench.advance(10)
        assert bench.hub.run() == ["waiter"]
        assert bench.hub.run() == []


class TestArming:
    @pytest.mark.seed("G25")
    def test_a_wait_checks_then_arms_then_blocks_and_every_wait_arms(self, bench):
        host = ScriptedOneoff()
        poller = OneoffPoller(host)
        pd = PollDesc(5, poller=poller, timers=bench.timers)
        poller.open(pd)
        pd.set_deadline(READ, 0, 1)
        assert isinstance(bench.waits(READ, pd=pd).error, DeadlineExceeded)
        assert slot_of(pd, READ) == DISARMED  # the check failed, so nothing was armed
        pd.set_deadline(READ, None, 1)
        for _ in range(2):
            task = bench.waits(READ, pd=pd)
            assert slot_of(pd, READ) == 1  # parked, and armed before that
            host.answers = [[Event(pd.seq, EventKind.FD_READ)]]
            for woken in poller.poll(-1):
                woken.wake()
            assert slot_of(pd, READ) == DISARMED
            bench.hub.run()
            assert task.is_done
            pd.block(READ)

    @pytest.mark.seed("T6")
    def test_a_cancelled_wait_leaves_no_waiter_and_no_count(self, bench):
        reading, writing = os.pipe2(os.O_NONBLOCK)
        poller = HostPoller()
        pd = PollDesc(reading, poller=poller)
        poller.open(pd)
        task = bench.waits(READ, pd=pd)
        assert poller.waiters == 1
        task.cancel()
        bench.hub.run()
        assert isinstance(task.error, Cancelled)
        assert (poller.waiters, len(pd.waiters)) == (0, 0)
        poller.shutdown()
        os.close(reading)
        os.close(writing)
