"""A poller keyed by pollables: what a runtime over WASI 0.2's `wasi:io/poll` is, as TinyGo's.

A pollable is a handle that is ready or not; which direction of what it stands
for is settled when it is made.  The registry owns every pollable it is given and
drops each exactly once: when it fires, when its waiter gives up, or when it is
woken for another reason.

Descriptors are served through the same registry: arming a direction asks the
host for a pollable of it, and its firing is the direction's event.

1. With a delay above 0 a fresh clock pollable stands at index 0, and is dropped
   after the call, whether it fired or not.
2. With a delay of 0 each pollable is asked whether it is ready; `poll` is not called.
3. `poll` never gets an empty list.
4. An index the list does not have is a bug of the host.
5. No list of pollables outlives the call it was made for.
6. Regular files may be opened, and are always ready.
"""

from collections.abc import Callable
from typing import Protocol

from coop.errors import BugError
from coop.netpoll.contract import MODE_NAMES, READ, WRITE
from coop.netpoll.polldesc import PollDesc
from coop.netpoll.wakeup import Wakeup
from coop.task import Task, current


class Pollable(Protocol):
    """A handle that is ready or not."""

    def block(self) -> None:
        """Wait until it is ready."""
        ...

    def ready(self) -> bool:
        """Say whether it is ready now."""
        ...

    def drop(self) -> None:
        """Give the handle back; nothing may be asked of it after that."""
        ...


class DescriptorPollable(Pollable, Protocol):
    """A pollable of one direction of a kernel descriptor.

    noted    -- bits of HANGUP and FAILED seen when it was last found ready
    is_error -- whether it was ready for nothing but an error
    """

    noted: int
    is_error: bool


class PollableHost(Protocol):
    """Where pollables come from, and the one combined wait."""

    def duration(self, delay_ns: int) -> Pollable:
        """Make a pollable that gets ready `delay_ns` from now."""
        ...

    def descriptor(self, fd: int, mode: int) -> DescriptorPollable:
        """Make a pollable of one direction of a kernel descriptor."""
        ...

    def wakeup(self, wakeup: Wakeup) -> Pollable:
        """Make a pollable that is ready while `wakeup` is signalled; `block` and a poll drain it."""
        ...

    def poll(self, pollables: list[Pollable]) -> list[int]:
        """Wait until one of `pollables`, of which there is at least one, is ready; return the indices."""
        ...


class Registration:
    """One pollable in the registry, and what to do when it is ready.

    on_ready -- called once the pollable was dropped, with the list to append the woken tasks to
    fired    -- whether it has ended: it was ready, or nobody waits any more
    """

    __slots__ = ("fired", "on_ready", "pollable")

    def __init__(self, pollable: Pollable, on_ready: Callable[[list[Task]], None]) -> None:
        self.pollable = pollable
        self.on_ready = on_ready
        self.fired = False


class PollsetPoller:
    """The poller over pollables.

    host   -- makes pollables and waits for them
    wakeup -- without one, `wake_up` does nothing, and a wait without limit for nothing returns at once
    """

    permanent = False

    def __init__(self, host: PollableHost, wakeup: Wakeup | None = None) -> None:
        self.waiters = 0
        self._host = host
        self._wakeup = wakeup
        self._signal = None if wakeup is None else host.wakeup(wakeup)
        self._registered: dict[Registration, None] = {}
        self._open: dict[int, PollDesc] = {}
        self._armed: dict[tuple[int, int], Registration] = {}

    # -- the registry: TinyGo's four verbs and their wait, for who has pollables that are no descriptor's.
    # Its own descriptors need `done` alone; the tests hold the others to what TinyGo promises.

    def add_wait(self, pollable: Pollable, task: Task) -> Registration:
        """Own `pollable` and wake `task` once when it is ready; the caller parks next, then calls `done`."""
        return self._register(pollable, lambda woken: woken.append(task))

    def done(self, registration: Registration | None) -> None:
        """Take an unfired registration off and drop its pollable; a fired one, or None, is left alone."""
        if registration is not None and not registration.fired:
            registration.fired = True
            del self._registered[registration]
            registration.pollable.drop()

    @staticmethod
    def is_fired(registration: Registration | None) -> bool:
        """Whether the registration has ended; None counts as ended."""
        return registration is None or registration.fired

    def wake(self, registration: Registration | None) -> None:
        """End a registration for a reason of the caller's own; once fired, or for None, do nothing."""
        if registration is not None and not registration.fired:
            woken: list[Task] = []
            self._fire(registration, woken)
            for task in woken:
                task.wake()

    def wait(self, pollable: Pollable, reason: object) -> None:
        """Park the current task until `pollable`, which is owned from here on, is ready; may return early."""
        task = current()
        registration = self.add_wait(pollable, task)
        self.waiters += 1
        try:
            task.park(reason)
        finally:
            self.waiters -= 1
            self.done(registration)

    def _register(self, pollable: Pollable, on_ready: Callable[[list[Task]], None]) -> Registration:
        registration = Registration(pollable, on_ready)
        self._registered[registration] = None
        return registration

    def _fire(self, registration: Registration, woken: list[Task]) -> None:
        self.done(registration)
        registration.on_ready(woken)

    # -- descriptors

    def open(self, pd: PollDesc) -> None:
        """Remember `pd`, both modes disarmed.

        Raises: BugError if its number is open already.
        """
        if pd.fd in self._open:
            raise BugError(f"open {pd.what}: number {pd.fd} is open already, as {self._open[pd.fd].what}")
        self._open[pd.fd] = pd

    def close(self, pd: PollDesc) -> None:
        """Drop the pollables of `pd` and forget it; an unknown one is not an error."""
        if self._open.get(pd.fd) is pd:
            del self._open[pd.fd]
            for mode in (READ, WRITE):
                self.done(self._armed.pop((pd.seq, mode), None))

    def arm(self, pd: PollDesc, mode: int) -> None:
        """Get a pollable for each direction in `mode` that has none."""
        if self._open.get(pd.fd) is not pd:
            raise BugError(f"arm {pd.what} to {MODE_NAMES[mode]}: it is not open")
        for one in (READ, WRITE):
            if mode & one and (pd.seq, one) not in self._armed:
                self._arm(pd, one)

    def _arm(self, pd: PollDesc, mode: int) -> None:
        pollable = self._host.descriptor(pd.fd, mode)

        def on_ready(woken: list[Task]) -> None:
            del self._armed[pd.seq, mode]
            pd.note_error(pollable.is_error)
            pd.fire(mode | pollable.noted, woken)

        self._armed[pd.seq, mode] = self._register(pollable, on_ready)

    # -- polling

    def poll(self, delay_ns: int) -> list[Task]:
        """Wait for the registered pollables and fire those that are ready, in the order reported.

        Source: TinyGo's src/runtime/netpoll_wasip2.go.
        """
        registered = list(self._registered)
        woken: list[Task] = []
        for registration in self._find(registered, delay_ns):
            if not registration.fired:
                self._fire(registration, woken)
        return woken

    def _find(self, registered: list[Registration], delay_ns: int) -> list[Registration]:
        if delay_ns == 0:
            return [each for each in registered if each.pollable.ready()]
        pollables = [each.pollable for each in registered]
        if self._signal is not None:
            pollables.append(self._signal)
        if delay_ns < 0:
            return self._pick(registered, pollables, 0) if pollables else []
        clock = self._host.duration(delay_ns)
        try:
            if not pollables:
                clock.block()
                return []
            return self._pick(registered, [clock, *pollables], 1)
        finally:
            clock.drop()

    def _pick(
        self, registered: list[Registration], pollables: list[Pollable], first: int
    ) -> list[Registration]:
        """Ask the host and translate indices; those before `first` and after the registered wake nobody."""
        found = []
        for index in self._host.poll(pollables):
            if not 0 <= index < len(pollables):
                raise BugError(f"poll of {len(pollables)} pollables: index {index} reported")
            if first <= index < first + len(registered):
                found.append(registered[index - first])
        return found

    # -- the rest of the contract

    def wake_up(self) -> None:
        """Make a blocked poll, or the next one that would block, return."""
        if self._wakeup is not None:
            self._wakeup.signal()

    def is_poll_descriptor(self, fd: int) -> bool:
        """Whether `fd` is the wake-up's."""
        return self._wakeup is not None and fd >= 0 and fd == self._wakeup.fd

    def shutdown(self) -> None:
        """Drop every pollable that is still owned, and close the wake-up."""
        for registration in list(self._registered):
            self.done(registration)
        self._armed.clear()
        self._open.clear()
        if self._signal is not None:
            self._signal.drop()
            self._signal = None
        if self._wakeup is not None:
            self._wakeup.close()
