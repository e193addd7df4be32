"""System calls that the standard library lacks, or gives in part only.

Errors are OSError with the host's errno; nothing here looks at what a name leads to.
"""

import ctypes
import errno
import os

from coop.clock import SECOND_NS
from coop.fs.contract import NOW

_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_NOFOLLOW = 0x100  # AT_SYMLINK_NOFOLLOW
_GETDENTS64 = {"x86_64": 217, "aarch64": 61}[os.uname().machine]


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


_Times = _Timespec * 2

_libc = ctypes.CDLL(None, use_errno=True)
_futimens = _libc.futimens
_futimens.argtypes = (ctypes.c_int, ctypes.c_void_p)
_utimensat = _libc.utimensat
_utimensat.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
_fallocate = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_syscall = _libc.syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long


def set_times(fd: int, atime_ns: int | None, mtime_ns: int | None) -> None:
    """Set the times of an open file: nanoseconds since 1970, `NOW`, or None to leave one as it is."""
    if _futimens(fd, _times(atime_ns, mtime_ns)):
        raise _failed("set times")


def set_times_at(dirfd: int, name: bytes, atime_ns: int | None, mtime_ns: int | None) -> None:
    """Set the times of a name in a directory; a link's own, for it is not followed."""
    if atime_ns is None and mtime_ns is None:
        os.stat(name, dir_fd=dirfd, follow_symlinks=False)  # the kernel would not even look for it
        return
    if _utimensat(dirfd, name, _times(atime_ns, mtime_ns), _NOFOLLOW):
        raise _failed("set times")


def fallocate(fd: int, offset: int, length: int) -> None:
    """Reserve a range and make the file at least as long.  Raises: OSError(EOPNOTSUPP), among others."""
    while _fallocate(fd, 0, offset, length):
        if ctypes.get_errno() != errno.EINTR:
            raise _failed("allocate")


def getdents(fd: int, buffer: "ctypes.Array[ctypes.c_char]") -> int:
    """Fill `buffer` with the next entries of a directory, `struct linux_dirent64`; 0 at the end."""
    count: int = _syscall(_GETDENTS64, fd, buffer, len(buffer))
    if count < 0:
        raise _failed("read directory")
    return count


def _times(atime_ns: int | None, mtime_ns: int | None) -> "ctypes.Array[_Timespec]":
    return _Times(_timespec(atime_ns), _timespec(mtime_ns))


def _timespec(time_ns: int | None) -> _Timespec:
    if time_ns is None:
        return _Timespec(0, _UTIME_OMIT)
    if time_ns == NOW:
        return _Timespec(0, _UTIME_NOW)
    return _Timespec(*divmod(time_ns, SECOND_NS))


def _failed(doing: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{doing}: {os.strerror(code)}")
