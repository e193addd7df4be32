"""The pool of numbers."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coop.errors import BugError
from coop.netpoll.fdpool import LIMIT, FdPool


@pytest.mark.seed("F1")
def test_numbers_start_at_zero_and_the_one_freed_last_comes_first():
    pool = FdPool()
    assert [pool.allocate() for _ in range(3)] == [0, 1, 2]
    pool.deallocate(1)
    pool.deallocate(0)
    assert [pool.allocate() for _ in range(3)] == [0, 1, 3]


@pytest.mark.seed("F2")
def test_an_exhausted_pool_says_none_and_takes_numbers_back():
    pool = FdPool(2)
    assert [pool.allocate() for _ in range(4)] == [0, 1, None, None]
    pool.deallocate(0)
    assert pool.allocate() == 0
    assert pool.allocate() is None


@pytest.mark.seed("F2")
def test_all_ones_is_never_handed_out():
    pool = FdPool()
    assert pool.limit == LIMIT == 2**32 - 1
    pool._next = LIMIT - 1  # allocating four billion numbers one by one would take an hour
    assert pool.allocate() == 2**32 - 2
    assert pool.allocate() is None


@pytest.mark.seed("F3")
@pytest.mark.parametrize("number", [-1, 1, 2, 2**32])
def test_freeing_what_was_never_allocated_is_a_bug_and_changes_nothing(number):
    pool = FdPool()
    pool.allocate()
    with pytest.raises(BugError, match=f"free number {number}: it was never allocated"):
        pool.deallocate(number)
    assert len(pool) == 1
    assert pool.allocate() == 1


@pytest.mark.seed("F3")
def test_freeing_twice_is_a_bug_and_changes_nothing():
    pool = FdPool()
    pool.allocate()
    pool.deallocate(0)
    with pytest.raises(BugError, match="free already"):
        pool.deallocate(0)
    assert [pool.allocate(), pool.allocate()] == [0, 1]


@pytest.mark.seed("F4")
def test_a_table_that_removes_before_it_frees_never_names_two_things_by_one_number():
    pool, table = FdPool(), {}

    def close(number, meanwhile):
        del table[number]
        meanwhile()
        pool.deallocate(number)

    def open_one():
        number = pool.allocate()
        assert number not in table
        table[number] = "file"

    for _ in range(3):
        open_one()
    close(1, meanwhile=open_one)
    assert sorted(table) == [0, 2, 3]
    open_one()
    assert sorted(table) == [0, 1, 2, 3]


@pytest.mark.seed("F5")
def test_nothing_is_reserved_ahead():
    pool = FdPool()
    assert pool._free == {}
    for _ in range(1000):
        pool.allocate()
    assert pool._free == {}


@pytest.mark.parametrize("limit", [-1, 2**32])
def test_a_pool_of_an_impossible_size_is_refused(limit):
    with pytest.raises(ValueError, match=str(limit)):
        FdPool(limit)


class PoolMachine(RuleBasedStateMachine):
    """The pool beside a list of what is in use and a stack of what was freed."""

    limit = 6

    def __init__(self):
        super().__init__()
        self.pool = FdPool(self.limit)
        self.used: list[int] = []
        self.freed: list[int] = []
        self.fresh = 0

    @rule()
    def allocate(self):
        if self.freed:
            expected = self.freed.pop()
        elif self.fresh < self.limit:
            expected = self.fresh
            self.fresh += 1
        else:
            expected = None
        assert self.pool.allocate() == expected
        if expected is not None:
            self.used.append(expected)

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def free(self, data):
        number = data.draw(st.sampled_from(self.used))
        self.used.remove(number)
        self.pool.deallocate(number)
        self.freed.append(number)

    @rule(number=st.integers(-2, 8))
    def free_anything(self, number):
        if number not in self.used:
            with pytest.raises(BugError):
                self.pool.deallocate(number)

    @invariant()
    def counts_agree(self):
        assert len(self.pool) == len(self.used)


TestPoolMachine = pytest.mark.seed("F1", "F2", "F3")(PoolMachine.TestCase)
