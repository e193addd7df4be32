"""What a fork leaves behind: things of the parent's, which its child must not go on with.

Asking the system for the process's number takes a fifth of a microsecond, and a guest's life asks
whether it is still at home a dozen times.  So it is the fork that tells.
"""

import os
import weakref
from typing import Protocol


class Abandoned(Protocol):
    """Something that is of no use in a forked process."""

    def abandon(self) -> None:
        """Refuse every further step: this is a copy, in a process forked from the owner's."""
        ...


_living: "weakref.WeakSet[Abandoned]" = weakref.WeakSet()


def abandon_in_children(thing: Abandoned) -> None:
    """Have `thing.abandon()` called in every process that is forked from here on."""
    _living.add(thing)


def _abandon_all() -> None:
    for each in list(_living):
        each.abandon()


os.register_at_fork(after_in_child=_abandon_all)
