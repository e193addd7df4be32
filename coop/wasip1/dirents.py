"""Directory entries, as a guest reads them: each a record of 24 bytes with its name behind it.

A buffer that comes back full may end in the middle of an entry; the guest then asks
again from the cookie of the last whole one.  One that does not is the end.  So nothing
but the end of the directory may leave room, and a large buffer is filled in portions.
"""

from collections.abc import Iterable

from coop.fs import Directory, Entry
from coop.wasip1.abi import DIRENT, U32, Rights, filetype_of_mode
from coop.wasip1.errno import Errno
from coop.wasip1.state import Wasi

_PORTION = 1 << 16
"""Bytes that are read at a time: some milliseconds, then the other guests have their turn."""

_pack = DIRENT.pack


def fd_readdir(wasi: Wasi, fd: int, buffer: int, size: int, cookie: int, used: int) -> int:
    """Store the entries behind `cookie` at `buffer`, the last one cut, and their bytes' number at `used`.

    cookie -- 0 is the start; each entry holds the one to go on behind it
    used   -- less than `size` only at the end of the directory
    Errno: BADF no such descriptor, or no directory; NOTCAPABLE no right to read a directory; INVAL a
    cookie that no entry has; FAULT an address outside memory; IO the host could not read.
    """
    begun, wasi.listed = wasi.listed, None
    entry = wasi.fds[fd]
    directory = entry.file
    if not isinstance(directory, Directory):
        return int(Errno.BADF)
    if not entry.rights & Rights.FD_READDIR:
        return int(Errno.NOTCAPABLE)
    memory = wasi.memory
    memory.check(used, 4)
    memory.check(buffer, size)
    done, cookie = begun or (0, cookie)
    portion = min(size, done + _PORTION)
    while done < portion:
        found = directory.entries(cookie, portion - done)
        if not found:
            size = portion = done
            break
        data = _records(found)[: size - done]
        memory.write(buffer + done, data)
        done += len(data)
        cookie = found[-1].next
    if done < size:
        wasi.listed = (done, cookie)
        return wasi.instance.suspend(wasi.instance)
    memory.pack(U32, used, done)
    return 0


def _records(entries: Iterable[Entry]) -> bytes:
    parts: list[bytes] = []
    for following, ino, mode, name in entries:
        parts += (_pack(following, ino, len(name), filetype_of_mode(mode)), name)
    return b"".join(parts)
