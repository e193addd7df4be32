"""How a guest waits for one file: a read without bytes, a write without room.

    somebody else can run    the guest is suspended and its task parks
    nobody can               the task waits in the hub's place, and nothing is suspended

A guest that talks to somebody waits for the same file again and again.  So its waiter stays
queued there, as `poll_oneoff`'s does, and a wait makes nothing new.

1. The waiter is queued at one file at most, the last one that was waited for, and leaves it
   when the guest closes it.  A file that no poller watches has none: its own `wait` parks the task.
2. Outside of a wait the waiter counts as fired, and nobody is woken by it.
3. A wait may end early, or for what stands against it: the guest tries again, and hears of it.
"""

from coop.engine import AT_ONCE, Instance
from coop.errors import Closed, DeadlineExceeded, NotPollable
from coop.netpoll.contract import MODE_NAMES, Poller
from coop.netpoll.openfile import OpenFile
from coop.netpoll.waiter import Waiter
from coop.scheduler import Scheduler
from coop.stint import Stint
from coop.task import READY, Task


class FileWait:
    """One guest's waits for one file at a time."""

    __slots__ = ("_file", "_instance", "_mode", "_queued", "_scheduler", "_stint")

    def __init__(self, scheduler: Scheduler, instance: Instance) -> None:
        self._scheduler = scheduler
        self._instance = instance
        self._file: OpenFile | None = None
        self._mode = 0
        self._queued: tuple[OpenFile, int, Waiter, Poller] | None = None
        """All that a wait takes, in one piece, if the file has a queue."""
        self._stint: Stint | None = None

    def begin(self, file: OpenFile, mode: int) -> int:
        """Wait for `mode` on `file`, or arrange for it; returns what the import answers to the shim.

        Raises: Closed, DeadlineExceeded, NotPollable - what stands against a wait, an errno for the guest.
        """
        if file.is_hindered:
            file.require(mode, MODE_NAMES[mode])
        if file is not self._file or mode != self._mode:
            self._turn_to(file, mode)
        scheduler = self._scheduler
        # In a crowd the queue alone says no, and costs no call.
        if not scheduler.runq.tasks and self._queued is not None and scheduler.is_idle():
            if self._wait_here(*self._queued):
                return AT_ONCE
            if self._instance.task.state is READY:
                return self._instance.suspend(_ITS_TURN)
        return self._instance.suspend(self)

    def _turn_to(self, file: OpenFile, mode: int) -> None:
        self.forget(self._file)
        self._file, self._mode = file, mode
        if file.poller is not None:
            waiter = Waiter(self._instance.task, mode, sticky=True)
            file.enlist(waiter)
            self._queued = file, mode, waiter, file.poller

    def _wait_here(self, file: OpenFile, mode: int, waiter: Waiter, poller: Poller) -> bool:
        """Wait on the guest's fiber; True if it may try again at once."""
        if not poller.permanent:
            poller.arm(file, mode)
        waiter.task, waiter.fired = self._instance.task, False
        poller.waiters += 1
        try:
            return self._instance.wait_here(file.deadline_ns(mode)) and waiter.fired
        finally:
            waiter.fired = True
            poller.waiters -= 1

    def wait(self, task: Task) -> None:
        """Wait on the task's greenlet: park."""
        if self._queued is None:
            self._wait_unwatched()
            return
        file, mode, waiter, poller = self._queued
        while not file.ready & mode:
            if not poller.permanent:
                poller.arm(file, mode)
            waiter.task, waiter.fired = task, False
            poller.waiters += 1
            try:
                task.park(self)
            finally:
                waiter.fired = True
                poller.waiters -= 1
            if file.is_hindered:
                return

    def _wait_unwatched(self) -> None:
        file = self._file
        assert file is not None
        try:
            file.wait(self._mode)
        except (Closed, DeadlineExceeded, NotPollable):
            # The try that follows meets the same and answers with its errno; but an error of the user's
            # Python would be met again and again.
            if file.must_wait:
                raise
        # It may have run the user's Python instead of a park, and may do so each time.
        self._stint = self._stint or Stint(self._scheduler)
        self._stint.step()

    def forget(self, file: OpenFile | None) -> None:
        """Leave a file's queue, because the guest closes it or waits for another one."""
        if file is not None and file is self._file:
            if self._queued is not None:
                file.leave(self._queued[2])
            self._file = self._queued = None

    def close(self) -> None:
        """Leave the queue it is in."""
        self.forget(self._file)

    def __str__(self) -> str:
        return "nothing" if self._file is None else f"{MODE_NAMES[self._mode]} on {self._file.what}"


class _ItsTurn:
    """Stands for the turn of a task that was woken before it could park, and others before it."""

    def wait(self, task: Task) -> None:
        """Park; it stands in the queue already."""
        task.park("its turn")


_ITS_TURN = _ItsTurn()
