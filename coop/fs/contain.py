"""Opens paths below a directory descriptor, and nothing that is not below it.

A path comes from a guest that may be hostile, and another process may rename and
re-link below the directory while it is resolved.  Comparing names, or checking
first and opening later, is therefore worth nothing; two resolvers do it right:

    by_openat2   one system call: the kernel resolves and refuses to leave (RESOLVE_BENEATH) or
                 to take the short cuts of /proc (RESOLVE_NO_MAGICLINKS)
    by_walk      for kernels and sandboxes without that call: one component at a time, each
                 opened without following, links read and resolved here

A path of one component leaves nothing to resolve: opened without following (`by_name`), it is
below the directory whatever anybody renames, at half the price of openat2.  Only where it
is a link, and links are followed, a resolver goes on.

1. Every name handed to the kernel by the walk is one component, and is opened with
   O_NOFOLLOW from a directory that was reached in the same way.
2. `..` is never trusted: it must lead back to the directory the walk came through.
   A directory moved in between is an error, not a guess.
3. An absolute path or link target is refused, even if it names something inside.
4. A descriptor is opened with O_NONBLOCK, so that a FIFO or a leased file never
   blocks the thread.  The guest's own NONBLOCK is a bit elsewhere.

What a guest is told follows native wasmtime (tried on release 50): EPERM for leaving, be it by
`..`, an absolute path or a link; EILSEQ for what is not UTF-8; EINVAL for a NUL byte; ELOOP
for a final link that may not be followed, with O_DIRECTORY too, where Linux says ENOTDIR.  Only
for the links of /proc that lead out do the resolvers differ (ELOOP, EPERM or ENOENT), where the
tree is changed meanwhile - the walk may refuse (EPERM, ELOOP, ENOTDIR) what the kernel finds - and
for a path that has thousands of components by its links: the walk gives up (ELOOP).  Where the last
name's own directory is asked for and that name is a link to be followed, it is always the walk that goes on.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final, NamedTuple

from coop.fs.paths import (
    MAX_LINKS,
    MAX_NAMES,
    MAX_PATH,
    check_path,
    path_error,
    relative,
    reversed_names,
    split_last,
)

Resolver = Callable[[int, bytes, int, int], int]
"""`(dirfd, path, flags, mode) -> fd`; flags are complete, O_NOFOLLOW among them is for the last component."""

_OPENAT2 = 437  # the same on every architecture
_RESOLVE = 0x08 | 0x02  # RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS: the first implies the second only for now
_HOW = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve
_HOW_SIZE = _HOW.size
_TRIES = 8  # a `..` while anything on the machine is renamed answers EAGAIN; then the walk decides

_ALWAYS = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_WITH_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # openat2 refuses others beside O_PATH
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME_ONLY = os.O_DIRECTORY | os.O_NOFOLLOW
_CREATE_NEW = os.O_CREAT | os.O_EXCL
_DOTS = (b".", b"..")
_STAY = (b".", b"")  # an empty name stands for a slash at the end

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long


class Parent(NamedTuple):
    """A name and the directory it is in; valid inside the `with` that gave it."""

    fd: int
    """The directory; opened with O_PATH, or the one the path began in."""

    name: bytes
    """One component without a slash: `.` where the path ended in `..`, never `..` itself."""

    slash: bool
    """The path ended in a slash: what is named must be a directory."""


def open_beneath(
    dirfd: int, path: bytes, flags: int, mode: int = 0o666, *, follow: bool, resolve: Resolver | None = None
) -> int:
    """Open `path` below the directory `dirfd` and return a new descriptor.

    flags -- os.O_*; O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added, O_NOFOLLOW comes from `follow`
    resolve -- by_name, by_openat2 or by_walk; the first if none is given
    Raises: OSError with the errno the guest is to see (see the module's text).  Never EAGAIN: a file
    that is leased to somebody answers EBUSY.
    """
    _check(dirfd, path)
    if flags & os.O_CREAT and flags & os.O_DIRECTORY:
        raise path_error(errno.EINVAL, path)  # older kernels create a file and then fail
    flags = (flags | _ALWAYS) & ~os.O_NOFOLLOW if follow else flags | _ALWAYS | os.O_NOFOLLOW
    if flags & os.O_PATH:
        flags &= _WITH_PATH
    resolve = resolve or by_name
    try:
        return resolve(dirfd, path, flags, mode & 0o777 if flags & os.O_CREAT else 0)
    except BlockingIOError:
        raise path_error(errno.EBUSY, path) from None
    except NotADirectoryError:
        if flags & _NAME_ONLY == _NAME_ONLY and _is_link(dirfd, path, resolve):
            raise path_error(errno.ELOOP, path) from None
        raise


def stat_beneath(dirfd: int, path: bytes, *, follow: bool, resolve: Resolver | None = None) -> os.stat_result:
    """Return what `path` below `dirfd` is; nothing is opened for reading, so any kind of file will do.

    Raises: as `open_beneath`.
    """
    if resolve is None and _is_one_name(path):
        _check(dirfd, path)
        found = os.stat(path, dir_fd=dirfd, follow_symlinks=False)
        if not (follow and stat.S_ISLNK(found.st_mode)):
            return found
    fd = open_beneath(dirfd, path, os.O_PATH, follow=follow, resolve=resolve)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


@contextmanager
def parent_beneath(
    dirfd: int, path: bytes, *, follow: bool = False, resolve: Resolver | None = None
) -> Iterator[Parent]:
    """Give the directory that holds the last component of `path`, for what acts on a name.

    The name need not exist.  The caller uses it with `dir_fd=parent.fd` and a call that does not
    follow links: unlink, mkdir, rename, symlink, readlink, link or utime with follow_symlinks=False.
    follow -- go on through links to a name that is none.  Calls that act on the object and not on its
    name (utime, the source of a link) want this after a slash too: `parent.slash` tells.
    Raises: as `open_beneath`.
    """
    _check(dirfd, path)
    if resolve is None and not follow and _is_one_name(path):
        yield Parent(dirfd, path, slash=False)
        return
    head, name, slash = split_last(path)
    fd = (resolve or RESOLVE)(dirfd, head, _DIRECTORY, 0)
    try:
        if not follow or _link_target(fd, name) is None:
            yield Parent(fd, name, slash)
            return
    finally:
        os.close(fd)
    # A link may lead up again, so it is not enough to go on from its directory; and to have the whole path
    # resolved anew for each one would let a guest have forty times the links that a path may have.
    walk = _Walk(dirfd, path)
    try:
        yield walk.parent()
    finally:
        os.close(walk.here)


def by_name(dirfd: int, path: bytes, flags: int, mode: int) -> int:
    """Open a path of one component, unless it is a link to be followed; leave the rest to `RESOLVE`."""
    # Where a link is to be followed, O_PATH would open the link, and O_DIRECTORY hide that it is one.
    if _is_one_name(path) and (flags & os.O_NOFOLLOW or not flags & (os.O_PATH | os.O_DIRECTORY)):
        try:
            return os.open(path, flags | os.O_NOFOLLOW, mode, dir_fd=dirfd)
        except OSError as error:
            if error.errno != errno.ELOOP or flags & os.O_NOFOLLOW:
                raise
    return RESOLVE(dirfd, path, flags, mode)


def by_openat2(dirfd: int, path: bytes, flags: int, mode: int) -> int:
    """Let the kernel resolve `path`; what it cannot decide is left to the walk."""
    how = _how(flags, mode)
    for _ in range(_TRIES):
        fd: int = _syscall(_OPENAT2, dirfd, path, how, _HOW_SIZE)
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    # A sandbox entered after the start may take the call away: then, too, the walk.
    if code in (errno.EAGAIN, errno.EINTR, errno.ENOSYS):
        return by_walk(dirfd, path, flags, mode)
    raise path_error(errno.EPERM if code == errno.EXDEV else code, path)


def by_walk(dirfd: int, path: bytes, flags: int, mode: int) -> int:
    """Resolve `path` here, one component after the other; at most two descriptors are open at a time."""
    walk = _Walk(dirfd, path)
    try:
        return walk.open(flags, mode)
    finally:
        os.close(walk.here)


class _Walk:
    """One descent: where it is, how it came there, and the names still to go, the next one last."""

    __slots__ = ("count", "here", "links", "names", "path", "trail")

    def __init__(self, dirfd: int, path: bytes) -> None:
        if len(path) >= MAX_PATH:
            raise path_error(errno.ENAMETOOLONG, path)  # one made longer by links; so does the kernel
        self.path = path
        self.names = reversed_names(path)
        self.count = len(self.names)
        self.links = 0
        self.here = os.open(b".", _DIRECTORY, dir_fd=dirfd)
        self.trail: list[tuple[int, int]] = []

    def open(self, flags: int, mode: int) -> int:
        self.trail.append(_identity(self.here))
        fd = None
        while fd is None:
            name = self.names.pop()
            if flags & os.O_CREAT and self.names == [b""] and name not in _DOTS:
                raise path_error(errno.EISDIR, self.path)  # no file is created with a slash at its end
            if self.names:
                self._enter(name)
                continue
            if name == b"..":
                self._up()
            fd = self._open_last(b"." if name in (b"..", b"") else name, flags, mode)
        return fd

    def parent(self) -> Parent:
        """Go to the last name that is no link, through all that are; `here` is its directory then."""
        self.trail.append(_identity(self.here))
        while True:
            name = self.names.pop()
            if any(self.names):  # and not just slashes
                self._enter(name)
                continue
            if name == b"..":
                self._up()
            name = b"." if name in _DOTS else name
            target = _link_target(self.here, name)
            if target is None:
                return Parent(self.here, name, slash=bool(self.names))
            self._expand(target)

    def _open_last(self, name: bytes, flags: int, mode: int) -> int | None:
        """Open the last component; None if it was a link, whose names are now those to go."""
        follow = not flags & os.O_NOFOLLOW and flags & _CREATE_NEW != _CREATE_NEW
        if follow and flags & os.O_PATH:
            return self._look(name, directory=bool(flags & os.O_DIRECTORY))
        target = _link_target(self.here, name) if follow else None
        if target is not None:
            self._expand(target)
            return None
        # A link that came into being since then is refused, not followed.
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=self.here)

    def _enter(self, name: bytes) -> None:
        if name in _STAY:
            return
        if name == b"..":
            self._up()
            return
        fd = self._look(name, directory=True)
        if fd is not None:
            os.close(self.here)
            self.here = fd
            self.trail.append(_identity(fd))

    def _look(self, name: bytes, *, directory: bool) -> int | None:
        """Open a name with O_PATH first and see then what it is: under a descriptor that cannot change."""
        fd = os.open(name, _LOOK, dir_fd=self.here)
        is_wanted = False
        try:
            kind = os.fstat(fd).st_mode
            is_wanted = stat.S_ISDIR(kind) or not (directory or stat.S_ISLNK(kind))
            if is_wanted:
                return fd
            if not stat.S_ISLNK(kind):
                raise path_error(errno.ENOTDIR, self.path)
            self._expand(os.readlink(b"", dir_fd=fd))
        finally:
            if not is_wanted:
                os.close(fd)
        return None

    def _up(self) -> None:
        if len(self.trail) == 1:
            raise path_error(errno.EPERM, self.path)
        above = os.open(b"..", _DIRECTORY, dir_fd=self.here)
        os.close(self.here)
        self.here = above
        self.trail.pop()
        if _identity(self.here) != self.trail[-1]:
            raise path_error(errno.EPERM, self.path)  # moved under the walk: it may be outside by now

    def _expand(self, target: bytes) -> None:
        names = reversed_names(relative(target))
        self.links += 1
        self.count += len(names)
        if self.links > MAX_LINKS or self.count > MAX_NAMES:
            raise path_error(errno.ELOOP, self.path)
        self.names += names


def _check(dirfd: int, path: bytes) -> None:
    """Refuse what needs no look at the file system; a negative dirfd could mean the working directory."""
    if dirfd < 0:
        raise path_error(errno.EBADF, path)
    check_path(path)


def _is_one_name(path: bytes) -> bool:
    return b"/" not in path and path not in _DOTS


def _link_target(dirfd: int, name: bytes) -> bytes | None:
    """Read the link `name`; None if it is none or does not exist."""
    try:
        return os.readlink(name, dir_fd=dirfd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _is_link(dirfd: int, path: bytes, resolve: Resolver) -> bool:
    try:
        return stat.S_ISLNK(stat_beneath(dirfd, path, follow=False, resolve=resolve).st_mode)
    except OSError:
        return False


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


@lru_cache(maxsize=64)
def _how(flags: int, mode: int) -> bytes:
    """Pack `struct open_how`: the kernel only reads it, so one immutable copy serves every thread."""
    return _HOW.pack(flags, mode, _RESOLVE)


def _has_openat2() -> bool:
    """Ask with a descriptor that cannot be: only a kernel that knows the call finds that out."""
    how = _how(os.O_PATH | os.O_CLOEXEC, 0)
    return _syscall(_OPENAT2, -1, b".", how, _HOW_SIZE) == -1 and ctypes.get_errno() == errno.EBADF


RESOLVE: Final[Resolver] = by_openat2 if _has_openat2() else by_walk
"""The best resolver that works here, found once."""
