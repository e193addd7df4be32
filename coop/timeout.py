"""A block that must end in time, whatever it does.

    with coop.Timeout(2.5):
        reply = guest.call("answer")

One deadline for all of it: for a guest that computes, one that waits, a host function, a
connection, a helper thread's call, another task's end.

1. At the deadline the task that opened the block gets an exception where it parks, which
   comes out of the block as DeadlineExceeded.  It is a BaseException on its way, so that
   no `except Exception` in between takes it for an error of its own.
2. What has ended in time has ended well: a block that is left before its task has heard of
   the deadline raises nothing.
3. It is raised once: on its way out the block may park.  Who takes it for something else on that way,
   by another error that is then caught within the block, goes on without a deadline.
4. The block must be one of calls: a generator that yields within it lets the exception come where
   its user parks.
5. A guest that computes is made to yield for it; Python code that computes hears of it when
   it parks next.
"""

from types import TracebackType
from typing import Self

from coop.clock import to_ns
from coop.errors import BlockEnded, BugError, DeadlineExceeded
from coop.scheduler import scheduler
from coop.slips import Unique
from coop.task import Task, current
from coop.timers import Timer


class Timeout(Unique):
    """A context manager: the block raises DeadlineExceeded if it has not ended after so many seconds.

    Blocks may be nested; each knows its own deadline.  None as the time is no deadline at all.
    """

    __slots__ = ("_delta_ns", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._delta_ns = None if seconds is None else to_ns(seconds)
        self._expired: _Expired | None = None
        self._task: Task | None = None
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        if self._task is not None:
            raise BugError("open a time-out a second time: each is for one block")
        self._task = task = current()
        if self._delta_ns is not None:
            owner = scheduler()
            self._expired = _Expired(f"the {self._seconds} s of a block with a time-out are over")
            self._timer = owner.timers.set(owner.now_ns() + self._delta_ns, task.interrupt, self._expired)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        expired, self._expired = self._expired, None  # it leads to frames, and those to us
        if expired is None or self._timer is None or self._task is None:
            return
        self._timer.cancel()
        self._task.forget_interrupt(expired)
        if error is expired:
            raise DeadlineExceeded(f"the block did not end within {self._seconds} s") from error


class _Expired(BlockEnded):
    """Ends one block whose time has passed; never leaves it."""
