"""The bytes of WASI preview 1: every record that crosses guest memory, and its flags.

Source: `wasi_snapshot_preview1.witx`.  All little-endian; offsets in bytes.

    subscription 48   userdata 0 u64, tag 8 u8
                      clock: id 16 u32, timeout 24 u64, precision 32 u64, flags 40 u16
                      fd_read, fd_write: fd 16 u32
    event        32   userdata 0 u64, errno 8 u16, type 10 u8, nbytes 16 u64, flags 24 u16
    fdstat       24   filetype 0 u8, flags 2 u16, rights_base 8 u64, rights_inheriting 16 u64
    filestat     64   dev 0, ino 8, filetype 16 u8, nlink 24, size 32, atim 40, mtim 48, ctim 56, all u64
    prestat       8   tag 0 u8, name length 4 u32
    iovec         8   address 0 u32, length 4 u32
    dirent       24   next 0 u64, ino 8 u64, name length 16 u32, filetype 20 u8; the name follows
"""

import stat
import struct
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")
IOVEC = struct.Struct("<II")
PRESTAT = struct.Struct("<B3xI")
FDSTAT = struct.Struct("<BxH4xQQ")
FILESTAT = struct.Struct("<QQB7xQQQQQ")
DIRENT = struct.Struct("<QQIB3x")
EVENT = struct.Struct("<QHB5xQH6x")
SUBSCRIPTION = struct.Struct("<QB7xI4xQ8xH6x")
"""userdata, tag, clock id or fd, timeout, flags."""
FD_SUBSCRIPTION = struct.Struct("<QB7xI28x")
"""userdata, tag, fd: all that there is to one which is no clock."""

SUBSCRIPTION_SIZE = SUBSCRIPTION.size
assert FD_SUBSCRIPTION.size == SUBSCRIPTION_SIZE
EVENT_SIZE = EVENT.size


@lru_cache(maxsize=64)
def subscriptions_layout(count: int) -> struct.Struct:
    """Return the layout of an array of `FD_SUBSCRIPTION`s: one for all is faster than one for each."""
    return struct.Struct("<" + FD_SUBSCRIPTION.format[1:] * count)


@lru_cache(maxsize=64)
def events_layout(count: int) -> struct.Struct:
    """Return the same for events."""
    return struct.Struct("<" + EVENT.format[1:] * count)


class OlderArray(NamedTuple):
    """Another layout of subscriptions.

    size      -- bytes of one
    translate -- makes an array of preview 1's of them
    """

    size: int
    translate: Callable[[memoryview], bytes]


class EventType(IntEnum):
    """What a subscription is for, and what an event is of."""

    CLOCK = 0
    FD_READ = 1
    FD_WRITE = 2


SUBSCRIPTION_CLOCK_ABSTIME = 1
EVENT_FD_READWRITE_HANGUP = 1


class ClockId(IntEnum):
    """The four clocks."""

    REALTIME = 0
    MONOTONIC = 1
    PROCESS_CPUTIME = 2
    THREAD_CPUTIME = 3


class Filetype(IntEnum):
    """What an open file is."""

    UNKNOWN = 0
    BLOCK_DEVICE = 1
    CHARACTER_DEVICE = 2
    DIRECTORY = 3
    REGULAR_FILE = 4
    SOCKET_DGRAM = 5
    SOCKET_STREAM = 6
    SYMBOLIC_LINK = 7


_FILETYPE_OF_MODE = {
    stat.S_IFBLK: Filetype.BLOCK_DEVICE,
    stat.S_IFCHR: Filetype.CHARACTER_DEVICE,
    stat.S_IFDIR: Filetype.DIRECTORY,
    stat.S_IFREG: Filetype.REGULAR_FILE,
    stat.S_IFSOCK: Filetype.SOCKET_STREAM,
    stat.S_IFLNK: Filetype.SYMBOLIC_LINK,
}
_FILETYPES = tuple(_FILETYPE_OF_MODE.get(kind << 12, Filetype.UNKNOWN) for kind in range(16))


def filetype_of_mode(mode: int) -> Filetype:
    """Return the filetype for an `st_mode`; a FIFO has none and is unknown, as natively."""
    return _FILETYPES[mode >> 12 & 15]


class Fdflags:
    """Flags of an open file; plain numbers, as all flags here, for an IntFlag takes a microsecond to test."""

    APPEND = 1
    DSYNC = 2
    NONBLOCK = 4
    RSYNC = 8
    SYNC = 16


class Oflags:
    """How `path_open` opens."""

    CREAT = 1
    DIRECTORY = 2
    EXCL = 4
    TRUNC = 8


class Fstflags:
    """Which times are set, and to what."""

    ATIM = 1
    ATIM_NOW = 2
    MTIM = 4
    MTIM_NOW = 8


LOOKUP_SYMLINK_FOLLOW = 1

RECV_PEEK = 1
RECV_WAITALL = 2
RECV_DATA_TRUNCATED = 1

SHUT_RD = 1
SHUT_WR = 2


class Rights:
    """What may be done with a descriptor."""

    FD_DATASYNC = 1 << 0
    FD_READ = 1 << 1
    FD_SEEK = 1 << 2
    FD_FDSTAT_SET_FLAGS = 1 << 3
    FD_SYNC = 1 << 4
    FD_TELL = 1 << 5
    FD_WRITE = 1 << 6
    FD_ADVISE = 1 << 7
    FD_ALLOCATE = 1 << 8
    PATH_CREATE_DIRECTORY = 1 << 9
    PATH_CREATE_FILE = 1 << 10
    PATH_LINK_SOURCE = 1 << 11
    PATH_LINK_TARGET = 1 << 12
    PATH_OPEN = 1 << 13
    FD_READDIR = 1 << 14
    PATH_READLINK = 1 << 15
    PATH_RENAME_SOURCE = 1 << 16
    PATH_RENAME_TARGET = 1 << 17
    PATH_FILESTAT_GET = 1 << 18
    PATH_FILESTAT_SET_SIZE = 1 << 19
    PATH_FILESTAT_SET_TIMES = 1 << 20
    FD_FILESTAT_GET = 1 << 21
    FD_FILESTAT_SET_SIZE = 1 << 22
    FD_FILESTAT_SET_TIMES = 1 << 23
    PATH_SYMLINK = 1 << 24
    PATH_REMOVE_DIRECTORY = 1 << 25
    PATH_UNLINK_FILE = 1 << 26
    POLL_FD_READWRITE = 1 << 27
    SOCK_SHUTDOWN = 1 << 28
    SOCK_ACCEPT = 1 << 29


_R = Rights
STREAM_RIGHTS = _R.FD_READ | _R.FD_WRITE | _R.FD_FDSTAT_SET_FLAGS | _R.FD_FILESTAT_GET | _R.POLL_FD_READWRITE
SOCKET_RIGHTS = STREAM_RIGHTS | _R.SOCK_SHUTDOWN
LISTENER_RIGHTS = SOCKET_RIGHTS | _R.SOCK_ACCEPT
FILE_RIGHTS = (
    _R.FD_DATASYNC
    | _R.FD_READ
    | _R.FD_SEEK
    | _R.FD_FDSTAT_SET_FLAGS
    | _R.FD_SYNC
    | _R.FD_TELL
    | _R.FD_WRITE
    | _R.FD_ADVISE
    | _R.FD_ALLOCATE
    | _R.FD_FILESTAT_GET
    | _R.FD_FILESTAT_SET_SIZE
    | _R.FD_FILESTAT_SET_TIMES
    | _R.POLL_FD_READWRITE
)
DIRECTORY_RIGHTS = (
    _R.FD_FDSTAT_SET_FLAGS
    | _R.FD_SYNC
    | _R.FD_ADVISE
    | _R.PATH_CREATE_DIRECTORY
    | _R.PATH_CREATE_FILE
    | _R.PATH_LINK_SOURCE
    | _R.PATH_LINK_TARGET
    | _R.PATH_OPEN
    | _R.FD_READDIR
    | _R.PATH_READLINK
    | _R.PATH_RENAME_SOURCE
    | _R.PATH_RENAME_TARGET
    | _R.PATH_FILESTAT_GET
    | _R.PATH_FILESTAT_SET_SIZE
    | _R.PATH_FILESTAT_SET_TIMES
    | _R.FD_FILESTAT_GET
    | _R.FD_FILESTAT_SET_TIMES
    | _R.PATH_SYMLINK
    | _R.PATH_REMOVE_DIRECTORY
    | _R.PATH_UNLINK_FILE
    | _R.POLL_FD_READWRITE
)
