"""The one-off poller against a host that answers as the test says."""

import errno

import pytest

from coop.errors import BugError, TableFull
from coop.netpoll.contract import BOTH, FAILED, HANGUP, READ, WRITE
from coop.netpoll.oneoff import HANGUP_FLAG, Event, EventKind, OneoffPoller
from coop.netpoll.polldesc import DISARMED, PollDesc
from coop.netpoll.subs import slot_of
from tests.fakes import MiniHub, ScriptedOneoff

CLOCK, FD_READ, FD_WRITE = EventKind


class Bench:
    """A poller, its host, and tasks parked on descriptors of made-up numbers."""

    def __init__(self, *answers):
        self.host = ScriptedOneoff(*answers)
        self.poller = OneoffPoller(self.host)
        self.hub = MiniHub(self.poller)

    def open(self, fd, *waits):
        pd = PollDesc(fd, poller=self.poller)
        self.poller.open(pd)
        for mode in waits:
            pd.add_wait(mode, self.hub.park(f"{fd} {'r' if mode == READ else 'w'}"))
        return pd

    def poll(self, delay_ns):
        return [task.name for task in self.poller.poll(delay_ns)]


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.hub.close()


def clock(timeout_ns):
    return ("clock", 1, timeout_ns, 1000, 0, 0)


class TestTimings:
    @pytest.mark.seed("G10", "T6")
    def test_a_wait_without_limit_leaves_the_clock_out(self, bench):
        pd = bench.open(5, READ)
        bench.poll(-1)
        assert bench.host.calls == [[("fd", 5, READ, pd.seq)]]

    @pytest.mark.seed("G11", "T6", "T6a")
    def test_a_look_carries_a_clock_of_zero(self, bench):
        pd = bench.open(5, READ)
        bench.poll(0)
        assert bench.host.calls == [[clock(0), ("fd", 5, READ, pd.seq)]]

    @pytest.mark.seed("G1", "G12", "T6", "T7")
    def test_a_wait_with_a_limit_carries_it_in_slot_0(self, bench):
        pd = bench.open(5, WRITE)
        bench.poll(1234)
        bench.poll(99)
        fd = ("fd", 5, WRITE, pd.seq)
        assert bench.host.calls == [[clock(1234), fd], [clock(99), fd]]

    @pytest.mark.seed("G13", "T6")
    def test_polling_nothing_for_ever_returns_at_once(self, bench):
        assert bench.poll(-1) == []
        assert bench.host.calls == []

    def test_polling_nothing_with_a_limit_is_a_plain_sleep(self, bench):
        assert bench.poll(7) == []
        assert bench.host.calls == [[clock(7)]]


class TestErrors:
    @pytest.mark.seed("G15", "T9")
    def test_an_interrupted_wait_with_a_limit_returns_for_a_fresh_delay(self, bench):
        bench.open(5, READ)
        bench.host.answers = [errno.EINTR]
        assert bench.poll(100) == []
        assert len(bench.host.calls) == 1

    @pytest.mark.seed("G15", "T9")
    @pytest.mark.parametrize("delay_ns", [0, -1])
    def test_an_interrupted_call_for_ever_or_for_a_look_is_made_again(self, bench, delay_ns):
        pd = bench.open(5, READ)
        bench.host.answers = [errno.EINTR, errno.EINTR, [Event(pd.seq, FD_READ)]]
        assert bench.poll(delay_ns) == ["5 r"]
        first, second, third = bench.host.calls
        assert first == second == third

    @pytest.mark.seed("G16", "T9")
    def test_any_other_errno_is_fatal_and_named_with_the_count(self, bench):
        bench.open(5, READ, WRITE)
        bench.host.answers = [errno.ENOMEM]
        with pytest.raises(BugError, match=f"poll_oneoff of 3 subscriptions: errno {errno.ENOMEM}"):
            bench.poll(0)

    @pytest.mark.seed("G4")
    def test_more_events_than_subscriptions_is_a_bug_of_the_host(self, bench):
        pd = bench.open(5, READ)
        bench.host.answers = [[Event(pd.seq, FD_READ)] * 2]
        with pytest.raises(BugError, match="1 subscriptions: 2 events"):
            bench.poll(-1)

    @pytest.mark.seed("G4")
    def test_an_event_nobody_subscribed_to_is_a_bug_of_the_host(self, bench):
        bench.open(5, READ)
        bench.host.answers = [[Event(0, FD_READ)]]
        with pytest.raises(BugError, match="nobody subscribed"):
            bench.poll(-1)


class TestEvents:
    @pytest.mark.seed("G17")
    @pytest.mark.parametrize("event", [Event(0, CLOCK), Event(0, CLOCK, errno.EINVAL)])
    def test_a_clock_event_produces_nothing(self, bench, event):
        pd = bench.open(5, READ)
        bench.host.answers = [[event]]
        assert bench.poll(5) == []
        assert slot_of(pd, READ) == 1

    @pytest.mark.seed("G4")
    def test_an_event_is_told_by_its_userdata_and_not_by_its_place(self, bench):
        bench.open(5, READ)
        last = bench.open(6, READ)
        bench.host.answers = [[Event(last.seq, FD_READ)]]
        assert bench.poll(-1) == ["6 r"]

    @pytest.mark.seed("G18", "G19", "G20")
    @pytest.mark.parametrize(
        ("kind", "error", "flags", "woken", "ready"),
        [
            (FD_READ, 0, 0, ["5 r"], READ),
            (FD_WRITE, 0, 0, ["5 w"], WRITE),
            (FD_READ, 0, HANGUP_FLAG, ["5 r", "5 w"], BOTH | HANGUP),
            (FD_WRITE, 0, HANGUP_FLAG, ["5 r", "5 w"], BOTH | HANGUP),
            (FD_READ, errno.EBADF, 0, ["5 r", "5 w"], BOTH | FAILED),
            (FD_WRITE, errno.EBADF, 0, ["5 r", "5 w"], BOTH | FAILED),
            (FD_WRITE, 0, 2, ["5 w"], WRITE),
            (FD_READ, errno.EIO, HANGUP_FLAG, ["5 r", "5 w"], BOTH | HANGUP | FAILED),
        ],
    )
    def test_who_is_woken_by_what(self, bench, kind, error, flags, woken, ready):
        pd = bench.open(5, READ, WRITE)
        bench.host.answers = [[Event(pd.seq, kind, error, flags)]]
        assert bench.poll(-1) == woken
        assert pd.ready == ready
        assert pd.event_error == (error != 0)

    def test_what_is_only_noted_wakes_nobody_else(self, bench):
        pd = bench.open(5, READ, WRITE)
        bench.host.answers = [[Event(pd.seq, FD_READ, noted=HANGUP)]]
        assert bench.poll(-1) == ["5 r"]
        assert pd.ready == READ | HANGUP
        assert slot_of(pd, WRITE) != DISARMED

    @pytest.mark.seed("G20")
    def test_a_clean_event_clears_the_error_of_an_earlier_one(self, bench):
        pd = bench.open(5, READ, WRITE)
        bench.host.answers = [[Event(pd.seq, FD_READ, errno.EIO)], [Event(pd.seq, FD_WRITE)]]
        bench.poll(-1)
        assert pd.event_error
        bench.poller.arm(pd, WRITE)
        bench.poll(-1)
        assert not pd.event_error

    @pytest.mark.seed("G20", "G25")
    def test_a_woken_direction_is_disarmed_until_somebody_waits_again(self, bench):
        pd = bench.open(5, READ, WRITE)
        bench.host.answers = [[Event(pd.seq, FD_READ)]]
        bench.poll(-1)
        bench.poll(-1)
        pd.add_wait(READ, bench.hub.park("again"))
        bench.poll(-1)
        write, read = ("fd", 5, WRITE, pd.seq), ("fd", 5, READ, pd.seq)
        assert bench.host.calls == [[read, write], [write], [write, read]]

    @pytest.mark.seed("G21")
    def test_a_second_event_of_one_descriptor_in_a_batch_is_harmless(self, bench):
        pd = bench.open(5, READ, WRITE)
        other = bench.open(6, READ)
        hangup = Event(pd.seq, FD_READ, 0, HANGUP_FLAG)
        bench.host.answers = [[hangup, Event(pd.seq, FD_WRITE, 0, HANGUP_FLAG), Event(other.seq, FD_READ)]]
        assert bench.poll(-1) == ["5 r", "5 w", "6 r"]
        assert len(bench.poller.table) == 1

    @pytest.mark.seed("G22")
    def test_tasks_come_in_the_order_of_the_events(self, bench):
        pds = [bench.open(fd, READ) for fd in (5, 6, 7)]
        bench.host.answers = [[Event(pd.seq, FD_READ) for pd in (pds[2], pds[0], pds[1])]]
        assert bench.poll(-1) == ["7 r", "5 r", "6 r"]

    @pytest.mark.seed("G22")
    def test_arming_both_lists_the_reader_before_the_writer(self, bench):
        pd = bench.open(5)
        bench.poller.arm(pd, BOTH)
        bench.poll(-1)
        assert bench.host.calls == [[("fd", 5, READ, pd.seq), ("fd", 5, WRITE, pd.seq)]]

    @pytest.mark.seed("G14")
    def test_each_call_has_room_for_what_it_passes_and_nothing_left_of_the_one_before(self, bench):
        first, second = bench.open(5, READ), bench.open(6, READ)
        bench.host.answers = [[Event(first.seq, FD_READ), Event(second.seq, FD_READ)], []]
        assert bench.poll(-1) == ["5 r", "6 r"]
        first.add_wait(READ, bench.hub.park("5 again"))
        assert bench.poll(-1) == []
        bench.host.answers = [[Event(first.seq, FD_READ)] * 2]
        with pytest.raises(BugError):
            bench.poll(-1)

    @pytest.mark.seed("G7")
    def test_a_full_table_says_so_to_who_wants_to_wait(self, bench):
        for fd in range(32767):
            pd = PollDesc(fd, poller=bench.poller)
            bench.poller.open(pd)
            bench.poller.arm(pd, BOTH)
        last = bench.open(40000)
        with pytest.raises(TableFull):
            last.add_wait(READ, bench.hub.park())


class TestInsideAGuest:
    @pytest.mark.seed("G23")
    def test_without_a_wake_up_breaking_does_nothing_and_no_number_is_its_own(self, bench):
        bench.poller.wake_up()
        assert not any(bench.poller.is_poll_descriptor(fd) for fd in range(-1, 100))
        bench.open(5, READ)
        bench.poll(0)
        assert len(bench.host.calls) == 1
        bench.poller.shutdown()

    @pytest.mark.seed("G9")
    def test_closing_forgets_the_descriptor(self, bench):
        pd = bench.open(5, READ)
        bench.poller.close(pd)
        assert bench.poll(-1) == []
        assert bench.host.calls == []
