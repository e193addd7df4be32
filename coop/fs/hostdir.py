"""Directories of the host.

Nothing here joins paths: `contain` resolves them below the directory's descriptor,
and what acts on a name acts on one component in a directory reached so.

A slash at the end of a path says "a directory".  Calls that make, move or remove a
name never follow it, slash or not, so the slash is handed to the kernel, which knows
what to answer.  (Native wasmtime cuts it off before a rename and follows it before an
unlink; the tests of the specification want what Linux says.)  Calls that read or change
what is named would follow a link before a slash; for these the directory is opened
first, beneath as any other.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from coop.fs.contain import Parent, open_beneath, parent_beneath, stat_beneath
from coop.fs.contract import Directory, Entry, Stat, to_stat
from coop.fs.dirents import DirentReader
from coop.fs.hostfile import DiskFile, HostDescriptor
from coop.fs.hostsys import set_times_at
from coop.fs.paths import check_path, path_error
from coop.netpoll.kernelfiles import PipeFile
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler


class HostDirectory(HostDescriptor, Directory):
    """An open directory of the host.

    fd    -- its descriptor, opened for reading; closed with it
    owner -- watches the FIFOs and devices that are opened through it
    """

    __slots__ = ("_owner", "_reader")

    def __init__(self, owner: Scheduler, fd: int, what: str, *, read_only: bool = False) -> None:
        self._owner = owner
        self._reader = DirentReader(fd)
        super().__init__(fd, stat.S_IFDIR, what, read_only=read_only)

    def stat_at(self, path: bytes, *, follow: bool) -> Stat:
        return to_stat(stat_beneath(self.fd, path, follow=follow))

    def read_link(self, path: bytes) -> bytes:
        with parent_beneath(self.fd, path) as parent:
            if not parent.slash:
                target = os.readlink(parent.name, dir_fd=parent.fd)
                check_path(target)
                return target
        with self._directory(path):
            raise path_error(errno.EINVAL, path)

    def entries(self, cookie: int, room: int) -> list[Entry]:
        return self._reader.read(cookie, room)

    def _open(self, path: bytes, flags: int, *, follow: bool) -> OpenFile:
        # A mode of 0666 before the umask, as every program's open has.
        fd = open_beneath(self.fd, path, flags, 0o666, follow=follow)
        try:
            return self._opened(fd, f"file {path.decode()}", flags)
        except BaseException:
            os.close(fd)
            raise

    def _opened(self, fd: int, what: str, flags: int) -> OpenFile:
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return DiskFile(fd, mode, what, read_only=self.read_only)
        if stat.S_ISDIR(mode):
            return HostDirectory(self._owner, fd, what, read_only=self.read_only)
        owner = self._owner
        awaits_writer = stat.S_ISFIFO(mode) and flags & os.O_ACCMODE == os.O_RDONLY
        return PipeFile(fd, mode, what, poller=owner.poller, timers=owner.timers, await_writer=awaits_writer)

    def _set_times_at(self, path: bytes, atime_ns: int | None, mtime_ns: int | None, *, follow: bool) -> None:
        with parent_beneath(self.fd, path, follow=follow) as parent:
            if not parent.slash:
                set_times_at(parent.fd, parent.name, atime_ns, mtime_ns)
                return
        with self._directory(path) as fd:
            set_times_at(fd, b".", atime_ns, mtime_ns)

    def _make_directory(self, path: bytes) -> None:
        with parent_beneath(self.fd, path) as parent:
            os.mkdir(_spelled(parent), dir_fd=parent.fd)

    def _remove_directory(self, path: bytes) -> None:
        with parent_beneath(self.fd, path) as parent:
            os.rmdir(_spelled(parent), dir_fd=parent.fd)

    def _unlink(self, path: bytes) -> None:
        with parent_beneath(self.fd, path) as parent:
            os.unlink(_spelled(parent), dir_fd=parent.fd)

    def _symlink(self, target: bytes, path: bytes) -> None:
        check_path(target)
        with parent_beneath(self.fd, path) as parent:
            os.symlink(target, _spelled(parent), dir_fd=parent.fd)

    def _rename(self, path: bytes, other: Directory, new: bytes) -> None:
        with parent_beneath(self.fd, path) as parent, parent_beneath(other.fd, new) as goal:
            os.rename(_spelled(parent), _spelled(goal), src_dir_fd=parent.fd, dst_dir_fd=goal.fd)

    def _link(self, path: bytes, other: Directory, new: bytes, *, follow: bool) -> None:
        with parent_beneath(other.fd, new) as goal:
            with parent_beneath(self.fd, path, follow=follow) as parent:
                if not parent.slash:
                    _link(parent.fd, parent.name, goal)
                    return
            with self._directory(path) as fd:
                _link(fd, b".", goal)  # refused, and the kernel knows with which errno

    @contextmanager
    def _directory(self, path: bytes) -> Iterator[int]:
        """Give the directory that `path`, which ends in a slash, leads to; opened with O_PATH."""
        fd = open_beneath(self.fd, path, os.O_PATH | os.O_DIRECTORY, follow=True)
        try:
            yield fd
        finally:
            os.close(fd)


def _link(dirfd: int, name: bytes, goal: Parent) -> None:
    os.link(name, _spelled(goal), src_dir_fd=dirfd, dst_dir_fd=goal.fd, follow_symlinks=False)


def _spelled(parent: Parent) -> bytes:
    """Return the name with its slash, for calls that do not follow it."""
    return parent.name + b"/" if parent.slash else parent.name
