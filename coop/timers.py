"""One heap for everything that is due at a moment: sleeps, deadlines, limits.

A timer is a moment and a function.  Removing an entry from the middle of a heap
is dear, so cancelling only marks the timer; marked entries are skipped when
they surface, and swept out when they are more than half of the heap.  So memory
stays in proportion to the timers that live, even when every `recv` sets a
deadline and drops it.

1. Timers that are due fire in the order of their moments, ties in the order
   in which they were set.
2. A timer fires at most once, and never after `cancel`.
3. `fire_due` fires only what was due at the moment it was given: a timer that
   sets another one for "now" does not keep it going.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from operator import itemgetter
from typing import Any, cast

_SWEEP_FROM = 64
"""Below this many entries a sweep is not worth its walk."""


class Timer(list[Any]):
    """One entry of the heap; `cancel` it or let it fire.

    A list, because `heapq` compares lists without calling Python, and because tens of thousands
    of guests have two each: an object more for every entry is one that every collection walks.
    Its items: the moment, the order among equals, what to call, with whom, and the heap.
    """

    __slots__ = ()

    @property
    def when_ns(self) -> int:
        """The moment it is due, in nanoseconds on the scheduler's clock."""
        return cast(int, self[0])

    @property
    def is_pending(self) -> bool:
        """Whether the timer has neither fired nor been cancelled."""
        return self[_HEAP] is not None

    def cancel(self) -> None:
        """Make sure that the timer does not fire; cancelling twice changes nothing."""
        timers = self[_HEAP]
        if timers is not None:
            self[_FIRE:] = _CANCELLED  # what it held need not wait for the sweep
            timers._cancelled += 1
            if timers._cancelled * 2 > len(timers._heap) > _SWEEP_FROM:
                timers._sweep()


_FIRE, _WHOM, _HEAP = 2, 3, 4
_may_fire = itemgetter(_FIRE)  # a function, or None; so a sweep calls no Python
_CANCELLED = (None, None, None)


class Timers:
    """The heap.  Its one owner is a scheduler; nothing here looks at a clock."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._order = count()
        self._cancelled = 0

    def __len__(self) -> int:
        """Count the timers that may still fire."""
        return len(self._heap) - self._cancelled

    def set(self, when_ns: int, fire: Callable[..., object], whom: object = None) -> Timer:
        """Arrange for `fire` to be called once `when_ns` has come, and return the timer.

        fire -- called on the hub, with `whom` if there is one; must neither park nor raise
        """
        timer = Timer((when_ns, next(self._order), fire, whom, self))
        heappush(self._heap, timer)
        return timer

    def next_ns(self) -> int | None:
        """Return the moment of the earliest timer, or None if there is none."""
        heap = self._heap
        while heap:
            timer = heap[0]
            if timer[_HEAP] is not None:
                when_ns: int = timer[0]
                return when_ns
            heappop(heap)
            self._cancelled -= 1
        return None

    def fire_due(self, now_ns: int) -> int:
        """Fire every timer that is due at `now_ns`, in order, and return how many fired."""
        heap = self._heap
        due: list[Timer] = []
        while heap and heap[0][0] <= now_ns:
            timer = heappop(heap)
            if timer[_HEAP] is None:
                self._cancelled -= 1
            else:
                due.append(timer)
        # They leave the heap together but fire one by one, so that one of them may cancel a later one.
        # One that is cancelled until then was counted as if it stood in the heap; the loop takes that back.
        fired = len(due)
        for timer in due:
            _, _, fire, whom, owner = timer
            if owner is None:
                self._cancelled -= 1
                fired -= 1
                continue
            timer[_FIRE:] = _CANCELLED
            if whom is None:
                fire()
            else:
                fire(whom)
        return fired

    def _sweep(self) -> None:
        heap, before = self._heap, len(self._heap)
        heap[:] = filter(_may_fire, heap)
        heapify(heap)
        self._cancelled -= before - len(heap)


class Sleep:
    """The reason of a sleeping task."""

    __slots__ = ("when_ns",)

    def __init__(self, when_ns: int) -> None:
        self.when_ns = when_ns

    def __str__(self) -> str:
        return f"the clock at {self.when_ns / 1e9:.6f} s"
