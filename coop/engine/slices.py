"""How long a guest may run, and who sees to it that it ends.

    it began, or came back from a park     a short slice, ended by a timer
    it has used that up: it is busy        until somebody else is due - a sleep is over, a task is
                                           ready - or a slice at most; and until there is news,
                                           for which the watcher waits

So a guest that answers a request is left alone, and one that computes delays nobody: a
sleeper or a client waits for it a tenth of a millisecond, and for one that has just begun a whole
one at most.  Only where the others leave it nothing at all does it get a part of their time, and is
left alone for so long (`RunQueue`).

The watcher can end only slices of a guest that runs with the GIL released.  One that
computes and makes host calls all the time runs with the GIL held, since taking it anew
for each call can cost more than all of them; it gets short slices.  A busy server among
them polls all the time, and is answered at once: it asks for everybody then, and as long
as nobody else has news its slice begins anew.

Who gives the GIL up gets it back when others let go of it, which beside short slices may be most of
the time.  There a guest that computes gets short slices as well, with the GIL held (`Slices.took`).
"""

from typing import TYPE_CHECKING

from coop.engine.config import Engine
from coop.engine.preempt import Ticker, now_ns
from coop.engine.watcher import Watcher

if TYPE_CHECKING:
    from coop.scheduler import Scheduler

SHORT_NS = 1_000_000
"""The slice of a guest whose end nobody else can call for; so of each that has just begun."""

LOOK_NS = 500_000
"""A busy guest that polls looks for the others so often, and so keeps the end of its slice away."""

KEEP_NS = 50_000_000
"""Where other threads take the GIL for longer than a slice lasts, it is kept for so long."""

LEAST_NS = 20_000
"""A slice that ended before its guest has resumed would end nothing."""

_MUCH_NS = 2_000_000
"""Of what a slice lost, less than that does not matter."""


class Slices:
    """The slices of one scheduler's guests on one engine.

    slice_ns -- the longest there is
    watcher  -- the scheduler's, if its poller can be watched
    due_ns   -- the moment from which on a guest that begins needs a slice of its own
    ends_ns  -- the moment at which the shot may come that ends the slice of one that has begun
    count    -- how many shots there may have been: a guest's deadline that was set before the last one may
                be over
    """

    def __init__(
        self, scheduler: "Scheduler", engine: Engine, slice_ns: int, watcher: Watcher | None
    ) -> None:
        self._scheduler = scheduler
        self._engine = engine
        self._slice_ns = slice_ns
        self._watcher = watcher
        self._short_ns = min(SHORT_NS, slice_ns)
        self._ticker = Ticker(engine, self._short_ns)
        self.due_ns = self.ends_ns = self.count = 0
        self._waits = self._keeps_until_ns = 0

    def begin(self, now_ns: int) -> None:
        """Let a guest run that has not computed for long; for guests after it the slice holds as well.

        Half of it must be left for them.  So while guests come and go the shot is put off again and again,
        and hardly ever fired: it costs as much as a request.
        """
        is_over = now_ns >= self.ends_ns
        self._ticker.arm(anew=is_over)
        self.count += is_over
        self.due_ns, self.ends_ns = now_ns + self._short_ns // 2, now_ns + self._short_ns

    def was_cut_short(self, used_ns: int) -> bool:
        """Whether a guest got so little that it was somebody else's slice that has ended."""
        return used_ns < self._short_ns // 4

    def begin_busy(self, *, is_watched: bool) -> None:
        """Let a guest run that has used up a slice; `end_busy` follows.

        is_watched -- it runs with the GIL released
        """
        self.count += 1
        due_ns = self._scheduler.slice_ns(self._slice_ns)
        uncut_ns = self._scheduler.runq.uncut_ns
        if uncut_ns:
            due_ns = min(uncut_ns, self._slice_ns)  # and nobody watches, who would end it
        elif not (is_watched and self._watcher is not None and self._watcher.watch(self._engine)):
            due_ns = min(due_ns, SHORT_NS)
        self._ticker.repeat(max(due_ns, LEAST_NS), anew=now_ns() >= self.ends_ns)

    def may_release(self) -> bool:
        """Whether a guest that computes may be let run with the GIL released."""
        return self._keeps_until_ns == 0 or now_ns() >= self._keeps_until_ns

    def took(self, took_ns: int, had_ns: int) -> None:
        """Take notice of a slice with the GIL released, and of what the guest had of the processor in it.

        A Python thread that computes gives the GIL back after 5 ms.  That is little beside a long slice, but
        where sleepers and others end each after a millisecond, it is most of the time.  Then the GIL is kept,
        and the interpreter sees to it that each gets half.  Once may be the system's doing, twice is not.
        """
        lost_ns = took_ns - had_ns
        if lost_ns < max(had_ns, _MUCH_NS):
            self._waits = self._keeps_until_ns = 0
            return
        self._waits += 1
        if self._waits > 1:
            self._keeps_until_ns = now_ns() + KEEP_NS

    def prolong(self) -> None:
        """Begin the slice of the busy guest that runs now anew: it has seen to it that nobody waits."""
        most_ns = min(SHORT_NS, self._slice_ns)
        self._ticker.postpone(max(self._scheduler.slice_ns(most_ns), LEAST_NS))

    def end_busy(self) -> None:
        """Take notice that the guest has yielded, parked or ended."""
        self._ticker.rest()
        self.due_ns = self.ends_ns = 0
        if self._watcher is not None:
            self._watcher.rest()

    def close(self) -> None:
        """Take the timers back."""
        self._ticker.close()
