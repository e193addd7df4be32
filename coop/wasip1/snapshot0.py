"""`wasi_unstable`, the snapshot before preview 1: 45 functions on the same code and the same descriptors.

A module may import both.  The differences, all of layout:

    subscription 56   a clock's has an identifier of its own first, which nobody reads
                      userdata 0 u64, tag 8 u8
                      clock: identifier 16 u64, id 24 u32, timeout 32 u64, precision 40 u64, flags 48 u16
                      fd_read, fd_write: fd 16 u32
    filestat     56   nlink is a u32 and lies beside the filetype
                      dev 0, ino 8, filetype 16 u8, nlink 20 u32, size 24, atim 32, mtim 40, ctim 48
    whence            0 here, 1 end, 2 start

There is no sock_accept.  Events, fdstat, dirent, prestat and every flag are the same.

Source: `wasi_unstable.witx`, and the alignment of its records.
"""

import struct
from collections.abc import Callable
from dataclasses import replace

from coop.engine import ImportTable
from coop.wasip1 import files, paths
from coop.wasip1.abi import EventType, OlderArray
from coop.wasip1.imports import SNAPSHOT1
from coop.wasip1.state import Wasi

MODULE = "wasi_unstable"

SUBSCRIPTION_SIZE = 56
FILESTAT = struct.Struct("<QQB3xIQQQQ")
assert FILESTAT.size == 56

_CLOCK = int(EventType.CLOCK)
_WHENCE = {0: 1, 1: 2, 2: 0}
"""Its whence to preview 1's."""


def fd_seek(wasi: Wasi, fd: int, offset: int, whence: int, out: int) -> int:
    """Do what preview 1's does, with whence 0 here, 1 end, 2 start.  Errno: as there."""
    return files.fd_seek(wasi, fd, offset, _WHENCE.get(whence, whence), out)


def fd_filestat_get(wasi: Wasi, fd: int, out: int) -> int:
    """Store the 56-byte filestat of a descriptor at `out`.  Errno: as in preview 1."""
    return files.fd_filestat_get(wasi, fd, out, FILESTAT)


def path_filestat_get(wasi: Wasi, fd: int, flags: int, path: int, length: int, out: int) -> int:
    """Store the 56-byte filestat of what a path names at `out`.  Errno: as in preview 1."""
    return paths.path_filestat_get(wasi, fd, flags, path, length, out, FILESTAT)


def poll_oneoff(wasi: Wasi, subscriptions: int, events: int, count: int, out: int) -> int:
    """Do what preview 1's does, with subscriptions of 56 bytes.  Errno: as there."""
    return wasi.poll.call(subscriptions, events, count, out, _ARRAY)


def as_snapshot1(old: memoryview) -> bytes:
    """Return an array of subscriptions as preview 1 lays it out: the clocks' identifiers are left out."""
    raw = bytes(old)
    parts: list[bytes] = []
    for at in range(0, len(raw), SUBSCRIPTION_SIZE):
        rest = at + 24 if raw[at + 8] == _CLOCK else at + 16
        parts += (raw[at : at + 16], raw[rest : rest + 32])
    return b"".join(parts)


_ARRAY = OlderArray(SUBSCRIPTION_SIZE, as_snapshot1)

_OWN: dict[str, Callable[..., int]] = {
    call.__name__: call for call in (fd_seek, fd_filestat_get, path_filestat_get, poll_oneoff)
}

SNAPSHOT0 = ImportTable(
    MODULE,
    tuple(
        replace(raw, call=_OWN.get(raw.name, raw.call))
        for raw in SNAPSHOT1.imports
        if raw.name != "sock_accept"
    ),
    SNAPSHOT1.errno_of,
)
