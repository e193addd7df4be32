"""Directories of the host.

Nothing here joins paths: `contain` resolves them below the directory's descriptor,
and what acts on a name acts on one component in a directory reached so.

A slash at the end of a path says "a directory".  Making, moving and removing
directories follows no link, slash or not, so the slash is handed to the kernel, which
knows what to answer.  (Native wasmtime cuts it off before a rename; the tests of the
specification want what Linux says.)  Every other call is made on the directory that
the path leads to, opened beneath as any other, by the name `.`: a kernel would follow a
link here, and a call that wants something else than a directory fails as native wasmtime's.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from coop.fs.busy import job_of, working_on
from coop.fs.closing import freed_beside, is_large
from coop.fs.contain import Parent, open_beneath, parent_beneath, stat_beneath
from coop.fs.contract import Directory, Entry, Stat, to_stat
from coop.fs.dirents import DirentReader, Listings
from coop.fs.hostfile import DiskFile, HostDescriptor
from coop.fs.hostsys import set_times_at
from coop.fs.paths import check_path, path_error
from coop.netpoll.kernelfiles import PipeFile
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler

_OF_THE_PATH = (
    *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EPERM, errno.EACCES),
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),
)


class HostDirectory(HostDescriptor, Directory):
    """An open directory of the host.

    fd       -- its descriptor, opened for reading; closed with it
    owner    -- watches the FIFOs and devices that are opened through it
    listings -- shared with the directory that it was opened through
    """

    __slots__ = ("_listings", "_owner", "_reader")

    def __init__(
        self,
        owner: Scheduler,
        fd: int,
        what: str,
        *,
        read_only: bool = False,
        listings: Listings | None = None,
    ) -> None:
        self._owner = owner
        self._listings = listings or Listings()
        self._reader = DirentReader(fd, self._listings)
        super().__init__(fd, stat.S_IFDIR, what, read_only=read_only)

    def stat_at(self, path: bytes, *, follow: bool) -> Stat:
        return to_stat(stat_beneath(self.fd, path, follow=follow))

    def read_link(self, path: bytes) -> bytes:
        with _place(self.fd, path) as place:
            target = os.readlink(place.name, dir_fd=place.fd)
        check_path(target)
        return target

    def is_large(self, path: bytes, kind: int, *, follow: bool) -> bool:
        try:
            found = stat_beneath(self.fd, path, follow=follow)
        except OSError as error:
            if error.errno in _OF_THE_PATH:
                return False  # the call that follows tells it, or something that comes before it
            raise
        return stat.S_IFMT(found.st_mode) == kind and (is_large(found) or job_of(found) is not None)

    def apart(self, work: Callable[[Directory], None]) -> None:
        with self._duplicate() as fd:
            same = HostDirectory(self._owner, os.dup(fd), self.what, read_only=self.read_only)
        try:
            work(same)
        finally:
            same.release()

    def cut(self, path: bytes, flags: int, *, follow: bool) -> None:
        # Who may not read it, or not write it, may not have it cut by an open for that either.
        access = os.O_WRONLY if flags & os.O_ACCMODE == os.O_WRONLY else os.O_RDWR
        with suppress(OSError):
            self.require_writable()
            fd = open_beneath(self.fd, path, access, follow=follow)
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    with working_on(fd):
                        os.ftruncate(fd, 0)
            finally:
                os.close(fd)

    def entries(self, cookie: int, room: int) -> list[Entry]:
        return self._reader.read(cookie, room)

    def destroy(self) -> None:
        self._reader.close()
        super().destroy()

    def _open(self, path: bytes, flags: int, *, follow: bool) -> OpenFile:
        fd = open_beneath(self.fd, path, flags & ~os.O_SYNC, follow=follow)
        try:
            return self._opened(fd, f"file {path.decode()}", flags)
        except BaseException:
            os.close(fd)
            raise

    def _opened(self, fd: int, what: str, flags: int) -> OpenFile:
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return DiskFile(fd, mode, what, read_only=self.read_only, syncs=flags & os.O_SYNC)
        if stat.S_ISDIR(mode):
            return HostDirectory(self._owner, fd, what, read_only=self.read_only, listings=self._listings)
        owner = self._owner
        awaits_writer = stat.S_ISFIFO(mode) and flags & os.O_ACCMODE == os.O_RDONLY
        return PipeFile(fd, mode, what, poller=owner.poller, timers=owner.timers, await_writer=awaits_writer)

    def _set_times_at(self, path: bytes, atime_ns: int | None, mtime_ns: int | None, *, follow: bool) -> None:
        with _place(self.fd, path, follow=follow) as place:
            set_times_at(place.fd, place.name, atime_ns, mtime_ns)

    def _make_directory(self, path: bytes) -> None:
        with parent_beneath(self.fd, path) as parent:
            os.mkdir(_spelled(parent), dir_fd=parent.fd)

    def _remove_directory(self, path: bytes) -> None:
        with parent_beneath(self.fd, path) as parent, freed_beside(*parent[:2]):
            try:
                os.rmdir(_spelled(parent), dir_fd=parent.fd)
            except NotADirectoryError:
                with _place(self.fd, path):  # a link that leads to no directory, and a slash, says why
                    raise

    def _unlink(self, path: bytes) -> None:
        with _place(self.fd, path) as place, freed_beside(*place[:2]):
            os.unlink(place.name, dir_fd=place.fd)

    def _symlink(self, target: bytes, path: bytes) -> None:
        check_path(target)
        with _place(self.fd, path) as place:
            os.symlink(target, place.name, dir_fd=place.fd)

    def _rename(self, path: bytes, other: Directory, new: bytes) -> None:
        with parent_beneath(self.fd, path) as parent, parent_beneath(other.fd, new) as goal:
            try:
                with freed_beside(*goal[:2]):
                    os.rename(_spelled(parent), _spelled(goal), src_dir_fd=parent.fd, dst_dir_fd=goal.fd)
            except NotADirectoryError:
                if goal.slash and not parent.slash and _is_directory(goal):
                    raise path_error(errno.EISDIR, new) from None  # the same as without the slash
                raise

    def _link(self, path: bytes, other: Directory, new: bytes, *, follow: bool) -> None:
        with _place(self.fd, path, follow=follow) as place, _place(other.fd, new) as goal:
            os.link(place.name, goal.name, src_dir_fd=place.fd, dst_dir_fd=goal.fd, follow_symlinks=False)


@contextmanager
def _place(dirfd: int, path: bytes, *, follow: bool = False) -> Iterator[Parent]:
    """Give what `parent_beneath` gives, but for a slash: then the directory it follows, by the name `.`."""
    with parent_beneath(dirfd, path, follow=follow) as parent:
        if not parent.slash:
            yield parent
            return
    fd = open_beneath(dirfd, path, os.O_PATH | os.O_DIRECTORY, follow=True)
    try:
        yield Parent(fd, b".", slash=False)
    finally:
        os.close(fd)


def _is_directory(place: Parent) -> bool:
    try:
        return stat.S_ISDIR(os.stat(place.name, dir_fd=place.fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _spelled(parent: Parent) -> bytes:
    """Return the name with its slash, for calls that do not follow it."""
    return parent.name + b"/" if parent.slash else parent.name
