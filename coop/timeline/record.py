"""What happened when: an observer of a run that keeps its newest steps.

    hub       ------[combined wait]-------------------[combined wait]
                                   | wakes
    a task    [runs][parked        ][ready][runs][ready, late][runs]

Each task has a lane, and is in one phase at any moment; the hub has lane 0, and the waits are its.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic_ns
from typing import NamedTuple

from coop.task import Task, current_or_none

HUB = 0
"""The lane of the hub, in which stand the waits."""

MOST_SPANS = 100_000
"""So many are kept, the newest ones, and as many wakes: a server runs for months."""

RUNS, READY, LATE, PARKED, WAIT, LOOK = "runs", "ready", "late", "parked", "combined wait", "look"


class Span(NamedTuple):
    """Something that lasted.

    begin_ns, end_ns -- on the system's monotonic clock
    lane, name       -- whose it is
    kind             -- RUNS, READY, LATE (ready, behind the others, after a whole slice) or PARKED; of the
                        hub WAIT, or LOOK for one without delay that found somebody
    words            -- what is waited for; the names of those who were found
    """

    begin_ns: int
    end_ns: int
    lane: int
    name: str
    kind: str
    words: str = ""


class Wake(NamedTuple):
    """One task, or the hub, made another one ready, which ran from `run_ns` on."""

    at_ns: int
    by: int
    run_ns: int
    lane: int


class _Phase:
    """What a living task is in."""

    __slots__ = ("at_ns", "kind", "lane", "waker", "words")

    def __init__(self, lane: int, at_ns: int) -> None:
        self.lane, self.at_ns, self.kind, self.words = lane, at_ns, READY, ""
        self.waker: int | None = None


class Record:
    """The newest steps of a run; an `Observer`.

    spans -- in the order of their ends
    wakes -- in the order in which those who were woken ran
    """

    def __init__(self, most: int = MOST_SPANS) -> None:
        self.spans: deque[Span] = deque(maxlen=most)
        self.wakes: deque[Wake] = deque(maxlen=most)
        self._alive: dict[Task, _Phase] = {}
        self._lanes = HUB
        self._asked_ns = 0

    def ready(self, task: Task) -> None:
        """Begin the time in the run queue."""
        now_ns = monotonic_ns()
        waker = current_or_none()
        phase = self._turn_to(READY, task, now_ns)
        phase.waker = HUB if waker is None else self._phase(waker, now_ns).lane

    def runs(self, task: Task) -> None:
        """End the time in the run queue, and draw the wake to where it led."""
        now_ns = monotonic_ns()
        phase = self._phase(task, now_ns)
        if phase.waker is not None:
            self.wakes.append(Wake(phase.at_ns, phase.waker, now_ns, phase.lane))
            phase.waker = None
        self._turn_to(RUNS, task, now_ns)

    def parks(self, task: Task, reason: object) -> None:
        """Begin a wait."""
        self._turn_to(PARKED, task, monotonic_ns(), str(reason))

    def yields(self, task: Task, late: bool) -> None:
        """Begin the time in the run queue, into which nobody has put it but itself."""
        self._turn_to(LATE if late else READY, task, monotonic_ns())

    def ended(self, task: Task) -> None:
        """End its last phase."""
        self._turn_to(RUNS, task, monotonic_ns())
        self._alive.pop(task, None)

    def waits(self, delay_ns: int, tasks: Iterable[Task]) -> None:
        """Begin a wait of the hub."""
        self._asked_ns = monotonic_ns()

    def woke(self, delay_ns: int, tasks: Sequence[Task]) -> None:
        """End it; one that could not wait and has found nobody is left out, as each turn has one."""
        if delay_ns or tasks:
            found = ", ".join(task.name for task in tasks[:10]) + (", ..." if len(tasks) > 10 else "")
            kind = WAIT if delay_ns else LOOK
            self.spans.append(Span(self._asked_ns, monotonic_ns(), HUB, "hub", kind, found))

    def close(self) -> None:
        """End the phase of each task that has not ended."""
        for task in list(self._alive):
            self.ended(task)

    def _phase(self, task: Task, now_ns: int) -> _Phase:
        phase = self._alive.get(task)
        if phase is None:
            self._lanes += 1
            phase = self._alive[task] = _Phase(self._lanes, now_ns)
        return phase

    def _turn_to(self, kind: str, task: Task, now_ns: int, words: str = "") -> _Phase:
        """End the present phase of a task and begin the next one."""
        phase = self._phase(task, now_ns)
        if now_ns > phase.at_ns:
            self.spans.append(Span(phase.at_ns, now_ns, phase.lane, task.name, phase.kind, phase.words))
        phase.at_ns, phase.kind, phase.words = now_ns, kind, words
        return phase
