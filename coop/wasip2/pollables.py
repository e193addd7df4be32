"""Pollables: moments and levels of open files, as handles a guest can wait for.

A pollable keeps no readiness of its own.  It knows where to look - a moment on the
scheduler's clock, or the level of a descriptor - and where to queue up for a change.
So `poll` is the third consumer of the one readiness model, beside host calls and
`poll_oneoff`:

    all asked -> one is ready? answer their indices
                 none?         queue up at every descriptor, set one timer for the
                               earliest moment, park; then ask again

1. A wait of the whole list is one park: the scheduler's idle path waits for all of it
   together with what every other task waits for.
2. A list may name the same thing twice.
"""

from collections.abc import Sequence

from coop.clock import NEVER_NS
from coop.netpoll.contract import MODE_NAMES
from coop.netpoll.openfile import OpenFile
from coop.netpoll.polldesc import PollDesc
from coop.scheduler import Scheduler
from coop.task import current
from coop.wit import Later, Resource, function

__all__ = ["FilePollable", "MomentPollable", "Pollable", "ReadyPollable", "ready_among", "wait_for_any"]


class Pollable(Resource):
    """Something that is ready or not.

    owner  -- the scheduler of its guest
    due_ns -- the moment at which it gets ready, if that is all there is to it
    """

    __slots__ = ("due_ns", "owner")

    def __init__(self, owner: Scheduler, parent: Resource | None = None) -> None:
        super().__init__(parent)
        self.owner = owner
        self.due_ns = NEVER_NS

    def is_ready(self) -> bool:
        """Look."""
        raise NotImplementedError

    def source(self) -> tuple[PollDesc, int] | None:
        """Return the descriptor and mode whose change is to be waited for now; None: the moment alone."""
        return None

    @function("func() -> bool", parks=False)
    def ready(self) -> bool:
        """Say whether it is ready."""
        return self.is_ready()

    @function("func()", parks=None)
    def block(self) -> Later | None:
        """Wait until it is ready."""
        if self.is_ready():
            return None
        return Later(lambda: wait_for_any(self.owner, [self]))


class ReadyPollable(Pollable):
    """Ready at all times, as files on a disk are."""

    __slots__ = ()

    def is_ready(self) -> bool:
        """Be ready."""
        return True


class MomentPollable(Pollable):
    """Ready from a moment on."""

    __slots__ = ()

    def __init__(self, owner: Scheduler, due_ns: int) -> None:
        super().__init__(owner)
        self.due_ns = min(due_ns, NEVER_NS)

    def is_ready(self) -> bool:
        """Whether the moment has come."""
        return self.owner.now_ns() >= self.due_ns


class FilePollable(Pollable):
    """Ready while an open file may be read, or written."""

    __slots__ = ("file", "mode")

    def __init__(self, owner: Scheduler, file: OpenFile, mode: int, parent: Resource | None = None) -> None:
        super().__init__(owner, parent)
        self.file = file
        self.mode = mode

    def is_ready(self) -> bool:
        """Look at the level; what is closed is ready to say so.

        A file may have to be told that somebody looks, or it would never read ahead for a guest that only
        looks, or that waits for other things besides of which one is always ready.
        """
        if self.file.closing or self.file.level(self.mode):
            return True
        self.file.on_wait(self.mode)
        return self.file.ready & self.mode != 0

    def source(self) -> tuple[PollDesc, int] | None:
        """Wait for the file."""
        return self.file, self.mode


def ready_among(pollables: Sequence[Pollable]) -> list[int]:
    """Return the indices of those that are ready, each asked once: a list may name one thousands of times."""
    known = {each: each.is_ready() for each in dict.fromkeys(pollables)}
    return [i for i, each in enumerate(pollables) if known[each]]


def wait_for_any(owner: Scheduler, pollables: Sequence[Pollable]) -> list[int]:
    """Park until one of `pollables` is ready, and return the indices of all that are."""
    while not (found := ready_among(pollables)):
        _park(owner, pollables)
    return found


def _park(owner: Scheduler, pollables: Sequence[Pollable]) -> None:
    task = current()
    wanted: dict[PollDesc, int] = {}
    for each in pollables:
        source = each.source()
        if source is not None:
            wanted[source[0]] = wanted.get(source[0], 0) | source[1]
    due_ns = min(each.due_ns for each in pollables)
    timer = None if due_ns == NEVER_NS else owner.timers.set(due_ns, owner.wake, task)
    waiters = []
    polled = 0
    try:
        for desc, mode in wanted.items():
            waiters.append((desc, desc.add_wait(mode, task)))
            polled += desc.poller is not None
        owner.poller.waiters += polled
        try:
            task.park(_Reason(wanted, len(pollables)))
        finally:
            owner.poller.waiters -= polled
    finally:
        for desc, waiter in waiters:
            desc.done(waiter)
        if timer is not None:
            timer.cancel()


class _Reason:
    """Why a task is parked, put into words only when a report asks."""

    __slots__ = ("count", "wanted")

    def __init__(self, wanted: dict[PollDesc, int], count: int) -> None:
        self.wanted = wanted
        self.count = count

    def __str__(self) -> str:
        first = next(iter(self.wanted), None)
        if first is None:
            return f"poll of {self.count} clocks" if self.count > 1 else "poll of a clock"
        return f"poll of {self.count} pollables, {MODE_NAMES[self.wanted[first]]} on {first.what} among them"
