"""Telling what the scheduler does: every park, wake and combined wait, for `-vv` and for the curious.

The scheduler holds no log call.  A run that is traced is built from these
subclasses instead; one that is not pays nothing.
"""

from collections.abc import Iterable

from coop.logs import Log
from coop.netpoll.contract import Poller
from coop.runq import RunQueue
from coop.scheduler import Scheduler
from coop.task import PARKED, Task

log = Log("coop.trace", shown="debug")  # whoever has a run traced has asked for it


class TracedTask(Task):
    """A task that tells when it parks, yields and ends."""

    __slots__ = ()

    def park(self, reason: object) -> None:
        """Park, and tell why."""
        log.debug("park", task=self.name, reason=str(reason))
        super().park(reason)

    def pause(self, *, late: bool = False) -> None:
        """Yield, and tell it."""
        log.debug("slice ended" if late else "yield", task=self.name)
        super().pause(late=late)


class TracedRunQueue(RunQueue):
    """A run queue that tells who becomes ready."""

    __slots__ = ()

    def push(self, task: Task) -> None:
        """Append a task, and tell which."""
        log.debug("ready", task=task.name)
        super().push(task)

    def wake(self, task: Task) -> None:
        """Append a task that is parked, and tell which."""
        if task.state is PARKED:
            log.debug("ready", task=task.name)
        super().wake(task)

    def push_woken(self, tasks: Iterable[Task], asker: Task | None = None) -> None:
        """Append those whom a poller woke, and tell which."""
        tasks = list(tasks)
        for task in tasks:
            if task.state is PARKED:
                log.debug("ready", task=task.name)
        super().push_woken(tasks, asker)


class TracedScheduler(Scheduler):
    """A scheduler in which every wait is a park, so that every one is told."""

    def wait_here(self, task: Task, until_ns: int) -> None:
        """Leave the wait to the hub."""


class Tracing:
    """A poller that tells of every combined wait, and the scheduler built around it."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self.permanent = poller.permanent
        self.open, self.close, self.arm = poller.open, poller.close, poller.arm
        self.wake_up, self.shutdown = poller.wake_up, poller.shutdown
        self.is_poll_descriptor = poller.is_poll_descriptor
        for name in ("fileno", "forget_wake_up"):
            if hasattr(poller, name):
                setattr(self, name, getattr(poller, name))
        self.scheduler = TracedScheduler(self, task_class=TracedTask, runq=TracedRunQueue())

    @property
    def waiters(self) -> int:
        """The poller's own count."""
        return self._poller.waiters

    @waiters.setter
    def waiters(self, value: int) -> None:
        self._poller.waiters = value

    def poll(self, delay_ns: int) -> list[Task]:
        """Wait, and tell for what and what came of it."""
        if delay_ns:
            waits = [f"{task.name}: {task.reason}" for task in self.scheduler.tasks if task.state is PARKED]
            clock = "for ever" if delay_ns < 0 else f"{delay_ns / 1e6:.3f} ms"
            log.debug("combined wait", clock=clock, waits=waits)
        woken = self._poller.poll(delay_ns)
        if delay_ns or woken:
            log.debug("woke", tasks=[task.name for task in woken])
        return woken
