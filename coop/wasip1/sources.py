"""Where a guest's time and randomness come from: values that can be replaced."""

import os
import time
from dataclasses import dataclass
from typing import Protocol


class RandomSource(Protocol):
    """Fills buffers with random bytes; never blocks for long."""

    def fill(self, buffer: memoryview) -> None:
        """Fill all of `buffer`."""
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
    """The four clocks a guest may read, in nanoseconds; their numbers are WASI's."""

    def now_ns(self, clock: int) -> int | None:
        """Return a clock's time, or None for a number that is no clock."""
        if clock == 1:  # asked for far more often than the others
            return time.monotonic_ns()
        reader = _READERS.get(clock)
        return None if reader is None else reader()

    def resolution_ns(self, clock: int) -> int | None:
        """Return a clock's resolution, or None for a number that is no clock."""
        host = _HOST_CLOCKS.get(clock)
        return None if host is None else max(1, round(time.clock_getres(host) * 1e9))


_READERS = {
    0: time.time_ns,
    1: time.monotonic_ns,
    2: time.process_time_ns,
    3: time.thread_time_ns,
}
_HOST_CLOCKS = {
    0: time.CLOCK_REALTIME,
    1: time.CLOCK_MONOTONIC,
    2: time.CLOCK_PROCESS_CPUTIME_ID,
    3: time.CLOCK_THREAD_CPUTIME_ID,
}
