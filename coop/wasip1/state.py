"""What the imports of one guest work on."""

import errno
import resource
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from coop.engine import Instance, Limits, Memory
from coop.logs import Log
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler
from coop.sources import Clocks, RandomSource
from coop.task import Task
from coop.threads import run_in_crew
from coop.wasip1.abi import IOVEC
from coop.wasip1.errno import Errno, WasiError, errno_of
from coop.wasip1.fdtable import FdTable
from coop.wasip1.filewait import FileWait

if TYPE_CHECKING:
    from coop.wasip1.poll import Poll

log = Log("coop.wasip1")

_unpack_iovec = IOVEC.unpack_from

MAX_IOVECS = 1024
"""As on Linux; a longer list is cut short, which a read or write may always be."""


class Wasi:
    """One guest's WASI state.

    fds       -- its descriptors
    memory    -- its memory
    args, env -- what it is told of its command line and environment, without the closing NUL
    clocks, random -- where time and randomness come from
    poll      -- its `poll_oneoff`
    has_yielded, received, filled, listed, done -- what the call that is asked again after a park has done so
                 far; of work in a thread, True or its error
    """

    __slots__ = (
        "_file_wait",
        "_told",
        "args",
        "bytes_per_call",
        "clocks",
        "done",
        "env",
        "fds",
        "filled",
        "has_yielded",
        "instance",
        "limits",
        "listed",
        "memory",
        "poll",
        "random",
        "received",
        "scheduler",
    )

    instance: Instance
    memory: Memory
    poll: "Poll"

    def __init__(
        self,
        scheduler: Scheduler,
        limits: Limits,
        args: Sequence[bytes],
        env: Sequence[bytes],
        clocks: Clocks,
        random: RandomSource,
    ) -> None:
        self.scheduler = scheduler
        self.limits = limits
        self.fds = FdTable(limits)
        self.args = tuple(args)
        self.env = tuple(env)
        self.clocks = clocks
        self.random = random
        self.bytes_per_call = (1 << 32) - 1 if limits.bytes_per_call is None else limits.bytes_per_call
        self.has_yielded = False
        self.received = self.filled = 0
        self.listed: tuple[int, int] | None = None
        self._file_wait: FileWait | None = None
        self.done: Exception | bool = False
        self._told: tuple[str, ...] = ()

    def block_on(self, file: OpenFile, mode: int) -> int:
        """Have the guest wait for `mode` on `file`; returns what the import answers to the shim.

        Raises: Closed, DeadlineExceeded, NotPollable - what stands against a wait, an errno for the guest.
        """
        if self._file_wait is None:
            self._file_wait = FileWait(self.scheduler, self.instance)
        return self._file_wait.begin(file, mode)

    def forget(self, file: OpenFile) -> None:
        """Wait for `file` no more: a number that named it names it no longer, or with fewer rights."""
        self.poll.forget(file)
        if self._file_wait is not None:
            self._file_wait.forget(file)

    def in_thread(self, work: Callable[[], None]) -> int:
        """Have `work`, which may block, done in a helper thread while the guest is parked.

        For an import that parks: it returns what this returns, and is asked again when the work is done;
        then this returns 0, or raises what `work` raised.
        """
        done, self.done = self.done, False
        if not done:
            return self.instance.suspend(_Work(self, work))
        if isinstance(done, Exception):
            raise done
        return 0

    def extent(self, iovs: int) -> tuple[int, int]:
        """Return address and length of the one buffer of an iovec array of one; otherwise as `buffers`."""
        memory = self.memory
        try:
            address, length = _unpack_iovec(memory.view, iovs)
        except struct.error:
            memory.check(iovs, 8)
            address, length = _unpack_iovec(memory.view, iovs)
        if length > self.bytes_per_call:
            memory.check(address, length)
            length = self._cut(self.bytes_per_call)
        if address + length > memory.size:
            memory.check(address, length)
        return address, length

    def buffers(self, iovs: int, count: int) -> list[memoryview]:
        """Return the guest's buffers of an iovec array, cut to what one call may move.

        Drop them before the guest runs on.  Raises: OutOfBounds, before anything has an effect.
        """
        memory = self.memory
        count = min(count, MAX_IOVECS)
        memory.check(iovs, count * IOVEC.size)
        found: list[memoryview] = []
        left = self.bytes_per_call
        for address, length in IOVEC.iter_unpack(memory.view[iovs : iovs + count * IOVEC.size]):
            memory.check(address, length)
            if length > left:
                length = self._cut(left)
            if length:
                found.append(memory.view[address : address + length])
                left -= length
        return found

    def _cut(self, to: int) -> int:
        log.debug("limit reached", limit="bytes_per_call", value=self.bytes_per_call)
        return to

    def limit_reached(self, limit: str, **values: Any) -> None:
        """Name a limit in the log, once a guest: one that asks again and again must not fill it."""
        if limit not in self._told:
            self._told += (limit,)
            log.warning("limit reached", limit=limit, **values)

    def text(self, address: int, length: int) -> bytes:
        """Return a path or name from the guest's memory.  Raises: OutOfBounds; WasiError(NAMETOOLONG)."""
        if length > 1 << 16:
            self.memory.check(address, length)
            raise WasiError(Errno.NAMETOOLONG)
        return self.memory.read(address, length)

    def close(self) -> None:
        """Give every descriptor back."""
        self.poll.close()
        del self.poll  # it leads back here
        if self._file_wait is not None:
            self._file_wait.close()
        self.fds.close_all()


class _Work:
    """Stands for work in a helper thread, whose end is noted in `wasi.done`."""

    def __init__(self, wasi: Wasi, work: Callable[[], None]) -> None:
        self._wasi = wasi
        self._call = work

    def wait(self, task: Task) -> None:
        """Have it done, and park meanwhile."""
        try:
            run_in_crew("disk", self._call)
        except Exception as error:
            self._wasi.done = error
        else:
            self._wasi.done = True


def answer_to(wasi: Wasi, error: BaseException) -> int | None:
    """Return the errno for an exception of an import, or None if it ends the guest.

    A host without a free descriptor names its limit in the log: to a guest it looks like its own.
    """
    if isinstance(error, OSError):
        if error.errno == errno.EMFILE:
            value = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            wasi.limit_reached("RLIMIT_NOFILE", of="the host", value=value)
        elif error.errno == errno.ENFILE:
            wasi.limit_reached("fs.file-max", of="the host")
    return errno_of(error)
