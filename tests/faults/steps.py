"""Steps that the guests of several scenarios take, and what a scenario is.

A step goes on after a part, as libc would for a program, and ends at an errno, which it returns.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

from tests.faults.preload import Failing
from tests.wasip1.script import DATA, OUT, Script

Transcript = dict[str, Any]
ALL_RIGHTS = (1 << 29) - 1
CREATE, DIRECTORY, TRUNCATE = 1, 2, 8
READ, WRITE = 1, 2
TEXT = bytes(range(256)) * 12
A_MS, MINUTE = 1_000_000, 60_000_000_000


class Setting(NamedTuple):
    """A guest's options, and what it does."""

    options: dict[str, Any]
    act: Callable[[Script, Failing], Transcript]
    from_start: bool = False
    """Whether calls fail from the start of the run, and not only while the guest works."""


def read_all(guest: Script, fd: int, wanted: int) -> int | str:
    """Read until `wanted` bytes have come, the end, or an errno; returns their checksum, or the errno."""
    got = b""
    while len(got) < wanted:
        part = guest.read(fd, wanted - len(got))
        if isinstance(part, str):
            return part
        if not part:
            break
        got += part
    return crc32(got)


def write_all(guest: Script, fd: int, data: bytes) -> int | str:
    """Write all of `data`, or up to an errno, from two buffers a call."""
    done = 0
    while done < len(data):
        guest.put(DATA, data[done:])
        half = (len(data) - done) // 2
        vectors = guest.iovecs((DATA, half), (DATA + half, len(data) - done - half))
        error = guest.fd_write(fd, *vectors, OUT)
        if error != "SUCCESS":
            return error
        done += guest.u32()
    return done


def positioned(guest: Script, call: str, fd: int, size: int, at: int) -> int | str:
    """fd_pread or fd_pwrite until `size` bytes were moved, the end, or an errno: how many, or the errno."""
    done = 0
    while done < size:
        error = getattr(guest, call)(fd, *guest.iovecs((DATA + done, size - done)), at + done, OUT)
        if error != "SUCCESS":
            return error
        if not guest.u32():
            break
        done += guest.u32()
    return done


def listing(guest: Script, fd: int) -> int | str:
    """Read a directory with a small buffer to its end: how many entries, or the errno."""
    cookie = total = 0
    for _ in range(20):
        error = guest.fd_readdir(fd, DATA, 80, cookie, OUT)
        if error != "SUCCESS":
            return error
        used, at = guest.u32(), 0
        while at + 24 <= used:
            length = guest.u32(DATA + at + 16)
            if at + 24 + length > used:
                break
            cookie = guest.u64(DATA + at)
            at += 24 + length
            total += 1
        if used < 80:
            break
    return total


def named(guest: Script, call: str, *parts: Any) -> str:
    """Call a path function: each name among the arguments is laid out, and given as address and length."""
    numbers, at = [], DATA
    for part in parts:
        if isinstance(part, bytes):
            numbers += [at, guest.put(at, part)]
            at += len(part)
        else:
            numbers.append(part)
    result: str = getattr(guest, call)(*numbers)
    return result
