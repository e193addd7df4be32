"""What a file system offers: open files with positions, and directories that resolve paths below them.

Both are open files, so numbers name them, dups share them and the last name closes
them.  Every method raises OSError with the host's errno; who calls for a guest makes
the guest's errno of it.

1. A path never leads out of the directory it is given to (`paths`, `contain`): EPERM.
2. What is opened below a read-only directory is read-only as well.  The rules of
   that are here and nowhere else: a file system only implements what changes things,
   under a name with an underscore, and is asked only where changing is allowed.
3. An object of one file system is never moved or linked into another: EXDEV.
"""

import errno
import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from coop.fs.paths import path_error
from coop.netpoll.openfile import OpenFile

NOW = -1
"""A time to set that stands for the moment of the call."""

MAX_OFFSET: Final = (1 << 63) - 1
"""The last position and the last length that a file can have, as on Linux."""

LAST_NS = (1 << 64) - 1
"""The last time that can be set, in the year 2554."""

ENTRY_SIZE = 24
"""Bytes that an entry of a directory takes beside its name, for any guest."""

_WRITES = os.O_WRONLY | os.O_RDWR
_CREATE_NEW = os.O_CREAT | os.O_EXCL


class Stat(NamedTuple):
    """What is known of a file; times in nanoseconds since 1970, all numbers below 1 << 64."""

    dev: int
    ino: int
    mode: int
    """Type and permissions as in `st_mode`."""
    nlink: int
    size: int
    """Bytes."""
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


def to_stat(found: os.stat_result) -> Stat:
    """Take what the contract names out of the host's answer; times out of range as the nearest in it."""
    atime_ns, mtime_ns, ctime_ns = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
    if not (0 <= atime_ns <= LAST_NS and 0 <= mtime_ns <= LAST_NS and 0 <= ctime_ns <= LAST_NS):
        atime_ns, mtime_ns, ctime_ns = (
            min(max(time_ns, 0), LAST_NS) for time_ns in (atime_ns, mtime_ns, ctime_ns)
        )
    return Stat(
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_size,
        atime_ns,
        mtime_ns,
        ctime_ns,
    )


def _check_times(*times_ns: int | None) -> None:
    for time_ns in times_ns:
        if time_ns is not None and time_ns != NOW and not 0 <= time_ns <= LAST_NS:
            raise OSError(errno.EINVAL, f"set a time to {time_ns} ns")


class Entry(NamedTuple):
    """One entry of a directory."""

    next: int
    """The cookie to go on behind it."""
    ino: int
    mode: int
    """Its type as in `st_mode`, without permissions; 0 if it is not known."""
    name: bytes


class FileOrDirectory(OpenFile):
    """What both kinds share.

    read_only -- nothing may be changed through it
    """

    __slots__ = ("read_only",)

    def __init__(self, fd: int, mode: int, what: str = "", *, read_only: bool = False) -> None:
        self.read_only = read_only
        super().__init__(fd, mode, what)

    def stat(self) -> Stat:
        """Return what is known of it."""
        raise NotImplementedError

    def is_busy(self) -> bool:
        """Whether what changes it has to wait for a helper thread, and so is work for another."""
        return False

    def sync(self, *, data_only: bool) -> None:
        """Wait until what was written is on the disk; callable from a helper thread."""
        raise NotImplementedError

    def set_times(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set its times: since 1970, `NOW`, or None to leave one as it is; callable from a helper thread.

        Raises: OSError(EINVAL) for a time before 1970 or of more than 64 bits.
        """
        self.require_writable()
        _check_times(atime_ns, mtime_ns)
        self._set_times(atime_ns, mtime_ns)

    def require_writable(self) -> None:
        """Raise OSError(EROFS) if nothing may be changed."""
        if self.read_only:
            raise OSError(errno.EROFS, f"change {self.what}: it is read-only")

    def _set_times(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        raise NotImplementedError


class RegularFile(FileOrDirectory):
    """An open file with a position; `try_read` and `try_write` begin there.

    It is always ready.  A read may answer BLOCKED all the same, where the disk is slow: then `wait`, on
    the task's greenlet, brings in what it missed, and the next read is made whatever it takes.  So may a
    write that is to reach the disk: it is made, and after `wait` the same call returns what it was; and one
    to a file that is busy, which is not made yet.
    """

    __slots__ = ()

    def seek(self, offset: int, whence: int) -> int:
        """Move the position by os.SEEK_SET, SEEK_CUR or SEEK_END and return it.

        Raises: OSError(EINVAL) for one before the start.
        """
        raise NotImplementedError

    def pread(self, buffers: Sequence[memoryview], offset: int) -> int:
        """Read into `buffers` from `offset` and return how many bytes, or BLOCKED; the position stays."""
        raise NotImplementedError

    def pwrite(self, buffers: Sequence[memoryview], offset: int) -> int:
        """Write `buffers` at `offset`, or at the end of a file that appends.

        Returns: how many bytes, or BLOCKED.
        """
        raise NotImplementedError

    def append(self, buffers: Sequence[memoryview]) -> int:
        """Write `buffers` at the end, wherever that is; the position stays.

        Returns: how many bytes, or BLOCKED.
        """
        raise NotImplementedError

    def advise(self, offset: int, length: int, advice: int) -> None:
        """Tell how a range will be used: one of os.POSIX_FADV_*.  May do nothing.

        Callable from a helper thread: what is not needed soon may go to the disk before this returns.
        """
        raise NotImplementedError

    def takes_long_to_cut(self, size: int) -> bool:
        """Whether `set_size` takes milliseconds, and so is work for a helper thread.  Never so in memory."""
        return False

    def set_size(self, size: int) -> None:
        """Cut the file, or make it longer by a hole; callable from a helper thread."""
        self.require_writable()
        self._set_size(size)

    def allocate(self, offset: int, length: int) -> None:
        """Have room for a range, and the file at least as long as its end; callable from a helper thread.

        Where a file system cannot keep room free, only the length is sure.
        Raises: OSError(EINVAL) for no bytes, or an end that no file has; ENOSPC, EDQUOT, EFBIG.
        """
        self.require_writable()
        self._allocate(offset, length)

    def _set_size(self, size: int) -> None:
        raise NotImplementedError

    def _allocate(self, offset: int, length: int) -> None:
        raise NotImplementedError


class Directory(FileOrDirectory):
    """An open directory.  `path` is a guest's: bytes, relative, checked and resolved below this directory."""

    __slots__ = ()

    def open(self, path: bytes, flags: int, *, follow: bool) -> OpenFile:
        """Open what `path` names.

        flags  -- os.O_*, complete but for O_NOFOLLOW; a new file gets mode 0666 before the umask
        follow -- a link at the end of the path is followed
        Returns a `RegularFile`, a `Directory`, or another open file for a FIFO or device.
        """
        if not self.read_only:
            return self._open(path, flags, follow=follow)
        if flags & (_WRITES | os.O_TRUNC):
            raise path_error(errno.EROFS, path)
        if flags & os.O_CREAT:
            return self._open_existing(path, flags, follow=follow)
        return self._open(path, flags, follow=follow)

    def _open_existing(self, path: bytes, flags: int, *, follow: bool) -> OpenFile:
        """Open what might be created if anything could be; what is there gives the same answer as ever."""
        if flags & os.O_DIRECTORY:
            raise path_error(errno.EINVAL, path)
        is_new = flags & _CREATE_NEW == _CREATE_NEW
        try:
            if is_new:
                self.stat_at(path, follow=False)
                raise path_error(errno.EEXIST, path)
            opened = self._open(path, flags & ~os.O_CREAT, follow=follow)
        except FileNotFoundError:
            raise path_error(errno.EROFS, path) from None
        if isinstance(opened, Directory):
            opened.release()
            raise path_error(errno.EISDIR, path)
        return opened

    def stat_at(self, path: bytes, *, follow: bool) -> Stat:
        """Return what is known of what `path` names."""
        raise NotImplementedError

    def read_link(self, path: bytes) -> bytes:
        """Return the target of the link `path`.  Raises: OSError(EINVAL) if it is none."""
        raise NotImplementedError

    def is_large(self, path: bytes, kind: int, *, follow: bool) -> bool:
        """Whether `path` names what takes milliseconds to cut or to remove, `kind` being its type.

        So much is work for a helper thread, by `apart`, and so is a file that is busy.  Never so in memory.
        """
        return False

    def apart(self, work: Callable[["Directory"], None]) -> None:
        """Do `work` in a helper thread, with a copy of this directory, which may be closed meanwhile.

        One in memory needs none: what is large is the host's, and between the two nothing is moved.
        """
        work(self)

    def cut(self, path: bytes, flags: int, *, follow: bool) -> None:
        """Leave less to do for an open with O_TRUNC that follows; whatever stands against it, that one tells.

        flags -- of that open
        """
        raise NotImplementedError

    def entries(self, cookie: int, room: int) -> list[Entry]:
        """Return the next entries behind `cookie`, of which 0 is the start; none at the end.

        room -- about how many bytes of names, and `ENTRY_SIZE` for each, are wanted: no call must cost more
        `.` and `..` are among them.  A cookie survives changes: what was there all the time is seen
        once, what came or went meanwhile at most once.
        """
        raise NotImplementedError

    def set_times_at(self, path: bytes, atime_ns: int | None, mtime_ns: int | None, *, follow: bool) -> None:
        """Set the times of what `path` names, as `set_times`."""
        self.require_writable()
        _check_times(atime_ns, mtime_ns)
        self._set_times_at(path, atime_ns, mtime_ns, follow=follow)

    def make_directory(self, path: bytes) -> None:
        """Make a directory of mode 0777 before the umask."""
        self.require_writable()
        self._make_directory(path)

    def remove_directory(self, path: bytes) -> None:
        """Remove an empty directory.  Raises: OSError(ENOTDIR, ENOTEMPTY)."""
        self.require_writable()
        self._remove_directory(path)

    def unlink(self, path: bytes) -> None:
        """Remove a name that is no directory's.  Raises: OSError(EISDIR)."""
        self.require_writable()
        self._unlink(path)

    def symlink(self, target: bytes, path: bytes) -> None:
        """Make `path` a link to `target`, which need not exist.  Raises: OSError(EPERM) if it is absolute."""
        self.require_writable()
        self._symlink(target, path)

    def rename(self, path: bytes, other: "Directory", new: bytes) -> None:
        """Rename `path` to `new` below `other`, over what may be there."""
        self._require_both(other)
        self._rename(path, other, new)

    def link(self, path: bytes, other: "Directory", new: bytes, *, follow: bool) -> None:
        """Make `new` below `other` another name of the file `path`.

        Both must be writable: through the new name the file could be written.
        """
        self._require_both(other)
        self._link(path, other, new, follow=follow)

    def _require_both(self, other: "Directory") -> None:
        self.require_writable()
        other.require_writable()
        if type(self) is not type(other):
            raise OSError(errno.EXDEV, f"move between {self.what} and {other.what}")

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        """Refuse: a directory is read by its entries."""
        raise IsADirectoryError(errno.EISDIR, f"read {self.what}")

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        """Refuse: a directory is changed by its entries."""
        raise IsADirectoryError(errno.EISDIR, f"write {self.what}")

    def _open(self, path: bytes, flags: int, *, follow: bool) -> OpenFile:
        raise NotImplementedError

    def _set_times_at(self, path: bytes, atime_ns: int | None, mtime_ns: int | None, *, follow: bool) -> None:
        raise NotImplementedError

    def _make_directory(self, path: bytes) -> None:
        raise NotImplementedError

    def _remove_directory(self, path: bytes) -> None:
        raise NotImplementedError

    def _unlink(self, path: bytes) -> None:
        raise NotImplementedError

    def _symlink(self, target: bytes, path: bytes) -> None:
        raise NotImplementedError

    def _rename(self, path: bytes, other: "Directory", new: bytes) -> None:
        raise NotImplementedError

    def _link(self, path: bytes, other: "Directory", new: bytes, *, follow: bool) -> None:
        raise NotImplementedError
