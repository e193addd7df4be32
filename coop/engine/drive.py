"""The loop that drives every call into a guest, and what a host call may ask of it.

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
   But not where these threads would keep it for longer than the guest had it (`Slices.took`).
"""

from collections.abc import Callable
from typing import Any

from coop.engine.account import Account, thread_ns
from coop.engine.border import Border
from coop.engine.capi import held, released
from coop.engine.code import Code
from coop.engine.cstack import on_its_stack
from coop.engine.hostfunc import Caller, Waits
from coop.engine.limits import Limits
from coop.engine.marshal import AGAIN
from coop.engine.preempt import now_ns
from coop.engine.slices import LOOK_NS
from coop.errors import LimitExceeded
from coop.stint import MOST_NS
from coop.task import RUNNING, Task

_set_deadline = held.wasmtime_context_set_epoch_deadline
"""Of the guest at a context: so many epochs from now.  At 0 it is suspended where wasmtime looks next."""


class Driven(Account):
    """What runs on a fiber of its own, and gives up the thread where a poll returns.

    code    -- what it runs
    limits  -- what it may use
    state   -- what its raw imports work on
    caller  -- what its other host functions get
    context -- what wasmtime's calls want to see of its store
    pending -- what the task has to do before the guest goes on; set by a host function that suspends it
    waits   -- what the task has to wait for before the guest goes on; see `suspend`
    failure -- what a host call raised on the fiber; raised again on the task
    stack_base -- the lowest address of its fiber's stack, once it has one; see `cstack`
    _begun  -- `Slices.count` when its deadline was last set
    _turn   -- the turn in which a slice was last begun for it
    _is_back -- whether the poll follows a park, so that its first host call is the try that parked
    _is_held -- whether a future, or a call lent to host code, needs the store: it is not deleted yet
    """

    __slots__ = (
        "_begun",
        "_is_back",
        "_is_held",
        "_slices",
        "_stop",
        "_task",
        "_turn",
        "caller",
        "code",
        "context",
        "failure",
        "limits",
        "pending",
        "stack_base",
        "state",
        "waits",
    )

    context: int

    def __init__(self, border: Border, code: Code, limits: Limits, state: Any, caller: Caller) -> None:
        super().__init__(border, limits)
        self.code = code
        self.limits = limits
        self.state = state
        self.caller = caller
        self.pending: Callable[[], object] | None = None
        self.waits: Waits | None = None
        self.failure: BaseException | None = None
        self._slices = border.slices(code.engine)
        self._begun = self.stack_base = 0
        self._turn = -1
        self._task: Task | None = None
        self._stop: BaseException | None = None
        self._is_held = self._is_back = False

    @property
    def stack_size(self) -> int:
        """How large the stack of its fiber is, in bytes."""
        return self.code.engine.stacks.size

    @property
    def task(self) -> Task:
        """The task that drives the call in progress."""
        assert self._task is not None
        return self._task

    @property
    def whose(self) -> str:
        """The guest's name for a message; that of its code while nobody of the host's stands for it."""
        return f"guest {getattr(self.caller.guest, 'name', self.code.name)}"

    def is_driven_by(self, task: Task) -> bool:
        """Whether the call in progress is on this task."""
        return self._task is task

    # -- in a host call

    def take_cell(self) -> None:
        """Be the guest whose calls the border answers, until another one takes the cell."""
        border = self._border
        border.instance, border.state = self, self.state

    def suspend(self, waits: Waits) -> int:
        """Have the guest suspended in the call of a raw import, which answers what this returns.

        waits -- what its task has to wait for before the guest goes on
        """
        self.waits = waits
        _set_deadline(self.context, 0)
        return AGAIN

    def was_heard(self) -> None:
        """Take notice of the first host call since the guest was let run.

        After a park it is the try that follows, and sees to it that the slice ends: the deadline was set
        just now.  A shot that is still to come counts, and it comes after `due_ns`.
        """
        self._border.is_silent = False
        if self._is_back:
            now = now_ns()
            if now >= self._slices.due_ns:
                self._begin_slice(now)

    def _begin_slice(self, now: int) -> None:
        """Have a slice begin now; but if it goes on within a turn, not before its own may be over.

        Or one that is let run again and again, without a park, would put off its end for ever.
        """
        slices, turns = self._slices, self._border.scheduler.turns
        if self._turn != turns or now >= slices.ends_ns:
            # In this order: begun first, the shot could be over before the deadline is set.
            _set_deadline(self.context, 1)
            slices.begin(now)
            self._begun, self._turn = slices.count, turns

    def wait_here(self, until_ns: int) -> bool:
        """Wait in the hub's place, if nobody else can run; True if the guest may go on at once.

        Called on the guest's fiber, by a host call that has queued up for what it needs.
        """
        task = self._task
        assert task is not None
        if self.cpu_now_ns() > self._budget_ns:
            return False  # it is told when it parks
        slices = self._slices
        if self.is_busy:
            # Who waits is busy no more, and the shots that end its slices must not go on for it.
            self._settle()
            slices.end_busy()
            self.is_busy = False
        begin = now_ns()
        self._border.scheduler.wait_here(task, until_ns)
        end = now_ns()
        self._border.begin_ns += end - begin  # as if the poll had begun later; it has not computed meanwhile
        if end >= slices.due_ns:
            self._begin_slice(end)  # it has waited
        return task.state is RUNNING

    def look_around(self) -> None:
        """Have the poller asked for everybody, in a call of a busy guest that polls and is answered at once.

        That is what the end of its slice is for.  If nobody else can run, the slice begins anew: the guest is
        neither suspended nor resumed, and no timer fires.  Otherwise it ends here.
        """
        if now_ns() - self._border.begin_ns < LOOK_NS:
            return
        self._settle()
        scheduler = self._border.scheduler
        if self.cpu_ns <= self._budget_ns and scheduler.look_here():
            self._charge(self.task)
            scheduler.runq.goes_on(self.task)
            self._slices.prolong()
        else:
            self.code.engine.increment_epoch()

    # -- from a task

    def stop(self, error: BaseException) -> bool:
        """End the call in progress with `error`, in whatever state it is; False if there is none.

        One that is about to begin, whose arguments are being read, does not begin.
        """
        if self._stop is None:
            self._stop = error
            if self._task is not None:
                self._task.interrupt(error)
        return self._task is not None

    def _drive(self, future: int, task: Task) -> None:
        """Poll `future` until it is done; see the module's picture."""
        border, slices, flag = self._border, self._slices, self._border.flag
        poll = poll_held = on_its_stack(held.wasmtime_call_future_poll, self)
        self.is_busy, self._is_held, cut_in = False, True, -1
        waits: Waits | None = None
        scheduler, turn, since_ns = border.scheduler, -1, 0
        try:
            while True:
                # Pinned before the cell and the flag are set: a `__del__` that ran here and parked, or
                # called a guest, would leave them another's.
                task.pinned = True
                border.instance, border.state = self, self.state
                border.is_silent = True
                if waits is not None:
                    self._is_back = True
                else:
                    self._is_back, flag[0] = False, 1
                    if self.is_busy:
                        slices.begin_busy(is_watched=poll is not poll_held)
                        self._begin_thread_ns = thread_ns()
                    elif self._begun != slices.count:
                        # Its deadline may be over, and it would yield at once.  Set before the time is taken:
                        # the shot that is to reach it fires after `ends_ns`.
                        _set_deadline(self.context, 1)
                        self._begun = slices.count
                border.begin_ns = begin = now_ns()
                if begin >= slices.due_ns and not self.is_busy:
                    self._begin_slice(begin)
                done = poll(future)
                task.pinned = False
                end_ns = now_ns()
                used = end_ns - border.begin_ns
                if self.is_busy:
                    slices.end_busy()
                    had = thread_ns() - self._begin_thread_ns
                    if poll is not poll_held:
                        slices.took(used, had)
                    used = min(used, had)
                else:
                    # What it has computed between parks has kept nobody waiting.
                    self._told_ns = self.cpu_ns
                self.cpu_ns += used
                if done:
                    return
                waits = self.waits
                if waits is not None:
                    self.waits = None
                    self.is_busy, poll = False, poll_held
                    waits.wait(task)
                elif self.pending is not None:
                    pending, self.pending = self.pending, None
                    self.is_busy, poll = False, poll_held
                    pending()
                    del pending  # it leads to the arguments and the results
                    # What it computes is in no slice, and the guest gets a new one if it took long.
                    # So this is a stint, which ends with the call after the one that took too long.
                    if turn != scheduler.turns:
                        turn, since_ns = scheduler.turns, end_ns
                    elif end_ns - since_ns > MOST_NS:
                        task.pause()
                else:
                    is_cut = not self.is_busy and slices.was_cut_short(used)
                    self.is_busy = True
                    # Who was cut short has not shown yet that it computes, and may call out at once.
                    is_silent = border.is_silent and not is_cut
                    poll = self._poll_released() if is_silent and slices.may_release() else poll_held
                    if is_cut and cut_in != border.scheduler.turns:
                        # The slice that ended was somebody else's, and it goes on without a yield; but once
                        # a turn only, or a call that never parks could go on so for ever.
                        cut_in = border.scheduler.turns
                    else:
                        self.used_slices += 1
                        self.wait(task)
                if self._stop is not None:
                    # Its interrupt may stand behind another one, or host code may have swallowed it.
                    raise self._stop
                if self.cpu_ns > self._budget_ns:
                    raise self._over_budget()
        finally:
            task.pinned = False
            if self.is_busy:
                slices.end_busy()
            held.wasmtime_call_future_delete(future)
            self._is_held = False
            self.pending = self.waits = None

    def _over_budget(self) -> LimitExceeded:
        most = self.limits.cpu_time
        return LimitExceeded("cpu_time", f"{self.whose} computed for more than {most} s")

    def _poll_released(self) -> Callable[[int], bool]:
        return on_its_stack(released.wasmtime_call_future_poll, self)

    def rest(self) -> None:
        """Yield, as what is pending after a call that came late in a slice."""
        self.wait(self.task)

    def wait(self, task: Task) -> None:
        """Yield to who is ready and to busy guests that have had less.

        A host call that is long yields by giving its guest itself to `suspend`, which then waits by this.
        """
        self._charge(task)
        task.pause(late=True)
