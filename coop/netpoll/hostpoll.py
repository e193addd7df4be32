"""The default poller: epoll, each descriptor registered once and edge-triggered.

A descriptor is registered for everything when it is opened, so waiting costs no
system call and a turn costs as much as has changed, however many descriptors are
open.  What an edge told is kept as bits in `PollDesc.ready`.  The kernel tells
each thing once, so the bits stay until somebody clears them, and **the poller
never does**: whoever reads or writes clears the mode's bit when the kernel said
"would block", or moved less than was asked for of a stream (`kernelfiles` does so
in place, others by `PollDesc.block`), and clears HANGUP and FAILED by its own rules
for the kind of file.  Clearing READ without such an answer loses the edge and hangs
the next wait.

What differs from epoll as the reader may know it:

1. An event carries the descriptor's sequence number, never its fd.  A registration
   that outlives its descriptor, because a dup keeps the file open, finds nobody.
2. Number 0 is the wake-up's, and no descriptor's.  It alone is level-triggered: a
   look leaves the signal for the next wait that may block.
3. What is ready when it is registered is reported by the next poll.
4. Regular files and some devices are refused by the kernel: NotPollable.
5. A signal ends every wait, with what is ready then, so that the caller gets to
   run the handlers of signals.
6. A poll holds the GIL when its delay is 0, and so does a wait while it looks before
   it sleeps; asleep, it has released it.
"""

import errno
from functools import partial
from itertools import product
from threading import get_ident
from time import monotonic_ns

from coop.errors import BugError, NotPollable, WrongThread
from coop.netpoll.contract import FAILED, HANGUP, READ, STALE_BOTH, STALE_READ, URGENT, WRITE
from coop.netpoll.epollsys import BATCH, ET, EVENT, Epoll
from coop.netpoll.polldesc import PollDesc
from coop.netpoll.pollsys import ERR, HUP, IN, OUT, PRI, RDHUP
from coop.netpoll.wakeup import Wakeup
from coop.task import Task

_MEANING = {  # event -> bits of PollDesc.ready (as Go's runtime/netpoll_epoll.go)
    IN: READ,
    # A read may get past urgent data, or find nothing but that.
    PRI: READ | URGENT | STALE_READ,
    OUT: WRITE,
    RDHUP: READ | HANGUP,
    # No event tells that a FIFO has a new writer, or that a call took an error away by telling of it.
    HUP: READ | WRITE | HANGUP | STALE_BOTH,
    ERR: READ | WRITE | FAILED | STALE_BOTH,
}


def _bits_of_every_mask() -> dict[int, int]:
    bits: dict[int, int] = {}
    for chosen in product((False, True), repeat=len(_MEANING)):
        events = meaning = 0
        for event, is_set in zip(_MEANING, chosen, strict=True):
            if is_set:
                events |= event
                meaning |= _MEANING[event]
        bits[events] = meaning
    return bits


_BITS = _bits_of_every_mask()
"""All 64 masks, so that an event costs one look-up; no other can be reported."""

_WATCHED = IN | PRI | OUT | RDHUP | ET

_WAKEUP = 0

_SPIN_NS = 50_000
"""How long a wait looks before it sleeps: about what it costs two processes to wake each other."""

_CROWD = 500
"""After a spin that found several events, as a crowd of clients makes them, so many waits go without one."""

_MISSES = 10
"""After so many spins in a row that found nothing, 1023 waits go without one."""


class HostPoller:
    """The poller over epoll.

    nanoseconds -- whether to wait in nanoseconds; None finds out what the kernel can
    """

    permanent = True

    def __init__(self, *, nanoseconds: bool | None = None) -> None:
        self.waiters = 0
        self._misses = _MISSES
        self._skip = (1 << _MISSES) - 1
        self._owner = get_ident()
        self._pds: dict[int, PollDesc] = {}
        self._epoll = epoll = Epoll(nanoseconds=nanoseconds)
        try:
            self._wakeup = wakeup = Wakeup()
            try:
                epoll.add(wakeup.fd, IN, _WAKEUP)
            except BaseException:
                wakeup.close()
                raise
        except BaseException:
            epoll.close()
            raise
        self._look = epoll.look
        self._wait = epoll.wait
        self._only_event = partial(EVENT.unpack_from, epoll.buffer)
        view = memoryview(epoll.buffer)
        self._batches = [view[: EVENT.size * count] for count in range(BATCH + 1)]

    def fileno(self) -> int:
        """Return the epoll descriptor, readable while a look would find something."""
        return self._epoll.fd

    def open(self, pd: PollDesc) -> None:
        """Register `pd` in both directions, for as long as it is open.

        Raises: NotPollable for a regular file or a device that is always ready;
        BugError if its number is registered already; OSError for a bad number or
        too many registrations.
        """
        self._check_owner(pd)
        try:
            self._epoll.add(pd.fd, _WATCHED, pd.seq)
        except OSError as error:
            if error.errno == errno.EPERM:
                raise NotPollable(f"open {pd.what}: a descriptor of its kind cannot be waited for") from None
            if error.errno == errno.EEXIST:
                raise BugError(f"open {pd.what}: number {pd.fd} is open already") from error
            raise
        self._pds[pd.seq] = pd

    def close(self, pd: PollDesc) -> None:
        """Take the registration of `pd` back; an unknown one is not an error.

        Call it before the number is closed: a registration whose number is gone
        cannot be taken back while a dup lives.  Its events would find nobody.
        """
        self._check_owner(pd)
        if self._pds.pop(pd.seq, None) is not None:
            try:
                self._epoll.remove(pd.fd)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.EBADF}:
                    raise

    def arm(self, pd: PollDesc, mode: int) -> None:
        """Do nothing: the registration is permanent."""

    def poll(self, delay_ns: int) -> list[Task]:
        """Wait as `delay_ns` says, set the bits of what was reported, and return who waited for it.

        Source: Go's runtime/netpoll_epoll.go.
        """
        found = (self._spin(delay_ns) or self._wait(delay_ns)) if delay_ns else self._look()
        woken: list[Task] = []
        if found == 0:
            return woken
        if found == 1:
            # What the loop below does, without its iterator: most polls of a quiet server find one event.
            events, seq = self._only_event()
            pd = self._pds.get(seq)
            if pd is not None:
                if events == ERR or pd.event_error:
                    pd.note_error(events == ERR)
                pd.fire(_BITS[events], woken)
            elif seq == _WAKEUP:
                self._wakeup.take(events, may_block=delay_ns != 0)
            return woken
        if found < 0:
            found = self._epoll.explain()
        pds = self._pds
        for events, seq in EVENT.iter_unpack(self._batches[found]):
            pd = pds.get(seq)
            if pd is not None:
                if events == ERR or pd.event_error:
                    pd.note_error(events == ERR)
                pd.fire(_BITS[events], woken)
            elif seq == _WAKEUP:
                self._wakeup.take(events, may_block=delay_ns != 0)
        return woken

    def _spin(self, delay_ns: int) -> int:
        """Look for a moment before sleeping; returns what a look found, or 0.

        To sleep and be woken costs the kernel more than a request and its answer cost
        us.  Where one client sends as soon as it has its answer, the next event is a few
        looks away.  Where messages come more seldom, looking would burn a processor for
        nothing: after a spin that found nothing the next waits go without one, twice as
        many each time.  And where many clients keep us busy, the sleep is short anyhow, and
        gathers several events for one wake; so a spin that finds several says no as well.
        """
        if self._skip:
            self._skip -= 1
            return 0
        look = self._look
        found = look()
        if found:
            self._skip = _CROWD if found > 1 else 0
            return found
        until_ns = monotonic_ns() + (_SPIN_NS if delay_ns < 0 else min(delay_ns, _SPIN_NS))
        while monotonic_ns() < until_ns:
            found = look()
            if found:
                self._misses = 0
                self._skip = _CROWD if found > 1 else 0
                return found
        self._misses = min(self._misses + 1, _MISSES)
        self._skip = (1 << self._misses) - 1
        return 0

    def wake_up(self) -> None:
        """Make a blocked poll, or the next one that would block, return."""
        self._wakeup.signal()

    def forget_wake_up(self) -> None:
        """Take a wake-up back, whose news the caller looks for next; then `fileno` shows new ones alone."""
        self._wakeup.forget()

    def is_poll_descriptor(self, fd: int) -> bool:
        """Whether `fd` is the epoll descriptor or the wake-up's eventfd."""
        return fd >= 0 and fd in {self._epoll.fd, self._wakeup.fd}

    def shutdown(self) -> None:
        """Close both descriptors; twice changes nothing."""
        self._pds.clear()
        try:
            self._wakeup.close()
        finally:
            self._epoll.close()

    def _check_owner(self, pd: PollDesc) -> None:
        if get_ident() != self._owner:
            raise WrongThread(f"open or close {pd.what}: another thread owns the poller")
