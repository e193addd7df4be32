"""Calls that block the operating system's way, made in a helper thread while the task parks.

Everything else in coop runs on one thread.  What cannot wait by a poller - a
reader object that blocks, a library that does - is given to a thread of its own
for one call; the task, or whoever asked, hears of the result on the hub.

1. The function runs on the helper thread, and must not use coop there.
2. While a result is owed, the run is not dead-locked.
3. A thread that has delivered is joined.  One that still blocks when the run ends
   is left to end with the process: Python has no way to stop it.
"""

import errno
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from coop.scheduler import Scheduler, scheduler
from coop.task import current

T = TypeVar("T")


class Job:
    """One call in a helper thread.

    is_done -- whether the call has ended
    result, error -- what it returned, or raised
    """

    def __init__(self, owner: Scheduler, call: Callable[[], Any], on_done: Callable[["Job"], None]) -> None:
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._on_done = on_done
        self._owner = owner
        self._thread = threading.Thread(target=self._run, name="coop helper", daemon=True)
        owner.outside_jobs += 1
        try:
            self._thread.start()
        except RuntimeError as error:
            # The kernel's own word, EAGAIN, would pass for "would block".
            owner.outside_jobs -= 1
            raise OSError(errno.ENOMEM, f"start a helper thread: {error}") from None
        except BaseException:
            owner.outside_jobs -= 1
            raise

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error
        self._owner.post(self._deliver)

    def _deliver(self) -> None:
        self._thread.join()
        self._owner.outside_jobs -= 1
        self.is_done = True
        self._on_done(self)


def run_in_thread(call: Callable[..., T], *args: Any) -> T:
    """Run `call(*args)` in a helper thread, park until it has ended, and return its result.

    A cancelled task stops waiting at once; the thread goes on to its end, and its result is dropped.
    Raises: what `call` raised; OSError(ENOMEM) if no thread can be had.
    """
    task = current()
    job = Job(scheduler(), lambda: call(*args), lambda _: task.wake())
    while not job.is_done:
        task.park(f"helper thread running {getattr(call, '__qualname__', call)}")
    if job.error is not None:
        raise job.error
    result: T = job.result
    return result
