"""How a guest waits for one file: a read without bytes, a write without room.

    somebody else can run    the guest is suspended and its task parks
    nobody can               the task waits in the hub's place, and nothing is suspended

A guest that talks to somebody waits for the same file again and again.  So its waiter stays
queued there, as `poll_oneoff`'s does, and a wait makes nothing new.

1. The waiter is queued at one file at most, the last one that was waited for, and leaves it
   when the guest closes it.
2. Outside of a wait the waiter counts as fired, and nobody is woken by it.
"""

from coop.engine import AGAIN, AT_ONCE, Instance
from coop.errors import Closed, DeadlineExceeded, NotPollable
from coop.netpoll.contract import MODE_NAMES
from coop.netpoll.openfile import OpenFile
from coop.netpoll.waiter import Waiter
from coop.scheduler import Scheduler
from coop.task import READY, Task, current


class FileWait:
    """One guest's waits for one file at a time."""

    __slots__ = ("_file", "_instance", "_mode", "_scheduler", "_waiter")

    def __init__(self, scheduler: Scheduler, instance: Instance) -> None:
        self._scheduler = scheduler
        self._instance = instance
        self._file: OpenFile | None = None
        self._mode = 0
        self._waiter: Waiter | None = None

    def begin(self, file: OpenFile, mode: int) -> int:
        """Wait for `mode` on `file`, or arrange for it; returns what the import answers to the shim.

        Raises: Closed, DeadlineExceeded, NotPollable - what stands against a wait, an errno for the guest.
        """
        file.require(mode, MODE_NAMES[mode])
        if file.poller is None:
            self.forget(self._file)
        elif file is not self._file or mode != self._mode:
            self._queue_up(file, mode)
        self._file, self._mode = file, mode
        if file.poller is not None and self._scheduler.is_idle() and self._wait_here(file):
            return AT_ONCE
        self._instance.waits = self
        return AGAIN

    def _queue_up(self, file: OpenFile, mode: int) -> None:
        self.forget(self._file)
        self._waiter = Waiter(self._instance.task, mode, sticky=True)
        file.enlist(self._waiter)

    def _wait_here(self, file: OpenFile) -> bool:
        """Wait on the guest's fiber; True if it may try again at once."""
        waiter = self._arm(file, self._instance.task)
        try:
            return self._instance.wait_here(file.deadline_ns(self._mode)) and waiter.fired
        finally:
            self._disarm(file)

    def wait(self) -> None:
        """Wait on the task's greenlet: park."""
        file, mode, task = self._file, self._mode, current()
        assert file is not None
        if task.state is READY:  # woken before it could park: others stand before it in the queue
            task.park(self)
            return
        try:
            if file.poller is None:
                file.wait(mode)
                return
            while not file.ready & mode:
                self._arm(file, task)
                try:
                    task.park(self)
                finally:
                    self._disarm(file)
                file.require(mode, "wait for")
        except (Closed, DeadlineExceeded, NotPollable):
            # The try that follows meets the same and answers with its errno; but an error of the user's
            # Python would be met again and again.
            if file.runs_user_code:
                raise

    def _arm(self, file: OpenFile, task: Task) -> Waiter:
        waiter, poller = self._waiter, file.poller
        assert waiter is not None
        assert poller is not None
        waiter.task = task
        waiter.fired = False
        poller.waiters += 1
        if not poller.permanent:
            poller.arm(file, self._mode)
        return waiter

    def _disarm(self, file: OpenFile) -> None:
        assert self._waiter is not None
        assert file.poller is not None
        self._waiter.fired = True
        file.poller.waiters -= 1

    def forget(self, file: OpenFile | None) -> None:
        """Leave a file's queue, because the guest closes it or waits for another one."""
        if file is not None and file is self._file:
            if self._waiter is not None:
                file.leave(self._waiter)
            self._file = self._waiter = None

    def close(self) -> None:
        """Leave the queue it is in."""
        self.forget(self._file)

    def __str__(self) -> str:
        return "nothing" if self._file is None else f"{MODE_NAMES[self._mode]} on {self._file.what}"
