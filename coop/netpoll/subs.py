"""The subscription table: what the next `poll_oneoff` would be asked, kept ready.

Values only: no bytes, no host, no clock.  The reader who knows Go's poller for
wasip1 finds the same table here, with the lock replaced by an owner and the
pointers by sequence numbers.

1. Slot 0 is the clock, for the table's whole life; only its timeout changes.
2. Every other slot is one descriptor in one direction.  Both directions are two
   slots with the same userdata.
3. The slots of a descriptor stand in its cookie: reading in the high 16 bits,
   writing in the low 16, `DISARMED` for none.  For every armed direction,
   `entries[slot]` is that descriptor in that direction.
4. Only the thread that made the table touches it.
"""

from dataclasses import dataclass
from threading import get_ident

from coop.errors import BugError, TableFull, WrongThread
from coop.netpoll.contract import MODE_NAMES, READ, WRITE
from coop.netpoll.polldesc import DISARMED, PollDesc

MONOTONIC = 1
"""The id of the monotonic clock; the realtime clock, 0, may be set back."""

PRECISION_NS = 1000

MAX_SLOTS = 0xFFFF
"""So many slots, the clock's included: the next number would read as `DISARMED`."""

_SHIFT = {READ: 16, WRITE: 0}


@dataclass(slots=True, eq=False)
class ClockSub:
    """The subscription to a time-out, relative to the call, on the monotonic clock."""

    timeout_ns: int = 0
    clock_id: int = MONOTONIC
    precision_ns: int = PRECISION_NS
    flags: int = 0
    userdata: int = 0


class FdSub:
    """The subscription to one direction of one descriptor.

    userdata -- names the descriptor in the events; never 0, which is the clock's
    """

    __slots__ = ("fd", "mode", "pd", "userdata")

    def __init__(self, pd: PollDesc, mode: int) -> None:
        self.pd = pd
        self.fd = pd.fd
        self.mode = mode
        self.userdata = pd.seq

    def __repr__(self) -> str:
        return f"<FdSub {MODE_NAMES[self.mode]} {self.pd.what}>"


Subscription = ClockSub | FdSub


def slot_of(pd: PollDesc, mode: int) -> int:
    """Return the slot of one direction of `pd`, `DISARMED` if it has none."""
    return pd.cookie >> _SHIFT[mode] & DISARMED


def _set_slot(pd: PollDesc, mode: int, slot: int) -> None:
    shift = _SHIFT[mode]
    pd.cookie = pd.cookie & ~(DISARMED << shift) | slot << shift


class SubTable:
    """The table.  Arming, disarming and closing take constant time.

    clock -- the entry of slot 0
    """

    __slots__ = ("_by_fd", "_entries", "_owner", "_pds", "clock")

    def __init__(self) -> None:
        self.clock = ClockSub()
        self._entries: list[Subscription] = [self.clock]
        self._pds: dict[int, PollDesc] = {}
        self._by_fd: dict[int, PollDesc] = {}
        self._owner = get_ident()

    def __len__(self) -> int:
        """Count the slots, the clock's included."""
        return len(self._entries)

    def __contains__(self, pd: PollDesc) -> bool:
        """Whether `pd` is open."""
        return pd.seq in self._pds

    def subscriptions(self, *, with_clock: bool) -> list[Subscription]:
        """Return a copy of the entries in slot order, with or without slot 0."""
        self._check_owner()
        return self._entries[0 if with_clock else 1 :]

    def find(self, userdata: int) -> PollDesc | None:
        """Return the open descriptor that `userdata` names, or None."""
        return self._pds.get(userdata)

    def open(self, pd: PollDesc) -> None:
        """Remember `pd`, both directions disarmed; no slot is taken.

        Raises: BugError if its number is open already.
        Source: Go's runtime/netpoll_wasip1.go.
        """
        self._check_owner()
        if pd.fd in self._by_fd:
            raise BugError(f"open {pd.what}: number {pd.fd} is open already, as {self._by_fd[pd.fd].what}")
        pd.cookie = DISARMED << 16 | DISARMED
        self._pds[pd.seq] = self._by_fd[pd.fd] = pd

    def close(self, fd: int) -> None:
        """Disarm and forget the descriptor with this number; an unknown one is not an error.

        Source: Go's runtime/netpoll_wasip1.go.
        """
        self._check_owner()
        pd = self._by_fd.pop(fd, None)
        if pd is not None:
            self.disarm(pd, READ | WRITE)
            del self._pds[pd.seq]

    def arm(self, pd: PollDesc, mode: int) -> None:
        """Take a slot at the end for one direction of `pd`; arming an armed one changes nothing.

        Raises: TableFull at 65 535 slots, table and descriptor unchanged.
        Source: Go's runtime/netpoll_wasip1.go.
        """
        self._check_owner()
        if pd.seq not in self._pds:
            raise BugError(f"arm {pd.what} to {MODE_NAMES[mode]}: it is not open")
        if slot_of(pd, mode) != DISARMED:
            return
        slot = len(self._entries)
        if slot == MAX_SLOTS:
            raise TableFull(f"arm {pd.what} to {MODE_NAMES[mode]}: overflow, all {MAX_SLOTS} slots are taken")
        self._entries.append(FdSub(pd, mode))
        _set_slot(pd, mode, slot)

    def disarm(self, pd: PollDesc, modes: int) -> None:
        """Give up the slots of `modes`; the last entry of the table moves into each gap.

        A disarmed direction stays as it is.
        Source: Go's runtime/netpoll_wasip1.go.
        """
        self._check_owner()
        for mode in (READ, WRITE):
            slot = slot_of(pd, mode)
            if not modes & mode or slot == DISARMED:
                continue
            last = self._entries.pop()
            assert isinstance(last, FdSub), "slot 0 never leaves the table"
            if slot != len(self._entries):
                self._entries[slot] = last
                _set_slot(last.pd, last.mode, slot)
            # After the move, since the entry that moved may be this descriptor's other direction.
            _set_slot(pd, mode, DISARMED)

    def _check_owner(self) -> None:
        if get_ident() != self._owner:
            raise WrongThread("touch a subscription table: another thread owns it")
