"""Regular files of the host."""

import fcntl
import os
import stat
from collections.abc import Sequence

from coop.fs.contract import RegularFile, Stat, to_stat


class DiskFile(RegularFile):
    """A regular file, or a device that is always ready.

    lent -- somebody else has it too: O_APPEND, which lives on what dups share, is not ours to change.
            A guest may ask for it all the same; a file that was opened with it keeps it
    """

    __slots__ = ("_appends", "_lent")

    def __init__(
        self, fd: int, mode: int, what: str = "", *, lent: bool = False, read_only: bool = False
    ) -> None:
        self._lent = lent
        self._appends = False
        super().__init__(fd, mode, what, read_only=read_only)

    def set_append(self, append: bool) -> None:
        if self._lent:
            self._appends = append
        elif stat.S_ISREG(self.mode):
            flags = fcntl.fcntl(self.fd, fcntl.F_GETFL)
            fcntl.fcntl(self.fd, fcntl.F_SETFL, flags | os.O_APPEND if append else flags & ~os.O_APPEND)

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        return os.readv(self.fd, buffers)

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        if self._appends:
            return os.pwritev(self.fd, buffers, -1, os.RWF_APPEND)
        return os.writev(self.fd, buffers)

    def stat(self) -> Stat:
        return to_stat(os.fstat(self.fd))

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self.fd, offset, whence)

    def destroy(self) -> None:
        os.close(self.fd)
