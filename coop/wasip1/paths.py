"""Paths: what lies below an open directory, and nothing else: opened, looked at, given times.

Every path of a guest is given to the `coop.fs.Directory` that its descriptor names.
A path that leaves it gets PERM.
"""

import os
import struct
from functools import lru_cache
from stat import S_IFREG

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
from coop.wasip1.files import filestat_values, times
from coop.wasip1.state import Wasi

_NOTCAPABLE = int(Errno.NOTCAPABLE)
_pack_u32 = U32.pack_into
_READS = Rights.FD_READ | Rights.FD_READDIR
_ACCESS = _READS | Rights.FD_WRITE
_NOT_FOR_DIRECTORIES = Oflags.CREAT | Oflags.EXCL | Oflags.TRUNC
_CUTTING = Oflags.TRUNC | Oflags.EXCL | Oflags.DIRECTORY  # with the others nothing is cut
_OFLAGS = Oflags.CREAT | Oflags.DIRECTORY | Oflags.EXCL | Oflags.TRUNC
_SYNC = {Fdflags.DSYNC: os.O_DSYNC, Fdflags.SYNC: os.O_SYNC, Fdflags.RSYNC: os.O_RSYNC}

_OFLAG_NEEDS = {Oflags.CREAT: Rights.PATH_CREATE_FILE, Oflags.TRUNC: Rights.PATH_FILESTAT_SET_SIZE}
_FDFLAG_NEEDS = {
    Fdflags.DSYNC: Rights.FD_DATASYNC | Rights.FD_SYNC,
    Fdflags.RSYNC: Rights.FD_SYNC,
    Fdflags.SYNC: Rights.FD_SYNC,
}
"""For a flag of an open: the rights of which its directory needs one."""


def preopened(directory: Directory, guest_name: str) -> Descriptor:
    """Make the guest's descriptor of a directory that was granted to it."""
    return Descriptor(
        directory,
        Filetype.DIRECTORY,
        DIRECTORY_RIGHTS,
        DIRECTORY_RIGHTS | FILE_RIGHTS,
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
    rights, inheriting -- what the guest asks for, for the file and for what is opened through it; it gets
              what the directory hands on
    fdflags -- APPEND, NONBLOCK, and DSYNC, RSYNC, SYNC: each write waits for the disk
    Errno: BADF no such descriptor; NOTDIR `fd` or a component is no directory, or the last one is not
    what DIRECTORY asks for; PERM the path leaves the directory; NOENT there is no such name; EXIST there
    is one, and EXCL; ISDIR a directory is opened for writing, created or cut; LOOP too many links, or one
    at the end that is not followed; NAMETOOLONG a name over 255 bytes, or a path over 4095; ILSEQ not
    UTF-8; INVAL a NUL byte, a flag that does not exist, or DIRECTORY with another; ACCES the host refuses;
    MFILE the guest's or the host's table is full; NXIO a FIFO without a reader, or a socket; BUSY a lease
    is on it; TXTBSY the host runs it; NOTCAPABLE no right to open, or to create, to cut or to sync in
    this way; ROFS a change below a read-only directory; NOSPC the disk is full; DQUOT a quota is; FAULT an
    address outside memory.
    """
    entry, directory = open_directory(wasi, fd, Rights.PATH_OPEN)
    wasi.memory.check(out, 4)
    name = wasi.text(path, length)
    if oflags & ~_OFLAGS or fdflags & ~31 or (oflags & Oflags.DIRECTORY and oflags & _NOT_FOR_DIRECTORIES):
        return int(Errno.INVAL)
    follow = _follows(lookup)
    if (oflags or fdflags) and not _may_open(entry.rights, oflags, fdflags):
        return _NOTCAPABLE
    wasi.fds.check_room()
    rights &= entry.inheriting
    flags = _host_flags(oflags, rights & _ACCESS, fdflags)
    # A call that is asked again finds the file cut.
    if oflags & _CUTTING == Oflags.TRUNC and (wasi.done or directory.is_large(name, S_IFREG, follow=follow)):
        answer = wasi.in_thread(lambda: directory.apart(lambda own: own.cut(name, flags, follow=follow)))
        if answer:
            return answer
    file = directory.open(name, flags, follow=follow)
    if isinstance(file, Directory):
        # Go asks for a directory without this right, and cuts files below it all the same.
        rights |= Rights.PATH_FILESTAT_SET_SIZE & entry.inheriting
    opened = _describe(file, rights, inheriting & entry.inheriting, fdflags)
    _pack_u32(wasi.memory.view, out, wasi.fds.add(opened))
    return 0


def _may_open(rights: int, oflags: int, fdflags: int) -> bool:
    """Whether a directory with these rights may be used to create, to cut and to sync as asked for."""
    needs = [any_of for flag, any_of in _OFLAG_NEEDS.items() if oflags & flag]
    needs += [any_of for flag, any_of in _FDFLAG_NEEDS.items() if fdflags & flag]
    return all(rights & any_of for any_of in needs)


@lru_cache(maxsize=256)
def _host_flags(oflags: int, rights: int, fdflags: int) -> int:
    """Return the os.O_* flags; of `rights` only those in _ACCESS."""
    # Only the right to write means writing: Go asks for FD_FILESTAT_SET_SIZE when it opens for reading.
    reads, writes = bool(rights & _READS), bool(rights & Rights.FD_WRITE)
    if oflags & Oflags.DIRECTORY:
        # One opened for writing is refused by the host, as native wasmtime and the test suite have it.
        flags = (os.O_RDWR if writes else os.O_RDONLY) | os.O_DIRECTORY
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
        filetype_of_mode(file.st_mode),
        rights & fitting,
        inheriting,
        fdflags & ~Fdflags.NONBLOCK,
    )


def path_filestat_get(
    wasi: Wasi, fd: int, lookup: int, path: int, length: int, out: int, layout: struct.Struct = FILESTAT
) -> int:
    """Store the filestat of what a path names below the directory `fd` at `out`.

    lookup -- SYMLINK_FOLLOW: a link at the end of the path is followed
    Errno: BADF no such descriptor; NOTDIR `fd` or a component is no directory; PERM the path leaves the
    directory; NOENT there is no such name; INVAL a flag that does not exist, or a NUL byte; LOOP too
    many links; NAMETOOLONG a name over 255 bytes, or a path over 4095; ILSEQ not UTF-8; ACCES the host
    refuses; NOTCAPABLE no right to look; FAULT an address outside memory.
    """
    _, directory = open_directory(wasi, fd, Rights.PATH_FILESTAT_GET)
    wasi.memory.check(out, layout.size)
    name = wasi.text(path, length)
    found = directory.stat_at(name, follow=_follows(lookup))
    wasi.memory.pack(layout, out, *filestat_values(found))
    return 0


def path_filestat_set_times(
    wasi: Wasi, fd: int, lookup: int, path: int, length: int, atime_ns: int, mtime_ns: int, flags: int
) -> int:
    """Set the times of what a path names below the directory `fd`, in nanoseconds since 1970.

    lookup -- SYMLINK_FOLLOW: a link at the end of the path is followed
    flags  -- ATIM 1 and MTIM 4 set `atime_ns` and `mtime_ns`, ATIM_NOW 2 and MTIM_NOW 8 set now
    Errno: BADF no such descriptor; NOTDIR `fd` or a component is no directory; PERM the path leaves the
    directory, or somebody else's file; NOENT there is no such name; INVAL a flag that does not exist,
    both of one time, or a NUL byte; LOOP too many links; NAMETOOLONG a name over 255 bytes, or a path
    over 4095; ILSEQ not UTF-8; ACCES the host refuses; NOTCAPABLE no right to set times; ROFS below a
    read-only directory; FAULT an address outside memory.
    """
    _, directory = open_directory(wasi, fd, Rights.PATH_FILESTAT_SET_TIMES)
    name = wasi.text(path, length)
    follow = _follows(lookup)
    directory.set_times_at(name, *times(atime_ns, mtime_ns, flags), follow=follow)
    return 0


def open_directory(wasi: Wasi, fd: int, right: int) -> tuple[Descriptor, Directory]:
    """Return the entry of `fd` and its directory.  Raises: WasiError(BADF, NOTDIR, NOTCAPABLE)."""
    entry = wasi.fds[fd]
    file = entry.file
    if not isinstance(file, Directory):
        raise WasiError(Errno.NOTDIR)
    if not entry.rights & right:
        raise WasiError(Errno.NOTCAPABLE)
    return entry, file


def _follows(lookup: int) -> bool:
    """Whether a link at the end of a path is followed.  Raises: WasiError(INVAL) for an unknown flag."""
    if lookup & ~LOOKUP_SYMLINK_FOLLOW:
        raise WasiError(Errno.INVAL)
    return bool(lookup)
