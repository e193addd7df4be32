"""What a file is and how it is opened, between the host's numbers and wasi:filesystem's names."""

import hashlib
import os
import secrets
import stat
from typing import NamedTuple

from coop.clock import SECOND_NS
from coop.fs import NOW, Stat
from coop.wasip2.clocks import Datetime
from coop.wit import Case

__all__ = [
    "ADVICE",
    "DescriptorStat",
    "MetadataHash",
    "descriptor_stat",
    "descriptor_type",
    "host_flags",
    "kept_flags",
    "metadata_hash",
    "new_time",
]

_TYPES = {
    stat.S_IFBLK: "block-device",
    stat.S_IFCHR: "character-device",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFLNK: "symbolic-link",
    stat.S_IFREG: "regular-file",
    stat.S_IFSOCK: "socket",
}

ADVICE = {
    "normal": os.POSIX_FADV_NORMAL,
    "sequential": os.POSIX_FADV_SEQUENTIAL,
    "random": os.POSIX_FADV_RANDOM,
    "will-need": os.POSIX_FADV_WILLNEED,
    "dont-need": os.POSIX_FADV_DONTNEED,
    "no-reuse": os.POSIX_FADV_NOREUSE,
}
"""The host's number of each advice."""

_OPEN = {
    "create": os.O_CREAT,
    "directory": os.O_DIRECTORY,
    "exclusive": os.O_EXCL,
    "truncate": os.O_TRUNC,
}
_SYNC = {
    "file-integrity-sync": os.O_SYNC,
    "data-integrity-sync": os.O_DSYNC,
    "requested-write-sync": os.O_RSYNC,
}

_PEPPER = secrets.token_bytes(16)
"""What keeps a guest from computing the hashes of files that are nowhere but in this process."""


class DescriptorStat(NamedTuple):
    """wasi:filesystem/types descriptor-stat."""

    type: str
    link_count: int
    size: int
    data_access_timestamp: Datetime
    data_modification_timestamp: Datetime
    status_change_timestamp: Datetime


class MetadataHash(NamedTuple):
    """wasi:filesystem/types metadata-hash-value."""

    lower: int
    upper: int


def descriptor_type(mode: int) -> str:
    """Return the descriptor-type of a mode."""
    return _TYPES.get(stat.S_IFMT(mode), "unknown")


def descriptor_stat(found: Stat) -> DescriptorStat:
    """Return what a guest is told of a file."""
    return DescriptorStat(descriptor_type(found.mode), found.nlink, found.size, *map(_datetime, found[5:]))


def _datetime(time_ns: int) -> Datetime:
    return Datetime(*divmod(time_ns, SECOND_NS))


def new_time(new: Case) -> int | None:
    """Return a new-timestamp as file systems take it: nanoseconds, NOW, or None for no change."""
    if new.name == "timestamp":
        seconds, nanoseconds = new.value
        time_ns: int = seconds * SECOND_NS + nanoseconds
        return time_ns
    return NOW if new.name == "now" else None


def host_flags(open_flags: frozenset[str], flags: frozenset[str]) -> int:
    """Return the os.O_* flags of an open."""
    if "write" in flags:
        found = os.O_RDWR if "read" in flags else os.O_WRONLY
    else:
        found = os.O_RDONLY
    for name, flag in _OPEN.items():
        if name in open_flags:
            found |= flag
    for name, flag in _SYNC.items():
        if name in flags:
            found |= flag
    return found


def kept_flags(flags: frozenset[str]) -> frozenset[str]:
    """Return the flags of a file that was opened with `flags`: it can be read if it cannot be written."""
    return flags - {"mutate-directory"} if "write" in flags else (flags | {"read"}) - {"mutate-directory"}


def metadata_hash(found: Stat, *, in_memory: bool) -> MetadataHash:
    """Return 128 bits that tell one file from all others, whatever is written to it.

    Guests use them as inode numbers, so they must not follow the file's size and times.  Those of a host's
    file are the same in every process.
    """
    raw = found.dev.to_bytes(8, "little") + found.ino.to_bytes(8, "little")
    digest = hashlib.blake2b(raw, digest_size=16, key=_PEPPER if in_memory else b"").digest()
    return MetadataHash(int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
