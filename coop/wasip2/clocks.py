"""wasi:clocks: the monotonic clock and its pollables, and the time of day."""

from typing import ClassVar, NamedTuple

from coop.clock import NEVER_NS, SECOND_NS
from coop.wasip2.io import Poll
from coop.wasip2.pollables import MomentPollable, Pollable
from coop.wasip2.world import WorldInterface
from coop.wit import function

__all__ = ["INTERFACES", "Datetime", "MonotonicClock", "WallClock"]

_REALTIME, _MONOTONIC = 0, 1


class MonotonicClock(WorldInterface):
    """wasi:clocks/monotonic-clock."""

    name = "wasi:clocks/monotonic-clock"
    uses: ClassVar = {"pollable": Poll}
    types: ClassVar = {"instant": "u64", "duration": "u64"}

    @function("func() -> instant", parks=False)
    def now(self) -> int:
        """Return the moment, in nanoseconds from some beginning."""
        return self.world.clocks.now_ns(_MONOTONIC) or 0

    @function("func() -> duration", parks=False)
    def resolution(self) -> int:
        """Return how far apart two moments are at least, in nanoseconds."""
        return self.world.clocks.resolution_ns(_MONOTONIC) or 1

    @function("func(when: instant) -> pollable", parks=False)
    def subscribe_instant(self, when: int) -> Pollable:
        """Make a pollable that is ready from `when` on; one that is past is ready at once."""
        return self.subscribe_duration(max(when - self.now(), 0))

    @function("func(when: duration) -> pollable", parks=False)
    def subscribe_duration(self, when: int) -> Pollable:
        """Make a pollable that is ready `when` nanoseconds from now."""
        owner = self.world.owner
        return MomentPollable(owner, min(owner.now_ns() + when, NEVER_NS))


class Datetime(NamedTuple):
    """Seconds since 1970, and nanoseconds of the next one."""

    seconds: int
    nanoseconds: int


class WallClock(WorldInterface):
    """wasi:clocks/wall-clock."""

    name = "wasi:clocks/wall-clock"
    types: ClassVar = {"datetime": "record {seconds: u64, nanoseconds: u32}"}

    @function("func() -> datetime", parks=False)
    def now(self) -> Datetime:
        """Return the time of day."""
        return Datetime(*divmod(self.world.clocks.now_ns(_REALTIME) or 0, SECOND_NS))

    @function("func() -> datetime", parks=False)
    def resolution(self) -> Datetime:
        """Return how far apart two times are at least."""
        return Datetime(*divmod(self.world.clocks.resolution_ns(_REALTIME) or 1, SECOND_NS))


INTERFACES: tuple[type[WorldInterface], ...] = (MonotonicClock, WallClock)
