"""The subscription table."""

import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coop.errors import BugError, TableFull, WrongThread
from coop.netpoll.contract import BOTH, READ, WRITE
from coop.netpoll.polldesc import DISARMED, PollDesc
from coop.netpoll.subs import ClockSub, FdSub, SubTable, slot_of
from tests.fakes import seen


@pytest.fixture
def table():
    return SubTable()


def opened(table, *fds):
    pds = [PollDesc(fd) for fd in fds]
    for pd in pds:
        table.open(pd)
    return pds


def shape(table):
    """The table as (fd, mode) by slot, the clock left out."""
    return [(sub.fd, sub.mode) for sub in table.subscriptions(with_clock=False)]


@pytest.mark.seed("G1", "T7", "T8")
def test_slot_0_is_a_relative_monotonic_clock_with_a_precision_of_a_microsecond(table):
    (clock,) = table.subscriptions(with_clock=True)
    assert seen(clock) == ("clock", 1, 0, 1000, 0, 0)
    assert clock is table.clock


@pytest.mark.seed("G1", "G8")
def test_slot_0_stays_the_same_clock_through_arming_and_disarming(table):
    (pd,) = opened(table, 5)
    table.arm(pd, READ)
    table.arm(pd, WRITE)
    table.disarm(pd, BOTH)
    assert table.subscriptions(with_clock=True) == [table.clock]


@pytest.mark.seed("G2")
def test_opening_arms_nothing(table):
    (pd,) = opened(table, 5)
    assert pd in table
    assert slot_of(pd, READ) == slot_of(pd, WRITE) == DISARMED
    assert len(table) == 1


@pytest.mark.seed("G3", "G4")
def test_both_directions_are_two_subscriptions_with_one_userdata(table):
    pd, other = opened(table, 5, 6)
    table.arm(pd, WRITE)
    table.arm(other, READ)
    table.arm(pd, READ)
    assert shape(table) == [(5, WRITE), (6, READ), (5, READ)]
    first, second, third = table.subscriptions(with_clock=False)
    assert first.userdata == third.userdata != second.userdata
    assert table.find(first.userdata) is pd
    assert 0 not in {first.userdata, second.userdata}


@pytest.mark.seed("G5", "T7")
def test_arming_appends_and_arming_an_armed_direction_changes_nothing(table):
    pd, other = opened(table, 5, 6)
    table.arm(pd, READ)
    table.arm(other, READ)
    table.arm(pd, READ)
    assert shape(table) == [(5, READ), (6, READ)]
    assert (slot_of(pd, READ), slot_of(other, READ)) == (1, 2)


@pytest.mark.seed("G6")
def test_the_slots_lie_in_one_cookie_reading_high_and_writing_low(table):
    (pd,) = opened(table, 5)
    assert pd.cookie == 0xFFFF_FFFF
    table.arm(pd, WRITE)
    assert pd.cookie == 0xFFFF_0001
    table.arm(pd, READ)
    assert pd.cookie == 0x0002_0001
    table.disarm(pd, WRITE)
    assert pd.cookie == 0x0001_FFFF


@pytest.mark.seed("G7")
def test_the_65535th_slot_is_the_last_and_overflow_changes_nothing(table):
    pds = opened(table, *range(32768))
    for pd in pds[:-1]:
        table.arm(pd, READ)
        table.arm(pd, WRITE)
    last = pds[-1]
    assert len(table) == 65535
    with pytest.raises(TableFull, match="overflow"):
        table.arm(last, READ)
    assert len(table) == 65535
    assert last.cookie == 0xFFFF_FFFF
    assert slot_of(pds[-2], WRITE) == 65534
    table.arm(pds[0], READ)  # armed already, so there is nothing to overflow
    table.disarm(pds[0], READ)
    table.arm(last, READ)
    assert slot_of(last, READ) == 65534


@pytest.mark.seed("G8")
def test_the_last_entry_moves_into_the_gap_and_its_owner_knows(table):
    a, b, c = opened(table, 5, 6, 7)
    for pd in (a, b, c):
        table.arm(pd, READ)
    table.disarm(a, READ)
    assert shape(table) == [(7, READ), (6, READ)]
    assert (slot_of(a, READ), slot_of(b, READ), slot_of(c, READ)) == (DISARMED, 2, 1)


@pytest.mark.seed("G8")
def test_disarming_the_last_entry_moves_nothing(table):
    a, b = opened(table, 5, 6)
    table.arm(a, READ)
    table.arm(b, READ)
    table.disarm(b, READ)
    assert shape(table) == [(5, READ)]
    assert (slot_of(a, READ), slot_of(b, READ)) == (1, DISARMED)


@pytest.mark.seed("G8")
@pytest.mark.parametrize("order", [(READ, WRITE), (WRITE, READ)])
@pytest.mark.parametrize("gone", [READ, WRITE, BOTH])
def test_both_slots_of_one_descriptor_survive_the_swap(table, order, gone):
    (pd,) = opened(table, 5)
    for mode in order:
        table.arm(pd, mode)
    table.disarm(pd, gone)
    left = [mode for mode in order if not mode & gone]
    assert shape(table) == [(5, mode) for mode in left]
    assert [slot_of(pd, mode) for mode in left] == [1] * len(left)


@pytest.mark.seed("G8")
def test_disarming_what_is_not_armed_changes_nothing(table):
    a, b = opened(table, 5, 6)
    table.arm(a, READ)
    table.disarm(a, WRITE)
    table.disarm(b, BOTH)
    assert shape(table) == [(5, READ)]


@pytest.mark.seed("G9")
def test_closing_a_number_disarms_both_directions_and_forgets_it(table):
    a, b = opened(table, 5, 6)
    for pd in (a, b):
        table.arm(pd, READ)
        table.arm(pd, WRITE)
    table.close(5)
    assert a not in table
    assert sorted(shape(table)) == [(6, READ), (6, WRITE)]
    assert table.find(a.seq) is None
    assert a.cookie == 0xFFFF_FFFF


@pytest.mark.seed("G9")
def test_closing_an_unknown_number_is_not_an_error(table):
    table.close(5)
    assert len(table) == 1


def test_a_number_can_be_opened_again_after_it_was_closed_but_not_before(table):
    opened(table, 5)
    with pytest.raises(BugError, match="number 5 is open already, as fd 5"):
        opened(table, 5)
    table.close(5)
    opened(table, 5)


def test_arming_what_is_not_open_is_a_bug(table):
    with pytest.raises(BugError, match="it is not open"):
        table.arm(PollDesc(5), READ)


@pytest.mark.seed("G24")
@pytest.mark.parametrize(
    "touch",
    [
        lambda table, pd: table.arm(pd, READ),
        lambda table, pd: table.disarm(pd, READ),
        lambda table, pd: table.close(pd.fd),
        lambda table, pd: table.open(PollDesc(9)),
        lambda table, pd: table.subscriptions(with_clock=True),
    ],
    ids=["arm", "disarm", "close", "open", "read"],
)
def test_another_thread_is_refused(table, touch):
    (pd,) = opened(table, 5)
    errors = []

    def other():
        try:
            touch(table, pd)
        except WrongThread as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert pd in table
    assert len(table) == 1


def test_a_subscription_says_what_it_is_for(table):
    (pd,) = opened(table, 5)
    table.arm(pd, WRITE)
    assert repr(table.subscriptions(with_clock=False)[0]) == "<FdSub write fd 5>"


class TableMachine(RuleBasedStateMachine):
    """The table beside a plain list in which removing moves the last entry into the gap."""

    def __init__(self):
        super().__init__()
        self.table = SubTable()
        self.open: dict[int, PollDesc] = {}
        self.entries: list[tuple[PollDesc, int]] = []

    @rule(fd=st.integers(0, 5))
    def open_one(self, fd):
        pd = PollDesc(fd)
        if fd in self.open:
            with pytest.raises(BugError):
                self.table.open(pd)
        else:
            self.table.open(pd)
            self.open[fd] = pd

    @rule(fd=st.integers(0, 5), mode=st.sampled_from([READ, WRITE]))
    def arm(self, fd, mode):
        if fd in self.open:
            pd = self.open[fd]
            self.table.arm(pd, mode)
            if (pd, mode) not in self.entries:
                self.entries.append((pd, mode))

    @rule(fd=st.integers(0, 5), modes=st.sampled_from([READ, WRITE, BOTH]))
    def disarm(self, fd, modes):
        if fd in self.open:
            self.table.disarm(self.open[fd], modes)
            self.remove(self.open[fd], modes)

    @rule(fd=st.integers(0, 5))
    def close(self, fd):
        self.table.close(fd)
        pd = self.open.pop(fd, None)
        if pd is not None:
            self.remove(pd, BOTH)

    def remove(self, pd, modes):
        for mode in (READ, WRITE):
            if modes & mode and (pd, mode) in self.entries:
                gap = self.entries.index((pd, mode))
                last = self.entries.pop()
                if gap < len(self.entries):
                    self.entries[gap] = last

    @invariant()
    def entries_agree(self):
        clock, *subs = self.table.subscriptions(with_clock=True)
        assert isinstance(clock, ClockSub)
        assert all(isinstance(sub, FdSub) for sub in subs)
        assert [(sub.pd, sub.mode) for sub in subs] == self.entries

    @invariant()
    def cookies_agree(self):
        for pd in self.open.values():
            for mode in (READ, WRITE):
                entry = (pd, mode)
                slot = self.entries.index(entry) + 1 if entry in self.entries else DISARMED
                assert slot_of(pd, mode) == slot


TestTableMachine = pytest.mark.seed("G5", "G6", "G8", "G9")(TableMachine.TestCase)
