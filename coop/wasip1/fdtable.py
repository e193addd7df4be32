"""The guest's descriptor table: numbers that name open files, with what may be done through each.

1. A number is given out by the pool and given back after its entry left the table.
2. The table never holds more entries than the limit; the guest gets EMFILE.
3. Pre-opened sockets come first, from 3, directories after them.
"""

from typing import NoReturn

from coop.engine import Limits
from coop.logs import Log
from coop.netpoll import FdPool
from coop.netpoll.contract import READ
from coop.netpoll.openfile import OpenFile
from coop.wasip1.abi import Filetype, Rights
from coop.wasip1.errno import Errno, WasiError

log = Log("coop.wasip1")

_FD_READ, _FD_WRITE, _POLL = Rights.FD_READ, Rights.FD_WRITE, Rights.POLL_FD_READWRITE
_DIRECTORY = Filetype.DIRECTORY  # a member of an Enum takes long to look up
_POLL_BOTH = _POLL | _FD_READ | _FD_WRITE


class Descriptor:
    """One entry.

    file       -- the open file it names
    filetype   -- what the guest is told it is
    rights     -- what may be done with it; an entry with fewer is another one
    inheriting -- what may be done with descriptors opened through it
    fdflags    -- flags besides NONBLOCK, which lives on the file
    preopen    -- the name a pre-opened directory or socket has for the guest
    reads, writes, polls -- the file if the rights allow to read it, to write it, or to poll it in both
                  directions, else None: so that the calls made most often look once
    """

    __slots__ = (
        "fdflags",
        "file",
        "filetype",
        "inheriting",
        "polls",
        "preopen",
        "reads",
        "rights",
        "writes",
    )

    def __init__(
        self,
        file: OpenFile,
        filetype: Filetype,
        rights: int,
        inheriting: int,
        fdflags: int = 0,
        preopen: bytes | None = None,
    ) -> None:
        self.file = file
        self.filetype = filetype
        self.fdflags = fdflags
        self.preopen = preopen
        self.rights, self.inheriting = rights, inheriting
        self.reads = file if rights & _FD_READ else None
        self.writes = file if rights & _FD_WRITE else None
        may_poll = rights & _POLL_BOTH == _POLL_BOTH and filetype is not _DIRECTORY
        self.polls = file if may_poll else None

    def narrowed(self, rights: int, inheriting: int) -> "Descriptor":
        """Return the same with other rights."""
        return Descriptor(self.file, self.filetype, rights, inheriting, self.fdflags, self.preopen)

    def may_poll(self, mode: int) -> bool:
        """Whether the rights allow to wait until the file can be read, or written."""
        needed = _POLL | (_FD_READ if mode == READ else _FD_WRITE)
        return self.rights & needed == needed


class FdTable(dict[int, Descriptor]):
    """Numbers to descriptors: a dict that changes only by what follows here.

    version -- another number after every change: what was looked up under an older one may be gone
    """

    __slots__ = ("_limit", "_pool", "_was_told", "version")

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._pool = FdPool()
        self._limit = limits.fds
        self._was_told = False
        self.version = 0

    def __missing__(self, fd: int) -> NoReturn:
        """Answer for a number that names nothing.  Raises: WasiError(BADF)."""
        raise WasiError(Errno.BADF)

    def check_room(self) -> None:
        """Raise WasiError(MFILE), and log the limit's name the first time, if no entry can be added."""
        if self._limit is not None and len(self) >= self._limit:
            if not self._was_told:  # once: a guest that asks again and again must not fill the log
                self._was_told = True
                log.warning("limit reached", limit="fds", value=self._limit)
            raise WasiError(Errno.MFILE)

    def add(self, entry: Descriptor) -> int:
        """Give `entry` a number and return it.  Raises: WasiError(MFILE); the caller keeps the file then."""
        self.check_room()
        fd = self._pool.allocate()
        if fd is None:
            raise WasiError(Errno.MFILE)
        self[fd] = entry
        self.version += 1
        return fd

    def take(self, fd: int) -> Descriptor:
        """Remove the entry of `fd` and give its number back.  Raises: WasiError(BADF)."""
        found = self.pop(fd, None)
        if found is None:
            raise WasiError(Errno.BADF)
        self._pool.deallocate(fd)
        self.version += 1
        return found

    def move(self, fd: int, to: int) -> Descriptor | None:
        """Let the number `to` name what `fd` names, and free `fd`; return the entry that `to` named.

        The caller releases that one's file; None if both are the same.  Raises: WasiError(BADF) if either
        names nothing.
        """
        entry, displaced = self[fd], self[to]
        if fd == to:
            return None
        self[to] = entry
        del self[fd]
        self._pool.deallocate(fd)
        self.version += 1
        return displaced

    def narrow(self, fd: int, rights: int, inheriting: int) -> None:
        """Set the rights of `fd`.  Raises: WasiError(BADF)."""
        self[fd] = self[fd].narrowed(rights, inheriting)
        self.version += 1

    def close_all(self) -> None:
        """Give back every file, for good; one that fails does not keep the others."""
        while self:
            fd, entry = self.popitem()
            try:
                entry.file.release()
            except OSError as error:
                log.warning("close failed", fd=fd, what=entry.file.what, error=str(error))
