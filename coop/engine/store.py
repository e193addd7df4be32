"""A guest's store, and the loop that drives every call into it.

A guest's call is a *future* of wasmtime, polled by the task that made the call:

    poll --> wasm runs on its own fiber --> a host call would block, or the slice ends
      ^                                              |
      |                                              v
      +--- the task parks, or yields, here, with no wasm on its stack <--- False

Where the poll returns False, the task's greenlet is free to switch: that is the
one place where a guest gives up the thread, and everything rests on it.

1. One future at a time; a store is used by the task that drives it and no other.
2. The future is deleted, then views of memory are dropped, then the store goes.
   Deleting the store first ends the process; deleting a pending future is how a
   guest is cancelled, in any state.  A store whose memory somebody still has a slice
   of goes when the slice does.
3. After a trap, an error or a cancel the instance is dead.
4. A guest that used up its slice without a host call is polled with the GIL released,
   so that other Python threads run meanwhile, and the watcher; until it makes host calls.
5. The guest's account is kept by the monotonic clock, and for a slice that was used up by
   the thread's own: the system may have given the processor to others meanwhile.
"""

import ctypes as C
import time
from collections.abc import Callable
from typing import Any

from coop.clock import NEVER_NS, to_ns
from coop.engine.admission import admit, left, require_frames
from coop.engine.border import Border
from coop.engine.capi import held, released
from coop.engine.cells import ERROR, Cells
from coop.engine.code import Code
from coop.engine.hostfunc import Caller, Waits
from coop.engine.limits import Limits
from coop.engine.memory import Memory, delete_store
from coop.engine.preempt import now_ns
from coop.engine.sizes import Sizes
from coop.engine.slices import LOOK_NS, Slices
from coop.engine.traps import refused_stack, take_error, take_trap
from coop.errors import BugError, Busy, CoopError, GuestTrap, LimitExceeded
from coop.task import RUNNING, Task, current

_thread_ns = time.thread_time_ns

_MOST = (1 << 63) - 1
"""The largest limit that can be told to wasmtime; ctypes would cut a larger one to its low bits."""


class Store:
    """One guest in its store.

    code    -- what it runs
    linkage -- what it is linked against
    limits  -- what it may use
    state   -- what its imports work on
    memory  -- its memory; empty until it is instantiated, and of a component
    sizes   -- how near it came to the limits of memory and tables
    context -- what wasmtime's calls want to see of it
    pending -- what the task has to do before the guest goes on; set by a host function that suspends it
    waits   -- what the task has to wait for before the guest goes on; set by a raw import
    failure -- what a host call raised on the fiber; raised again on the task
    cpu_ns  -- how long it has computed
    is_busy -- whether it has used up a slice and computes on
    used_slices -- how often it has used up its slice
    weight  -- its share of the processor beside other busy guests
    """

    __slots__ = (
        "__weakref__",
        "_begin_ns",
        "_begin_thread_ns",
        "_begun",
        "_border",
        "_budget_ns",
        "_cells",
        "_is_held",
        "_stop",
        "_store",
        "_task",
        "_told_ns",
        "caller",
        "code",
        "context",
        "cpu_ns",
        "failure",
        "is_busy",
        "limits",
        "linkage",
        "memory",
        "pending",
        "sizes",
        "state",
        "used_slices",
        "waits",
        "weight",
    )

    def __init__(
        self,
        border: Border,
        code: Code,
        linkage: Any,
        limits: Limits,
        state: Any,
        guest: Any,
        most: tuple[int, int, int],
    ) -> None:
        """Most -- how many instances, tables and memories the store may hold."""
        self.code = code
        self.linkage = linkage
        self.limits = limits
        self.state = state
        self.memory = Memory()
        self.sizes = Sizes(limits, self.memory)
        self.caller = Caller(self.memory, guest)
        self.pending: Callable[[], object] | None = None
        self.waits: Waits | None = None
        self.failure: BaseException | None = None
        self.cpu_ns = self._begin_ns = self._begin_thread_ns = self._told_ns = self._begun = 0
        self._budget_ns = NEVER_NS if limits.cpu_time is None else to_ns(limits.cpu_time)
        self.used_slices, self.weight = 0, 1.0
        self._border = border
        self._task: Task | None = None
        self.is_busy = self._is_held = False
        self._cells = Cells()
        self._stop: BaseException | None = None
        admit(border, code.engine, most[2])
        self._store: int = held.wasmtime_store_new(code.engine.address, None, None)
        self.context: int = held.wasmtime_store_context(self._store)
        border.instances[self] = None
        held.wasmtime_store_limiter(
            self._store,
            -1 if limits.memory is None else min(limits.memory, _MOST),
            -1 if limits.table_elements is None else min(limits.table_elements, _MOST),
            *most,
        )
        held.wasmtime_context_set_epoch_deadline(self.context, 1)
        held.wasmtime_context_epoch_deadline_async_yield_and_update(self.context, 1)

    @property
    def task(self) -> Task:
        """The task that drives the call in progress."""
        assert self._task is not None
        return self._task

    @property
    def is_dead(self) -> bool:
        """Whether the store is gone."""
        return not self._store

    def cpu_now_ns(self) -> int:
        """Return how long it has computed, up to now; for a host call of its own."""
        used = now_ns() - self._begin_ns
        return self.cpu_ns + (min(used, _thread_ns() - self._begin_thread_ns) if self.is_busy else used)

    def take_cell(self) -> None:
        """Be the guest whose calls the border answers, until another one takes the cell."""
        border = self._border
        border.instance, border.state, border.caller = self, self.state, self.caller

    def came_back(self) -> None:
        """See to it that the slice ends, in a try that follows a park: the deadline was set just now.

        A shot that is still to come counts, and it comes after `due_ns`.
        """
        self._border.is_back = False
        slices = self._border.slices(self.code.engine)
        now = now_ns()
        if now >= slices.due_ns:
            slices.begin(now)

    def wait_here(self, until_ns: int) -> bool:
        """Wait in the hub's place, if nobody else can run; True if the guest may go on at once.

        Called on the guest's fiber, by a host call that has queued up for what it needs.
        """
        task = self._task
        assert task is not None
        if self.cpu_now_ns() > self._budget_ns:
            return False  # it is told when it parks
        slices = self._border.slices(self.code.engine)
        if self.is_busy:
            # Who waits is busy no more, and the shots that end its slices must not go on for it.
            self._settle()
            slices.end_busy()
            self.is_busy = False
        begin = now_ns()
        self._border.scheduler.wait_here(task, until_ns)
        end = now_ns()
        self._begin_ns += end - begin  # as if the poll had begun later; it has not computed meanwhile
        if end >= slices.due_ns:
            # During the wait; a guest that has waited deserves a fresh one.  In this order, as in `_drive`.
            held.wasmtime_context_set_epoch_deadline(self.context, 1)
            slices.begin(end)
            self._begun = slices.count
        return task.state is RUNNING

    def look_around(self) -> None:
        """Have the poller asked for everybody, in a call of a busy guest that polls and is answered at once.

        That is what the end of its slice is for.  If nobody else can run, the slice begins anew: the guest is
        neither suspended nor resumed, and no timer fires.  Otherwise it ends here.
        """
        if now_ns() - self._begin_ns < LOOK_NS:
            return
        self._settle()
        scheduler, engine = self._border.scheduler, self.code.engine
        if self.cpu_ns <= self._budget_ns and scheduler.look_here():
            self._charge()
            scheduler.runq.goes_on(self.task)
            self._border.slices(engine).prolong()
        else:
            engine.increment_epoch()

    # -- life

    def close(self) -> None:
        """Give the store and all it holds back; closing twice changes nothing.

        Raises: BugError while C works on the store.
        """
        if self._is_held:
            raise BugError(f"close {self.code.name}: the guest is in a call; stop it")
        store, self._store = self._store, 0
        if store:
            try:
                self._before_close()
            finally:
                del self._border.instances[self]
                # It leads back here; without it the module goes with the last guest, not a collection.
                self.state = None
                self.sizes.take()
                delete_store(store, self.memory)
                left()

    def end_with_run(self) -> None:
        """Close, because the run has ended before the guest; whoever made the guest hears of it first."""
        if self.caller.guest is not None:
            self.caller.guest.run_ended()
        self.close()

    def stop(self, error: BaseException) -> bool:
        """End the call in progress with `error`, in whatever state it is; False if there is none."""
        if self._task is None:
            return False
        if self._stop is None:
            self._stop = error
            self._task.interrupt(error)
        return True

    def _before_close(self) -> None:
        """Give back what must go before the store."""

    # -- calls

    def _check_caller(self) -> None:
        """Raise unless the current task may run the guest now.

        Raises: Busy; WrongThread; BugError on a guest's fiber: the guest would leave it with another
        below; RecursionError.
        """
        self._border.scheduler.check_owner(f"use {self.code.name}")
        if self._task is not None:
            raise Busy(f"{self.code.name}: the guest is in a call already")
        if current().pinned:
            raise BugError(
                f"call {self.code.name}: a host function declared parks=False must not run a guest"
            )
        require_frames()

    def _await(self, begin: Callable[..., int], *arguments: Any) -> None:
        """Begin an asynchronous operation of the store and drive it to its end.

        begin -- begin(*arguments, where a trap is told, where an error is told) -> the future
        """
        cells = self._cells
        cells.trap = cells.error = None
        at = C.addressof(cells)
        self._task = task = current()
        try:
            slices = self._border.slices(self.code.engine)
            self._drive(begin(*arguments, at, at + ERROR), task, slices)
            if self._stop is not None:
                # Asked to end when it had just done so: no later park of the task must hear of it.
                raise self._stop
        except BaseException:
            self._take()
            self.close()
            raise
        finally:
            self._task = None
            if self._stop is not None:
                task.forget_interrupt(self._stop)
        found = self._take()
        if found is not None:
            failure, self.failure = self.failure, None
            self.close()
            if isinstance(failure, GuestTrap) and isinstance(found, GuestTrap):
                failure.frames = failure.frames or found.frames
            try:
                if failure is not None:
                    raise failure
                raise self.sizes.explain(found) if isinstance(found, GuestTrap) else found
            finally:
                del failure, found  # else the error would hold its own traceback, until a collection

    def _drive(self, future: int, task: Task, slices: Slices) -> None:
        """Poll `future` until it is done; see the module's picture."""
        border, flag = self._border, self._border.flag
        poll = poll_held = held.wasmtime_call_future_poll
        self.is_busy, self._is_held, cut_in = False, True, -1
        waits: Waits | None = None
        try:
            while True:
                # Pinned before the cell and the flag are set: a `__del__` that ran here and parked, or
                # called a guest, would leave them another's.
                task.pinned = True
                if border.instance is not self:
                    self.take_cell()
                flag[0] = 1
                border.called, border.is_back = False, waits is not None
                if self.is_busy:
                    slices.begin_busy(is_watched=poll is not poll_held)
                    self._begin_thread_ns = _thread_ns()
                elif waits is None and self._begun != slices.count:
                    # Its deadline may be over, and it would yield at once.  Set before the time is taken:
                    # the shot that is to reach it fires after `due_ns`.
                    held.wasmtime_context_set_epoch_deadline(self.context, 1)
                    self._begun = slices.count
                self._begin_ns = begin = now_ns()
                if not self.is_busy and begin >= slices.due_ns:
                    # In this order: begun first, the shot could be over before the deadline is set.
                    held.wasmtime_context_set_epoch_deadline(self.context, 1)
                    slices.begin(begin)
                    self._begun = slices.count
                done = poll(future)
                task.pinned = False
                used = now_ns() - self._begin_ns
                if self.is_busy:
                    slices.end_busy()
                    used = min(used, _thread_ns() - self._begin_thread_ns)
                self.cpu_ns += used
                if done:
                    return
                pending, waits = self.pending, self.waits
                if waits is not None or pending is not None:
                    self.is_busy, poll = False, poll_held
                    self.waits = self.pending = None
                    if waits is not None:
                        waits.wait()
                    elif pending is not None:
                        pending()
                else:
                    is_cut = not self.is_busy and slices.was_cut_short(used)
                    self.is_busy = True
                    poll = poll_held if border.called else released.wasmtime_call_future_poll
                    if is_cut and cut_in != border.scheduler.turns:
                        # It goes on, once a turn: a call that never parks would do so for ever.
                        cut_in = border.scheduler.turns
                    else:
                        self.used_slices += 1
                        self.wait()
                if self._stop is not None:
                    # Its interrupt may stand behind another one, or host code may have swallowed it.
                    raise self._stop
                if self.cpu_ns > self._budget_ns:
                    limit = self.limits.cpu_time
                    raise LimitExceeded("cpu_time", f"{self.code.name} computed for more than {limit} s")
        finally:
            task.pinned = False
            if self.is_busy:
                slices.end_busy()
            held.wasmtime_call_future_delete(future)
            self._is_held = False
            self.pending = self.waits = None

    def wait(self) -> None:
        """Yield to who is ready and to busy guests that have had less; in `waits` for a call that is long."""
        self._charge()
        self.task.pause(late=True)

    def _charge(self) -> None:
        """Tell its task what it has computed, which decides among busy guests who goes first."""
        self.task.virtual_ns += int((self.cpu_ns - self._told_ns) / self.weight)
        self._told_ns = self.cpu_ns

    def _settle(self) -> None:
        """Bring the account up to date, in a call of the guest's."""
        self.cpu_ns, self._begin_ns = self.cpu_now_ns(), now_ns()
        self._begin_thread_ns = _thread_ns()

    def _take(self) -> CoopError | None:
        trap, error = self._cells.trap, self._cells.error
        if error:
            return refused_stack(self.code.name, take_error(error))
        return take_trap(trap) if trap else None
