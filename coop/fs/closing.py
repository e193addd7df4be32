"""Closes what takes the kernel long to be rid of, beside the thread that runs the guests.

A file is freed when its last name is gone and the last descriptor closed, whichever comes
later, and a large one takes as long as to be cut.  So the close of what has no name left is
made by a helper thread; and while a name is removed, a descriptor is kept, whose close is
then the last.  Nobody waits for it: what is freed cannot be reached any more.

Guests decide how many such closes there are.  They have a few threads in the whole process;
while all are busy a close is made at once, which keeps a guest from piling up descriptors.
"""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LONG_CUT = 64 << 20
"""Bytes that take milliseconds to be cut off: the kernel gives their pages back one by one."""

LARGE_DIRECTORY = 2 << 20
"""Bytes of a directory, all of which are read, for milliseconds, to find that it is empty and to free it.

A directory does not become smaller again when its names are removed."""

_MOST = 8

_threads: set[threading.Thread] = set()
"""Those that close something now; each takes itself out."""
os.register_at_fork(after_in_child=_threads.clear)


def close(fd: int) -> None:
    """Close a descriptor, which may be the last of a file without a name."""
    if not (_frees_much(fd) and _close_beside(fd)):
        os.close(fd)


@contextmanager
def freed_beside(dirfd: int, name: bytes) -> Iterator[None]:
    """Remove inside, by whatever call, what may be the last name of a large file or of a directory."""
    fd = _held(dirfd, name)
    try:
        yield
    finally:
        if fd >= 0 and not _close_beside(fd):
            os.close(fd)


def is_large(found: os.stat_result) -> bool:
    """Whether it takes milliseconds to free what was looked at."""
    if stat.S_ISREG(found.st_mode):
        return found.st_size > LONG_CUT
    return stat.S_ISDIR(found.st_mode) and found.st_size > LARGE_DIRECTORY


def _frees_much(fd: int) -> bool:
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return found.st_nlink == 0 and is_large(found)


def _held(dirfd: int, name: bytes) -> int:
    """Return a descriptor of a large directory, or file that has no other name; -1 if it is neither."""
    try:
        found = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        if is_large(found) and (found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)):
            return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
    except OSError:
        pass  # the call that follows meets the same; and without a descriptor to spare it frees the file
    return -1


def _close_beside(fd: int) -> bool:
    """Have a helper thread close a descriptor; False if none is free."""
    if len(_threads) >= _MOST:
        return False
    thread = threading.Thread(target=_close, args=(fd,), name="coop closer", daemon=True)
    _threads.add(thread)
    try:
        thread.start()
    except BaseException as error:
        _threads.discard(thread)
        if isinstance(error, RuntimeError):
            return False
        raise
    return True


def _close(fd: int) -> None:
    # What a delayed write met is of no interest: nobody can read the file.
    with suppress(OSError):
        os.close(fd)
    _threads.discard(threading.current_thread())
