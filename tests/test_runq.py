"""The run queue: who goes first of those that used up their slice, and what the others leave them."""

from collections.abc import Callable

import pytest

from coop.runq import RunQueue
from coop.task import Task, current
from tests.fakes import MiniHub

MS = 1_000_000


@pytest.fixture
def hub():
    hub = MiniHub()
    yield hub
    for task in hub.tasks:
        task.cancel()  # which brings it into the queue proper
    hub.run()


def turn(hub: MiniHub) -> Task | None:
    """Run who is ready, and then one of the others, which is returned."""
    for _ in range(len(hub.runq)):
        hub.runq.pop().resume()
    late = hub.runq.pop_late()
    if late is not None:
        late.resume()
    return late


def computes(*slices_ns: int) -> Callable[[], None]:
    """Return what a guest does that computes for so long."""

    def call() -> None:
        task = current()
        for slice_ns in slices_ns:
            task.owner.runq.charge(task, slice_ns)
            task.pause(late=True)

    return call


def test_the_run_queue_knows_its_length(hub: MiniHub):
    assert len(hub.runq) == 0
    hub.spawn(lambda: None)
    assert len(hub.runq) == 1
    assert isinstance(hub.runq, RunQueue)


def test_who_has_had_least_goes_first(hub: MiniHub):
    for name, slice_ns in (("much", 9 * MS), ("little", MS), ("some", 4 * MS)):
        hub.spawn(computes(slice_ns), name)
    assert [str(late.name) for late in (turn(hub), turn(hub), turn(hub)) if late] == [
        "little",
        "some",
        "much",
    ]


def test_who_comes_anew_does_not_go_before_those_that_have_been_there_for_long(hub: MiniHub):
    """Each needs a slice and a bit, and is followed by the next: together they would have everything."""
    long = hub.spawn(computes(*[10 * MS] * 1000), "long")
    for _ in range(10):
        turn(hub)
    streams = [hub.spawn(computes(10 * MS, 2 * MS)) for _ in range(8)]
    turns = had = 0
    while turns < 200:
        streams = [hub.spawn(computes(10 * MS, 2 * MS)) if task.is_done else task for task in streams]
        had += turn(hub) is long
        turns += 1
    assert had > turns / 2 / 17  # of 17 slices in a round one is its own


class Crowd:
    """Others that take `ready_ns` in each turn, beside one that computes."""

    def __init__(self, hub: MiniHub, ready_ns: int) -> None:
        self._hub, self._ready_ns = hub, ready_ns
        self.turns, self.had = 0, [0]
        self.pieces: list[int] = []
        hub.spawn(self._computes)
        hub.spawn(self._is_always_ready)

    def _is_always_ready(self) -> None:
        while True:
            current().pause()

    def _computes(self) -> None:
        while True:
            current().pause(late=True)

    def turn(self, cut_ns: int) -> None:
        """Do a turn, in which who computes is cut short after `cut_ns` if anybody may do that."""
        runq = self._hub.runq
        self.turns += 1
        for _ in range(len(runq)):
            runq.pop().resume()
        runq.owe(self._ready_ns)
        late = runq.pop_late()
        if late is not None:
            self.pieces.append(runq.uncut_ns)
            late.resume()
            runq.pay(max(runq.uncut_ns, cut_ns))
            self.had.append(max(self.pieces[-1], cut_ns))


def test_who_is_always_cut_short_gets_its_part_in_pieces_that_nobody_cuts(hub: MiniHub):
    crowd = Crowd(hub, 8 * MS)
    for _ in range(200):
        crowd.turn(MS // 50)
    assert 0.2 < sum(crowd.had) / (crowd.turns * 8 * MS) < 0.3
    assert max(crowd.pieces) <= 4 * MS  # the part of one turn, or of two if it waited one


def test_short_turns_are_made_longer_by_a_millisecond_at_most(hub: MiniHub):
    crowd = Crowd(hub, MS // 5)
    for _ in range(2000):
        crowd.turn(0)
    assert set(crowd.pieces) == {0, MS}
    assert 0.2 < sum(crowd.had) / (crowd.turns * MS / 5) < 0.3


def test_who_gets_its_part_anyway_can_always_be_cut_short(hub: MiniHub):
    crowd = Crowd(hub, 8 * MS)
    for _ in range(200):
        crowd.turn(5 * MS)
    assert set(crowd.pieces) == {0}


def test_what_is_owed_after_a_long_turn_is_soon_paid(hub: MiniHub):
    crowd = Crowd(hub, 60_000 * MS)
    crowd.turn(0)
    crowd.turn(0)
    crowd._ready_ns = 0
    pieces = len(crowd.pieces)
    for _ in range(100):
        crowd.turn(0)
    assert sum(crowd.pieces[pieces:]) <= 10 * MS


def test_nothing_is_owed_to_who_comes_when_those_it_was_owed_to_have_gone(hub: MiniHub):
    runq = hub.runq
    runq.owe(60_000 * MS)
    assert runq.pop_late() is None
    hub.spawn(computes(10 * MS))
    assert turn(hub) is not None
    assert runq.uncut_ns == 0
