"""wasi:io/streams, the writing half.

A guest that was allowed to write n bytes must see n bytes taken.  What the kernel does
not take at once stays here, in a backlog no longer than one permit, and is written by a
task beside while the guest goes on; until then the permit is 0.
"""

import errno
from collections.abc import Callable
from typing import Any

from coop.clock import SECOND_NS
from coop.errors import GuestTrap
from coop.netpoll.contract import STALE_WRITE, WRITE
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.netpoll.polldesc import PollDesc
from coop.task import Task
from coop.wasip2.failure import failed
from coop.wasip2.pollables import MomentPollable, Pollable, wait_for_any
from coop.wasip2.reading import InputStream
from coop.wasip2.world import World, released
from coop.wit import Later, Resource, function

__all__ = ["FileOutput", "OutputStream"]

_PERMIT = 1 << 20
"""Bytes that a write is permitted, as many as natively: there are guests that write once what they were
permitted, and leave out the rest."""

_ALL = 64 << 20
"""Bytes that the streams of a guest may have taken and not written; beyond that only `_SOME` are allowed."""

_SOME = 4 << 10
"""Bytes that a stream with no backlog takes all the same, or peers that do not read would stop all others.

They have a bound in the handles that a guest may hold.  What it has dropped counts up to twice `_ALL`;
beyond that a write waits, as does one that was permitted before other streams took so much.
"""

_PATIENCE_NS = 30 * SECOND_NS
"""How long a stream that was dropped waits for a reader who takes nothing; then what is left is given up."""

_FLUSHED_MOST = 4096
"""Bytes that `blocking_write_and_flush` takes, by the interface's own words."""


class OutputStream(Resource):
    """wasi:io/streams output-stream.  A subclass says how a try is made and what is waited for."""

    __slots__ = ("_backlog", "_drained", "_drainer", "_ended", "_permit", "world")

    def __init__(self, world: World, parent: Resource | None = None) -> None:
        super().__init__(parent)
        self.world = world
        self._backlog = bytearray()
        self._drained = PollDesc(-1, "the backlog of a stream")
        self._drainer: Task | None = None
        self._ended: OSError | None = None
        self._permit = 0

    def put(self, data: bytes | memoryview) -> int:
        """Write some of `data`, of which there is some; return how much, or BLOCKED.  Raises: OSError."""
        raise NotImplementedError

    def wait(self) -> None:
        """Park until a try may do better."""
        raise NotImplementedError

    def must_wait(self) -> bool:
        """Whether only `wait` makes progress."""
        return False

    def level(self) -> bool:
        """Whether a try may take something."""
        raise NotImplementedError

    def pollable_source(self) -> tuple[PollDesc, int] | None:
        """Return what to wait for until `level` may be better; None if it always is as good as now."""
        raise NotImplementedError

    @property
    def has_backlog(self) -> bool:
        """Whether something was taken that is not written yet."""
        return bool(self._backlog)

    # -- moving bytes

    def _check(self) -> None:
        """Raise what has ended the stream, if anything has."""
        if self._ended is not None:
            error, self._ended = self._ended, _closed()
            raise failed(error) from error

    def _put(self, data: bytes) -> bytes:
        """Do as `_put_some`, for the guest, which hears of an error."""
        try:
            return bytes(self._put_some(data))
        except OSError as error:
            self._ended = _closed()
            raise failed(error) from error

    def _put_waiting(self, data: bytes) -> None:
        while data := self._put(data):
            self.wait()

    def _write(self, data: bytes) -> Later | None:
        """Take all of `data`; what cannot be written now goes to the backlog, behind what is there."""
        if self._backlog:
            if self._is_too_much(data):
                return Later(lambda: self._put_after_flush(data))
            self._keep(data)
            return None
        left = self._put(data)
        if not left:
            return None
        if self.must_wait() or self._is_too_much(left):
            return Later(lambda: self._put_waiting(left))
        self._keep(left)
        self._drained.block(WRITE)
        self._drainer = self.world.spawn(self._drain, name="a stream's backlog")
        return None

    def _is_too_much(self, data: bytes) -> bool:
        """Whether `data` has to wait outside of the backlog."""
        used = self.world.backlog.used
        return used > _ALL and (used > 2 * _ALL or len(self._backlog) + len(data) > _SOME)

    def _keep(self, data: bytes) -> None:
        self._backlog += data
        self.world.backlog.used += len(data)

    def _forget(self, count: int) -> None:
        del self._backlog[:count]
        self.world.backlog.used -= count

    def _drain(self) -> None:
        try:
            while self._backlog:
                self.wait()
                data = bytes(self._backlog)
                self._forget(len(data) - len(self._put_some(data)))
        except OSError as error:
            self._ended = error
        finally:
            self._forget(len(self._backlog))
            self._drainer = None
            self._drained.notify(WRITE)

    def _put_some(self, data: bytes) -> memoryview:
        """Write until nothing more is taken; return what is left.  Raises: OSError."""
        view = memoryview(data)
        while view and (count := self.put(view)) != BLOCKED:
            view = view[count:]
        return view

    def _flush(self) -> None:
        """Wait until the backlog is written."""
        self.wait_until_written()
        self._check()

    def is_writable(self) -> bool:
        """Whether `check_write` has something to say: a permit, or the end."""
        return self._ended is not None or (not self._backlog and self.level())

    def source(self) -> tuple[PollDesc, int] | None:
        """Return what to wait for until it is writable."""
        return (self._drained, WRITE) if self._backlog else self.pollable_source()

    # -- what the guest calls

    @function("func() -> result<u64, stream-error>", parks=False)
    def check_write(self) -> int:
        """Permit a write of so many bytes; 0 while there is no room."""
        self._check()
        most = max(min(_PERMIT, _ALL - self.world.backlog.used), _SOME)
        self._permit = self.world.bytes_per_call(most, most) if self.is_writable() else 0
        return self._permit

    @function("func(contents: list<u8>) -> result<_, stream-error>", parks=None)
    def write(self, contents: bytes) -> Later | None:
        """Take all of `contents`, which was permitted, and write it now or soon."""
        self._spend(len(contents), "bytes")
        return self._write(contents)

    def _spend(self, length: int, what: str) -> None:
        # Some guests write a few words without asking, and fare well where there is room: so they are
        # asked for here.  Where there is none they end, or what is not written yet would have no bound.
        if length > self._permit and length > self.check_write():
            raise GuestTrap(f"write of {length} {what} to a stream that permitted {self._permit}")
        self._check()
        self._permit -= length

    @function("func(contents: list<u8>) -> result<_, stream-error>", parks=None)
    def blocking_write_and_flush(self, contents: bytes) -> Later | None:
        """Write all of `contents`, 4096 bytes at most, waiting as long as that takes."""
        if len(contents) > _FLUSHED_MOST:
            raise GuestTrap(f"blocking-write-and-flush of {len(contents)} bytes; {_FLUSHED_MOST} are allowed")
        self._check()
        if self._backlog:
            return Later(lambda: self._put_after_flush(contents))
        left = self._put(contents)
        return Later(lambda: self._put_rest(left)) if left else None

    def _put_after_flush(self, contents: bytes) -> None:
        self._flush()
        self._put_waiting(contents)

    def _put_rest(self, left: bytes) -> None:
        self.wait()
        self._put_waiting(left)

    @function("func() -> result<_, stream-error>", parks=False)
    def flush(self) -> None:
        """Begin to write what is still here; it has begun already."""
        self._check()

    @function("func() -> result<_, stream-error>", parks=None)
    def blocking_flush(self) -> Later | None:
        """Wait until everything is written."""
        self._check()
        return Later(self._flush) if self._backlog else None

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready when `check_write` would permit something, or fail."""
        return _OutputPollable(self)

    @function("func(len: u64) -> result<_, stream-error>", parks=None)
    def write_zeroes(self, length: int) -> Later | None:
        """Write zeroes as `write` does."""
        self._spend(length, "zeroes")
        return self._write(bytes(length))

    @function("func(len: u64) -> result<_, stream-error>", parks=None)
    def blocking_write_zeroes_and_flush(self, length: int) -> Later | None:
        """Write zeroes as `blocking_write_and_flush` does."""
        if length > _FLUSHED_MOST:
            raise GuestTrap(f"blocking-write-zeroes-and-flush of {length} bytes; {_FLUSHED_MOST} are allowed")
        return self.blocking_write_and_flush(bytes(length))

    @function("func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>", parks=None)
    def splice(self, source: InputStream, length: int) -> int | Later:
        """Write what can be read from `source` now, as much as may be written now, up to `length` bytes."""
        length = min(length, self.check_write())
        if not length:
            return 0
        answer: int | Later = _then(source.read(length), self._spliced)
        return answer

    @function("func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>", parks=None)
    def blocking_splice(self, source: InputStream, length: int) -> int | Later:
        """Wait until something can be written, and read, and do as `splice`."""
        if not length:
            return self.splice(source, length)
        self._check()
        return Later(lambda: self._splice_waiting(source, length))

    def _splice_waiting(self, source: InputStream, length: int) -> int:
        wait_for_any(self.world.owner, [_OutputPollable(self, counted=False)])
        length = min(length, self.check_write())
        data = _waited(source.blocking_read(length))
        self._permit = 0
        _waited(self._write(data))
        return len(data)

    def _spliced(self, data: bytes) -> int | Later:
        self._permit = 0
        answer: int | Later = _then(self._write(data), lambda _: len(data))
        return answer

    def finish(self) -> None:
        """Give back what lies below, once nothing is left to be written."""

    def give_up(self) -> None:
        """Let nobody take what was written for whole: the rest will not be."""

    def drop(self) -> None:
        """Let what was taken be written, as long as somebody takes it, then end."""
        if self._drainer is None:
            self.finish()
        else:
            self.world.spawn(self._linger, name="the end of a stream", at_end=self.finish)

    def _linger(self) -> None:
        owner = self.world.owner
        while (drainer := self._drainer) is not None:
            left = len(self._backlog)
            patience = MomentPollable(owner, owner.now_ns() + _PATIENCE_NS)
            wait_for_any(owner, [_Drained(self), patience])
            if len(self._backlog) == left:
                self.give_up()
                drainer.cancel()

    def wait_until_written(self) -> None:
        """Wait until nothing is left to be written, or the stream has ended."""
        while self._backlog:
            self._drained.wait(WRITE, "flush")


class _OutputPollable(Pollable):
    """Ready when a stream can be written."""

    __slots__ = ("_stream",)

    def __init__(self, stream: OutputStream, *, counted: bool = True) -> None:
        super().__init__(stream.world.owner, stream if counted else None)
        self._stream = stream

    def is_ready(self) -> bool:
        """Ask the stream."""
        return self._stream.is_writable()

    def source(self) -> tuple[PollDesc, int] | None:
        """Wait for the backlog, then for what lies below."""
        return self._stream.source()


class _Drained(Pollable):
    """Ready when nothing is left to be written."""

    __slots__ = ("_stream",)

    def __init__(self, stream: OutputStream) -> None:
        super().__init__(stream.world.owner)
        self._stream = stream

    def is_ready(self) -> bool:
        """Look."""
        return not self._stream.has_backlog

    def source(self) -> tuple[PollDesc, int] | None:
        """Wait for the backlog."""
        return self._stream.source()


class FileOutput(OutputStream):
    """Writes an open file, which it releases."""

    __slots__ = ("file",)

    def __init__(self, world: World, file: OpenFile, parent: Resource | None = None) -> None:
        super().__init__(world, parent)
        self.file = file

    def put(self, data: bytes | memoryview) -> int:
        """Try to write."""
        if not self.file.worth_trying(WRITE):
            return BLOCKED
        count = self.file.write_one(memoryview(data))
        # Whether the kernel has room for more matters to nobody here: what it does not take is kept.
        self.file.ready &= ~STALE_WRITE
        return count

    def wait(self) -> None:
        """Park until the file can be written."""
        self.file.wait(WRITE, "write")

    def must_wait(self) -> bool:
        """Whether the file is written on the task alone."""
        return self.file.must_wait

    def level(self) -> bool:
        """Look at the file's level; what is closed takes a write, to say so."""
        return self.file.closing or self.file.level(WRITE) != 0

    def pollable_source(self) -> tuple[PollDesc, int] | None:
        """Wait for the file."""
        return self.file, WRITE

    def finish(self) -> None:
        """Release the file."""
        released(self.file)


def _closed() -> OSError:
    return BrokenPipeError(errno.EPIPE, "the stream has ended")


def _then(answer: bytes | Later | None, go_on: Callable[[Any], Any]) -> Any:
    """Go on with an answer, now or when it has come."""
    if isinstance(answer, Later):
        call = answer.call
        return Later(lambda: _waited(go_on(call())))
    return go_on(answer)


def _waited(answer: Any) -> Any:
    """Return an answer, waiting for it here on the task."""
    return answer.call() if isinstance(answer, Later) else answer
