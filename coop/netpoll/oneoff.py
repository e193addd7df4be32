"""A poller that asks about everything, every time: `poll_oneoff` over the subscription table.

This is how a runtime inside a WASI guest waits.  coop uses it to be read beside
the default poller and to prove the table right.  What it asks is typed, a list
of subscriptions in and a list of events out; whether a guest's memory or poll(2)
lies behind that is the host's business.

The source is level-triggered and the table one-shot: an event disarms the
directions it wakes, and every wait arms again.

1. Slot 0 is the clock: left out for a wait without limit, a time-out of 0 for a look.
2. An event is told by its userdata; its place in the list means nothing.
3. A descriptor is fired in the order of the events.  Several waiters of one
   descriptor run in the order in which they came.
4. Regular files may be opened, and are always ready.
"""

import errno
from enum import IntEnum
from typing import NamedTuple, Protocol

from coop.errors import BugError
from coop.netpoll.contract import BOTH, FAILED, HANGUP, READ, WRITE
from coop.netpoll.polldesc import PollDesc
from coop.netpoll.subs import Subscription, SubTable
from coop.netpoll.wakeup import Wakeup
from coop.task import Task


class EventKind(IntEnum):
    """What an event answers, numbered as WASI numbers it."""

    CLOCK = 0
    FD_READ = 1
    FD_WRITE = 2


HANGUP_FLAG = 1
"""Bit 0 of an event's flags: the peer is gone."""

WAKES = {  # event kind, trouble -> modes woken (as Go's runtime/netpoll_wasip1.go)
    (EventKind.CLOCK, False): 0,
    (EventKind.CLOCK, True): 0,
    (EventKind.FD_READ, False): READ,
    (EventKind.FD_READ, True): BOTH,
    (EventKind.FD_WRITE, False): WRITE,
    (EventKind.FD_WRITE, True): BOTH,
}


class Event(NamedTuple):
    """One event of a `poll_oneoff`.

    userdata -- the subscription's
    error    -- the errno of this subscription, 0 for none
    flags    -- HANGUP_FLAG or 0
    noted    -- bits of HANGUP and FAILED to remember without waking the other
                direction; WASI has no word for a peer that only stopped sending
    """

    userdata: int
    kind: EventKind
    error: int = 0
    flags: int = 0
    noted: int = 0


class PollOneoff(Protocol):
    """The host function: wait for any of the subscriptions."""

    def __call__(self, subscriptions: list[Subscription], /) -> list[Event]:
        """Return at most one event per subscription.

        Raises: OSError with the errno of the call.
        """
        ...


class OneoffPoller:
    """The poller over a `poll_oneoff` host function.

    host   -- the function; if it watches a wake-up, it also drains it
    wakeup -- that wake-up.  Without one, `wake_up` does nothing, as inside a guest,
              and a wait without limit for nothing returns at once
    """

    permanent = False

    def __init__(self, host: PollOneoff, wakeup: Wakeup | None = None) -> None:
        self.waiters = 0
        self.table = SubTable()
        self._host = host
        self._wakeup = wakeup

    def open(self, pd: PollDesc) -> None:
        """Remember `pd`, both modes disarmed."""
        self.table.open(pd)

    def close(self, pd: PollDesc) -> None:
        """Disarm and forget `pd`; an unknown one is not an error."""
        if pd in self.table:
            self.table.close(pd.fd)

    def arm(self, pd: PollDesc, mode: int) -> None:
        """Subscribe `pd` for the next poll, in one mode or both, reading first.

        Raises: TableFull at 65 535 slots.
        """
        for one in (READ, WRITE):
            if mode & one:
                self.table.arm(pd, one)

    def poll(self, delay_ns: int) -> list[Task]:
        """Ask the host once, and fire what it reports.

        A call that a signal interrupted is repeated if it only looked or had no limit of time.
        Source: Go's runtime/netpoll_wasip1.go.
        """
        table = self.table
        if delay_ns >= 0:
            table.clock.timeout_ns = delay_ns
        subscriptions = table.subscriptions(with_clock=delay_ns >= 0)
        if not subscriptions and self._wakeup is None:
            return []
        while True:
            try:
                events = self._host(subscriptions)
                break
            except OSError as error:
                if error.errno != errno.EINTR:
                    count = len(subscriptions)
                    raise BugError(f"poll_oneoff of {count} subscriptions: errno {error.errno}") from error
                if delay_ns > 0:
                    # Time has passed; only the caller knows how much is left.
                    return []
        if len(events) > len(subscriptions):
            raise BugError(f"poll_oneoff of {len(subscriptions)} subscriptions: {len(events)} events")
        return self._fire(events)

    def _fire(self, events: list[Event]) -> list[Task]:
        woken: list[Task] = []
        for event in events:
            hangup = event.flags & HANGUP_FLAG
            modes = WAKES[event.kind, bool(event.error or hangup)]
            if not modes:
                continue
            pd = self.table.find(event.userdata)
            if pd is None:
                raise BugError(f"poll_oneoff reported {event}, which nobody subscribed to")
            self.table.disarm(pd, modes)
            pd.note_error(event.error != 0)
            bits = modes | event.noted | (HANGUP if hangup else 0) | (FAILED if event.error else 0)
            pd.fire(bits, woken)
        return woken

    def wake_up(self) -> None:
        """Make a blocked poll, or the next one that would block, return."""
        if self._wakeup is not None:
            self._wakeup.signal()

    def is_poll_descriptor(self, fd: int) -> bool:
        """Whether `fd` is the wake-up's; the host function has no descriptor of its own."""
        return self._wakeup is not None and fd >= 0 and fd == self._wakeup.fd

    def shutdown(self) -> None:
        """Close the wake-up."""
        if self._wakeup is not None:
            self._wakeup.close()
