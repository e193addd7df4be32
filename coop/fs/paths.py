"""Paths of guests: the checks that need no look at a file system, and how a path is taken apart.

A path is bytes of UTF-8 without a NUL, relative to a directory that the guest holds.
"""

import errno
import os

MAX_LINKS = 40
"""How many symbolic links one path may go through, as on Linux."""

MAX_NAMES = 4096
"""How many components one path may have with those of its links, where they are gone through one by one:
with 40 links of the longest targets it would be 80,000, while nobody else runs."""

_SLASH = ord("/")
MAX_PATH = 4096
"""Bytes of a path with the NUL that ends it, as on Linux."""

MAX_NAME = 255
"""Bytes of one component, as on Linux."""


def check_path(path: bytes) -> None:
    """Refuse a path that no directory resolves.

    Raises: OSError(ENOENT) empty; EILSEQ not UTF-8; EINVAL a NUL byte; ENAMETOOLONG; EPERM absolute.
    """
    if not path:
        raise path_error(errno.ENOENT, path)
    try:
        path.decode()
    except UnicodeDecodeError:
        raise path_error(errno.EILSEQ, path) from None
    if b"\0" in path:
        raise path_error(errno.EINVAL, path)
    if len(path) >= MAX_PATH:
        raise path_error(errno.ENAMETOOLONG, path)
    if path[0] == _SLASH:
        raise path_error(errno.EPERM, path)


def relative(path: bytes) -> bytes:
    """Return `path`, which may be a link's target.  Raises: OSError(EPERM) if it is absolute."""
    if path.startswith(b"/"):
        raise path_error(errno.EPERM, path)
    if not path:
        raise path_error(errno.ENOENT, path)  # a link's target; only a strange file system has it
    return path


def reversed_names(path: bytes) -> list[bytes]:
    """Return the components, the last one first; a slash at the end counts as an empty one."""
    names = [name for name in path.split(b"/") if name]
    if path.endswith(b"/"):
        names.append(b"")
    names.reverse()
    return names


def split_last(path: bytes) -> tuple[bytes, bytes, bool]:
    """Return the directory part, the last component and whether a slash followed it."""
    bare = path.rstrip(b"/")
    head, _, name = bare.rpartition(b"/")
    if name == b"..":
        head, name = bare, b"."
    return head or b".", name, bare != path


def path_error(code: int, path: bytes) -> OSError:
    """Make the OSError of a host errno for a path."""
    return OSError(code, os.strerror(code), path)
