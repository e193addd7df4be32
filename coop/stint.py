"""A stretch of work in one task without a park, which must not last: everybody else waits meanwhile.

Guests that compute are made to yield; Python code cannot be.  A loop that parks only when nothing is
there - a connection whose peer sends faster than it is read, host functions called again and again -
asks at each step whether it is time to let the others run.
"""

from coop.scheduler import Scheduler
from coop.task import current_or_none

MOST_NS = 5_000_000
"""How long it may last: less than a slice of a guest."""


class Stint:
    """The stint of one loop, or of all that uses one thing."""

    __slots__ = ("_owner", "_since_ns", "_turn")

    def __init__(self, owner: Scheduler) -> None:
        self._owner = owner
        self._turn, self._since_ns = -1, 0

    def step(self) -> None:
        """Yield if the first step of this turn was long ago; a task runs once a turn, until it parks.

        Raises: as a park.
        """
        owner = self._owner
        now_ns = owner.now_ns()
        if self._turn != owner.turns:
            self._turn, self._since_ns = owner.turns, now_ns
        elif now_ns - self._since_ns > MOST_NS:
            task = current_or_none()
            if task is not None and not task.pinned:
                task.pause()
