"""Telling what the scheduler does: for `-vv`, for a timeline, and for the curious.

The scheduler tells nobody anything.  A run that is watched is built from the subclasses
here instead, and each step of it is told to its observers; one that is not pays nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from coop.logs import Log
from coop.netpoll.contract import Poller
from coop.runq import RunQueue
from coop.scheduler import Scheduler
from coop.task import PARKED, Task

log = Log("coop.trace", shown="debug")  # whoever has a run traced has asked for it


class Observer(Protocol):
    """Who is told of each step, on the run's thread, and neither parks nor raises."""

    def ready(self, task: Task) -> None:
        """It stands in the run queue now, put there by the task that runs or, if none does, by the hub."""
        ...

    def runs(self, task: Task) -> None:
        """It has begun, or goes on."""
        ...

    def parks(self, task: Task, reason: object) -> None:
        """It waits from now on for what `reason` says."""
        ...

    def yields(self, task: Task, late: bool) -> None:
        """It stands in the run queue again; late -- it used up its slice."""
        ...

    def ended(self, task: Task) -> None:
        """It is done."""
        ...

    def waits(self, delay_ns: int, tasks: Iterable[Task]) -> None:
        """The poller is asked next, with this delay; these are all tasks that have not ended."""
        ...

    def woke(self, delay_ns: int, tasks: Sequence[Task]) -> None:
        """The poller has answered, and found these tasks."""
        ...


class TracedTask(Task):
    """A task whose steps are told."""

    __slots__ = ()

    @property
    def _observers(self) -> Sequence[Observer]:
        return cast(TracedScheduler, self.owner).observers

    def _run(self) -> None:
        self._tell_it_runs()
        super()._run()

    def _tell_it_runs(self) -> None:
        for each in self._observers:
            each.runs(self)

    def park(self, reason: object) -> None:
        """Park, and tell why."""
        for each in self._observers:
            each.parks(self, reason)
        try:
            super().park(reason)
        finally:
            self._tell_it_runs()

    def pause_uncancelled(self, *, late: bool = False) -> None:
        """Yield, and tell it."""
        for each in self._observers:
            each.yields(self, late)
        try:
            super().pause_uncancelled(late=late)
        finally:
            self._tell_it_runs()

    def _end(self, error: BaseException | None) -> None:
        super()._end(error)
        for each in self._observers:
            each.ended(self)


class TracedRunQueue(RunQueue):
    """A run queue that tells who becomes ready."""

    __slots__ = ("_observers",)

    def __init__(self, observers: Sequence[Observer]) -> None:
        super().__init__()
        self._observers = observers

    def _tell(self, task: Task) -> None:
        for each in self._observers:
            each.ready(task)

    def push(self, task: Task) -> None:
        """Append a task, and tell which."""
        self._tell(task)
        super().push(task)

    def wake(self, task: Task) -> None:
        """Append a task that is parked, and tell which."""
        if task.state is PARKED:
            self._tell(task)
        super().wake(task)

    def push_woken(self, tasks: Iterable[Task], asker: Task | None = None) -> None:
        """Append those whom a poller woke, and tell which."""
        tasks = list(tasks)
        for task in tasks:
            if task.state is PARKED:
                self._tell(task)
        super().push_woken(tasks, asker)


class TracedScheduler(Scheduler):
    """A scheduler in which every wait is a park, so that every one is told.

    observers -- who is told
    """

    def __init__(self, poller: Poller, observers: Sequence[Observer]) -> None:
        traced = TracedPoller(poller, observers)
        super().__init__(traced, task_class=TracedTask, runq=TracedRunQueue(observers))
        self.observers = observers
        traced.tasks = self.tasks

    def wait_here(self, task: Task, until_ns: int) -> None:
        """Leave the wait to the hub."""


class TracedPoller:
    """A poller that tells of every combined wait.

    tasks -- those of its scheduler
    """

    tasks: Iterable[Task] = ()

    def __init__(self, poller: Poller, observers: Sequence[Observer]) -> None:
        self._poller = poller
        self._observers = observers
        self.permanent = poller.permanent
        self.open, self.close, self.arm = poller.open, poller.close, poller.arm
        self.wake_up, self.shutdown = poller.wake_up, poller.shutdown
        self.is_poll_descriptor = poller.is_poll_descriptor
        for name in ("fileno", "forget_wake_up"):
            if hasattr(poller, name):
                setattr(self, name, getattr(poller, name))

    @property
    def waiters(self) -> int:
        """The poller's own count."""
        return self._poller.waiters

    @waiters.setter
    def waiters(self, value: int) -> None:
        self._poller.waiters = value

    def poll(self, delay_ns: int) -> list[Task]:
        """Wait, and tell for how long, and what came of it."""
        for each in self._observers:
            each.waits(delay_ns, self.tasks)
        woken = self._poller.poll(delay_ns)
        for each in self._observers:
            each.woke(delay_ns, woken)
        return woken


class Telling:
    """Logs every park, wake and combined wait of a run."""

    def ready(self, task: Task) -> None:
        """Log it."""
        log.debug("ready", task=task.name)

    def runs(self, task: Task) -> None:
        """Say nothing of it: the scheduler runs who is ready, in order."""

    def parks(self, task: Task, reason: object) -> None:
        """Log what it waits for."""
        log.debug("park", task=task.name, reason=str(reason))

    def yields(self, task: Task, late: bool) -> None:
        """Log it."""
        log.debug("slice ended" if late else "yield", task=task.name)

    def ended(self, task: Task) -> None:
        """Say nothing of it."""

    def waits(self, delay_ns: int, tasks: Iterable[Task]) -> None:
        """Log what a combined wait is for."""
        if delay_ns:
            waits = [f"{task.name}: {task.reason}" for task in tasks if task.state is PARKED]
            clock = "for ever" if delay_ns < 0 else f"{delay_ns / 1e6:.3f} ms"
            log.debug("combined wait", clock=clock, waits=waits)

    def woke(self, delay_ns: int, tasks: Sequence[Task]) -> None:
        """Log whom a wait woke, and whom a look found."""
        if delay_ns or tasks:
            log.debug("woke", tasks=[task.name for task in tasks])
