"""Descriptors of what the host gives: the filetype, and the rights, by which libc knows what it is."""

import stat

from coop.given import Given
from coop.wasip1.abi import (
    FILE_RIGHTS,
    LISTENER_RIGHTS,
    SOCKET_RIGHTS,
    STREAM_RIGHTS,
    Fdflags,
    Filetype,
    Rights,
    filetype_of_mode,
)
from coop.wasip1.fdtable import Descriptor

_POSITION = Rights.FD_SEEK | Rights.FD_TELL
_STREAM_OF_FILE = FILE_RIGHTS & ~(
    Rights.FD_FILESTAT_SET_SIZE | Rights.FD_FILESTAT_SET_TIMES | Rights.FD_ALLOCATE
)
"""A file lent as a stream is read or written: who gets a log to append to cannot empty it."""


def descriptor(given: Given, number: int = -1) -> Descriptor:
    """Make the descriptor of what a guest is given.

    number -- of the standard stream that it is, if it is one: of a regular file and of a pipe, stdin is for
              reading alone and the others for writing, however the host has opened it

    A terminal is a character device without a position, a redirected file a regular file with
    one, a device that is no terminal a character device that has the rights of a position, as
    `isatty` looks for. A read of the end of a pipe that is written would wait for ever.
    """
    if stat.S_ISSOCK(given.mode):
        rights = LISTENER_RIGHTS if given.listens else SOCKET_RIGHTS
        kind = Filetype.SOCKET_DGRAM if given.is_datagram else Filetype.SOCKET_STREAM
        return Descriptor(given.file, kind, rights, rights)
    beyond = Rights.FD_WRITE if number == 0 else Rights.FD_READ
    if stat.S_ISREG(given.mode):
        flags = Fdflags.APPEND if given.appends else 0
        rights = _STREAM_OF_FILE & ~beyond
        return Descriptor(given.file, Filetype.REGULAR_FILE, rights, 0, flags)
    rights = STREAM_RIGHTS | _POSITION if given.has_position else STREAM_RIGHTS
    if stat.S_ISFIFO(given.mode):
        rights &= ~beyond
    return Descriptor(given.file, filetype_of_mode(given.mode), rights, 0)
