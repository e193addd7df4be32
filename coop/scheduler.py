"""The scheduler: one loop that decides who runs.

A turn is what the loop does again and again, read from top to bottom:

    1. run what other threads and signal handlers posted
    2. fire the timers that are due
    3. ask the poller - with delay 0 if some task is ready; otherwise this is the
       idle path, and the poller waits, once, for the clock and every descriptor
    4. run each task that was ready at that moment, once, first in first out; then one of the
       guests that used up their slice - if somebody became ready meanwhile, in the next turn

Tasks made ready in step 4 run in the next turn.  So the poller is asked between any two slices
of a task, and neither a busy crowd nor two tasks that keep waking each other can starve a
descriptor or a timer.  The reader who knows TinyGo's scheduler finds its loop here, but for this:
there one sleeper is woken a turn, and nobody asks the poller while tasks are ready.  The order is
promised: tasks run in the order in which they became ready, and those that one poll found become
ready in the order of its events.

1. One scheduler belongs to one OS thread of one process.
2. When the main task ends, the run ends: every other task is cancelled and runs to its end.
3. If nothing can ever wake anyone, the run ends with `Deadlock`, which lists every
   parked task, what it waits for and its stack.
4. An error that nobody took when the run ends comes out of `run`.
"""

import os
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, NoReturn, Protocol, TypeVar, cast

from coop.clock import NEVER_NS, Clock, SystemClock
from coop.errors import BugError, Cancelled, Deadlock, Unsupported, WasCancelled, WrongThread
from coop.forks import abandon_in_children
from coop.netpoll.contract import Poller, Watchable
from coop.report import name_of, report
from coop.runq import RunQueue
from coop.slips import Unique
from coop.task import LostHub, Task, current, current_or_none, this_greenlet
from coop.timers import Sleep, Timers


class Closeable(Protocol):
    """Something that belongs to a run and ends with it."""

    def close(self) -> None:
        """Give everything back."""
        ...


T = TypeVar("T", bound=Closeable)

_FAILURES_KEPT = 1000
"""A server may run for years, and its tasks fail; all are told to `on_error`, so many come out of `run`."""

_CROWDED_NS = 1_000_000
"""How long a guest that computes runs while others are ready."""

_FRESH_NS = 100_000
"""How old the poller's last answer may be for a task that looks again and again."""


class Scheduler(Unique):
    """Runs tasks on the thread that calls `run`.

    poller     -- who waits for descriptors; whoever made it shuts it down
    clock      -- where time comes from
    task_class -- `Task`, or a subclass that tells somebody what happens
    runq       -- the queue; a subclass may tell somebody what happens
    is_copy    -- whether this is a copy, in a process forked from the owner's
    """

    def __init__(
        self,
        poller: Poller,
        *,
        clock: Clock | None = None,
        task_class: type[Task] = Task,
        runq: RunQueue | None = None,
    ) -> None:
        self.poller = poller
        self.watchable = poller if isinstance(poller, Watchable) else None
        self.clock = clock or SystemClock()
        self.timers = Timers()
        self.runq = RunQueue() if runq is None else runq
        self.wake = self.runq.wake  # one for all timers of parked tasks, which would each hold a method
        self.hub = this_greenlet()  # so `run` is called by who makes the scheduler
        self.tasks: dict[Task, None] = {}
        """Every task that has not ended, in the order of their birth.  Keeping them here is what
        keeps an unfinished greenlet out of the garbage collector's hands."""
        self.outside_jobs = 0
        """How many results another thread still owes; while one is owed there is no deadlock."""
        self.on_error: Callable[[Task, BaseException], None] | None = None
        """Told at once of an error nobody waits for."""
        self.main: Task | None = None  # while a run lasts
        self.before_guest: Callable[[], object] | None = None
        """Called before a guest starts; set by whoever minds the signals."""
        self.now_ns: Callable[[], int] = self.clock.now_ns
        """The present moment on the scheduler's clock; no method, since it is asked several times a turn."""
        self._task_class = task_class
        self._internal: set[Task] = set()
        self._failed: list[Task] = []
        self._posted: deque[Callable[[], object]] = deque()
        self._resources: dict[object, Closeable] = {}
        self._thread, self._process, self.is_copy = get_ident(), os.getpid(), False
        self._serial = self._asked_ns = 0  # the latter: when a task last asked the poller in the hub's place
        self.turns = 0
        """How often everybody who was ready got to run, and the poller was asked."""
        abandon_in_children(self)

    # -- tasks

    def spawn(self, call: Callable[..., Any], *args: Any, name: str = "") -> Task:
        """Make a task that will run `call(*args)`; it starts in a later turn."""
        self.check_owner("spawn a task")
        self._serial += 1
        label = name or f"{name_of(call)}-{self._serial}"
        task = self._task_class(self, call, label, args)
        self.tasks[task] = None
        self.runq.push(task)
        return task

    def spawn_internal(self, call: Callable[[], Any], name: str) -> Task:
        """Make a task of coop's own, which counts neither for the end of a run nor in its reports."""
        task = self.spawn(call, name=name)
        self._internal.add(task)
        return task

    def is_internal(self, task: Task) -> bool:
        """Whether `task` is one of coop's own."""
        return task in self._internal

    def task_ended(self, task: Task) -> None:
        """Take notice of a task's end; called by the task itself, last of all."""
        del self.tasks[task]
        self._internal.discard(task)
        error = task.error
        if (
            error is None
            or isinstance(error, WasCancelled)
            or (isinstance(error, Cancelled) and task.is_cancelled)
        ):
            return  # whoever cancelled it, or the guest it ran, meant it
        if not task.was_observed:
            self._keep_failed(task)
            if self.on_error is not None and not task.is_awaited:
                self.on_error(task, error)

    def _keep_failed(self, task: Task) -> None:
        """Keep a failed task for the end of the run; of very many, the first ones."""
        if len(self._failed) % 16 == 0 or len(self._failed) >= _FAILURES_KEPT:
            self._failed = [other for other in self._failed if not other.was_observed]
        if len(self._failed) < _FAILURES_KEPT:
            self._failed.append(task)

    # -- time

    def sleep_ns(self, delta_ns: int) -> None:
        """Park the current task for `delta_ns`; zero or less returns at once, without a yield."""
        if delta_ns > 0:
            self.sleep_until(self.now_ns() + delta_ns)

    def sleep_until(self, when_ns: int) -> None:
        """Park the current task until `when_ns` has come."""
        task = current()
        while self.now_ns() < when_ns:
            timer = self.timers.set(when_ns, self.wake, task)
            try:
                task.park(Sleep(when_ns))
            finally:
                timer.cancel()

    # -- the loop

    def run(self, main: Callable[..., Any], *args: Any) -> Any:
        """Run `main(*args)` as the main task until it ends, and return its result.

        Raises: what `main` raised; Deadlock; an ExceptionGroup when other tasks
        failed and nobody took their errors.
        """
        self.check_owner("run")
        if current_or_none() is not None:
            raise BugError("run a scheduler inside a task: one thread runs one at a time")
        task = self.main = self.spawn(main, *args, name="main")
        task.observe()
        try:
            while not task.is_done:
                self.turn()
        except Deadlock as deadlock:
            self._end_all_tasks()
            raise deadlock from self._unseen(task, "tasks had failed before the deadlock")
        finally:
            self._end_all_tasks()
            self._close_resources()
        return self._outcome(task)

    def turn(self) -> None:
        """Do one turn, as the module's text says; it may wait in its third step.

        Raises: Deadlock.
        """
        self.turns += 1
        if self._posted:
            self._run_posted()
        runq = self.runq
        self.timers.fire_due(self.now_ns())
        runq.push_woken(self.poller.poll(0 if runq else self._idle_delay_ns()))
        self._run_ready()
        if self.main is None or not self.main.is_done:
            self._run_late()

    def _run_ready(self) -> None:
        """Run each task that is ready now, once."""
        runq = self.runq
        runq.due = len(runq)
        since_ns = self.now_ns() if runq.late else 0
        while runq.due:
            runq.due -= 1
            runq.pop().resume()  # and those after it, until one ends or comes back to us
        if since_ns:
            runq.owe(self.now_ns() - since_ns)

    def _run_late(self) -> None:
        """Run one guest that used up its slice, if it is its turn."""
        runq = self.runq
        late = runq.pop_late()
        if late is not None:
            since_ns = self.now_ns()
            late.resume()
            runq.pay(self.now_ns() - since_ns)

    def slice_ns(self, most_ns: int) -> int:
        """Say how long a guest that computes may run before somebody else is due; at most `most_ns`."""
        if self._posted:
            return 0
        if len(self.runq):
            most_ns = min(most_ns, _CROWDED_NS)
        when_ns = self.timers.next_ns()
        return most_ns if when_ns is None else min(most_ns, when_ns - self.now_ns())

    def is_idle(self) -> bool:
        """Whether nobody but the current task can run: then `wait_here` may wait."""
        runq = self.runq
        return not (runq.tasks or runq.late or self._posted)

    def has_fresh_answer(self) -> bool:
        """Whether the poller was asked so recently that its answer passes for the present one."""
        return self.now_ns() - self._asked_ns < _FRESH_NS and self.is_idle()

    def look_here(self) -> bool:
        """Ask the poller with delay 0 from within a task; True if the task need not yield to anyone.

        For a guest that looks again and again and would never hear of anything.
        """
        self._asked_ns = self.now_ns()
        self.runq.push_woken(self.poller.poll(0))
        return self.is_idle()

    def wait_here(self, task: Task, until_ns: int) -> None:
        """Take the idle path on the stack of `task`, which has queued up and is about to park.

        When nobody else can run, all that the hub would do is wait and then resume
        this very task.  Suspending a guest, switching to the hub and back costs more
        than many a wait; so the task waits in the hub's place, and switches nothing.

        Afterwards this task is still RUNNING if it alone was woken, the moment has come, or
        nothing was possible; whoever has not got what he waits for parks as usual.  If others
        were woken too, all stand in the queue in the order of events: it is READY, and parks.

        until_ns -- the moment that ends the task's wait
        """
        runq = self.runq
        if not self.is_idle():
            return
        now_ns = self.now_ns()
        when_ns = self.timers.next_ns()
        until_ns = until_ns if when_ns is None else min(when_ns, until_ns)
        if until_ns <= now_ns or (until_ns >= NEVER_NS and not (self.poller.waiters or self.outside_jobs)):
            return  # due already, or a deadlock that the hub will report
        self.turns += 1
        woken = self.poller.poll(-1 if until_ns >= NEVER_NS else until_ns - now_ns)
        self._asked_ns = self.now_ns()
        if len(woken) == 1 and woken[0] is task and not self._posted:
            return
        runq.push_woken(woken, task)

    def fileno(self) -> int:
        """Return a descriptor that is readable while `turn` would find something: for a foreign loop.

        Raises: Unsupported with a poller that keeps no such descriptor; "hostpoll" does.
        """
        if self.watchable is None:
            raise Unsupported(f"{type(self.poller).__name__} has no descriptor to wait for")
        return self.watchable.fileno()

    def next_deadline_ns(self) -> int | None:
        """Return the moment of the earliest timer, or None: for a foreign loop."""
        return self.timers.next_ns()

    def _idle_delay_ns(self) -> int:
        """Say how long the idle path may wait: until the next timer, or for ever (-1)."""
        if self._posted:
            return 0
        when_ns = self.timers.next_ns()
        if when_ns is not None:
            return max(when_ns - self.now_ns(), 0)
        if self.poller.waiters or self.outside_jobs:
            return -1
        tasks = (task for task in self.tasks if task not in self._internal)
        raise Deadlock(report("deadlock: every task is parked and nothing can wake one", tasks))

    # -- from other threads

    def post(self, call: Callable[[], object]) -> None:
        """Have `call` run on the hub, soon.  Callable from any thread and from a signal handler.

        `call` must neither park nor raise.
        """
        self._posted.append(call)
        self.poller.wake_up()

    def _run_posted(self) -> None:
        for _ in range(len(self._posted)):
            self._posted.popleft()()

    def is_here(self) -> bool:
        """Whether the caller is on the scheduler's own thread and process."""
        return self._thread == get_ident() and not self.is_copy

    def check_owner(self, doing: str) -> None:
        """Raise WrongThread unless the caller is on the scheduler's own thread and process."""
        if self.is_copy:
            raise WrongThread(f"{doing}: this scheduler was made before a fork, by process {self._process}")
        if self._thread != get_ident():
            raise WrongThread(f"{doing}: this scheduler belongs to another thread")

    # -- what belongs to a run

    def resource(self, key: object, make: Callable[[], T]) -> T:
        """Return what this run keeps under `key`, made by `make` the first time.

        The run closes its resources, the youngest first, after its last task ended.
        """
        found = self._resources.get(key)
        if found is None:
            found = self._resources[key] = make()
        return cast(T, found)

    def _close_resources(self) -> None:
        if self._resources and not self.is_copy:
            try:
                self._resources.popitem()[1].close()
            finally:
                self._close_resources()

    # -- the end

    def _end_all_tasks(self) -> None:
        """Cancel what still lives and run it to its end, at home; cleanup may spawn, so look again."""
        while self.tasks and not self.is_copy:
            for task in list(self.tasks):
                task.cancel()
                task.bring_back()
            self.timers.fire_due(self.now_ns())
            self._run_ready()
            self._run_late()

    def _outcome(self, task: Task) -> Any:
        unseen = self._unseen(task, "tasks failed and nobody took their errors")
        if unseen is None or unseen.exceptions == (task.error,):
            return task.outcome()
        if isinstance(task.error, (KeyboardInterrupt, SystemExit)):
            # Whoever waits for these must find them, whatever else went wrong on the way out.
            raise task.error from unseen
        raise unseen

    def _unseen(self, task: Task, what: str) -> BaseExceptionGroup[BaseException] | None:
        """Gather the main task's error and those that nobody took; None if there is none."""
        failed, self._failed = self._failed, []
        errors = [other.error for other in failed if other.error is not None and not other.was_observed]
        if task.error is not None and not (isinstance(task.error, Cancelled) and task.is_cancelled):
            errors.insert(0, task.error)
        return BaseExceptionGroup(what, errors) if errors else None

    def abandon(self) -> None:
        """Refuse every further step: this is a copy, in a process forked from the owner's."""
        self.is_copy, self.now_ns = True, self._refuse
        self.hub, self.runq.due = LostHub(), 0

    def _refuse(self) -> NoReturn:
        self.check_owner("run on")
        raise BugError("a scheduler was abandoned in its own process")


def scheduler() -> Scheduler:
    """Return the scheduler of the current task.

    Raises: BugError outside any task.
    """
    return cast(Scheduler, current().owner)
