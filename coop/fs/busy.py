"""Which files of the host a helper thread is cutting or filling.

The kernel holds a file's lock meanwhile, and whoever else changes that file waits for it,
with the whole thread.  So it is asked here first, and waits in a helper thread too.  Another
process may hold the lock as well: of that nothing is known.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

jobs: Final[list[tuple[int, int, threading.Event]]] = []
"""Device, inode and end of each; helper threads add and remove them, one at a time."""
os.register_at_fork(after_in_child=jobs.clear)  # their threads are the parent's


@contextmanager
def working_on(fd: int) -> Iterator[None]:
    """Let it be known that the file is not to be waited for until this has ended."""
    found = os.fstat(fd)
    job = found.st_dev, found.st_ino, threading.Event()
    jobs.append(job)
    try:
        yield
    finally:
        jobs.remove(job)
        job[2].set()


def job_on(fd: int) -> threading.Event | None:
    """Return what is set when somebody's work on the file has ended; None if nobody works on it."""
    return job_of(os.fstat(fd)) if jobs else None


def job_of(found: os.stat_result) -> threading.Event | None:
    """Return the same for a file that was looked at."""
    for dev, ino, has_ended in tuple(jobs):
        if (dev, ino) == (found.st_dev, found.st_ino):
            return has_ended
    return None
