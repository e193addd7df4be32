"""Standard streams: whatever the host gives, as a descriptor that can be polled.

    None            reads nothing, writes nowhere
    "inherit"       the process's own stream; its flags are left as they are
    bytes           read from memory
    bytearray       written to memory
    a callable      stdin: returns bytes, b"" at the end; stdout, stderr: takes bytes
    a binary file   read and written in a helper thread where it may block: always for stdin, for
                    stdout and stderr if it is a pipe, a terminal or a socket
    a socket, a coop connection

Python given by the user runs on the task's greenlet and may park; a try on the
guest's fiber only says BLOCKED and leaves the work to `wait`.  What a callable
raises ends the guest; what a file raises as an OSError is the guest's errno.
"""

import fcntl
import io
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Any

from coop.fs.hostfile import DiskFile
from coop.netpoll.contract import BOTH, READ, WRITE
from coop.netpoll.kernelfiles import PipeFile
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.scheduler import Scheduler
from coop.threads import Job, run_in_thread
from coop.wasip1.abi import FILE_RIGHTS, STREAM_RIGHTS, Fdflags, Filetype, filetype_of_mode
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.streams import HasOpenFile, open_connection

Stdio = Any
"""None | "inherit" | bytes | bytearray | callable | binary file | socket | connection."""

_CHUNK = 1 << 16


def open_stdio(owner: Scheduler, stream: Stdio, number: int, what: str) -> Descriptor:
    """Make the descriptor of a standard stream.

    number -- 0, 1 or 2: which one, and so whether it is read or written
    Raises: TypeError if `stream` is nothing that can be one; OSError.
    """
    if stream is None:
        return _stream(NullFile(what))
    if isinstance(stream, str):
        if stream != "inherit":
            raise TypeError(f"{what}: {stream!r} is no stream; did you mean 'inherit'?")
        return _inherit(owner, number, what)
    if isinstance(stream, (socket.socket, HasOpenFile)):
        return open_connection(owner, stream)
    if number == 0:
        if isinstance(stream, (bytes, bytearray, memoryview)):
            return _stream(BytesReader(bytes(stream), what))
        if isinstance(stream, io.BytesIO):
            return _stream(CallableReader(lambda: stream.read(_CHUNK), what))
        if callable(getattr(stream, "read", None)):
            return _stream(ThreadedReader(owner, stream, what))
        if callable(stream):
            return _stream(CallableReader(stream, what))
    else:
        if isinstance(stream, bytearray):
            return _stream(BytesWriter(stream, what))
        if callable(getattr(stream, "write", None)):
            return _stream(FileWriter(stream, what))
        if callable(stream):
            return _stream(CallableWriter(stream, what))
    raise TypeError(f"{what}: cannot use {type(stream).__name__} as a stream")


def _stream(file: OpenFile) -> Descriptor:
    return Descriptor(file, Filetype.UNKNOWN, int(STREAM_RIGHTS), 0)


# -- the operating system's way of waiting, in a helper thread


def _may_block(stream: Any) -> bool:
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (AttributeError, OSError, TypeError, ValueError):
        return False  # in memory, or closed: writing will tell
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def _await(stream: Any, event: int) -> None:
    """Wait until a file that somebody made non-blocking can go on."""
    asker = select.poll()
    asker.register(stream.fileno(), event)
    asker.poll()


def _read_chunk(stream: Any) -> bytes:
    """Read what there is, at least a byte; b"" at the end."""
    read = getattr(stream, "read1", None) or stream.read
    data = read(_CHUNK)
    if not data and _may_block(stream) and not os.get_blocking(stream.fileno()):
        # Nothing yet or the end?  Python says the same for both.
        _await(stream, select.POLLIN)
        data = read(_CHUNK)
    return data or b""


def _write_all(stream: Any, data: bytes) -> None:
    """Write and flush all of `data`, to a file that may be raw, non-blocking, or return nothing."""
    rest = memoryview(data)
    while rest:
        try:
            count = stream.write(rest)
        except BlockingIOError as error:
            count = error.characters_written
            _await(stream, select.POLLOUT)
        if count is None and isinstance(stream, io.RawIOBase):
            _await(stream, select.POLLOUT)
            count = 0
        rest = rest[len(rest) if count is None else count :]
    flush = getattr(stream, "flush", None)
    while flush is not None:
        try:
            flush()
            break
        except BlockingIOError:
            _await(stream, select.POLLOUT)


# -- the process's own streams


def _inherit(owner: Scheduler, number: int, what: str) -> Descriptor:
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        mode = 0
    if not mode or (sys.__stdin__, sys.__stdout__, sys.__stderr__)[number] is None:
        # A closed stream reads as empty, as natively.  Python knows which were closed when it started;
        # by now the number may name something else, say the poller.
        return _stream(NullFile(what))
    filetype = filetype_of_mode(mode)
    if stat.S_ISSOCK(mode):
        with socket.socket(fileno=os.dup(number)) as sock:
            return open_connection(owner, sock)
    if stat.S_ISREG(mode):
        appends = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND
        file = DiskFile(os.dup(number), mode, what, lent=True)
        return Descriptor(file, filetype, int(FILE_RIGHTS), 0, int(Fdflags.APPEND) if appends else 0)
    try:
        # A new open file on the same pipe or terminal: non-blocking for us, as it was for everybody else.
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY
        fd = os.open(f"/proc/self/fd/{number}", flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return Descriptor(_helped(owner, number, what), filetype, int(STREAM_RIGHTS), 0)
    try:
        file_: OpenFile = PipeFile(fd, mode, what, poller=owner.poller, timers=owner.timers)
    except BaseException:
        os.close(fd)
        raise
    return Descriptor(file_, filetype, int(STREAM_RIGHTS), 0)


def _helped(owner: Scheduler, number: int, what: str) -> OpenFile:
    """Return a file for a descriptor that may neither be reopened nor made non-blocking."""
    if number == 0:
        return ThreadedReader(owner, io.FileIO(os.dup(number), "rb"), what, closes=True)
    return FileWriter(io.FileIO(os.dup(number), "wb"), what, closes=True)


# -- files that live in this process


class _InProcess(OpenFile):
    """A file without a kernel descriptor."""

    __slots__ = ()

    def __init__(self, what: str) -> None:
        super().__init__(-1, stat.S_IFCHR, what)
        self.ready = BOTH  # nobody but the file itself knows, so nothing is stale

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        raise OSError(9, f"read {self.what}: it is written to")

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        raise OSError(9, f"write {self.what}: it is read from")

    def destroy(self) -> None:
        """Nothing to give back."""


class NullFile(_InProcess):
    """Reads as empty and swallows what is written."""

    __slots__ = ()

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        return 0

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        return sum(map(len, buffers))


class BytesReader(_InProcess):
    """Reads from memory."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, what: str) -> None:
        super().__init__(what)
        self._data, self._at = data, 0

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        count = _fill(buffers, memoryview(self._data)[self._at :])
        self._at += count
        return count


class BytesWriter(_InProcess):
    """Writes to memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytearray, what: str) -> None:
        super().__init__(what)
        self._data = data

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        for buffer in buffers:
            self._data += buffer
        return sum(map(len, buffers))


class CallableReader(_InProcess):
    """Reads what a function of the user returns; it is called when the guest reads and nothing is left."""

    __slots__ = ("_call", "_ended", "_left")

    runs_user_code = True

    def __init__(self, call: Callable[[], bytes], what: str) -> None:
        super().__init__(what)
        self._call, self._left, self._ended = call, memoryview(b""), False

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        if not self._left and not self._ended:
            return BLOCKED
        count = _fill(buffers, self._left)
        self._left = self._left[count:]
        return count

    def wait(self, mode: int, doing: str = "wait for") -> None:
        """Call the function, on the task's greenlet."""
        data = self._call()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"{self.what}: bytes wanted from {self._call!r}, not {type(data).__name__}")
        self._left, self._ended = memoryview(bytes(data)), not data


class CallableWriter(_InProcess):
    """Gives what the guest writes to a function of the user, before the guest goes on.

    So a slow reader slows the guest down, and nothing piles up here.
    """

    __slots__ = ("_call", "_given", "_taken")

    runs_user_code = True

    def __init__(self, call: Callable[[bytes], object], what: str) -> None:
        super().__init__(what)
        self._call = call
        self._given: bytes | None = None
        self._taken = BLOCKED

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        taken, self._taken = self._taken, BLOCKED
        if taken == BLOCKED:
            self._given = b"".join(buffers)
        return taken

    def wait(self, mode: int, doing: str = "wait for") -> None:
        """Call the function, on the task's greenlet."""
        given, self._given = self._given, None
        if given is not None:
            self._call(given)
            self._taken = len(given)


class FileWriter(CallableWriter):
    """Gives what the guest writes to a Python file."""

    __slots__ = ("_closes", "_error", "_stream", "_threaded")

    def __init__(self, stream: Any, what: str, *, closes: bool = False) -> None:
        if isinstance(stream, io.TextIOBase):
            hint = "use its .buffer, or coop.text"
            raise TypeError(f"{what}: a binary file is wanted, not a text file ({hint})")
        super().__init__(lambda data: _write_all(stream, data), what)
        self._stream, self._closes = stream, closes
        self._threaded = _may_block(stream)
        self._error: OSError | None = None

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return super().try_write(buffers)

    def wait(self, mode: int, doing: str = "wait for") -> None:
        """Write on the task's greenlet, or in a helper thread."""
        try:
            if self._threaded:
                run_in_thread(super().wait, mode)
            else:
                super().wait(mode)
        except OSError as error:
            self._error = error

    def destroy(self) -> None:
        if self._closes:
            self._stream.close()


class ThreadedReader(_InProcess):
    """Reads a Python file that may block, one chunk ahead at most, in a helper thread."""

    __slots__ = ("_closes", "_ended", "_error", "_job", "_left", "_owner", "_stream")

    def __init__(self, owner: Scheduler, stream: Any, what: str, *, closes: bool = False) -> None:
        super().__init__(what)
        if isinstance(stream, io.TextIOBase):
            raise TypeError(f"{what}: a binary file is wanted, not a text file (use its .buffer)")
        self.ready = WRITE
        self._owner, self._stream, self._closes = owner, stream, closes
        self._left, self._ended = memoryview(b""), False
        self._error: BaseException | None = None
        self._job: Job | None = None

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not self._left and not self._ended:
            self.ready &= ~READ
            if self.nonblock:
                self.on_wait(READ)  # whoever never waits would never get anything
            return BLOCKED
        count = _fill(buffers, self._left)
        self._left = self._left[count:]
        if not self._left and not self._ended:
            self.ready &= ~READ
        return count

    def on_wait(self, mode: int) -> None:
        """Start reading ahead, because somebody waits."""
        if mode & READ and self._job is None and not self.ready & READ:
            stream = self._stream
            self._job = Job(self._owner, lambda: _read_chunk(stream), self._arrived)

    def wait(self, mode: int, doing: str = "wait for") -> None:
        """Start reading ahead, then wait as for any file."""
        self.on_wait(mode)
        super().wait(mode, doing)

    def _arrived(self, job: Job) -> None:
        self._job = None
        self._error = job.error
        self._left = memoryview(job.result or b"")
        self._ended = job.error is None and not job.result
        if self.refs:
            self.notify(READ)
        else:
            self.destroy()

    def destroy(self) -> None:
        """Close the stream if it is ours; one that a thread still reads ends with the thread."""
        if self._closes and self._job is None:
            self._stream.close()


def _fill(buffers: Sequence[memoryview], data: memoryview) -> int:
    """Copy `data` into `buffers` as far as it goes, and return how many bytes that were."""
    done = 0
    for buffer in buffers:
        part = data[done : done + len(buffer)]
        buffer[: len(part)] = part
        done += len(part)
    return done
