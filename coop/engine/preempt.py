"""The end of a slice: a timer of the C library that bumps the engine's epoch.

A guest that computes holds the thread and the GIL, so no Python code can take
the thread back; the timer's function is wasmtime's own `increment_epoch`, called
by the C library without Python.

For a guest that begins, a shot is armed only if the last one was armed a while ago, and instead of
that one if it has not come yet.  So while guests come and go it is put off, while nothing runs it is
fired once, and nobody has to disarm a timer on the way to the idle path.  A slice may be shorter than
asked - the shot was armed for somebody else - but never longer.

A guest that has used up a slice gets shots of its own, for as long as it may run this
time: until somebody's sleep is over, for instance.

Three things can lose a shot, and with it the power to stop a guest for ever:

- Linux drops the signal of a timer that is armed again before its signal was
  taken, and a guest that calls out every microsecond arms again just then.  So
  there are two timers, armed in turn.
- A guest that comes back from the end of a slice gets its next deadline when
  wasmtime resumes it, one epoch from then.  Should the operating system take the
  processor away just before, a shot could be over by then.  For such a guest the
  shots repeat, until its slice has ended.
- Each shot takes a thread for a moment, and the system may have none left.  So every shot
  is followed by others, though seldom: whatever runs by then is made to yield as soon as
  there is a thread again.

While the process forks there are none (`quiet`).
"""

import ctypes as C
import os
import time
from contextlib import suppress

from coop.clock import SECOND_NS
from coop.engine.capi import address_of_function
from coop.engine.config import Engine
from coop.engine.quiet import put_off_at_forks, timer_thread
from coop.engine.shots import CLOCK_MONOTONIC, TimerSpec, libc, shot

SLICE_NS = 10_000_000
"""How long a busy guest runs before the others get a turn."""

AGAIN_NS = 200_000
"""After a slice's end was called for and the guest goes on, it is called for again so soon."""

now_ns = time.monotonic_ns
"""The moment slices are measured by: always the system's clock, never one turned by hand."""

_SELDOM_S = 2
"""After a shot that should have been the only one, others follow so seldom."""


class Ticker:
    """Bumps one engine's epoch a slice after it was armed.  Belongs to one scheduler."""

    def __init__(self, engine: Engine, slice_ns: int = SLICE_NS) -> None:
        event = shot(address_of_function("wasmtime_engine_increment_epoch"), engine.address)
        self._engine = engine
        self._timers: list[C.c_void_p] = []
        self._often = TimerSpec(0, AGAIN_NS, 0, 0)
        self._specs = TimerSpec(), TimerSpec(_SELDOM_S, 0, *divmod(slice_ns, SECOND_NS)), self._often
        self._never, self._once, self._again = map(C.addressof, self._specs)
        self._turn = self._repeats = 0
        self._is_repeating = False
        timer_thread.exists = True  # also if only the first of them can be had
        for _ in range(2):
            timer = C.c_void_p()
            if libc.timer_create(CLOCK_MONOTONIC, C.byref(event), C.byref(timer)) != 0:
                number = C.get_errno()
                self.close()
                why = os.strerror(number)
                raise OSError(number, f"create the timer that ends a busy guest's slice: {why}")
            self._timers.append(timer)
        put_off_at_forks(self)  # last of all: from here on another thread may fork

    def arm(self, *, anew: bool = True) -> None:
        """Fire one slice from now, and then hardly ever.

        anew -- beside what was armed before, which may just be fired; or else in its place
        """
        self._turn ^= anew
        timer_thread.armed += 1
        libc.timer_settime(self._timers[self._turn], 0, self._once, None)

    def repeat(self, after_ns: int, *, anew: bool = True) -> None:
        """Fire after so long, and then again and again, until somebody calls `rest`; `anew` as for `arm`."""
        self._turn ^= anew
        self._repeats = self._turn
        self._is_repeating = True
        self.postpone(after_ns)

    def postpone(self, after_ns: int) -> None:
        """Begin what repeats so much later.  A shot that gets lost by that is followed by others."""
        self._often.value_s, self._often.value_ns = divmod(after_ns, SECOND_NS)
        timer_thread.armed += 1
        libc.timer_settime(self._timers[self._repeats], 0, self._again, None)

    def rest(self) -> None:
        """End what repeats, whatever was armed since."""
        self._is_repeating = False
        libc.timer_settime(self._timers[self._repeats], 0, self._never, None)

    def put_off(self, by_ns: int) -> None:
        """Fire nothing for so long, and then again and again."""
        late = C.byref(TimerSpec(*divmod(by_ns, SECOND_NS), *divmod(by_ns, SECOND_NS)))
        for timer in self._timers:
            libc.timer_settime(timer, 0, late, None)

    def go_on(self) -> None:
        """End the present slice, whoever has it, and see to it that the next one ends as well."""
        self._engine.increment_epoch()
        timer_thread.armed += 1
        repeats = self._is_repeating
        turn = self._repeats if repeats else self._turn
        with suppress(IndexError):  # its own thread, which this one is not, may take them back meanwhile
            libc.timer_settime(self._timers[turn], 0, self._again if repeats else self._once, None)
            libc.timer_settime(self._timers[turn ^ 1], 0, self._never, None)
            if repeats and not self._is_repeating:
                libc.timer_settime(self._timers[turn], 0, self._once, None)

    def close(self) -> None:
        """Take the timers back."""
        for timer in self._timers:
            libc.timer_settime(timer, 0, self._never, None)
        while self._timers:  # one that is taken out is none that a fork by another thread would put off
            libc.timer_delete(self._timers.pop())
