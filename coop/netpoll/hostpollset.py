"""Pollables over poll(2): the host half of the pollset poller in a real run.

Every kind of pollable knows two things: which kernel descriptor tells when it is
ready, if any, and when it is ready without one.  The combined wait is then one
ppoll over the descriptors with the earliest moment as its time-out.
"""

from time import monotonic_ns

from coop.errors import BugError
from coop.netpoll.pollset import Pollable
from coop.netpoll.pollsys import ASK, IN, event_errno, is_hit, noted, poll_fds
from coop.netpoll.wakeup import Wakeup


def _poll(asked: dict[int, int], delay_ns: int) -> dict[int, int]:
    """Call poll(2).  Raises: InterruptedError; BugError for the rest, which is no errno of anybody's call."""
    try:
        return poll_fds(asked, delay_ns)
    except InterruptedError:
        raise
    except OSError as error:
        raise BugError(str(error)) from error


class _HostPollable:
    """What all pollables of this host share.

    fd, asks -- the descriptor that tells when it is ready, and the events to ask for; 0: there is none
    due_ns   -- the moment at which it is ready without one; None: there is none
    """

    fd = -1
    asks = 0
    due_ns: int | None = None
    is_dropped = False

    def take(self, revents: int) -> bool:
        """Say whether `revents`, the kernel's answer of this moment, makes it ready."""
        raise NotImplementedError

    def block(self) -> None:
        """Wait until it is ready."""
        while not HostPollset.poll([self]):
            pass

    def ready(self) -> bool:
        """Say whether it is ready now; asks the kernel."""
        self.check()
        return self.take(_poll({self.fd: self.asks}, 0).get(self.fd, 0) if self.asks else 0)

    def drop(self) -> None:
        """End its life."""
        self.check()
        self.is_dropped = True

    def check(self) -> None:
        """Refuse what is asked of a dropped pollable."""
        if self.is_dropped:
            raise BugError(f"use {type(self).__name__}: it was dropped")


class FdPollable(_HostPollable):
    """One direction of a kernel descriptor."""

    def __init__(self, fd: int, mode: int) -> None:
        self.fd = fd
        self.mode = mode
        self.asks = ASK[mode]
        self.noted = 0
        self.is_error = False

    def take(self, revents: int) -> bool:
        """Be ready for what concerns the direction, and note what else was told."""
        if not is_hit(self.mode, revents):
            return False
        self.noted = noted(self.mode, revents)
        self.is_error = event_errno(revents) != 0
        return True


class WakeupPollable(_HostPollable):
    """The wake-up of a poller; looking at it leaves the signal for the next wait."""

    def __init__(self, wakeup: Wakeup) -> None:
        self.fd = wakeup.fd
        self.asks = IN
        self._wakeup = wakeup
        self._revents = 0

    def take(self, revents: int) -> bool:
        """Be ready for anything; whether that is right is judged when it is drained."""
        self._revents = revents
        return revents != 0

    def drain(self) -> None:
        """Take the signal away, after a wait that was allowed to block."""
        self._wakeup.take(self._revents, may_block=True)


class DurationPollable(_HostPollable):
    """A moment on the monotonic clock, counted from when the pollable was made."""

    def __init__(self, delay_ns: int) -> None:
        self.due_ns: int = monotonic_ns() + delay_ns

    def take(self, revents: int) -> bool:
        """Be ready once the moment has come."""
        del revents
        return monotonic_ns() >= self.due_ns


class HostPollset:
    """The host of a `PollsetPoller`."""

    @staticmethod
    def duration(delay_ns: int) -> DurationPollable:
        """Make a pollable that gets ready `delay_ns` from now."""
        return DurationPollable(delay_ns)

    @staticmethod
    def descriptor(fd: int, mode: int) -> FdPollable:
        """Make a pollable of one direction of `fd`, which stays the caller's to close."""
        return FdPollable(fd, mode)

    @staticmethod
    def wakeup(wakeup: Wakeup) -> WakeupPollable:
        """Make a pollable that is ready while `wakeup` is signalled."""
        return WakeupPollable(wakeup)

    @staticmethod
    def poll(pollables: "list[Pollable] | list[_HostPollable]") -> list[int]:
        """Wait until one of `pollables` is ready; a signal ends the wait with an empty list.

        Raises: BugError for an empty list, a dropped pollable, or one of another host.
        """
        if not pollables:
            raise BugError("poll of no pollables would never return")
        ours: list[_HostPollable] = []
        for pollable in pollables:
            if not isinstance(pollable, _HostPollable):
                raise BugError(f"poll of a {type(pollable).__name__}: it is not this host's")
            pollable.check()
            ours.append(pollable)
        asked: dict[int, int] = {}
        for each in ours:
            if each.asks:
                asked[each.fd] = asked.get(each.fd, 0) | each.asks
        due = [each.due_ns for each in ours if each.due_ns is not None]
        try:
            seen = _poll(asked, max(min(due) - monotonic_ns(), 0) if due else -1)
        except InterruptedError:
            return []
        ready = [index for index, each in enumerate(ours) if each.take(seen.get(each.fd, 0))]
        for index in ready:
            each = ours[index]
            if isinstance(each, WakeupPollable):
                each.drain()
        return ready
