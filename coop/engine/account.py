"""How long a guest has computed, and how long it may.

The account is kept by the monotonic clock.  Of a busy guest no more is charged than the
thread's own clock has counted: in a long slice the system may have given the processor to
others.  While the guest runs, what it computes from the border's `begin_ns` on is not in it yet.
"""

import time

from coop.clock import NEVER_NS, to_ns
from coop.engine.border import Border
from coop.engine.limits import Limits
from coop.engine.preempt import now_ns
from coop.slips import Unique
from coop.task import Task

thread_ns = time.thread_time_ns


class Account(Unique):
    """One guest's account.

    cpu_ns  -- how long it has computed
    is_busy -- whether it has used up a slice and computes on
    used_slices -- how often it has used up its slice
    weight  -- its share of the processor beside other busy guests
    """

    __slots__ = (
        "_begin_thread_ns",
        "_border",
        "_budget_ns",
        "_told_ns",
        "cpu_ns",
        "is_busy",
        "used_slices",
        "weight",
    )

    def __init__(self, border: Border, limits: Limits) -> None:
        self._border = border
        self._budget_ns = NEVER_NS if limits.cpu_time is None else to_ns(limits.cpu_time)
        self.cpu_ns = self._begin_thread_ns = self._told_ns = self.used_slices = 0
        self.is_busy = False
        self.weight = 1.0

    def cpu_now_ns(self) -> int:
        """Return how long it has computed, up to now; for a host call of its own."""
        used = now_ns() - self._border.begin_ns
        return self.cpu_ns + (min(used, thread_ns() - self._begin_thread_ns) if self.is_busy else used)

    def _settle(self) -> None:
        """Bring the account up to date, in a call of the guest's."""
        self.cpu_ns, self._border.begin_ns = self.cpu_now_ns(), now_ns()
        self._begin_thread_ns = thread_ns()

    def _charge(self, task: Task) -> None:
        """Tell its task what it has computed, which decides among busy guests who goes first."""
        self._border.scheduler.runq.charge(task, int((self.cpu_ns - self._told_ns) / self.weight))
        self._told_ns = self.cpu_ns
