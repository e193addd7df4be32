"""What a task needs to know of whoever owns it: a run queue and a hub."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from coop.task import Task


class Queue(Protocol):
    """What a task needs to know of the run queue, which is `coop.runq`."""

    due: int
    pop: "Callable[[], Task]"

    @property
    def tasks(self) -> "Sequence[Task]":
        """Who may run, in order."""
        ...

    def wake(self, task: "Task") -> None:
        """Append a task, which becomes READY, if it is parked."""
        ...

    def push_running(self, task: "Task", *, late: bool = False) -> None:
        """Append the task that runs now, which becomes READY; late -- it used up its slice."""
        ...

    def hasten(self, task: "Task") -> None:
        """Let a task go first that stands behind the others because it used up its slice."""
        ...


class Owner(Protocol):
    """What a task needs to know of the scheduler that owns it."""

    hub: Any  # a greenlet

    @property
    def runq(self) -> Queue:
        """Where those stand that may run."""
        ...

    def is_here(self) -> bool:
        """Whether the caller is on the owner's thread and process."""
        ...

    def check_owner(self, doing: str) -> None:
        """Raise WrongThread unless the caller is on the owner's thread and process."""
        ...

    def task_ended(self, task: "Task") -> None:
        """Take notice that `task` is DONE."""
        ...
