"""A task: one green thread, which is one greenlet; no other module knows greenlets.

Two verbs move a task.  The hub *resumes* it; the task itself *parks*, which gives
the thread back to the hub.  Whoever has news for a parked task *wakes* it: that
puts it on the run queue and never switches.  So exactly one place, the hub's
turn, decides who runs, and a wake may come from anywhere on the scheduler's
thread, also from deep inside a guest's host call.

When many are woken at once, the hub would be switched to only to switch to the next
one.  So a task that parks switches to who is next in this turn itself, and the last one
to the hub.  A task that has not begun, or that ends, leaves that to the hub: its errors
belong there.

1. A task is NEW, READY (on the run queue), RUNNING, PARKED or DONE.
2. Only the hub resumes, or who parks in its place; only a RUNNING task parks, and only itself.
3. A wake counts once: waking a task that is not PARKED changes nothing.  A park
   may therefore end early, and every caller of `park` looks again.
4. Cancelling lasts.  A cancelled task gets `Cancelled` at the place where it parks,
   and again at every park after that: cleanup must not wait.
5. A task begins with a copy of the context variables of whoever made it.
6. Somebody holds every task until its greenlet is dead.  An unfinished greenlet
   that the garbage collector finds is switched to, wherever that happens to be,
   and inside a guest's host call that would end the process.
"""

import traceback
from collections.abc import Callable
from contextvars import copy_context
from enum import Enum
from types import TracebackType
from typing import Any

from greenlet import _greenlet, getcurrent, greenlet

from coop.errors import BugError, Cancelled, WasCancelled, WrongThread, combined
from coop.owner import Owner
from coop.slips import Unique, check_callable

# A dead thread's greenlet would be freed where the collector sees nobody who holds it.  It sees neither local
# variables nor garbage whose finalizers run, and a second free would follow.
_greenlet.enable_optional_cleanup(False)


class TaskState(Enum):
    """Where a task is in its life."""

    NEW = "new"
    READY = "ready"
    RUNNING = "running"
    PARKED = "parked"
    DONE = "done"


NEW, READY, RUNNING, PARKED, DONE = TaskState


def _run_own_task() -> None:
    stack: Any = getcurrent()
    stack.task._run()
    del stack.task  # each leads to the other, and a crowd that has ended would wait for a collection


class _Stack(greenlet):
    """A greenlet that knows its task."""

    __slots__ = ("task",)
    task: "Task"

    run = staticmethod(_run_own_task)  # one for all: a bound method of each task would live as long


class Task(Unique):
    """One green thread.

    name   -- for reports; need not be unique
    owner  -- the scheduler
    state  -- see `TaskState`; written by this module and the run queue
    reason -- what it is parked for
    result, error -- what its function returned or raised, once it is DONE
    pinned -- True while a guest's wasm is on the task's native stack: it must not park;
              written by whoever polls the guest
    virtual_ns -- what its guests had beside those of others, divided by their weight; see `RunQueue`
    """

    __slots__ = (
        "__weakref__ _args _call _doom _has_news _interrupt _joiners _later _notices _observed _stack "
        "_traceback error name owner pinned reason result state virtual_ns"
    ).split()

    def __init__(self, owner: Owner, call: Callable[..., Any], name: str, args: tuple[Any, ...] = ()) -> None:
        check_callable(name, call)
        self.owner, self.name, self.state = owner, name, NEW
        self.reason: object = None
        self.pinned, self.virtual_ns = False, 0
        self.result: Any = None
        self.error: BaseException | None = None
        self._call: Callable[..., Any] | None = call
        self._args = args
        self._doom: Cancelled | None = None
        self._interrupt: BaseException | None = None  # the first; mostly there is no other
        self._later: tuple[BaseException, ...] = ()
        self._has_news = False  # whether a park has something to raise: its doom or an interrupt
        self._joiners: list[Task] | tuple[()] = ()
        self._notices: tuple[Callable[[Task], None], ...] = ()
        self._observed = False
        self._traceback: TracebackType | None = None
        self._stack = _Stack(None, owner.hub)
        self._stack.task = self
        context = copy_context()
        if context:  # an empty one would be one more object for each task
            self._stack.gr_context = context

    def __repr__(self) -> str:
        return f"<Task {self.name} {self.state.value}>"

    def __str__(self) -> str:
        return f"task {self.name}"

    # -- the hub's side

    def resume(self) -> None:
        """Run the task until it parks or ends.  Only the hub calls this, for a task it took off the queue."""
        if getcurrent() is not self.owner.hub:
            self.owner.check_owner(f"resume {self}")
            raise BugError(f"resume {self}: not called by the hub that owns it")
        if self.state is DONE:
            raise BugError(f"resume {self}: it is done")
        self.state = RUNNING
        try:
            self._stack.switch()
        except BaseException as error:
            if self._stack or self.state is DONE:
                raise
            # There was no memory for its first step.  It has ended all the same, or the run never would.
            self._end(error)

    def bring_back(self) -> None:
        """Raise BugError in a task that left by a switch of its own, and so was not parked; for the hub."""
        if self.state is RUNNING:
            self._stack.throw(BugError(f"{self} left by a switch that is none of coop's; use coop.pause"))

    # -- the task's side

    def park(self, reason: object) -> None:
        """Give up the thread until somebody wakes this task; the wake may be early.

        reason -- what is waited for; shown in reports
        Raises: Cancelled, or the exception somebody gave to `interrupt`.
        """
        if self.pinned:
            raise BugError(
                f"{self} wants to park for {reason}: a host function declared parks=False must not"
            )
        if self.state is not RUNNING:
            self._park_woken()
        elif not self._has_news:
            self.state = PARKED
            self.reason = reason
            runq = self.owner.runq
            if runq.due and (stack := runq.tasks[0]._stack):
                runq.due -= 1
                runq.pop().state = RUNNING  # in no variable: it would be held here after its end
                stack.switch()
            else:
                self.owner.hub.switch()
            self.reason = None
        if self._has_news:
            raise self._next_news()

    def _park_woken(self) -> None:
        # It stays as it is, or whoever wakes it now would queue it a second time; and whatever is to be
        # raised waits, or the task would go on and stand in the queue.
        if getcurrent() is not self._stack:
            raise BugError(f"park {self}: another task runs; each parks itself")
        self.owner.hub.switch()

    def pause(self, *, late: bool = False) -> None:
        """Yield: go to the tail of the run queue and park there, so that every ready task runs first.

        late -- the task used up its slice: it also stands behind whoever is woken meanwhile
        Raises: as `park`.
        """
        self.pause_uncancelled(late=late)
        if self._has_news:
            raise self._next_news()

    def _next_news(self) -> BaseException:
        if self._doom is not None:
            return self._doom
        # By steps that no signal's handler can come between, which may give another; as below.
        error, later = self._interrupt, self._later
        assert error is not None
        self._interrupt, self._later = (later[0], later[1:]) if later else (None, ())
        self._has_news = self._interrupt is not None or self._doom is not None
        return error

    def pause_uncancelled(self, *, late: bool = False) -> None:
        """Yield, cancelled or not: for cleanup that must see others end; `late` as for `pause`."""
        if self.pinned:
            raise BugError(f"{self} wants to yield: a host function declared parks=False must not")
        self.owner.runq.push_running(self, late=late)
        self.owner.hub.switch()

    def _run(self) -> None:
        call, self._call = self._call, None
        args, self._args = self._args, ()
        try:
            if self._doom is not None:
                raise self._doom
            assert call is not None
            # A call with a star is one that C makes, and its frame on the C stack, half a KiB, would be
            # kept for each task that is parked.
            match args:
                case ():
                    result = call()
                case (first,):
                    result = call(first)
                case (first, second):
                    result = call(first, second)
                case (first, second, third):
                    result = call(first, second, third)
                case _:
                    result = call(*args)
            self.result = result
        except BaseException as error:
            self.error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        call, args = None, ()
        first = second = third = None
        self._end(self.error)
        # The error's frames lead to this one, and would lead back from here: apart, task and error go with
        # the last who holds them, and not with a collection.
        del self

    def _end(self, error: BaseException | None) -> None:
        self.state = DONE  # first: a signal's handler that comes from now on gives its error to somebody else
        if self._interrupt is not None:
            # Nothing that was to be raised here may be lost: the end counts as the last park.
            error = combined(error, (self._interrupt, *self._later))
        self.error = error
        self._traceback = None if error is None else error.__traceback__
        for joiner in self._joiners:
            self.owner.runq.wake(joiner)
        for notice in self._notices:
            notice(self)
        self._notices = ()
        self.owner.task_ended(self)
        self._joiners = ()

    # -- anybody's side, on the scheduler's thread

    def wake(self) -> None:
        """Put the task on the run queue if it is parked; otherwise change nothing.

        Raises: WrongThread from another thread or process.
        """
        if not self.owner.is_here():  # said first, for the words cost more than all the rest
            self.owner.check_owner(f"wake {self}")
        self.owner.runq.wake(self)

    def cancel(self) -> None:
        """Make the task end: it gets `Cancelled` where it parks, now and at every later park.

        A task that has not started never does.  Cancelling a task twice, or one
        that is done, changes nothing.
        Raises: WrongThread from another thread or process.
        """
        if not self.owner.is_here():
            self.owner.check_owner(f"cancel {self}")
        if self._doom is None and self.state is not DONE:
            self._doom, self._has_news = Cancelled(f"{self} was cancelled"), True
            self.owner.runq.wake(self)
            self.owner.runq.hasten(self)

    def interrupt(self, error: BaseException) -> None:
        """Raise `error` once in the task, at the park it is in or the next one it comes to, or at its end.

        Several errors are raised one by one, each at a park, in the order in which they were given.
        Raises: WrongThread from another thread or process.
        """
        if not self.owner.is_here():
            self.owner.check_owner(f"interrupt {self}")
        if self.state is not DONE:
            if self._interrupt is None:
                self._interrupt = error
            else:
                self._later += (error,)
            self._has_news = True
            self.owner.runq.wake(self)
            self.owner.runq.hasten(self)

    def forget_interrupt(self, error: BaseException) -> bool:
        """Take back `error` that `interrupt` was given, and say whether the task had not come to it yet."""
        if self._interrupt is error:
            self._interrupt, self._later = (self._later[0], self._later[1:]) if self._later else (None, ())
        else:
            if (place := next((i for i, other in enumerate(self._later) if other is error), -1)) < 0:
                return False
            self._later = self._later[:place] + self._later[place + 1 :]
        self._has_news = self._interrupt is not None or self._doom is not None
        return True

    def on_end(self, notice: "Callable[[Task], None]") -> None:
        """Have `notice` called with the task when it ends; it must neither park nor raise."""
        self._notices += (notice,)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody cancelled the task, however it ended."""
        return self._doom is not None

    @property
    def is_done(self) -> bool:
        """Whether the task has ended."""
        return self.state is DONE

    @property
    def was_observed(self) -> bool:
        """Whether somebody has taken, or promised to take, the way in which the task ended."""
        return self._observed

    @property
    def is_awaited(self) -> bool:
        """Whether some task waits for the end; it may still be cancelled before it takes the error."""
        return bool(self._joiners)

    def observe(self) -> None:
        """Promise to look at how the task ends, so that nobody else reports its error."""
        self._observed = True

    def wait(self) -> Any:
        """Park until the task has ended, and return what its function returned.

        Raises: what the task's function raised; WasCancelled if the task was cancelled;
        WrongThread if it belongs to another scheduler.
        """
        while self.state is not DONE:
            me = current()
            if me is self:
                raise BugError(f"wait for {self}: a task cannot wait for itself")
            if me.owner is not self.owner:
                raise WrongThread(f"wait for {self}: it belongs to another scheduler")
            self._joiners = self._joiners or []
            self._joiners.append(me)
            try:
                me.park(f"the end of {self}")
            finally:
                if self._joiners and me in self._joiners:
                    self._joiners.remove(me)
        return self.outcome()

    def outcome(self) -> Any:
        """Return or raise what the task, which is done, ended with; marks the error as seen."""
        self._observed = True
        if self.error is None:
            return self.result
        if isinstance(self.error, Cancelled) and self._doom is not None:
            raise WasCancelled(f"{self} was cancelled") from self.error
        raise self.error.with_traceback(self._traceback)  # or that of each who waits would be kept

    def stack_text(self) -> str:
        """Return the Python stack of a parked task as text, innermost frame last."""
        frame = self._stack.gr_frame
        return "" if frame is None else "".join(traceback.format_stack(frame))


def current() -> Task:
    """Return the task that runs now on this thread.

    Raises: BugError outside any task, for instance in the hub or without `coop.run`.
    """
    try:
        return getcurrent().task  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        pass  # raised below: an error that led to another keeps the greenlet
    raise BugError("this call needs a task: use it in a function that runs under coop.run")


def current_or_none() -> Task | None:
    """Return the task that runs now on this thread, or None outside any task."""
    return getattr(getcurrent(), "task", None)


def apart(call: Callable[[], Any]) -> Any:
    """Call `call()` where no task is current, on a stack of its own, and return what it returns."""
    stack = greenlet(call)
    stack.gr_context = copy_context()
    return stack.switch()


def this_greenlet() -> greenlet:
    """Return the greenlet that runs now, for a scheduler that wants to be its hub."""
    return getcurrent()


class LostHub(greenlet):
    """The hub of a scheduler in a process forked from it: nobody is there to switch to."""

    def switch(self, *_: Any, **__: Any) -> Any:
        """Refuse; the parent's descriptors and guests are not the child's."""
        raise WrongThread("park: this task belongs to the process that was forked; use coop.run in the child")
