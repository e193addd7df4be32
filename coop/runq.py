"""The run queue: who may run next."""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import count

from coop.errors import BugError
from coop.task import NEW, PARKED, READY, RUNNING, Task

_SHARE = 4
"""Those that used up their slice are owed one part in so many of what the others have."""

_BEHIND_NS, _MOST_NS = 5_000_000, 10_000_000
"""They are starved if they are owed so much; and are owed no more, or it would be given for long."""

_PIECE_NS = 1_000_000
"""The least that is given at once."""


class RunQueue:
    """Tasks that may run, first in, first out; and behind them those that used up their slice.

    Guests that were pre-empted come back one at a time, one in a turn at most, after
    whoever the timers and the poller woke: so a crowd of busy guests delays a woken
    task by one slice, and not by one for each of them.  Among them the one goes first that
    has had least of the processor, as its `virtual_ns` counts it.  Who was away meanwhile
    saves nothing up: it starts where the others are.

    Where the queue proper is never empty they would hardly ever run, since whoever is ready ends
    their slices.  So they are owed a part of the time that it takes, and if they fall behind, get it in
    pieces that nobody cuts short: a turn that takes long takes longer by that part.

    tasks -- the queue proper; to be looked at only
    late  -- who used up a slice, as a heap; to be looked at only
    uncut_ns -- how long the one of them that runs now may do so whoever is ready
    due   -- how many of the queue proper are still to run in this turn; counted down by the scheduler,
             and by tasks that park
    pop   -- takes the task that has waited longest; no method, since every wake ends in it
    """

    __slots__ = (
        "_order",
        "_owed_ns",
        "_part_ns",
        "_virtual_ns",
        "_was_passed",
        "due",
        "late",
        "pop",
        "tasks",
        "uncut_ns",
    )

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()
        self.late: list[tuple[int, int, Task]] = []
        self._order = count()
        self._virtual_ns = self._owed_ns = self._part_ns = self.uncut_ns = self.due = 0
        self._was_passed = False
        self.pop: Callable[[], Task] = self.tasks.popleft

    def __len__(self) -> int:
        """Count the tasks of the queue proper."""
        return len(self.tasks)

    def __bool__(self) -> bool:
        """Whether anybody may run."""
        return bool(self.tasks) or bool(self.late)

    def push(self, task: Task) -> None:
        """Append `task`, which becomes READY.

        Raises: BugError if it stands in the queue already, runs, or is done.
        """
        if task.state is not PARKED and task.state is not NEW:
            raise BugError(f"ready {task}: it is {task.state.value}, not parked")
        task.state = READY
        self.tasks.append(task)

    def wake(self, task: Task) -> None:
        """Append `task` if it is parked.

        A signal's handler may wake it as well, at any call; so it is looked at here, with no call in between.
        """
        if task.state is PARKED:
            task.state = READY
            self.tasks.append(task)

    def push_woken(self, tasks: Iterable[Task], asker: Task | None = None) -> None:
        """Append those whom a poller woke; who was cancelled meanwhile stands here already.

        asker -- the task that runs now and asked the poller: it may be among them, and has to park next
        """
        append = self.tasks.append
        for task in tasks:
            if task.state is PARKED or (task is asker and task.state is RUNNING):
                task.state = READY
                append(task)

    def push_running(self, task: Task, *, late: bool = False) -> None:
        """Append the task that runs now, which becomes READY; it has to park next.

        late -- it used up its slice
        """
        if task.state is not RUNNING:
            raise BugError(f"yield {task}: it is {task.state.value}, not running")
        task.state = READY
        if not late:
            self.tasks.append(task)
            return
        heappush(self.late, (task.virtual_ns, next(self._order), task))

    def pop_late(self) -> Task | None:
        """Take the one of those that used up their slice that has had least, if there is one.

        If others are ready it waits a turn, never two in a row.
        """
        if not self.late:
            self._owed_ns = self._part_ns = 0
            return None
        is_starved = self._owed_ns >= _BEHIND_NS
        if self.tasks and not self._was_passed and not is_starved:
            self._was_passed = True
            return None
        self._was_passed = False
        self.uncut_ns = max(self._part_ns, _PIECE_NS) if is_starved else 0
        self._virtual_ns, _, task = heappop(self.late)
        return task

    def owe(self, spent_ns: int) -> None:
        """Take notice that the queue proper ran for so long, while others stood behind it."""
        part_ns = spent_ns // _SHARE
        self._part_ns += part_ns
        self._owed_ns = min(self._owed_ns + part_ns, _MOST_NS)

    def pay(self, spent_ns: int) -> None:
        """Take notice that the one that `pop_late` took has run for so long."""
        self._owed_ns = max(0, self._owed_ns - spent_ns)
        self._part_ns = self.uncut_ns = 0

    def charge(self, task: Task, spent_ns: int) -> None:
        """Take notice of what `task` had, before it goes on or stands behind the others.

        From where they are: were it from where it was when it had its last slice, whoever is new would go
        before those that have been here for long, and of many that come one after the other each would.
        """
        task.virtual_ns = max(task.virtual_ns, self._virtual_ns) + spent_ns

    def goes_on(self, task: Task) -> None:
        """Take notice that `task` goes on after a slice, because nobody else can run."""
        self._virtual_ns = task.virtual_ns

    def hasten(self, task: Task) -> None:
        """Put `task` into the queue proper if it stands behind it: it has news to hear.

        By steps that no signal's handler can come between, which may do the same.
        """
        for entry in self.late:
            if entry[2] is task:
                try:
                    self.late.remove(entry)
                except ValueError:
                    return  # a handler was first
                heapify(self.late)
                self.tasks.append(task)
                return
