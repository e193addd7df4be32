"""Calls that block the operating system's way, made in a helper thread while the task parks.

Everything else in coop runs on one thread.  What cannot wait by a poller - a
reader object that blocks, a library that does - is given to a thread of its own
for one call; the task, or whoever asked, hears of the result on the hub.

1. The function runs on the helper thread, and must not use coop there.
2. While a result is owed, the run is not dead-locked.
3. A thread that has delivered is joined.  One that still blocks when the run ends
   is left to end with the process: Python has no way to stop it.
4. What guests cause has a bound, whatever there are of them: a *crew* of threads for each
   kind of work, and further calls wait for their turn.  A guest that ends leaves its call
   behind, on a disk that hangs or with a name that nobody answers for; it counts until it ends.
"""

import errno
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

from coop.scheduler import Scheduler, scheduler
from coop.task import current

T = TypeVar("T")

_MOST = {"disk": (32, 32), "names": (64, 8)}
"""How many threads a crew has, and how many of them for one guest at a time.

So many keep a disk busy; a guest waits for one call to it at a time, so that none needs a bound of its own.
Of names most may be dead, and each of those keeps a thread for many seconds."""


class Crew:
    """The helper threads of one run for one kind of work, and who waits for one.

    Guests take turns, however many jobs each of them has; jobs that name no guest count as those of one.
    """

    def __init__(self, most: int, each: int) -> None:
        self._free = most
        self._each = each
        self._running: dict[object, int] = {}
        self._waiting: dict[object, deque[Job]] = {}  # whoever had a turn stands last

    def take(self, job: "Job") -> None:
        """Begin `job`, now or when it is its turn.  Raises: OSError(ENOMEM) if no thread can be had."""
        if not self._may_begin(job.whom):
            self._waiting.setdefault(job.whom, deque()).append(job)
            return
        job.begin()
        self._free -= 1
        self._running[job.whom] = self._running.get(job.whom, 0) + 1

    def drop(self, job: "Job") -> None:
        """Let `job` not begin any more, if it waits."""
        jobs = self._waiting.get(job.whom)
        if jobs is not None and job in jobs:
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.whom]

    def left(self, job: "Job") -> None:
        """Take notice that the thread of `job` has ended, and begin what waits."""
        self._free += 1
        self._running[job.whom] -= 1
        if not self._running[job.whom]:
            del self._running[job.whom]
        while (following := self._pop()) is not None:
            try:
                self.take(following)
            except BaseException as error:
                following.end(error)

    def close(self) -> None:
        """Begin nothing any more."""
        self._waiting.clear()

    def _may_begin(self, whom: object) -> bool:
        return self._free > 0 and self._running.get(whom, 0) < self._each

    def _pop(self) -> "Job | None":
        """Take the job that may begin next, if there is one; few guests at most have all they may have."""
        for whom, jobs in self._waiting.items():
            if self._may_begin(whom):
                del self._waiting[whom]
                job = jobs.popleft()
                if jobs:
                    self._waiting[whom] = jobs
                return job
        return None


def crew_of(owner: Scheduler, kind: str) -> Crew:
    """Return the crew of a run for "disk" or "names"."""
    return owner.resource((Crew, kind), lambda: Crew(*_MOST[kind]))


class Job:
    """One call in a helper thread.

    crew -- whose thread it takes; None: one of its own
    whom -- the guest that it is for, which takes turns with the others of the crew; None: not told
    is_done -- whether the call has ended
    result, error -- what it returned, or raised
    """

    def __init__(
        self,
        owner: Scheduler,
        call: Callable[[], Any],
        on_done: Callable[["Job"], None],
        crew: Crew | None = None,
        whom: object = None,
    ) -> None:
        self.whom = whom
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._on_done = on_done
        self._owner = owner
        self._crew = crew
        self._thread = threading.Thread(target=self._run, name="coop helper", daemon=True)
        if crew is None:
            self.begin()
        else:
            crew.take(self)

    def begin(self) -> None:
        """Start the thread.  Raises: OSError(ENOMEM) if none can be had."""
        self._owner.outside_jobs += 1
        try:
            self._thread.start()
        except RuntimeError as error:
            # The kernel's own word, EAGAIN, would pass for "would block".
            self._owner.outside_jobs -= 1
            raise OSError(errno.ENOMEM, f"start a helper thread: {error}") from None
        except BaseException:
            self._owner.outside_jobs -= 1
            raise

    def drop(self) -> None:
        """Take notice that nobody wants the result; a thread that runs goes on to the end of its call."""
        if self._crew is not None:
            self._crew.drop(self)

    def end(self, error: BaseException | None) -> None:
        """Tell that the call has ended, or with `error` that it never began."""
        if error is not None:
            self.error = error
        self.is_done = True
        self._on_done(self)

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error
        self._owner.post(self._deliver)

    def _deliver(self) -> None:
        self._thread.join()
        self._owner.outside_jobs -= 1
        self.end(None)
        if self._crew is not None:
            self._crew.left(self)


def run_in_thread(call: Callable[..., T], *args: Any) -> T:
    """Run `call(*args)` in a helper thread, park until it has ended, and return its result.

    A cancelled task stops waiting at once; the thread goes on to its end, and its result is dropped.
    `call` sees the task's context variables, in a copy.
    Raises: what `call` raised; OSError(ENOMEM) if no thread can be had.
    """
    return _run(None, call, args)


def run_in_crew(kind: str, call: Callable[..., T], *args: Any) -> T:
    """Do as `run_in_thread`, with a thread of the run's crew for "disk" or "names", when one is free."""
    return _run(crew_of(scheduler(), kind), call, args)


def _run(crew: Crew | None, call: Callable[..., T], args: tuple[Any, ...]) -> T:
    task, context = current(), copy_context()
    job = Job(scheduler(), lambda: context.run(call, *args), lambda _: task.wake(), crew)
    try:
        while not job.is_done:
            task.park(f"helper thread running {getattr(call, '__qualname__', call)}")
    finally:
        job.drop()
    if job.error is not None:
        raise job.error
    result: T = job.result
    return result
