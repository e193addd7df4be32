"""Where a guest's time and randomness come from: values that can be replaced.

    coop.Guest(module, clocks=MyClocks(), random=MySource())

Time that stands still, or randomness that comes again, is a class with the methods
below; nothing else of a guest asks the host for either.  Two things are not told by
`Clocks`: how long a relative time-out lasts, which is the scheduler's clock's
business, and how long a guest may run, which is `Limits`'.
"""

import os
import time
from dataclasses import dataclass
from typing import Protocol


class RandomSource(Protocol):
    """Fills buffers with random bytes; never blocks for long."""

    def fill(self, buffer: memoryview) -> None:
        """Fill all of `buffer`; a guest that asks for much is given it in pieces of 256 KiB.

        Called on the guest's fiber: it must not park.  What it raises ends the guest, but for an OSError,
        which is the guest's errno.
        """
        ...


class SystemRandom:
    """The operating system's cryptographic generator."""

    def fill(self, buffer: memoryview) -> None:
        """Fill `buffer` in chunks of 64 KiB, so that no more memory than that is held."""
        for start in range(0, len(buffer), 1 << 16):
            part = buffer[start : start + (1 << 16)]
            part[:] = os.urandom(len(part))


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks a guest may read, in nanoseconds; their numbers are WASI's.

    0 realtime, since 1970; 1 monotonic; 2 and 3 the CPU time of its process and its thread.
    An absolute time-out of clock 0 or 1 is measured against `now_ns` when the guest begins to wait.
    """

    def now_ns(self, clock: int) -> int | None:
        """Return a clock's time, 0 to 2**64 - 1.

        None: not told here.  A CPU clock is then what the guest itself has computed; any other
        number is no clock.
        """
        if clock == 1:  # asked for far more often than the others
            return time.monotonic_ns()
        return time.time_ns() if clock == 0 else None

    def resolution_ns(self, clock: int) -> int | None:
        """Return a clock's resolution, at least 1, or None for a number that is no clock."""
        host = _HOST_CLOCKS.get(clock)
        return None if host is None else max(1, round(time.clock_getres(host) * 1e9))


SYSTEM_CLOCKS = Clocks()
"""For every guest that is given no others."""

_HOST_CLOCKS = {
    0: time.CLOCK_REALTIME,
    1: time.CLOCK_MONOTONIC,
    2: time.CLOCK_MONOTONIC,  # by which it is measured how long a guest computes
    3: time.CLOCK_MONOTONIC,
}
