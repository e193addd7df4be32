"""The poll descriptor: what is known of one open kernel descriptor, and who waits for it.

The reader may know Go's `pollDesc`.  This one differs where one thread makes it
simpler and where guests make it richer:

- There is no atomic state machine; the owner's thread is the only writer.
- A descriptor holds one queue of waiters, each with its modes, instead of one
  goroutine for each direction, because several guests may be given the same
  listener.  Whether a *second* reader is an error is decided above: a connection of
  host code says Busy, a guest's fd does not.
- Readiness is remembered as a level.  A poller sets a bit when it hears of an
  edge; whoever reads or writes clears it on "would block".  So a wait that comes
  late finds what came early, and no system call asks what is already known.

Each direction is in one of four states and no other (`PollDesc.state`):

    NIL     nothing is known, nobody waits
    READY   the bit is set: a wait would return at once
    WAIT    somebody has queued up and is about to park; nobody has parked yet
    PARKED  at least one parked task waits

1. A waiter is fired at most once between two parks; later causes do nothing.
2. `check` looks in this order: closing, the deadline of that direction, the
   event's error.  An event's error shows to readers only: a writer's next write
   tells more.
3. A moved deadline moves the waits in progress.  A waiter woken by a deadline
   that has since moved looks again and parks again.
4. `unblock` comes before `close`, both once; a descriptor is never forgotten
   while somebody is parked on it.
5. `seq` is never 0 and never used twice: a late event that carries an old one
   finds nobody.
"""

from enum import Enum
from itertools import count
from typing import TYPE_CHECKING

from coop.clock import NEVER_NS
from coop.errors import BugError, Closed, DeadlineExceeded, NoDeadline, NotPollable
from coop.netpoll.contract import BOTH, HANGUP, MODE_NAMES, READ, STALE_SHIFT, WRITE
from coop.netpoll.waiter import Waiter, WaitReason
from coop.task import PARKED, Task, current
from coop.timers import Timer, Timers

if TYPE_CHECKING:
    from coop.netpoll.contract import Poller

DISARMED = 0xFFFF
"""The slot number that means "no subscription" in a descriptor's cookie."""

EXPIRED = -1
"""A deadline that has passed; 0 is none, anything above is a moment in nanoseconds."""

_STAYS = tuple(~(modes << STALE_SHIFT | (HANGUP if modes & READ else 0)) for modes in range(BOTH + 1))
"""For the modes that are reported, what stays of the bits that were known: a hangup is told each time."""

_sequence = count(1)


class ModeState(Enum):
    """What one direction of a descriptor is in."""

    NIL = "nil"
    READY = "ready"
    WAIT = "wait"
    PARKED = "parked"


class Result(Enum):
    """What a wait came to, numbered as Go's runtime tells its package internal/poll."""

    OK = 0
    CLOSING = 1
    TIMEOUT = 2
    NOT_POLLABLE = 3


class PollDesc:
    """One open kernel descriptor, as a poller sees it.

    fd      -- the kernel's number, or -1 for an open file that lives in memory
    what    -- what it is, for messages: "fd 5", "connection 127.0.0.1:4242"
    poller  -- who waits for it, or None when readiness comes from within the process
    timers  -- the heap its deadlines go to; None for a file that cannot have any
    ready   -- bits of READ, WRITE, HANGUP, FAILED, URGENT; set by the poller or the producer, cleared
               by whoever found that it would block.  A mode's bit shifted by STALE_SHIFT says
               that its level was true once and has not been looked at since
    waiters -- who wants to hear of it, in the order in which they came
    seq     -- names it in events
    closing, event_error -- whether `unblock` was called; whether the last event told of an error alone
    is_hindered -- whether anything may stand against a wait; `check` says what
    cookie  -- the poller's own number for it (the subscription table keeps two slots in it)
    """

    __slots__ = (
        "_read_ns",
        "_read_timer",
        "_write_ns",
        "_write_timer",
        "closing",
        "cookie",
        "event_error",
        "fd",
        "is_hindered",
        "poller",
        "ready",
        "seq",
        "timers",
        "waiters",
        "what",
    )

    def __init__(
        self, fd: int, what: str = "", *, poller: "Poller | None" = None, timers: Timers | None = None
    ) -> None:
        self.fd = fd
        self.what = what or f"fd {fd}"
        self.poller = poller
        self.timers = timers
        self.seq = next(_sequence)
        self.cookie = DISARMED << 16 | DISARMED
        self.ready = 0
        self.event_error = self.closing = self.is_hindered = False
        # Most have none or one, for whom a list is twice as much memory, and one place more to look.
        self.waiters: list[Waiter] | tuple[Waiter] | tuple[()] = ()
        self._read_ns = self._write_ns = 0
        self._read_timer: Timer | None = None
        self._write_timer: Timer | None = None

    def __repr__(self) -> str:
        return f"<PollDesc {self.what} seq={self.seq} ready={self.ready:#x}>"

    # -- the poller's and the producer's side

    def fire(self, modes: int, woken: list[Task]) -> None:
        """Note that `modes` hold now, and append to `woken` the tasks that waited for one of them."""
        # What is reported now is no longer stale; what was known besides stays.
        self.ready = self.ready & _STAYS[modes & BOTH] | modes
        waiters = self.waiters
        if not waiters:
            return
        if waiters.__class__ is tuple:
            # Nearly always so, one task per connection, and on the path of every event.
            (waiter,) = waiters
            if waiter.marks is not None:
                waiter.marks[self] = None
            if not waiter.fired and waiter.mode & modes:
                waiter.fired = True
                woken.append(waiter.task)
                if not waiter.sticky:
                    self.waiters = ()
            return
        leaves = False
        for waiter in waiters:
            if waiter.marks is not None:
                waiter.marks[self] = None
            if not waiter.fired and waiter.mode & modes:
                waiter.fired = True
                woken.append(waiter.task)
                leaves = leaves or not waiter.sticky
        if leaves:
            self.waiters = [waiter for waiter in waiters if waiter.sticky or not waiter.fired]

    def note_error(self, is_error: bool) -> None:
        """Note whether the last event told of an error and of nothing else."""
        self.event_error = is_error
        self._look_for_hindrances()

    def notify(self, modes: int) -> None:
        """Note that `modes` hold now and wake who waited: `fire` for a producer within the process."""
        woken: list[Task] = []
        self.fire(modes, woken)
        for task in woken:
            task.wake()

    def block(self, mode: int) -> None:
        """Note that `mode` was tried and would block: the next wait really waits.

        HANGUP stays: the kernel tells it once, and who forgot it would miss the end of the
        stream.  Only the file's own read knows when it no longer holds.
        """
        self.ready &= ~mode

    # -- queueing up: TinyGo's four verbs, of which waits here need `add_wait` and `done` alone

    def add_wait(self, mode: int, task: Task) -> Waiter:
        """Queue `task` up for `mode` and arm it; the caller parks next, then calls `done`."""
        if mode not in MODE_NAMES:
            raise BugError(f"wait on {self.what}: {mode} is no mode")
        for other in self.waiters:
            if other.task is task and not other.sticky and other.mode & mode:
                raise BugError(f"double wait: {task} waits to {MODE_NAMES[mode]} on {self.what} already")
        if self.poller is not None:
            self.poller.arm(self, mode)  # first, since its table may be full
        waiter = Waiter(task, mode)
        self.enlist(waiter)
        return waiter

    def enlist(self, waiter: Waiter) -> None:
        """Let `waiter` hear of this descriptor, behind those that do already."""
        waiters = self.waiters
        if isinstance(waiters, list):
            waiters.append(waiter)
        else:
            self.waiters = [*waiters, waiter] if waiters else (waiter,)

    def leave(self, waiter: Waiter) -> None:
        """Let `waiter` hear no more of this descriptor, if it does."""
        waiters = self.waiters
        if waiter in waiters:
            if isinstance(waiters, list):
                waiters.remove(waiter)
            else:
                self.waiters = ()

    def done(self, waiter: Waiter | None) -> None:
        """Take `waiter` off, whether it was fired or not; taking it off twice, or None, does nothing."""
        if waiter is not None:
            waiter.fired = True
            self.leave(waiter)

    @staticmethod
    def is_fired(waiter: Waiter | None) -> bool:
        """Whether something woke `waiter`; None counts as fired."""
        return waiter is None or waiter.fired

    def wake(self, waiter: Waiter | None) -> None:
        """Wake one waiter for a reason of the caller's own and take it off; None does nothing."""
        if waiter is not None:
            if not waiter.sticky:
                self.leave(waiter)
            waiter.wake()

    # -- waiting

    def check(self, mode: int) -> Result:
        """Say whether a wait in `mode` may begin or go on, in the order closing, deadline, error."""
        if self.closing:
            return Result.CLOSING
        if (mode & READ and self._read_ns == EXPIRED) or (mode & WRITE and self._write_ns == EXPIRED):
            return Result.TIMEOUT
        if mode & READ and self.event_error:
            return Result.NOT_POLLABLE
        return Result.OK

    def require(self, mode: int, doing: str) -> None:
        """Raise what stands against `doing` something in `mode`, if anything does.

        Raises: Closed, DeadlineExceeded, NotPollable.
        """
        if not self.is_hindered:
            return
        result = self.check(mode)
        if result is Result.CLOSING:
            raise Closed(f"{doing} {self.what}: use of closed {self.kind}")
        if result is Result.TIMEOUT:
            raise DeadlineExceeded(f"{doing} {self.what}: i/o timeout")
        if result is Result.NOT_POLLABLE:
            raise NotPollable(f"{doing} {self.what}: not pollable")

    def _look_for_hindrances(self) -> None:
        self.is_hindered = bool(self.closing or self._read_ns or self._write_ns or self.event_error)

    @property
    def kind(self) -> str:
        """The word for what was closed: "file" or "network connection"."""
        return "file"

    def wait(self, mode: int, doing: str = "wait for") -> None:
        """Park the current task until one of `mode` is ready.

        Readiness that came first is taken without parking.
        Raises: Closed, DeadlineExceeded, NotPollable; what a park raises.
        Source: Go's runtime/netpoll.go: check, arm, then block.
        """
        while True:
            self.require(mode, doing)
            if self.ready & mode:
                return
            task = current()
            waiter = self.add_wait(mode, task)
            poller = self.poller
            if poller is not None:
                poller.waiters += 1
            try:
                task.park(WaitReason(self, mode))
            finally:
                if poller is not None:
                    poller.waiters -= 1
                self.done(waiter)

    def state(self, mode: int) -> ModeState:
        """Say which of the four states the direction `mode` is in: for who looks on, as tests do."""
        if self.ready & mode:
            return ModeState.READY
        waiting = [w for w in self.waiters if w.mode & mode and not w.fired]
        if not waiting:
            return ModeState.NIL
        return ModeState.PARKED if any(w.task.state is PARKED for w in waiting) else ModeState.WAIT

    # -- deadlines

    def set_deadline(self, mode: int, when_ns: int | None, now_ns: int) -> None:
        """Set the moment after which waits in `mode` fail; None takes the deadline away.

        A moment that has come, "now" included, expires the direction at once and
        wakes its waiters.  A wait in progress follows the new deadline.  After
        closing began this changes nothing.
        Raises: NoDeadline for a file without timers.
        Source: Go's runtime/netpoll.go.
        """
        if self.closing:
            return
        if self.timers is None:
            raise NoDeadline(f"set a deadline on {self.what}: it cannot have one")
        expired = when_ns is not None and when_ns <= now_ns
        value = 0 if when_ns is None else EXPIRED if expired else min(when_ns, NEVER_NS)
        if mode & READ:
            self._read_ns = value
        if mode & WRITE:
            self._write_ns = value
        self._reset_timers()
        if expired:
            self._wake_modes(mode)

    def deadline_ns(self, mode: int) -> int:
        """Return the moment after which a wait in `mode` fails: NEVER_NS for none, 0 if it has passed."""
        if not (self._read_ns or self._write_ns):
            return NEVER_NS
        found = [when for when, of in ((self._read_ns, READ), (self._write_ns, WRITE)) if when and mode & of]
        return max(min(found), 0) if found else NEVER_NS

    def _reset_timers(self) -> None:
        self._look_for_hindrances()
        for timer in (self._read_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._read_timer = self._write_timer = None
        timers = self.timers
        if timers is None:
            return
        if self._read_ns > 0 and self._read_ns == self._write_ns:
            # Equal deadlines share one timer, as the common `set_deadline` makes them.
            self._read_timer = self._write_timer = timers.set(self._read_ns, lambda: self._expire(BOTH))
            return
        if self._read_ns > 0:
            self._read_timer = timers.set(self._read_ns, lambda: self._expire(READ))
        if self._write_ns > 0:
            self._write_timer = timers.set(self._write_ns, lambda: self._expire(WRITE))

    def _expire(self, mode: int) -> None:
        if mode & READ:
            self._read_ns, self._read_timer = EXPIRED, None
        if mode & WRITE:
            self._write_ns, self._write_timer = EXPIRED, None
        self._wake_modes(mode)

    def _wake_modes(self, mode: int) -> None:
        """Wake the waiters of `mode` without claiming readiness: they look at `check` again."""
        for waiter in self.waiters:
            if waiter.mode & mode:
                waiter.wake()

    # -- the end

    def unblock(self) -> None:
        """Begin to close: no wait goes on and none begins.

        Raises: BugError the second time.
        Source: Go's runtime/netpoll.go.
        """
        if self.closing:
            raise BugError(f"unblock {self.what}: closing began already")
        self.closing = self.is_hindered = True
        if self.timers is not None:
            self._read_ns = self._write_ns = 0
            self._reset_timers()
        self._wake_modes(BOTH)

    def close(self) -> None:
        """Make the poller forget the descriptor; the caller closes the kernel's number after that.

        Raises: BugError before `unblock`, or while a task is parked on it and was not woken.
        Source: Go's runtime/netpoll.go.
        """
        if not self.closing:
            raise BugError(f"close {self.what}: unblock comes first")
        if self.waiters and any(not waiter.fired for waiter in self.waiters):
            raise BugError(f"close {self.what}: a task still waits on it")
        self.waiters = ()
        if self.poller is not None:
            self.poller.close(self)
