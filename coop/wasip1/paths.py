"""Paths: what lies below an open directory, and nothing else.

Every path of a guest is given to the `coop.fs.Directory` that its descriptor names.
A path that leaves it gets PERM.
"""

import os

from coop.fs import Directory, RegularFile
from coop.netpoll.openfile import OpenFile
from coop.wasip1.abi import (
    DIRECTORY_RIGHTS,
    FILE_RIGHTS,
    FILESTAT,
    LOOKUP_SYMLINK_FOLLOW,
    STREAM_RIGHTS,
    U32,
    Fdflags,
    Filetype,
    Oflags,
    Rights,
    filetype_of_mode,
)
from coop.wasip1.errno import Errno, WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.files import filestat_values
from coop.wasip1.state import Wasi

_NOTCAPABLE = int(Errno.NOTCAPABLE)
_READS = Rights.FD_READ | Rights.FD_READDIR
_OFLAGS = int(Oflags.CREAT | Oflags.DIRECTORY | Oflags.EXCL | Oflags.TRUNC)
_SYNC = {Fdflags.DSYNC: os.O_DSYNC, Fdflags.SYNC: os.O_SYNC, Fdflags.RSYNC: os.O_RSYNC}


def preopened(directory: Directory, guest_name: str) -> Descriptor:
    """Make the guest's descriptor of a directory that was granted to it."""
    return Descriptor(
        directory,
        Filetype.DIRECTORY,
        int(DIRECTORY_RIGHTS),
        int(DIRECTORY_RIGHTS | FILE_RIGHTS),
        preopen=os.fsencode(guest_name),
    )


def path_open(
    wasi: Wasi,
    fd: int,
    lookup: int,
    path: int,
    length: int,
    oflags: int,
    rights: int,
    inheriting: int,
    fdflags: int,
    out: int,
) -> int:
    """Open what a path names below the directory `fd` and store the new descriptor at `out`.

    lookup -- SYMLINK_FOLLOW: a link at the end of the path is followed
    oflags -- CREAT, DIRECTORY, EXCL, TRUNC
    rights -- what the guest asks for; it gets what the directory hands on
    Errno: BADF; NOTDIR `fd` or a component is no directory; PERM the path leaves the directory;
    NOENT; EXIST; ISDIR; LOOP; NAMETOOLONG; ILSEQ not UTF-8; INVAL a NUL byte or an unknown
    flag; ACCES; MFILE; NOTCAPABLE the directory hands on no right that is needed; ROFS; NOSPC; FAULT.
    """
    entry, directory = _directory(wasi, fd, Rights.PATH_OPEN)
    wasi.memory.check(out, 4)
    name = wasi.text(path, length)
    if oflags & ~_OFLAGS or fdflags & ~31:
        return int(Errno.INVAL)
    if oflags & Oflags.CREAT and not entry.rights & Rights.PATH_CREATE_FILE:
        return _NOTCAPABLE
    if oflags & Oflags.TRUNC and not entry.rights & Rights.PATH_FILESTAT_SET_SIZE:
        return _NOTCAPABLE
    wasi.fds.check_room()
    rights &= entry.inheriting
    flags = _host_flags(oflags, rights, fdflags)
    file = directory.open(name, flags, follow=bool(lookup & LOOKUP_SYMLINK_FOLLOW))
    opened = _describe(file, rights, inheriting & entry.inheriting, fdflags)
    wasi.memory.pack(U32, out, wasi.fds.add(opened))
    return 0


def _host_flags(oflags: int, rights: int, fdflags: int) -> int:
    # Only the right to write means writing: Go asks for FD_FILESTAT_SET_SIZE when it opens for reading.
    reads, writes = bool(rights & _READS), bool(rights & Rights.FD_WRITE)
    if oflags & Oflags.DIRECTORY:
        flags = os.O_RDONLY | os.O_DIRECTORY
    else:
        flags = os.O_RDWR if reads and writes else os.O_WRONLY if writes else os.O_RDONLY
    if oflags & Oflags.CREAT:
        flags |= os.O_CREAT
    if oflags & Oflags.EXCL:
        flags |= os.O_EXCL
    if oflags & Oflags.TRUNC:
        flags |= os.O_TRUNC
    if fdflags & Fdflags.APPEND:
        flags |= os.O_APPEND
    for wasi_flag, host_flag in _SYNC.items():
        if fdflags & wasi_flag:
            flags |= host_flag
    return flags


def _describe(file: OpenFile, rights: int, inheriting: int, fdflags: int) -> Descriptor:
    """Make the descriptor of a file just opened, with those of `rights` that fit its kind."""
    if isinstance(file, Directory):
        fitting = DIRECTORY_RIGHTS
    else:
        fitting = FILE_RIGHTS if isinstance(file, RegularFile) else STREAM_RIGHTS
    file.nonblock = bool(fdflags & Fdflags.NONBLOCK)
    return Descriptor(
        file,
        filetype_of_mode(file.mode),
        rights & int(fitting),
        inheriting,
        fdflags & ~int(Fdflags.NONBLOCK),
    )


def path_filestat_get(wasi: Wasi, fd: int, lookup: int, path: int, length: int, out: int) -> int:
    """Store the filestat of what a path names below the directory `fd` at `out`.

    lookup -- SYMLINK_FOLLOW: a link at the end of the path is followed
    Errno: BADF; NOTDIR; PERM the path leaves the directory; NOENT; LOOP; NAMETOOLONG; ILSEQ;
    INVAL; ACCES; NOTCAPABLE; FAULT.
    """
    _, directory = _directory(wasi, fd, Rights.PATH_FILESTAT_GET)
    wasi.memory.check(out, FILESTAT.size)
    name = wasi.text(path, length)
    found = directory.stat_at(name, follow=bool(lookup & LOOKUP_SYMLINK_FOLLOW))
    wasi.memory.pack(FILESTAT, out, *filestat_values(found))
    return 0


def _directory(wasi: Wasi, fd: int, right: int) -> tuple[Descriptor, Directory]:
    """Return the entry of `fd` and its directory.  Raises: WasiError(BADF, NOTDIR, NOTCAPABLE)."""
    entry = wasi.fds[fd]
    file = entry.file
    if not isinstance(file, Directory):
        raise WasiError(Errno.NOTDIR)
    if not entry.rights & right:
        raise WasiError(Errno.NOTCAPABLE)
    return entry, file
