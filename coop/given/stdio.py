"""Standard streams: whatever the host gives, as an open file that can be polled.

    None            reads nothing, writes nowhere
    "inherit"       the process's own stream; its flags are left as they are
    bytes           read from memory
    bytearray       written to memory
    a callable      stdin: returns bytes, b"" at the end; stdout, stderr: takes bytes
    a channel       of bytes; stdin: closed at the end
    a binary file   a regular file that Python has opened plainly is the guest's as if inherited; others are
                    read and written in a helper thread where they may block: always for stdin, for
                    stdout and stderr if it is a pipe, a terminal or a socket
    a socket, a coop connection

1. What a guest is told (`stream`) is what there is: a terminal has no position, a redirected
   file has one, and so has a device that is no terminal.
2. Every one can be polled, and none is waited for with the thread held.
3. Nothing is kept back of what a guest has written: a slow reader makes it wait.

Files that are Python values are in `pystreams`.
"""

import fcntl
import io
import os
import socket
import stat
import sys
from contextlib import suppress
from functools import partial
from typing import Any

from coop.channel import Channel
from coop.fs.hostfile import DiskFile
from coop.given.pystreams import (
    BytesIOReader,
    BytesReader,
    BytesWriter,
    CallableReader,
    CallableWriter,
    FileWriter,
    NullFile,
    ThreadedReader,
)
from coop.given.sockets import Lendable, open_connection, open_inherited
from coop.given.stream import Given
from coop.netpoll.kernelfiles import PipeFile
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler

Stdio = Any
"""None | "inherit" | bytes | bytearray | callable | channel | binary file | socket | connection."""

_TIOCGPTN = 0x80045430  # the number of a terminal, of its master only


def open_stdio(owner: Scheduler, stream: Stdio, number: int, what: str) -> Given:
    """Open a standard stream.

    number -- 0, 1 or 2: which one, and so whether it is read or written
    Raises: TypeError if `stream` is nothing that can be one; OSError.
    """
    if stream is None:
        return open_null()
    if isinstance(stream, str):
        if stream != "inherit":
            raise TypeError(f"{what}: {stream!r} is no stream; did you mean 'inherit'?")
        return _inherit(owner, number, what)
    if isinstance(stream, (socket.socket, Lendable)):
        return open_connection(owner, stream, what)
    if isinstance(stream, Channel):
        stream = partial(_received, stream) if number == 0 else stream.send
    if number == 0:
        if isinstance(stream, (bytes, bytearray, memoryview)):
            return _stream(BytesReader(bytes(stream), what))
        if type(stream) is io.BytesIO:
            return _stream(BytesIOReader(stream, what))
        if callable(getattr(stream, "read", None)):
            return _plain_file(stream, what) or _stream(ThreadedReader(owner, stream, what), stream)
        if callable(stream):
            return _stream(CallableReader(owner, stream, what))
    else:
        if isinstance(stream, bytearray):
            return _stream(BytesWriter(stream, what))
        if callable(getattr(stream, "write", None)):
            return _plain_file(stream, what) or _stream(FileWriter(stream, what), stream)
        if callable(stream):
            return _stream(CallableWriter(stream, what))
    raise TypeError(f"{what}: cannot use {type(stream).__name__} as a stream")


def open_null() -> Given:
    """Open a stream that reads as empty and swallows what is written; all numbers of a guest may share it."""
    return Given(NullFile("null stream"))


def _received(channel: Channel[bytes]) -> bytes:
    """Return what a channel has next; b"", which it may hold too, where it was closed."""
    return next((data for data in channel if data != b""), b"")


def _stream(file: OpenFile, stream: Any = None) -> Given:
    """Take an open file without a position; `stream` is the Python file behind it, maybe a terminal."""
    try:
        is_terminal = stream is not None and os.isatty(stream.fileno())
    except (AttributeError, OSError, TypeError, ValueError):
        is_terminal = False
    return Given(file, stat.S_IFCHR if is_terminal else 0, is_terminal=is_terminal)


def _plain_file(stream: Any, what: str) -> Given | None:
    """Open the regular file that a plain Python file is; None if there is more to it.

    A subclass may do anything, and what Python has read ahead nobody else would get.
    """
    if type(stream) not in (io.FileIO, io.BufferedReader, io.BufferedWriter) or stream.closed:
        return None
    number = stream.fileno()
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        return None
    if stream.writable():
        stream.flush()
    if stream.tell() != os.lseek(number, 0, os.SEEK_CUR):
        return None
    return _regular(number, mode, what)


def _regular(number: int, mode: int, what: str) -> Given:
    appends = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND
    file = DiskFile(os.dup(number), mode, what, lent=True)
    return Given(file, mode, has_position=True, appends=bool(appends))


# -- the process's own streams


def _inherit(owner: Scheduler, number: int, what: str) -> Given:
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        mode = 0
    if not mode or (sys.__stdin__, sys.__stdout__, sys.__stderr__)[number] is None:
        # A closed stream reads as empty, as natively.  Python knows which were closed when it started;
        # by now the number may name something else, say the poller.
        return _stream(NullFile(what))
    if stat.S_ISSOCK(mode):
        fd = os.dup(number)
        try:
            sock = socket.socket(fileno=fd)
        except BaseException:
            os.close(fd)
            raise
        with sock:
            return open_inherited(owner, sock, what)
    if stat.S_ISREG(mode):
        return _regular(number, mode, what)
    is_terminal = os.isatty(number)
    is_device = stat.S_ISCHR(mode) and not is_terminal
    reopened = _reopened(number, mode)
    if reopened is None:
        return Given(_helped(owner, number, what), mode, is_terminal, is_device)
    try:
        file = PipeFile(reopened, mode, what, poller=owner.poller, timers=owner.timers)
    except BaseException:
        os.close(reopened)
        raise
    return Given(file, mode, is_terminal, is_device)


def _reopened(number: int, mode: int) -> int | None:
    """Open the same pipe or device anew: non-blocking for us, as it was for everybody else.

    None if that may not be, or would be something else, as it is with the master of a terminal: that
    would be the master of a new one.
    """
    try:
        if stat.S_ISCHR(mode):
            fcntl.ioctl(number, _TIOCGPTN, bytes(4))
            return None
    except OSError:
        pass  # no master
    try:
        is_packets = stat.S_ISFIFO(mode) and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_DIRECT
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY
        fd = os.open(f"/proc/self/fd/{number}", flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    if is_packets:
        # Packet mode is the open file's, and no open takes it.
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
    return fd


def _helped(owner: Scheduler, number: int, what: str) -> OpenFile:
    """Return a file for a descriptor that may neither be reopened nor made non-blocking."""
    if number == 0:
        return ThreadedReader(owner, io.FileIO(os.dup(number), "rb"), what, closes=True)
    return FileWriter(io.FileIO(os.dup(number), "wb"), what, closes=True)
