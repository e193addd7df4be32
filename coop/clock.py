"""Where time comes from: `int` nanoseconds on the monotonic clock.

A scheduler asks its clock and nothing else for the time, so that tests can
turn a clock by hand and prove an order instead of a duration.
"""

import time
from typing import Protocol

NEVER_NS = (1 << 63) - 1
"""The latest moment there is; deadlines that would overflow become this one."""

SECOND_NS = 1_000_000_000


def to_ns(seconds: float) -> int:
    """Convert seconds, as the public face gives them, to nanoseconds; never beyond `NEVER_NS`."""
    if seconds.__class__ not in (float, int):
        if not hasattr(seconds, "__float__"):  # a text times a thousand million would fill the memory
            raise TypeError(f"a time in seconds: a number wanted, not {type(seconds).__name__}")
        seconds = float(seconds)
    if seconds != seconds:
        raise ValueError("a time in seconds is not a number (nan)")
    return int(min(max(seconds * SECOND_NS, -NEVER_NS), NEVER_NS))


class Clock(Protocol):
    """A source of monotonic time."""

    def now_ns(self) -> int:
        """Return the present moment in nanoseconds; it never goes back."""
        ...


class SystemClock:
    """The monotonic clock of the operating system."""

    now_ns = staticmethod(time.monotonic_ns)


class ManualClock:
    """A clock that stands still until it is turned.

    now -- the moment it starts at, in nanoseconds
    """

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now_ns(self) -> int:
        """Return the moment the clock was last turned to."""
        return self._now

    def advance(self, delta_ns: int) -> None:
        """Turn the clock forward by `delta_ns` nanoseconds."""
        if delta_ns < 0:
            raise ValueError(f"advance the clock by {delta_ns} ns: time does not go back")
        self._now += delta_ns
