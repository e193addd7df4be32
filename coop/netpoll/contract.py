"""The poller contract: what the scheduler asks of whatever waits for it.

A poller knows which descriptors somebody cares for and, when asked, waits for
one of them.  It **returns** the tasks that may run now; it never touches the run
queue.  Eight operations make a poller:

    Poller()                  init: get what the operating system must give; failing is fatal
    open(pd)                  remember a descriptor; nothing is armed yet
    close(pd)                 forget it; an unknown one is not an error
    arm(pd, mode)             make sure the next poll hears of this direction; does nothing
                              where registration is permanent
    poll(delay_ns)            wait, and return the tasks to run, in the order of their events
    wake_up()                 "break": make a poll that blocks, or the next one that would, return;
                              the one operation allowed from another thread or a signal handler
    is_poll_descriptor(fd)    whether the kernel descriptor `fd` belongs to the poller itself
    shutdown()                give everything back

`delay_ns` is the sign convention of the whole project: negative waits without
limit, zero only looks, positive waits at most so long.  A poll may return early
and may return nothing; the scheduler computes a fresh delay and asks again.

A poller also keeps `waiters`, the number of parked waits on descriptors it has
open.  Waits count themselves in and out; the scheduler reads the number to tell
a sleep from a deadlock.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from coop.task import Task

if TYPE_CHECKING:
    from coop.netpoll.polldesc import PollDesc

READ = 1
WRITE = 2
BOTH = READ | WRITE
"""The modes: plain ints, because they are masked on every event."""

HANGUP = 4
"""The peer closed its sending half, or all of it (RDHUP, HUP): reads end without blocking."""

FAILED = 8
"""The kernel reported an error condition (ERR)."""

URGENT = 64
"""TCP's urgent data has been seen: a read stops in front of it, though more may follow."""

STALE_SHIFT = 4
"""A mode's bit shifted by this marks its readiness as one to be verified before anyone is told."""

STALE_READ = READ << STALE_SHIFT
STALE_WRITE = WRITE << STALE_SHIFT
STALE_BOTH = STALE_READ | STALE_WRITE

MODE_NAMES = {READ: "read", WRITE: "write", BOTH: "read or write"}


class Poller(Protocol):
    """See the module's text; every implementation passes one suite of tests."""

    waiters: int
    """How many waits are parked on open descriptors; written by the waits alone."""

    permanent: bool
    """Whether an open descriptor's events are heard without arming it first."""

    def open(self, pd: "PollDesc") -> None:
        """Remember `pd`, both modes disarmed.

        Raises: NotPollable if its descriptor is of a kind that cannot be waited for.
        """
        ...

    def close(self, pd: "PollDesc") -> None:
        """Forget `pd`; call it before its descriptor is closed.  An unknown one is not an error."""
        ...

    def arm(self, pd: "PollDesc", mode: int) -> None:
        """Make sure that the next poll hears of `mode` on `pd`; arming twice changes nothing."""
        ...

    def poll(self, delay_ns: int) -> list[Task]:
        """Wait as `delay_ns` says and return the tasks that may run, in the order of their events."""
        ...

    def wake_up(self) -> None:
        """Make a blocked poll return, or the next blocking one not block.  Callable from anywhere."""
        ...

    def is_poll_descriptor(self, fd: int) -> bool:
        """Whether `fd` is one of the poller's own kernel descriptors."""
        ...

    def shutdown(self) -> None:
        """Give back everything the poller got from the operating system."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A poller whose news somebody else can wait for: a foreign loop, or another thread."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while a look would find something."""
        ...

    def forget_wake_up(self) -> None:
        """Take a wake-up back, whose news the caller looks for next; then `fileno` shows new ones alone."""
        ...
