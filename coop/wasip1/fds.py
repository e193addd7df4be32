"""Descriptors as such: closing and renumbering them, their flags and rights, and what was pre-opened.

What lies below a read-only directory has the rights of any other: a right that was
missing would be NOTCAPABLE, and programs know how to report ROFS.
"""

from coop.logs import Log
from coop.wasip1.abi import FDSTAT, PRESTAT, Fdflags, Filetype, Rights
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.state import Wasi

log = Log("coop.wasip1")

_NOTCAPABLE = int(Errno.NOTCAPABLE)
_NONBLOCK = Fdflags.NONBLOCK


def fd_close(wasi: Wasi, fd: int) -> int:
    """Close a descriptor, a pre-opened one too.  It is closed even if an error is told.

    Errno: BADF no such descriptor; IO, NOSPC, DQUOT what a delayed write met.
    """
    entry = wasi.fds.take(fd)
    wasi.forget(entry.file)
    entry.file.release()
    return 0


def fd_renumber(wasi: Wasi, fd: int, to: int) -> int:
    """Let the number `to` name what `fd` names, and close what it named before; `fd` is free then.

    A descriptor stays where it is when renumbered to itself.
    Errno: BADF `fd` or `to` is no descriptor; as preview 1's test suite has it, no number is made up.
    """
    displaced = wasi.fds.move(fd, to)
    if displaced is not None:
        wasi.forget(wasi.fds[to].file)
        wasi.forget(displaced.file)
        try:
            displaced.file.release()
        except OSError as error:
            # The renumbering has happened, and an errno would say that it has not.
            log.warning("close failed", fd=to, what=displaced.file.what, error=str(error))
    return 0


def fd_fdstat_get(wasi: Wasi, fd: int, out: int) -> int:
    """Store the 24-byte fdstat of a descriptor at `out`: its type, flags and rights.

    Errno: BADF no such descriptor; FAULT an address outside memory.
    """
    entry = wasi.fds[fd]
    flags = entry.fdflags | (_NONBLOCK if entry.file.nonblock else 0)
    wasi.memory.pack(FDSTAT, out, entry.filetype, flags, entry.rights, entry.inheriting)
    return 0


def fd_fdstat_set_flags(wasi: Wasi, fd: int, flags: int) -> int:
    """Set a descriptor's flags; NONBLOCK belongs to the open file and shows through every dup.

    Errno: BADF no such descriptor; INVAL a flag that does not exist; NOTSUP one that cannot be changed
    (DSYNC, RSYNC, SYNC); NOTCAPABLE no right to set flags; PERM the host lets the file only grow.
    """
    entry = wasi.fds[fd]
    if flags & ~(Fdflags.APPEND | Fdflags.DSYNC | Fdflags.NONBLOCK | Fdflags.RSYNC | Fdflags.SYNC):
        return int(Errno.INVAL)
    if not entry.rights & Rights.FD_FDSTAT_SET_FLAGS:
        return _NOTCAPABLE
    keep = Fdflags.DSYNC | Fdflags.RSYNC | Fdflags.SYNC
    if (flags ^ entry.fdflags) & keep:
        return int(Errno.NOTSUP)
    entry.file.set_append(bool(flags & Fdflags.APPEND))
    entry.file.nonblock = bool(flags & _NONBLOCK)
    entry.fdflags = flags & ~_NONBLOCK
    return 0


def fd_fdstat_set_rights(wasi: Wasi, fd: int, rights: int, inheriting: int) -> int:
    """Keep only some of a descriptor's rights, for good.

    rights     -- what may be done with it from now on
    inheriting -- what may be done with descriptors that are opened through it from now on
    Errno: BADF no such descriptor; NOTCAPABLE a right that it does not have.
    """
    entry = wasi.fds[fd]
    if rights & ~entry.rights or inheriting & ~entry.inheriting:
        return _NOTCAPABLE
    wasi.fds.narrow(fd, rights, inheriting)
    wasi.forget(entry.file)
    return 0


def fd_prestat_get(wasi: Wasi, fd: int, out: int) -> int:
    """Store the prestat of a pre-opened descriptor at `out`: a tag and the length of its name.

    Sockets have one too, with a tag and a name that no directory has.  BADF ends a
    guest's scan, so a socket that answered BADF would hide the directories behind it.
    Errno: BADF no such descriptor, or not pre-opened; FAULT an address outside memory.
    """
    entry = _preopened(wasi, fd)
    assert entry.preopen is not None
    tag = 0 if entry.filetype == Filetype.DIRECTORY else 1
    wasi.memory.pack(PRESTAT, out, tag, len(entry.preopen))
    return 0


def fd_prestat_dir_name(wasi: Wasi, fd: int, out: int, length: int) -> int:
    """Store a pre-opened descriptor's name at `out`, without a NUL.

    Errno: BADF no such descriptor, or not pre-opened; NAMETOOLONG the name is longer than
    `length`; FAULT an address outside memory.
    """
    name = _preopened(wasi, fd).preopen
    assert name is not None
    if len(name) > length:
        return int(Errno.NAMETOOLONG)
    wasi.memory.write(out, name)
    return 0


def _preopened(wasi: Wasi, fd: int) -> Descriptor:
    entry = wasi.fds[fd]
    if entry.preopen is None:
        raise WasiError(Errno.BADF)
    return entry
