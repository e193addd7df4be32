"""The run queue: who may run next."""

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count

from coop.errors import BugError
from coop.task import NEW, PARKED, READY, RUNNING, Task


class RunQueue:
    """Tasks that may run, first in, first out; and behind them those that used up their slice.

    Guests that were pre-empted come back one at a time, one in a turn at most, after
    whoever the timers and the poller woke: so a crowd of busy guests delays a woken
    task by one slice, and not by one for each of them.  Among them the one goes first that
    has had least of the processor, as its `virtual_ns` counts it.  Who was away meanwhile
    saves nothing up: it starts where the others are.
    """

    __slots__ = ("_late", "_order", "_tasks", "_virtual_ns")

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._late: list[tuple[int, int, Task]] = []
        self._order = count()
        self._virtual_ns = 0

    def __len__(self) -> int:
        """Count the tasks of the queue proper."""
        return len(self._tasks)

    def __bool__(self) -> bool:
        """Whether anybody may run."""
        return bool(self._tasks) or bool(self._late)

    def push(self, task: Task) -> None:
        """Append `task`, which becomes READY.

        Raises: BugError if it stands in the queue already, runs, or is done.
        """
        if task.state is not PARKED and task.state is not NEW:
            raise BugError(f"ready {task}: it is {task.state.value}, not parked")
        task.state = READY
        self._tasks.append(task)

    def push_running(self, task: Task, *, late: bool = False) -> None:
        """Append the task that runs now, which becomes READY; it has to park next.

        late -- it used up its slice
        """
        if task.state is not RUNNING:
            raise BugError(f"yield {task}: it is {task.state.value}, not running")
        task.state = READY
        if not late:
            self._tasks.append(task)
            return
        task.virtual_ns = max(task.virtual_ns, self._virtual_ns)
        heappush(self._late, (task.virtual_ns, next(self._order), task))

    def pop_late(self) -> Task | None:
        """Take the one of those that used up their slice that has had least, if there is one."""
        if not self._late:
            return None
        self._virtual_ns, _, task = heappop(self._late)
        return task

    def goes_on(self, task: Task) -> None:
        """Take notice that `task` goes on after a slice, because nobody else can run."""
        self._virtual_ns = task.virtual_ns = max(task.virtual_ns, self._virtual_ns)

    def hasten(self, task: Task) -> None:
        """Put `task` into the queue proper if it stands behind it: it has news to hear."""
        if not self._late:
            return
        rest = [entry for entry in self._late if entry[2] is not task]
        if len(rest) < len(self._late):
            heapify(rest)
            self._late = rest
            self._tasks.append(task)

    def pop(self) -> Task:
        """Take the task that has waited longest."""
        return self._tasks.popleft()
