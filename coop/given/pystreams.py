"""Streams made of Python values: open files without a kernel descriptor.

Python given by the user runs on a task's greenlet and may park; a try on the guest's
fiber only says BLOCKED and leaves the work to `wait`.  What a callable raises ends the
guest; what a file raises as an OSError is the guest's errno.

1. A write is done when the guest goes on: nothing is kept back, so nothing piles up
   and nothing is lost with the guest.
2. What reads has at most one chunk that the guest has not taken yet.
3. A reader is readable when a read would not wait; somebody who polls it makes it
   ask ahead.  A writer always takes a write, which then takes as long as it takes.
"""

import errno
import io
import os
import select
import stat
from collections.abc import Callable, Sequence
from typing import Any

from coop.errors import Cancelled
from coop.netpoll.contract import BOTH, READ, WRITE
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.scheduler import Scheduler
from coop.task import Task, current_or_none
from coop.threads import Job, run_in_thread

CHUNK = 1 << 16
"""How many bytes are asked for at once."""


class _InProcess(OpenFile):
    """A file without a kernel descriptor."""

    __slots__ = ()

    def __init__(self, what: str) -> None:
        super().__init__(-1, stat.S_IFCHR, what)
        self.ready = BOTH  # nobody but the file itself knows, so nothing is stale

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        raise OSError(errno.EBADF, f"read {self.what}: it is written to")

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        raise OSError(errno.EBADF, f"write {self.what}: it is read from")

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


class BytesIOReader(_InProcess):
    """Reads an `io.BytesIO`, from its position on; it never waits."""

    __slots__ = ("_stream",)

    def __init__(self, stream: io.BytesIO, what: str) -> None:
        super().__init__(what)
        self._stream = stream

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        return sum(map(self._stream.readinto, buffers))


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


class AsksAhead(_InProcess):
    """A reader that has to be told that somebody polls it (`on_wait`), or it has never anything to read."""

    __slots__ = ("_ended", "_left")

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.ready = WRITE
        self._left, self._ended = memoryview(b""), False

    def _give(self, buffers: Sequence[memoryview]) -> int:
        """Hand out what is left of the bytes that came last."""
        count = _fill(buffers, self._left)
        self._left = self._left[count:]
        if not self._left and not self._ended:
            self.ready &= ~READ
        return count


class CallableReader(AsksAhead):
    """Reads what a function of the user returns; it is called when nothing is left.

    A guest that reads calls it on its own task.  One that polls has it called on a task
    beside, since the function may park, and the guest may wait for other things as well.
    """

    __slots__ = ("_asking", "_call", "_error", "_owner")

    def __init__(self, owner: Scheduler, call: Callable[[], bytes], what: str) -> None:
        super().__init__(what)
        self._owner, self._call = owner, call
        self._asking: Task | None = None
        self._error: BaseException | None = None

    @property
    def must_wait(self) -> bool:  # type: ignore[override]
        """True but for a guest that never waits: it is told to come again while the function runs beside."""
        return not self.nonblock or self._error is not None

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        if not self._left and not self._ended:
            if self.nonblock:
                self.on_wait(READ)
            return BLOCKED
        return self._give(buffers)

    def on_wait(self, mode: int) -> None:
        """Have the function called beside, because somebody polls."""
        if mode & READ and self._asking is None and not self.ready & READ:
            self._asking = self._owner.spawn(self._ask_beside, name=f"the function behind {self.what}")

    def wait(self, mode: int, doing: str = "wait for") -> None:
        """Call the function, on the task's greenlet; or wait for the call in progress."""
        if self._asking is not None:
            super().wait(mode, doing)
        elif self._error is None:
            self._ask()
        if self._error is not None:
            raise self._error

    def _ask(self) -> None:
        data = _checked_bytes(self._call(), self.what, self._call)
        self._left, self._ended = memoryview(data), not data
        self.ready |= READ

    def _ask_beside(self) -> None:
        try:
            self._ask()
        except Cancelled:
            raise
        except BaseException as error:
            self._error = error  # the guest's next read raises it
        finally:
            self._asking = None
        self.notify(READ)

    def destroy(self) -> None:
        """End a call in progress: nobody will read what it returns."""
        self._error = None
        if self._asking is not None:
            self._asking.cancel()


class CallableWriter(_InProcess):
    """Gives what the guest writes to a function of the user, before the guest goes on.

    So a slow reader slows the guest down, and nothing piles up here.
    """

    __slots__ = ("_call", "_given", "_taken")

    must_wait = True

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


class ThreadedReader(AsksAhead):
    """Reads a Python file that may block, one chunk ahead at most, in a helper thread."""

    __slots__ = ("_closes", "_error", "_job", "_owner", "_stream")

    def __init__(self, owner: Scheduler, stream: Any, what: str, *, closes: bool = False) -> None:
        super().__init__(what)
        if isinstance(stream, io.TextIOBase):
            raise TypeError(f"{what}: a binary file is wanted, not a text file (use its .buffer)")
        self._owner, self._stream, self._closes = owner, stream, closes
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
        return self._give(buffers)

    def on_wait(self, mode: int) -> None:
        """Start reading ahead, because somebody waits."""
        if mode & READ and self._job is None and not self.ready & READ:
            stream, what = self._stream, self.what
            try:
                self._job = Job(self._owner, lambda: _read_chunk(stream, what), self._arrived)
            except OSError as error:
                self._error = error  # no thread to be had: the next read tells
                self.notify(READ)

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


def _checked_bytes(data: Any, what: str, source: object) -> bytes:
    """Return what code of the user's gave for a stream, `what`, as bytes.  Raises: TypeError."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"{what}: bytes wanted from {source!r}, not {type(data).__name__}")
    return bytes(data)


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


def _read_chunk(stream: Any, what: str) -> bytes:
    """Read what there is, at least a byte; b"" at the end.  Raises: TypeError for what is no bytes."""
    read = getattr(stream, "read1", None) or stream.read
    data = read(CHUNK)
    while data is None and isinstance(stream, io.RawIOBase):
        _await(stream, select.POLLIN)
        data = read(CHUNK)
    if not data and _may_block(stream) and not os.get_blocking(stream.fileno()):
        # Nothing yet or the end?  Python says the same for both.
        _await(stream, select.POLLIN)
        data = read(CHUNK)
    return b"" if data is None else _checked_bytes(data, what, read)


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
        task = current_or_none()
        if rest and task is not None:
            task.pause()  # here, and not in a helper thread: the others wait as long as it works
    flush = getattr(stream, "flush", None)
    while flush is not None:
        try:
            flush()
            break
        except BlockingIOError:
            _await(stream, select.POLLOUT)
