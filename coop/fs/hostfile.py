"""Regular files of the host, and what they share with its directories.

A read of what is in the page cache takes about a microsecond; one that must ask the disk
may take thousands of times as long, and everything on the thread would stand still.  So
where the file system can tell (RWF_NOWAIT: ext4, xfs, btrfs; not tmpfs, which has no need), a
read takes what is cached or answers BLOCKED.  `wait` then has the range read by a helper
thread, for the sake of the cache alone, and the next read is a plain one.  Knowing costs a
cached read of 4 KiB about 3 % of its system call.

A guest sees neither: a read is not cut short where the cache ends, and a file that does not
block never answers "would block".  Writes go to the cache in any case, and ext4 knows no
RWF_NOWAIT for them; they stay plain.  One that is to be on the disk when it is told of is a plain
one too, and the kernel never hears of O_SYNC: a helper thread waits for the disk.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from coop.fs import hostsys
from coop.fs.busy import job_on, jobs, working_on
from coop.fs.closing import LONG_CUT, close
from coop.fs.contract import MAX_OFFSET, FileOrDirectory, RegularFile, Stat, to_stat
from coop.netpoll.contract import WRITE
from coop.netpoll.openfile import BLOCKED
from coop.threads import run_in_crew

# Python may have been built for a libc that lacks them.
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_APPEND: int = getattr(os, "RWF_APPEND", 0)

_HERE = -1  # preadv2: at the position, which moves
_READ_PLAINLY = -2
_CANNOT_TELL = (errno.EOPNOTSUPP, errno.EINVAL)
_BRING = 1 << 18  # a helper thread is worth more than one small read
_SCRATCH = 1 << 20

_CLOSING: Final = threading.Lock()
"""Held while a descriptor is duplicated for a helper thread, and for a moment before one is closed."""


class HostDescriptor(FileOrDirectory):
    """What files and directories of the host share: a descriptor that is closed with them."""

    __slots__ = ()

    def stat(self) -> Stat:
        return to_stat(os.fstat(self.fd))

    def is_busy(self) -> bool:
        return job_on(self.fd) is not None

    def sync(self, *, data_only: bool) -> None:
        with self._duplicate() as fd:
            (os.fdatasync if data_only else os.fsync)(fd)

    def destroy(self) -> None:
        with _CLOSING:
            pass  # who duplicates it has done so, and nobody begins any more: there are no references
        close(self.fd)

    @contextmanager
    def _duplicate(self) -> Iterator[int]:
        """Give a descriptor of its own to work that may outlast the file.

        A guest may be cancelled while a helper thread works for it: the file is closed, and its
        number is somebody else's at once.
        """
        with _CLOSING:
            if self.refs == 0:
                raise OSError(errno.EBADF, f"use {self.what}: it is closed")
            fd = os.dup(self.fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def _set_times(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        with self._duplicate() as fd:
            hostsys.set_times(fd, atime_ns, mtime_ns)


class DiskFile(HostDescriptor, RegularFile):
    """An open regular file.

    lent -- somebody else has it too: O_APPEND and the position, which live on what dups share, are not
            ours to change.  A guest may ask for O_APPEND all the same; a file that was opened with it
            keeps it
    syncs -- O_DSYNC or O_SYNC, if each write is to wait for the disk: then it is made plainly, answers
            BLOCKED, and is told of when `wait` has had a helper thread wait for the disk

    A write at an offset goes to the end of a file that appends, as Linux has it.
    """

    __slots__ = ("_appends", "_lent", "_missing", "_nowait", "_synced", "_syncs", "_was_awaited", "_written")

    must_wait = True

    def __init__(
        self,
        fd: int,
        mode: int,
        what: str = "",
        *,
        lent: bool = False,
        read_only: bool = False,
        syncs: int = 0,
    ) -> None:
        self._lent = lent
        self._appends = False
        # A read that stops where the cache ends moves the position there and back again.
        self._nowait = 0 if lent else _NOWAIT
        self._missing = (0, 0)  # the range that was not in the cache
        self._was_awaited = False
        self._syncs = syncs
        self._written: int | None = None  # by the last write, which was not told of
        self._synced: OSError | bool = False  # whether it is on the disk, or why not
        super().__init__(fd, mode, what, read_only=read_only)

    def set_append(self, append: bool) -> None:
        if self._lent:
            if append and not _APPEND:
                raise OSError(errno.ENOTSUP, f"append to {self.what}, which is lent")
            self._appends = append
        else:
            flags = fcntl.fcntl(self.fd, fcntl.F_GETFL)
            fcntl.fcntl(self.fd, fcntl.F_SETFL, flags | os.O_APPEND if append else flags & ~os.O_APPEND)

    def read_one(self, buffer: memoryview) -> int:
        return self._read((buffer,), len(buffer), _HERE)

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        return self._read(buffers, sum(map(len, buffers)), _HERE)

    def pread(self, buffers: Sequence[memoryview], offset: int) -> int:
        self._require_range(offset, 0)
        return self._read(buffers, sum(map(len, buffers)), offset)

    def _read(self, buffers: Sequence[memoryview], size: int, offset: int) -> int:
        if self._nowait:
            try:
                count = os.preadv(self.fd, buffers, offset, _NOWAIT)
            except OSError as error:
                count = self._not_read(error)
            if count in (size, 0):
                return count
            if count != _READ_PLAINLY:
                return self._short(count, size, offset)
        elif self._was_awaited:
            self._was_awaited, self._nowait = False, _NOWAIT
        return os.readv(self.fd, buffers) if offset == _HERE else os.preadv(self.fd, buffers, offset)

    def _not_read(self, error: OSError) -> int:
        """Say what follows from an error: BLOCKED, or nothing for this file, ever; raise any other."""
        if error.errno == errno.EAGAIN:
            return BLOCKED
        if error.errno not in _CANNOT_TELL:
            raise error
        self._nowait = 0
        return _READ_PLAINLY

    def _short(self, count: int, size: int, offset: int) -> int:
        """Return `count` if the file ends there; if only the cache does, take the read back."""
        moved = max(count, 0)
        if count > 0:
            probe = _HERE if offset == _HERE else offset + count
            try:
                more = os.preadv(self.fd, (bytearray(1),), probe, _NOWAIT)
            except BlockingIOError:
                more = 0
            except OSError:
                return count  # the position has moved, so this is told, and the failure by the next read
            else:
                if more == 0:
                    return count
            moved += more
        if offset == _HERE:
            offset = os.lseek(self.fd, -moved, os.SEEK_CUR)
        self._missing = offset, max(size, _BRING)
        return BLOCKED

    def wait(self, mode: int, doing: str = "wait for") -> None:
        """Have a thread bring what the last read missed into the cache, or what was written to the disk."""
        if mode == WRITE:
            self._wait_for_write()
            return
        try:
            run_in_crew("disk", self._bring, *self._missing)
        except OSError:
            pass  # the read that follows meets the same, or blocks, which is better than no answer
        self._nowait, self._was_awaited = 0, True

    def _bring(self, offset: int, size: int) -> None:
        scratch = bytearray(min(size, _SCRATCH))
        with self._duplicate() as fd:
            while size > 0:
                count = os.preadv(fd, (scratch,), offset)
                if count == 0:
                    break
                offset += count
                size -= count

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        if self._syncs or jobs:
            return self._write_or_wait(lambda: self._write(buffers))
        return self._write(buffers)

    def _write(self, buffers: Sequence[memoryview]) -> int:
        if self._appends:
            return os.pwritev(self.fd, buffers, -1, _APPEND)
        return os.writev(self.fd, buffers)

    def available(self) -> int:
        try:  # FIONREAD has an int, which a large file's count does not fit
            return max(os.fstat(self.fd).st_size - os.lseek(self.fd, 0, os.SEEK_CUR), 0)
        except OSError:
            return 1

    def write_one(self, buffer: memoryview) -> int:
        if self._appends or self._syncs or jobs:
            return self.try_write((buffer,))
        return os.write(self.fd, buffer)

    def seek(self, offset: int, whence: int) -> int:
        self._require_range(abs(offset), 0)
        return os.lseek(self.fd, offset, whence)

    def pwrite(self, buffers: Sequence[memoryview], offset: int) -> int:
        self._require_range(offset, 0)
        if self._syncs or jobs:
            return self._write_or_wait(lambda: self._pwrite(buffers, offset))
        return self._pwrite(buffers, offset)

    def _pwrite(self, buffers: Sequence[memoryview], offset: int) -> int:
        return os.pwritev(self.fd, buffers, offset, _APPEND if self._appends else 0)

    def append(self, buffers: Sequence[memoryview]) -> int:
        if self._syncs or jobs:
            return self._write_or_wait(lambda: self._append(buffers))
        return self._append(buffers)

    def _append(self, buffers: Sequence[memoryview]) -> int:
        if _APPEND:
            return os.pwritev(self.fd, buffers, 0, _APPEND)
        return os.pwritev(self.fd, buffers, os.fstat(self.fd).st_size)

    def _write_or_wait(self, write: Callable[[], int]) -> int:
        """Write unless a helper thread has the file; BLOCKED: for that or for the disk is to be waited.

        Asked again after `wait`, return how much was written, or raise why it is not on the disk.
        """
        if self._written is None:
            if job_on(self.fd) is not None:
                return BLOCKED
            written = write()
            if not self._syncs:
                return written
            self._written = written
            return BLOCKED
        if self._synced is False:
            return BLOCKED
        written, self._written = self._written, None
        synced, self._synced = self._synced, False
        if isinstance(synced, OSError):
            raise synced
        return written

    def _wait_for_write(self) -> None:
        if self._written is None:
            job = job_on(self.fd)
            if job is not None:
                with suppress(OSError):  # without a thread to spare it is asked for again and again
                    run_in_crew("disk", job.wait)
            return
        try:
            run_in_crew("disk", partial(self.sync, data_only=self._syncs == os.O_DSYNC))
        except OSError as error:
            self._synced = error
        else:
            self._synced = True

    def advise(self, offset: int, length: int, advice: int) -> None:
        self._require_range(offset, length)
        with self._duplicate() as fd:
            os.posix_fadvise(fd, offset, length, advice)

    def takes_long_to_cut(self, size: int) -> bool:
        return self.is_busy() or os.fstat(self.fd).st_size - size > LONG_CUT

    def _set_size(self, size: int) -> None:
        self._require_range(size, 0)
        with self._duplicate() as fd:
            if os.fstat(fd).st_size - size > LONG_CUT:
                with working_on(fd):
                    os.ftruncate(fd, size)
            else:
                os.ftruncate(fd, size)

    def _allocate(self, offset: int, length: int) -> None:
        self._require_range(offset, length)
        if length == 0:
            raise OSError(errno.EINVAL, f"allocate nothing in {self.what}")
        with self._duplicate() as fd, working_on(fd):
            _allocate(fd, offset, length)
            if self._syncs:
                os.fsync(fd)

    def _require_range(self, offset: int, length: int) -> None:
        """Refuse numbers that the kernel cannot be told, and ranges that end behind the last position."""
        if offset < 0 or length < 0 or offset + length > MAX_OFFSET:
            raise OSError(errno.EINVAL, f"use {self.what} at {offset}, {length} bytes")


def _allocate(fd: int, offset: int, length: int) -> None:
    # Asked first: some file systems take all the room there is before they find that it is too little.
    found, room = os.fstat(fd), os.fstatvfs(fd)
    if length - found.st_blocks * 512 > room.f_bavail * room.f_frsize:
        raise OSError(errno.ENOSPC, f"allocate {length} bytes")
    try:
        hostsys.fallocate(fd, offset, length)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        # Writing zeroes, as libc does then, would take as long as a guest likes.
        if offset + length > found.st_size:
            os.ftruncate(fd, offset + length)
