"""Directories of the host.

Nothing here joins paths: `contain` resolves them below the directory's descriptor,
and what acts on a name acts on one component in a directory reached so.
"""

import os
import stat

from coop.fs.contain import open_beneath, stat_beneath
from coop.fs.contract import Directory, Stat, to_stat
from coop.fs.hostfile import DiskFile
from coop.netpoll.kernelfiles import PipeFile
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler


class HostDirectory(Directory):
    """An open directory of the host.

    fd    -- its descriptor, opened for reading; closed with it
    owner -- watches the FIFOs and devices that are opened through it
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: Scheduler, fd: int, what: str, *, read_only: bool = False) -> None:
        self._owner = owner
        super().__init__(fd, stat.S_IFDIR, what, read_only=read_only)

    def stat(self) -> Stat:
        return to_stat(os.fstat(self.fd))

    def stat_at(self, path: bytes, *, follow: bool) -> Stat:
        return to_stat(stat_beneath(self.fd, path, follow=follow))

    def _open(self, path: bytes, flags: int, *, follow: bool) -> OpenFile:
        # A mode of 0666 before the umask, as every program's open has.
        fd = open_beneath(self.fd, path, flags, 0o666, follow=follow)
        try:
            return self._opened(fd, f"file {path.decode(errors='replace')}", flags)
        except BaseException:
            os.close(fd)
            raise

    def _opened(self, fd: int, what: str, flags: int) -> OpenFile:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            return HostDirectory(self._owner, fd, what, read_only=self.read_only)
        if stat.S_ISREG(mode):
            return DiskFile(fd, mode, what, read_only=self.read_only)
        owner = self._owner
        awaits_writer = stat.S_ISFIFO(mode) and flags & os.O_ACCMODE == os.O_RDONLY
        return PipeFile(fd, mode, what, poller=owner.poller, timers=owner.timers, await_writer=awaits_writer)

    def destroy(self) -> None:
        os.close(self.fd)
