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

_SWEEP_FROM = 64
"""Below this many entries a sweep is not worth its walk."""


class Timer:
    """One entry of the heap; `cancel` it or let it fire.

    when_ns -- the moment it is due, in nanoseconds on the scheduler's clock
    fire    -- called once, on the hub, with no argument; must neither park nor raise
    """

    __slots__ = ("_heap", "fire", "when_ns")

    def __init__(self, heap: "Timers", when_ns: int, fire: Callable[[], object]) -> None:
        self._heap: Timers | None = heap
        self.when_ns = when_ns
        self.fire = fire

    @property
    def is_pending(self) -> bool:
        """Whether the timer has neither fired nor been cancelled."""
        return self._heap is not None

    def cancel(self) -> None:
        """Make sure that the timer does not fire; cancelling twice changes nothing."""
        heap, self._heap = self._heap, None
        if heap is not None:
            self.fire = _nothing  # what it held need not wait for the sweep
            heap._forget()


def _nothing() -> None:
    pass


class Timers:
    """The heap.  Its one owner is a scheduler; nothing here looks at a clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = count()
        self._cancelled = 0

    def __len__(self) -> int:
        """Count the timers that may still fire."""
        return len(self._heap) - self._cancelled

    def set(self, when_ns: int, fire: Callable[[], object]) -> Timer:
        """Arrange for `fire` to be called once `when_ns` has come, and return the timer."""
        timer = Timer(self, when_ns, fire)
        heappush(self._heap, (when_ns, next(self._order), timer))
        return timer

    def next_ns(self) -> int | None:
        """Return the moment of the earliest timer, or None if there is none."""
        heap = self._heap
        while heap:
            when_ns, _, timer = heap[0]
            if timer._heap is not None:
                return when_ns
            heappop(heap)
            self._cancelled -= 1
        return None

    def fire_due(self, now_ns: int) -> int:
        """Fire every timer that is due at `now_ns`, in order, and return how many fired."""
        heap = self._heap
        due: list[Timer] = []
        while heap and heap[0][0] <= now_ns:
            timer = heappop(heap)[2]
            if timer._heap is None:
                self._cancelled -= 1
            else:
                due.append(timer)
        # They leave the heap together but fire one by one, so that one of them may cancel a later one.
        # Until then such a timer counts as cancelled-in-the-heap, which `cancel` accounts for below.
        fired = 0
        for timer in due:
            if timer._heap is None:
                self._cancelled -= 1
                continue
            timer._heap = None
            timer.fire()
            fired += 1
        return fired

    def _forget(self) -> None:
        self._cancelled += 1
        heap = self._heap
        if len(heap) > _SWEEP_FROM and self._cancelled * 2 > len(heap):
            before = len(heap)
            heap[:] = [entry for entry in heap if entry[2]._heap is not None]
            heapify(heap)
            self._cancelled -= before - len(heap)


class Sleep:
    """The reason of a sleeping task."""

    __slots__ = ("when_ns",)

    def __init__(self, when_ns: int) -> None:
        self.when_ns = when_ns

    def __str__(self) -> str:
        return f"the clock at {self.when_ns / 1e9:.6f} s"
