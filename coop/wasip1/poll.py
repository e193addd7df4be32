"""poll_oneoff: a guest waits for the first of many things, and only its own task parks.

The guest passes an array of subscriptions: clocks, and descriptors to read or
write.  It gets an array of events, one for each subscription that has something
to say.  The steps here:

    parse the array -> look at the levels -> something? answer
                                             nothing?   wait, look again

Differences from poll(2) that matter: a subscription names one direction; time-outs
are subscriptions like others, relative or absolute, of two clocks; and events carry
the guest's userdata, not an index.

1. One answer for each subscription at most, packed without gaps.
2. A subscription that cannot be is an event with its errno; the call succeeds, at
   once, as if a time-out of zero stood beside it.
3. The array is parsed once.  When the shim asks again after the park, the guest has
   not run, and what was parsed still holds.  When the guest passes the same bytes
   again and its table of descriptors has not changed, it holds as well; a clock at
   the front, as Go puts it, is looked at apart.
4. The guest's one waiter stays queued at each file it has polled, so a guest that
   polls the same thousand files again queues up for none.  It leaves a file when
   the guest closes it.

A guest passes long arrays often, so what is done for each subscription is done by
the interpreter's own loops where it can be: one unpacking for the array, `map` for
the look-ups, one comprehension for the levels.
"""

import struct
from collections.abc import Sequence
from typing import Any

from coop.clock import NEVER_NS
from coop.engine import AGAIN
from coop.netpoll.contract import BOTH, HANGUP, MODE_NAMES, READ, STALE_SHIFT, WRITE
from coop.netpoll.openfile import OpenFile
from coop.netpoll.polldesc import Waiter
from coop.task import READY, Task, current
from coop.wasip1.abi import (
    EVENT,
    EVENT_FD_READWRITE_HANGUP,
    EVENT_SIZE,
    SUBSCRIPTION,
    SUBSCRIPTION_CLOCK_ABSTIME,
    SUBSCRIPTION_SIZE,
    U32,
    ClockId,
    EventType,
    Filetype,
    OlderArray,
    events_layout,
    subscriptions_layout,
)
from coop.wasip1.errno import Errno
from coop.wasip1.state import Wasi

_CLOCK, _FD_READ, _FD_WRITE = int(EventType.CLOCK), int(EventType.FD_READ), int(EventType.FD_WRITE)
assert (_FD_READ, _FD_WRITE) == (READ, WRITE)  # so that a subscription's type is its mode
_TAG = 8
_REALTIME, _MONOTONIC = int(ClockId.REALTIME), int(ClockId.MONOTONIC)
_INVAL, _BADF, _NOTCAPABLE = int(Errno.INVAL), int(Errno.BADF), int(Errno.NOTCAPABLE)
_LAYOUT_UP_TO = 512
"""The guest chooses how long its arrays are, so only small ones have a layout of their own."""
_pack_u32 = U32.pack_into

ClockSub = tuple[int, int]
"""A parsed subscription for a moment on the scheduler's clock: userdata, nanoseconds."""


class _Refused:
    """Stands for a file where a subscription cannot be: always ready, with an errno."""

    __slots__ = ("errno",)

    ready = BOTH

    def __init__(self, errno: int) -> None:
        self.errno = errno


class Poll:
    """One guest's `poll_oneoff`, between its calls and during a park.

    stdin -- an open file that has to be told that somebody polls it, if the guest has one
    """

    __slots__ = (
        "_userdata _modes _files _raw _version _clocks _bad_clocks _due_ns "
        "_wasi _limit _waiter _watched _queued _polled _inside _parked stdin"
    ).split()

    def __init__(self, wasi: Wasi) -> None:
        self._wasi = wasi
        limit = wasi.limits.subscriptions
        self._limit = (1 << 32) - 1 if limit is None else limit
        # The subscriptions for descriptors, as three columns, and the bytes they came from.
        self._userdata: Sequence[int] = ()
        self._modes: Sequence[int] = ()
        self._files: Sequence[OpenFile | _Refused] = ()
        self._raw: bytes | None = None
        self._version = -1
        self._clocks: list[ClockSub] = []
        self._bad_clocks: list[int] = []
        self._due_ns = NEVER_NS
        # The wait.
        self._waiter: Waiter | None = None
        self._watched: dict[OpenFile, None] = {}
        self._queued: Sequence[OpenFile | _Refused] | None = None
        self._polled = 0
        self._inside = 0
        self._parked = False
        self.stdin: OpenFile | None = None

    # -- one call

    def call(
        self, subscriptions: int, events: int, count: int, out: int, older: OlderArray | None = None
    ) -> int:
        """Do what `poll_oneoff` says below; AGAIN when the guest has to wait.

        older -- how the array is laid out, if not as preview 1 has it
        """
        if not self._parked:
            if count == 0:
                return _INVAL
            if count > self._limit:
                self._wasi.limit_reached("subscriptions", value=self._limit, asked=count)
                return _INVAL
            memory = self._wasi.memory
            memory.check(out, 4)
            size = count * (SUBSCRIPTION_SIZE if older is None else older.size)
            memory.check(subscriptions, size)
            memory.check(events, count * EVENT_SIZE)
            if older is None:
                self._parse(memory.view, subscriptions, count)
            else:
                array = older.translate(memory.view[subscriptions : subscriptions + size])
                self._parse(memoryview(array), 0, count)
        found = self._look()
        if not found or (self._clocks and self._should_ask(found)):
            found = self._look() if self._wait_here() else []
        elif self.stdin is not None and self.stdin in self._files:
            # Something else is ready, perhaps each time: it must not keep this one from reading ahead.
            self.stdin.on_wait(READ)
        if not found:
            self._parked = True
            self._wasi.instance.pending = self._wait
            return AGAIN
        self._parked = False
        nevents = len(found) // 5
        view = self._wasi.memory.view
        if nevents <= _LAYOUT_UP_TO:
            events_layout(nevents).pack_into(view, events, *found)
        else:
            for i in range(nevents):
                EVENT.pack_into(view, events + i * EVENT_SIZE, *found[i * 5 : i * 5 + 5])
        _pack_u32(view, out, nevents)
        return 0

    # -- parse

    def _parse(self, view: memoryview, subscriptions: int, count: int) -> None:
        if self._clocks or self._bad_clocks:
            self._clocks, self._bad_clocks = [], []
            self._due_ns = NEVER_NS
        if view[subscriptions + _TAG] == _CLOCK:
            self._add_clock(view, subscriptions)
            subscriptions += SUBSCRIPTION_SIZE
            count -= 1
        end = subscriptions + count * SUBSCRIPTION_SIZE
        version = self._wasi.fds.version
        raw = view[subscriptions:end]
        if version == self._version and self._raw is not None and raw == self._raw:
            return
        self._version, self._raw = version, bytes(raw) if count <= _LAYOUT_UP_TO else None
        if count <= _LAYOUT_UP_TO:
            flat: Sequence[int] = subscriptions_layout(count).unpack(raw)
        else:
            flat = [value for entry in struct.iter_unpack("<QB7xI28x", raw) for value in entry]
        userdata, kinds, numbers = flat[0::3], flat[1::3], flat[2::3]
        if kinds.count(_FD_READ) != count and set(kinds) - {_FD_READ, _FD_WRITE}:
            userdata, kinds, numbers = self._take_out_clocks(view, subscriptions, userdata, kinds, numbers)
            self._raw = None  # a clock must be looked at again each time
        self._userdata, self._modes = userdata, kinds
        files: Any = numbers and [entry and entry.polls for entry in map(self._wasi.get_fd, numbers)]
        self._files = self._look_closer(numbers) if None in files else files

    def _take_out_clocks(
        self,
        view: memoryview,
        subscriptions: int,
        userdata: Sequence[int],
        kinds: Sequence[int],
        numbers: Sequence[int],
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        stay = []
        for i, kind in enumerate(kinds):
            if kind == _FD_READ or kind == _FD_WRITE:
                stay.append(i)
            else:
                self._add_clock(view, subscriptions + i * SUBSCRIPTION_SIZE)
        return [userdata[i] for i in stay], [kinds[i] for i in stay], [numbers[i] for i in stay]

    def _add_clock(self, view: memoryview, at: int) -> None:
        userdata, kind, clock, timeout, flags = SUBSCRIPTION.unpack_from(view, at)
        if kind != _CLOCK or clock not in (_REALTIME, _MONOTONIC) or flags & ~SUBSCRIPTION_CLOCK_ABSTIME:
            self._bad_clocks += (userdata, _INVAL, kind if kind <= _FD_WRITE else _CLOCK, 0, 0)
            return
        if flags & SUBSCRIPTION_CLOCK_ABSTIME:
            of_clock = self._wasi.clocks.now_ns(clock) or 0
            # The difference is taken on the clock the guest named; one in the past is due at once.
            timeout = max(timeout - of_clock, 0)
        due_ns = min(self._wasi.scheduler.now_ns() + timeout, NEVER_NS)
        self._clocks.append((userdata, due_ns))
        self._due_ns = min(self._due_ns, due_ns)

    def _look_closer(self, numbers: Sequence[int]) -> list[OpenFile | _Refused]:
        """Return the file of each subscription, or the errno of why it may not be polled in that mode."""
        found: list[OpenFile | _Refused] = []
        for number, mode in zip(numbers, self._modes, strict=True):
            entry = self._wasi.get_fd(number)
            if entry is None or entry.filetype == Filetype.DIRECTORY:
                found.append(_Refused(_BADF))
            else:
                found.append(entry.file if entry.may_poll(mode) else _Refused(_NOTCAPABLE))
        return found

    # -- look

    def _look(self) -> list[int]:
        """Return the events that hold now, the five values of each in one flat list."""
        files, modes = self._files, self._modes
        found = self._bad_clocks[:]
        # All of one length, and strict=True would cost what the comprehension saves.
        for i in [i for i, file, mode in zip(range(len(files)), files, modes) if file.ready & mode]:  # noqa: B905
            file, mode = files[i], modes[i]
            if isinstance(file, _Refused):
                found += (self._userdata[i], file.errno, mode, 0, 0)
            # Looked at again: asking for the level of the same file in an earlier slot may have changed it.
            elif file.ready & mode and (not file.ready & mode << STALE_SHIFT or file.level(mode)):
                hangup = file.ready & HANGUP and (mode == READ or file.is_hung_up())
                flags = EVENT_FD_READWRITE_HANGUP if hangup else 0
                # At a hangup 0 is the end.  In a longer list 1 stands for "some": a system call for each
                # would cost more than the poll.
                is_counted = mode == READ and (hangup or len(files) == 1)
                nbytes = file.available() if is_counted else 1
                found += (self._userdata[i], 0, mode, nbytes, flags)
        if self._due_ns != NEVER_NS:
            now_ns = self._wasi.scheduler.now_ns()
            if self._due_ns <= now_ns:
                for userdata, due_ns in self._clocks:
                    if due_ns <= now_ns:
                        found += (userdata, 0, _CLOCK, 0, 0)
        return found

    def _should_ask(self, found: list[int]) -> bool:
        """Whether the poller has to be asked, since nothing but the time-out of a first look has come."""
        if self._parked or not self._files or any(found[2::5]):
            return False
        return self._files is not self._queued or not self._wasi.scheduler.has_fresh_answer()

    # -- wait

    def _wait_here(self) -> bool:
        """Wait on the guest's fiber, if nobody else can run; True if it may look again at once."""
        scheduler = self._wasi.scheduler
        instance = self._wasi.instance
        if self._due_ns != NEVER_NS and self._due_ns <= scheduler.now_ns():
            self._enlist(instance.task)
            return scheduler.look_here()
        self._begin(instance.task)
        try:
            return instance.wait_here(self._due_ns)
        finally:
            self._end()

    def _wait(self) -> None:
        """Wait on the task's greenlet: park."""
        scheduler = self._wasi.scheduler
        task = current()
        if task.state is READY:
            # Woken before it could park; others stand before it in the queue.
            task.park(self)
        elif self._due_ns <= scheduler.now_ns():
            # A time-out of zero and nothing ready: let the others run and the poller be asked, or a
            # guest that spins on such polls would never hear of anything.
            task.pause()
        else:
            timer = None if self._due_ns == NEVER_NS else scheduler.timers.set(self._due_ns, task.wake)
            self._begin(task)
            try:
                task.park(self)
            finally:
                self._end()
                if timer is not None:
                    timer.cancel()

    def _begin(self, task: Task) -> None:
        waiter = self._enlist(task)
        self._wasi.scheduler.poller.waiters += self._polled
        waiter.fired = False

    def _enlist(self, task: Task) -> Waiter:
        """Make sure that every file is heard of from now on; a mere look needs that too."""
        waiter = self._waiter
        if waiter is None:
            waiter = self._waiter = Waiter(task, BOTH, sticky=True)
        waiter.task = task
        if self._files is not self._queued or not self._wasi.scheduler.poller.permanent:
            self._queue_up(waiter)
        return waiter

    def _end(self) -> None:
        assert self._waiter is not None
        self._waiter.fired = True
        self._wasi.scheduler.poller.waiters -= self._polled

    def _queue_up(self, waiter: Waiter) -> None:
        """Queue up at every file not watched yet and arm each direction."""
        files, watched = self._files, self._watched
        poller = self._wasi.scheduler.poller
        self._queued = files
        if poller.permanent and not self._inside and not [1 for file in files if file not in watched]:
            return
        self._polled = self._inside = 0
        for file, mode in zip(files, self._modes, strict=True):
            if isinstance(file, _Refused):
                continue
            if file not in watched:
                watched[file] = None
                file.enlist(waiter)
            if file.poller is not None:
                self._polled = 1
                if not poller.permanent:
                    poller.arm(file, mode)
            else:
                # A file that no poller watches wants to hear of every wait.
                file.on_wait(mode)
                self._inside = 1
                self._queued = None

    def __str__(self) -> str:
        named = [file for file in self._files if isinstance(file, OpenFile)]
        parts = [
            f"{MODE_NAMES[mode]} on {file.what}" for file, mode in zip(named[:8], self._modes, strict=False)
        ]
        if len(named) > 8:
            parts.append(f"{len(named) - 8} more")
        if self._due_ns != NEVER_NS:
            parts.append(f"the clock at {self._due_ns / 1e9:.6f} s")
        return f"poll_oneoff({', '.join(parts)})"

    # -- the end of a file, and of the guest

    def forget(self, file: OpenFile) -> None:
        """Leave a file's queue, because the guest closes it."""
        if file in self._watched:
            del self._watched[file]
            if self._waiter is not None:
                file.leave(self._waiter)
        self._queued, self._raw = None, None

    def close(self) -> None:
        """Leave every queue."""
        for file in list(self._watched):
            self.forget(file)
        self._files = ()


def poll_oneoff(wasi: Wasi, subscriptions: int, events: int, count: int, out: int) -> int:
    """Wait until one of `count` subscriptions has an event; stores the `events`, and at `out` how many.

    A clock's precision allows to be late; no use is made of it.
    Errno: INVAL no subscription, or more than the limit; FAULT an address outside memory.
    In an event: BADF no such descriptor, or a directory; INVAL a clock or a type that does
    not exist; NOTCAPABLE no right to poll, or none to read or write what is polled for that.
    """
    return wasi.poll.call(subscriptions, events, count, out)
