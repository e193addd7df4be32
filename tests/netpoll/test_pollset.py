"""The pollset poller against a host that answers as the test says, and the host's own pollables."""

import os
import socket
import time

import pytest

from coop.errors import BugError
from coop.netpoll.contract import BOTH, FAILED, HANGUP, READ, WRITE
from coop.netpoll.hostpollset import HostPollset
from coop.netpoll.polldesc import PollDesc
from coop.netpoll.pollset import PollsetPoller
from coop.netpoll.wakeup import Wakeup
from tests.fakes import FakePollable, MiniHub, ScriptedPollset


class Bench:
    def __init__(self):
        self.host = ScriptedPollset()
        self.poller = PollsetPoller(self.host)
        self.hub = MiniHub(self.poller)

    def wait(self, name, **state):
        """A parked task and the registration of its pollable."""
        pollable = FakePollable(name, **state)
        return pollable, self.poller.add_wait(pollable, self.hub.park(name))


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.hub.close()


class TestRegistry:
    @pytest.mark.seed("U1", "U2")
    def test_a_ready_pollable_wakes_its_task_once_and_is_dropped_once(self, bench):
        pollable, registration = bench.wait("a")
        bench.host.answers = [[0]]
        assert bench.hub.turn(-1) == ["a"]
        bench.poller.done(registration)
        assert pollable.drops == 1
        assert bench.poller.is_fired(registration)

    @pytest.mark.seed("U2", "T4")
    def test_a_waiter_that_gives_up_drops_its_pollable_once(self, bench):
        pollable, registration = bench.wait("a")
        assert not bench.poller.is_fired(registration)
        bench.poller.done(registration)
        bench.poller.done(registration)
        bench.poller.wake(registration)
        assert pollable.drops == 1
        assert bench.poller.is_fired(registration)
        assert bench.hub.run() == []

    @pytest.mark.seed("U2", "T5")
    def test_waking_for_another_reason_readies_once_and_drops_once(self, bench):
        pollable, registration = bench.wait("a")
        bench.poller.wake(registration)
        bench.poller.wake(registration)
        assert bench.hub.run() == ["a"]
        assert pollable.drops == 1
        assert bench.hub.turn(-1) == []
        assert bench.host.calls == []

    @pytest.mark.seed("T4")
    def test_no_registration_counts_as_fired_and_can_be_ended(self, bench):
        bench.poller.done(None)
        bench.poller.wake(None)
        assert bench.poller.is_fired(None)

    def test_wait_parks_until_the_pollable_is_ready(self, bench):
        pollable = FakePollable("a")
        task = bench.hub.spawn(lambda: bench.poller.wait(pollable, "the pollable"), "waiter")
        bench.hub.run()
        assert (task.reason, bench.poller.waiters) == ("the pollable", 1)
        bench.host.answers = [[0]]
        assert bench.hub.turn(-1) == ["waiter"]
        assert (task.is_done, bench.poller.waiters, pollable.drops) == (True, 0, 1)

    def test_a_cancelled_wait_drops_the_pollable(self, bench):
        pollable = FakePollable("a")
        task = bench.hub.spawn(lambda: bench.poller.wait(pollable, "the pollable"))
        bench.hub.run()
        task.cancel()
        bench.hub.run()
        assert (task.is_done, bench.poller.waiters, pollable.drops) == (True, 0, 1)

    @pytest.mark.seed("U6")
    def test_no_list_outlives_its_call(self, bench):
        pollable, registration = bench.wait("a")
        bench.poller.poll(5)
        bench.poller.done(registration)
        held = [value for value in vars(bench.poller).values() if isinstance(value, (list, dict))]
        assert not any(pollable in value or registration in value for value in held)

    def test_shutting_down_drops_what_is_left(self, bench):
        pollable, _ = bench.wait("a")
        bench.poller.shutdown()
        assert pollable.drops == 1


class TestTimings:
    @pytest.mark.seed("U3", "T6")
    def test_with_a_limit_a_fresh_clock_comes_first_and_is_dropped_after_the_call(self, bench):
        bench.wait("a")
        bench.host.answers = [[0], [1]]
        assert bench.hub.turn(50) == []
        assert bench.hub.turn(60) == ["a"]
        assert bench.host.calls == [["clock 50", "a"], ["clock 60", "a"]]
        assert [clock.drops for clock in bench.host.made] == [1, 1]

    @pytest.mark.seed("U4", "T6")
    def test_a_look_asks_each_pollable_and_does_not_poll(self, bench):
        ready, _ = bench.wait("ready", is_ready=True)
        idle, _ = bench.wait("idle")
        assert bench.hub.turn(0) == ["ready"]
        assert bench.host.calls == []
        assert (ready.drops, idle.drops, idle.asked) == (1, 0, 1)
        assert bench.host.made == []

    @pytest.mark.seed("U4", "T6")
    def test_without_limit_there_is_no_clock(self, bench):
        bench.wait("a")
        bench.hub.turn(-1)
        assert bench.host.calls == [["a"]]

    @pytest.mark.seed("U4", "T6")
    @pytest.mark.parametrize("delay_ns", [0, -1])
    def test_nothing_to_wait_for_returns_and_poll_gets_no_empty_list(self, bench, delay_ns):
        assert bench.hub.turn(delay_ns) == []
        assert bench.host.calls == []

    @pytest.mark.seed("U7")
    def test_a_limit_and_no_pollable_is_a_plain_clock_wait(self, bench):
        assert bench.hub.turn(70) == []
        (clock,) = bench.host.made
        assert (clock.name, clock.blocked, clock.drops) == ("clock 70", 1, 1)
        assert bench.host.calls == []

    @pytest.mark.seed("U5")
    def test_several_may_fire_in_the_order_reported(self, bench):
        for name in "abc":
            bench.wait(name)
        bench.host.answers = [[3, 0, 1, 3]]
        assert bench.hub.turn(5) == ["c", "a"]

    @pytest.mark.seed("U5")
    @pytest.mark.parametrize("index", [-1, 2])
    def test_an_index_that_is_not_there_is_a_bug_of_the_host(self, bench, index):
        bench.wait("a")
        bench.host.answers = [[index]]
        with pytest.raises(BugError, match=f"poll of 2 pollables: index {index}"):
            bench.poller.poll(5)
        assert bench.host.made[0].drops == 1

    def test_the_wake_up_stands_last_and_wakes_nobody(self):
        host, wakeup = ScriptedPollset([1]), Wakeup()
        poller = PollsetPoller(host, wakeup)
        hub = MiniHub(poller)
        poller.add_wait(FakePollable("a"), hub.park("a"))
        assert hub.turn(-1) == []
        assert hub.turn(5) == []
        assert host.calls == [["a", "wakeup"], ["clock 5", "a", "wakeup"]]
        hub.close()
        poller.shutdown()
        poller.shutdown()


class TestDescriptors:
    def open(self, bench, fd=5):
        pd = PollDesc(fd, poller=bench.poller)
        bench.poller.open(pd)
        return pd

    def test_each_armed_direction_has_one_pollable_of_its_own(self, bench):
        pd = self.open(bench)
        bench.poller.arm(pd, BOTH)
        bench.poller.arm(pd, READ)
        assert [each.name for each in bench.host.made] == ["fd 5 mode 1", "fd 5 mode 2"]

    @pytest.mark.seed("U2")
    def test_firing_drops_the_pollable_and_arming_makes_a_new_one(self, bench):
        pd = self.open(bench)
        bench.poller.arm(pd, READ)
        bench.host.answers = [[0]]
        bench.poller.poll(-1)
        bench.poller.arm(pd, READ)
        assert [each.drops for each in bench.host.made] == [1, 0]

    @pytest.mark.seed("U2")
    def test_closing_drops_both_pollables(self, bench):
        pd = self.open(bench)
        bench.poller.arm(pd, BOTH)
        bench.poller.close(pd)
        bench.poller.close(pd)
        assert [each.drops for each in bench.host.made] == [1, 1]

    def test_what_the_pollable_noted_is_kept(self, bench):
        pd = self.open(bench)
        bench.poller.arm(pd, WRITE)
        bench.host.made[0].noted = HANGUP | FAILED
        bench.host.made[0].is_error = True
        bench.host.answers = [[0]]
        bench.poller.poll(-1)
        assert pd.ready == WRITE | HANGUP | FAILED
        assert pd.event_error

    def test_arming_what_is_not_open_is_a_bug(self, bench):
        with pytest.raises(BugError, match="it is not open"):
            bench.poller.arm(PollDesc(5), READ)

    @pytest.mark.seed("G23")
    def test_without_a_wake_up_breaking_does_nothing_and_no_number_is_its_own(self, bench):
        bench.poller.wake_up()
        assert not any(bench.poller.is_poll_descriptor(fd) for fd in range(-1, 100))


class TestHostPollables:
    def test_a_descriptor_is_ready_when_its_direction_is(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            reading, writing = (HostPollset.descriptor(ours.fileno(), mode) for mode in (READ, WRITE))
            assert (reading.ready(), writing.ready()) == (False, True)
            theirs.send(b"x")
            assert reading.ready()
            reading.block()

    def test_a_bad_number_is_ready_and_an_error(self):
        reading, writing = os.pipe()
        os.close(reading)
        os.close(writing)
        pollable = HostPollset.descriptor(reading, READ)
        assert pollable.ready()
        assert pollable.is_error
        assert pollable.noted & FAILED

    def test_a_duration_blocks_until_its_moment(self):
        start = time.monotonic_ns()
        pollable = HostPollset.duration(300_000)
        pollable.block()
        assert time.monotonic_ns() - start >= 300_000
        assert pollable.ready()

    def test_a_duration_far_away_is_not_ready(self):
        assert not HostPollset.duration(10**15).ready()

    def test_the_combined_wait_ends_with_the_earliest(self):
        reading, writing = os.pipe()
        pollables = [
            HostPollset.duration(10**15),
            HostPollset.descriptor(reading, READ),
            HostPollset.duration(1),
        ]
        assert HostPollset.poll(pollables) == [2]
        os.write(writing, b"x")
        assert 1 in HostPollset.poll(pollables)
        os.close(reading)
        os.close(writing)

    def test_a_dropped_pollable_is_refused_everywhere(self):
        pollable = HostPollset.duration(0)
        pollable.drop()
        for use in (pollable.ready, pollable.block, pollable.drop, lambda: HostPollset.poll([pollable])):
            with pytest.raises(BugError, match="DurationPollable: it was dropped"):
                use()

    @pytest.mark.seed("U4")
    def test_an_empty_list_is_refused(self):
        with pytest.raises(BugError, match="no pollables"):
            HostPollset.poll([])

    def test_a_pollable_of_another_host_is_refused(self):
        with pytest.raises(BugError, match="FakePollable"):
            HostPollset.poll([FakePollable("foreign")])
