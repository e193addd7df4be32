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
   not run, and what was parsed still holds.  What holds from one call to the next is
   up to `sublist` and `keptlist`; a clock at the front, as Go puts it, is looked at apart.
4. A clock alone, which is how guests sleep, takes no list and queues up nowhere.
5. The guest's one waiter stays queued at each file it has polled, until the guest
   closes it: to poll the same thousand files again it queues up for none.
"""

from collections.abc import Sequence

from coop.clock import NEVER_NS
from coop.netpoll.contract import BOTH, READ, WRITE
from coop.netpoll.openfile import OpenFile
from coop.netpoll.waiter import Waiter
from coop.task import READY, Task
from coop.wasip1.abi import (
    EVENT_SIZE,
    SUBSCRIPTION,
    SUBSCRIPTION_CLOCK_ABSTIME,
    SUBSCRIPTION_SIZE,
    U32,
    ClockId,
    EventType,
    Filetype,
    OlderArray,
)
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.keptlist import KeptList
from coop.wasip1.state import Wasi
from coop.wasip1.sublist import SHORT, Named, PlainList, Refused, SubList, look, store_events, told

_CLOCK, _FD_READ, _FD_WRITE = int(EventType.CLOCK), int(EventType.FD_READ), int(EventType.FD_WRITE)
assert (_FD_READ, _FD_WRITE) == (READ, WRITE)  # so that a subscription's type is its mode
_KIND_AT = 8
_REALTIME, _MONOTONIC = int(ClockId.REALTIME), int(ClockId.MONOTONIC)
_INVAL, _BADF, _NOTCAPABLE = int(Errno.INVAL), int(Errno.BADF), int(Errno.NOTCAPABLE)
_pack_u32 = U32.pack_into

_NO_FILES = PlainList()  # what a clock alone names; empty for ever, and one for all guests
_PLAIN_CALLS = 32  # while arrays change all over, so many are taken plainly before another one is kept
_MOST_CLOCKS = 4096  # in one array: each takes microseconds, in which nobody else runs

Moment = tuple[int, int]  # a subscription for a moment on the scheduler's clock: userdata, nanoseconds


class Poll:
    """One guest's `poll_oneoff`, between its calls and during a park.

    stdin -- an open file that has to be told that somebody polls it, if the guest has one
    """

    __slots__ = (
        "_list _plain _kept _clocks _bad_clocks _clock_userdata _due_ns "
        "_plain_calls _wasi _limit _waiter _watched _queued _polled _parked fds stdin"
    ).split()

    def __init__(self, wasi: Wasi) -> None:
        self._wasi, limit = wasi, wasi.limits.subscriptions
        self._limit = (1 << 32) - 1 if limit is None else limit
        self.fds = wasi.fds
        self._plain = _NO_FILES
        self._kept: KeptList | None = None
        self._plain_calls = 0  # that are still to come before an array is kept again
        self._list: SubList = self._plain  # what the present call, or the last one, named
        self._clocks: list[Moment] | tuple[()] = ()
        self._bad_clocks: list[int] | tuple[()] = ()
        self._clock_userdata: int | None = None  # the first clock's
        self._due_ns = NEVER_NS  # the earliest moment
        self._waiter: Waiter | None = None  # sticky, and queued at each file of the next line
        self._watched: dict[OpenFile, None] = {}
        self._queued: Sequence[Named] | None = None  # the files of a plain list that is queued up for
        self._polled = 0  # 1 if a poller watches one of those waited for, so that it is no deadlock
        self._parked = False  # whether the next call is the shim's, which asks again after a wait
        self.stdin: OpenFile | None = None

    # -- one call

    def call(
        self, subscriptions: int, events: int, count: int, out: int, older: OlderArray | None = None
    ) -> int:
        """Do what `poll_oneoff` says below; the guest is suspended when it has to wait.

        older -- how the array is laid out, if not as preview 1 has it
        """
        found: list[int] = []
        if self._parked:
            found = self._look() or (self._look() if self._wait_here() else [])
        else:
            if not 0 < count <= self._limit:
                return self._refuse(count)
            memory = self._wasi.memory
            room, size = count * EVENT_SIZE, count * (SUBSCRIPTION_SIZE if older is None else older.size)
            if max(out + 4, subscriptions + size, events + room) > memory.size:
                memory.check(out, 4)
                memory.check(subscriptions, size)
                memory.check(events, room)
            if older is None:
                is_sleep = self._parse(memory.view, subscriptions, count)
            else:
                array = older.translate(memory.view[subscriptions : subscriptions + size])
                is_sleep = self._parse(memoryview(array), 0, count)
            if self._wasi.instance.is_busy:
                self._wasi.instance.look_around()
            if is_sleep:
                if not self._wasi.scheduler.runq.tasks and self._wait_here():  # in a crowd it cannot
                    found = self._look()
            else:
                found = self._look()
                if not found or (self._clock_userdata is not None and self._should_ask(found)):
                    found = self._look() if self._wait_here() else []
                elif self.stdin is not None or not self._wasi.scheduler.poller.permanent:
                    found = self._hear_of_the_rest(found)
        if not found:
            self._parked = True
            return self._wasi.instance.suspend(self)
        self._parked = False
        view = self._wasi.memory.view
        store_events(view, events, found)
        _pack_u32(view, out, len(found) // 5)
        return 0

    def _refuse(self, count: int) -> int:
        if count:
            self._wasi.limit_reached("subscriptions", value=self._limit, asked=count)
        return _INVAL

    # -- parse

    def _parse(self, view: memoryview, subscriptions: int, count: int) -> bool:
        """Take the array; True if it is a clock alone, whose moment has not come."""
        self._clocks = self._bad_clocks = ()
        self._clock_userdata, self._due_ns = None, NEVER_NS
        if view[subscriptions + _KIND_AT] == _CLOCK:
            is_to_come = self._add_clock(view, subscriptions)
            if count == 1:
                self._list = _NO_FILES
                return is_to_come
            subscriptions += SUBSCRIPTION_SIZE
            count -= 1
        array = bytes(view[subscriptions : subscriptions + count * SUBSCRIPTION_SIZE])
        if count <= SHORT or self._plain_calls or not self._wasi.scheduler.poller.permanent:
            if self._plain_calls and self._waiter is not None:
                self._plain_calls -= 1
                self._kept = self._waiter.marks = None  # and events are noted no more
            self._list = self._plain = PlainList() if self._plain is _NO_FILES else self._plain
        else:
            self._list = self._kept = self._kept or self._keep()
        self._list.take(array, self.fds.version, self)
        if self._kept is not None and self._kept.anew > 1:
            self._plain_calls = _PLAIN_CALLS
        if self._list.clocks:
            if len(self._list.clocks) > _MOST_CLOCKS:
                raise WasiError(Errno.INVAL)
            for at in sorted(self._list.clocks):
                self._add_clock(array, at * SUBSCRIPTION_SIZE)
        return False

    def _keep(self) -> KeptList:
        """Make the list for long arrays; from now on every event on a watched file is noted in it."""
        kept = KeptList()
        if self._waiter is None:
            self._waiter = Waiter(self._wasi.instance.task, BOTH, sticky=True)
        self._waiter.marks = kept.marks
        return kept

    def find(self, number: int, mode: int) -> Named:
        """Return the file of a subscription, or the errno of why it may not be polled in that mode."""
        entry = self.fds.get(number)
        if entry is None or entry.filetype == Filetype.DIRECTORY:
            return Refused(_BADF)
        return entry.file if entry.may_poll(mode) else Refused(_NOTCAPABLE)

    def _add_clock(self, view: bytes | memoryview, at: int) -> bool:
        """Take a clock; True if its moment has not come."""
        userdata, kind, clock, timeout, flags = SUBSCRIPTION.unpack_from(view, at)
        if kind != _CLOCK or clock not in (_REALTIME, _MONOTONIC) or flags & ~SUBSCRIPTION_CLOCK_ABSTIME:
            bad = (userdata, _INVAL, kind if kind <= _FD_WRITE else _CLOCK, 0, 0)
            self._bad_clocks = self._bad_clocks or []
            self._bad_clocks += bad
            return False
        if flags & SUBSCRIPTION_CLOCK_ABSTIME:
            of_clock = self._wasi.clocks.now_ns(clock) or 0
            # The difference is taken on the clock the guest named; one in the past is due at once.
            timeout = max(timeout - of_clock, 0)
        due_ns = min(self._wasi.scheduler.now_ns() + timeout, NEVER_NS)
        if self._clock_userdata is None:
            self._clock_userdata, self._due_ns = userdata, due_ns
            return bool(timeout)
        if not self._clocks:
            self._clocks = [(self._clock_userdata, self._due_ns)]
        self._clocks.append((userdata, due_ns))
        self._due_ns = min(self._due_ns, due_ns)
        return bool(timeout)

    # -- look

    def _look(self) -> list[int]:
        """Return the events that hold now, the five values of each in one flat list."""
        found = list(self._bad_clocks)
        if self._list.files:
            look(self._list, found)
        if self._due_ns != NEVER_NS:
            now_ns = self._wasi.scheduler.now_ns()
            if self._due_ns <= now_ns:
                if not self._clocks:
                    found += (self._clock_userdata or 0, 0, _CLOCK, 0, 0)
                for userdata, due_ns in self._clocks:
                    if due_ns <= now_ns:
                        found += (userdata, 0, _CLOCK, 0, 0)
        return found

    def _should_ask(self, found: list[int]) -> bool:
        """Whether only time-outs are over, and the poller may know what the files' bits do not tell yet."""
        files = self._list.files
        if not files or self._bad_clocks or any(found[2::5]):
            return False
        is_new = self._list is self._plain and files is not self._queued
        return is_new or not self._wasi.scheduler.has_fresh_answer()

    def _hear_of_the_rest(self, found: list[int]) -> list[int]:
        """Keep what is ready each time from hiding all else; returns what is to be answered."""
        if self.stdin is not None and self._list.names(self.stdin):
            self.stdin.on_wait(READ)  # or it would never read ahead
        if self._list.files and not self._wasi.scheduler.poller.permanent:
            self._enlist(self._wasi.instance.task)  # or its poller would never be asked for them
            self._wasi.scheduler.look_here()
            return self._look()
        return found

    # -- wait

    def _wait_here(self) -> bool:
        """Wait on the guest's fiber, if nobody else can run; True if it may look again at once."""
        scheduler, instance = self._wasi.scheduler, self._wasi.instance
        if self._due_ns != NEVER_NS and self._due_ns <= scheduler.now_ns():
            # The poller is asked without a wait: a guest that spins on such polls hears of events here alone.
            if self._list is not _NO_FILES:
                self._enlist(instance.task)
            return scheduler.look_here()
        if not scheduler.is_idle():
            return False
        if self._list is _NO_FILES:
            return instance.wait_here(self._due_ns)
        self._begin(instance.task)
        try:
            return instance.wait_here(self._due_ns)
        finally:
            self._end()

    def wait(self, task: Task) -> None:
        """Wait on the task's greenlet: park."""
        scheduler = self._wasi.scheduler
        if task.state is READY:
            task.park(self)  # woken before it could; others stand before it in the queue
        elif self._due_ns <= scheduler.now_ns():
            # The others run and the poller is asked, or who spins on such polls would never hear of anything.
            if self._list is not _NO_FILES:
                self._enlist(task)
            task.pause()
        else:
            has_files = self._list is not _NO_FILES
            if has_files:
                self._begin(task)
            due_ns = self._due_ns
            timer = None if due_ns == NEVER_NS else scheduler.timers.set(due_ns, scheduler.wake, task)
            try:
                task.park(self)
            finally:
                if has_files:
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
        if self._list is self._kept:  # its files are watched since they were taken
            self._polled, self._queued = int(len(self._kept.places) > len(self._kept.inside)), None
            for file in self._kept.inside:
                file.on_wait(self._kept.modes_of(file))
        elif self._plain.files is not self._queued or not self._wasi.scheduler.poller.permanent:
            self._queue_up()
        return waiter

    def watch(self, file: OpenFile) -> None:
        """Hear of a file from now on."""
        if file not in self._watched:
            assert self._waiter is not None
            self._watched[file] = None
            file.enlist(self._waiter)

    def _end(self) -> None:
        assert self._waiter is not None
        self._waiter.fired = True
        self._wasi.scheduler.poller.waiters -= self._polled

    def _queue_up(self) -> None:
        """Queue up at every file not watched yet and arm each direction."""
        files, watched = self._plain.files, self._watched
        poller = self._wasi.scheduler.poller
        self._queued, self._polled = files, int(bool(files))
        if poller.permanent and not [1 for file in files if file not in watched or file.poller is None]:
            return
        self._polled = 0
        # Each once: a guest may name the same thousands of times.
        for file, mode in dict.fromkeys(zip(files, self._plain.modes, strict=True)):
            if isinstance(file, Refused):
                continue
            self.watch(file)
            if file.poller is not None:
                self._polled = 1
                if not poller.permanent:
                    poller.arm(file, mode)
            else:
                # A file that no poller watches wants to hear of every wait.
                file.on_wait(mode)
                self._queued = None

    def __str__(self) -> str:
        parts = told(self._list)
        if self._due_ns != NEVER_NS:
            parts.append(f"the clock at {self._due_ns / 1e9:.6f} s")
        return f"poll_oneoff({', '.join(parts)})"

    # -- the end of a file, and of the guest

    def forget(self, file: OpenFile) -> None:
        """Leave a file's queue, because the guest closes it, moves it or has its rights narrowed."""
        if file in self._watched:
            del self._watched[file]
            if self._waiter is not None:
                file.leave(self._waiter)
        self._queued = None
        self._plain.forget(file)
        if self._kept is not None:
            self._kept.forget(file)

    def close(self) -> None:
        """Leave every queue."""
        for file in list(self._watched):
            self.forget(file)
        self._kept = None
        self._list = self._plain = _NO_FILES


def poll_oneoff(wasi: Wasi, subscriptions: int, events: int, count: int, out: int) -> int:
    """Wait until one of `count` subscriptions has an event; stores the `events`, and at `out` how many.

    A clock's precision allows to be late; no use is made of it.
    Errno: INVAL no subscription, more than the limit, or thousands of clocks; FAULT an address
    outside memory.  In an event: BADF no such descriptor, or a directory; INVAL a clock or a type that does
    not exist; NOTCAPABLE no right to poll, or none to read or write what is polled for that.
    """
    return wasi.poll.call(subscriptions, events, count, out)
